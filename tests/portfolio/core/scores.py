"""Made settlements for the tests of scores: numbers chosen so that the answer can be worked out by hand."""

from collections.abc import Sequence
from decimal import Decimal

from portfolio.core.carry import DAY_NS
from portfolio.core.market import Settlement

HOUR_NS = 3_600_000_000_000


def settlements(
    rates: Sequence[str],
    *,
    hours: int = 8,
    end_ns: int = 400 * DAY_NS,
    spot: str = "100",
    basis: Sequence[str] | None = None,
) -> tuple[Settlement, ...]:
    """One settlement per rate, `hours` apart, the last at `end_ns`; `basis` are fractions over spot."""
    gaps = basis if basis is not None else ["0"] * len(rates)
    start = end_ns - (len(rates) - 1) * hours * HOUR_NS
    return tuple(
        Settlement(
            start + i * hours * HOUR_NS,
            Decimal(rate),
            Decimal(spot) * (1 + Decimal(gap)),
            Decimal(spot),
        )
        for i, (rate, gap) in enumerate(zip(rates, gaps, strict=True))
    )
