"""The door from money to statistics: settled funding as float arrays.

Floats live from here to `allocation`; they leave as weights through `sizing`, which turns them back into
Decimal quantities. Nothing below this door books money.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portfolio.core.errors import MissingDataError
from portfolio.core.market import Settlement

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAY_NS = 86_400_000_000_000
YEAR_DAYS = 365.0


@dataclass(frozen=True, slots=True)
class CarrySeries:
    """Settled carry of one pair, oldest first; arrays of equal length n >= 2.

    `carry` is what the pair earned at each settlement as a fraction of one leg's notional (+ received),
    `returns` adds the change of the basis against it; both before borrowing and fees.
    """

    #: Settlement instants, market clock, integer ns, strictly ascending; shape (n,).
    times_ns: Ints
    #: Fraction of one leg's notional per settlement; shape (n,).
    carry: Floats
    #: Perpetual over spot minus one, a fraction; shape (n,).
    basis: Floats
    #: Carry minus the change of the basis in the pair's direction; the first equals its carry; shape (n,).
    returns: Floats

    @property
    def span_days(self) -> float:
        """Days covered: first to last settlement plus one typical interval."""
        return float(self.times_ns[-1] - self.times_ns[0] + np.median(np.diff(self.times_ns))) / DAY_NS

    @property
    def settlements_per_year(self) -> float:
        """From the times themselves: intervals differ per symbol and change."""
        return YEAR_DAYS * len(self.times_ns) / self.span_days


def carry_series(
    settlements: Sequence[Settlement], *, short_perpetual: bool, now_market_ns: int
) -> CarrySeries:
    """Build the series of a pair from its perpetual's settlements.

    A pair that is short the perpetual receives positive rates and loses when the basis widens.

    Raises:
        MissingDataError: fewer than two settlements, times not ascending, one in the future, or a price <= 0.
    """
    if len(settlements) < 2:
        raise MissingDataError(
            f"{len(settlements)} settlements are too few for a score.",
            field="settlements",
            next_step="Wait for more history of this symbol.",
        )
    times = np.array([row.market_ns for row in settlements], dtype=np.int64)
    if np.any(np.diff(times) <= 0) or times[-1] > now_market_ns:
        raise MissingDataError("Settlement times are not ascending up to now.", field="settlements")
    perpetual = np.array([float(row.perpetual_price) for row in settlements])
    spot = np.array([float(row.spot_price) for row in settlements])
    if not (np.all(perpetual > 0) and np.all(spot > 0)):
        raise MissingDataError("A settlement has a price that is not above zero.", field="settlements")
    sign = 1.0 if short_perpetual else -1.0
    carry = sign * np.array([float(row.rate) for row in settlements])
    basis = perpetual / spot - 1.0
    change = np.diff(basis, prepend=basis[0])
    return CarrySeries(times, carry, basis, carry - sign * change)


def apr_over(series: CarrySeries, days: float, now_market_ns: int) -> float | None:
    """Annualised sum of carry over the last `days`; None when the series covers less than half of them."""
    start = now_market_ns - int(days * DAY_NS)
    covered = (now_market_ns - max(start, int(series.times_ns[0]))) / DAY_NS
    if covered < days / 2:
        return None
    return float(np.sum(series.carry[series.times_ns > start])) * YEAR_DAYS / covered
