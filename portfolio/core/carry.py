"""The door from money to statistics: settled funding as float arrays.

Floats live from here to `allocation`; they leave as weights through `sizing`, which turns them back into
Decimal quantities. Nothing below this door books money.

A settlement pays for the interval that ends at it. Intervals differ per symbol (1, 2, 4 or 8 hours) and
change over time, and a history can have holes, so each settlement carries the span that it paid for, judged
from the times before it alone. Where that span is not known (the first one, and the first after a hole) the
settlement is left out of every rate: a hole is unknown, not zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portfolio.core.errors import MissingDataError
from portfolio.core.market import Settlement

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
YEAR_DAYS = 365.0
#: No venue settles less often than every 8 hours; half as much again allows for a late one.
_SPAN_DAYS_MAX = 0.5
#: A step longer than this many times the longer of the two before it is a hole, not an interval.
_HOLE = 1.5


@dataclass(frozen=True, slots=True)
class CarrySeries:
    """Settled carry of one pair, oldest first; arrays of equal length n >= 0.

    `carry` is what the pair earned at each settlement as a fraction of one leg's notional (+ received),
    `returns` adds the change of the basis against it; both before borrowing, staking and fees.
    """

    #: Settlement instants, market clock, integer ns, strictly ascending; shape (n,).
    times_ns: Ints
    #: Days that each settlement paid for; 0 where unknown; shape (n,).
    spans_days: Floats
    #: Fraction of one leg's notional per settlement; shape (n,).
    carry: Floats
    #: Perpetual over spot minus one, a fraction; shape (n,).
    basis: Floats
    #: Carry minus the change of the basis in the pair's direction; the first equals its carry; shape (n,).
    returns: Floats

    def between(self, after_ns: int, until_ns: int) -> "CarrySeries":
        """The settlements after the one instant and up to the other, inclusive: views, nothing is copied."""
        low, high = self.times_ns.searchsorted((after_ns, until_ns), side="right")
        return CarrySeries(
            self.times_ns[low:high],
            self.spans_days[low:high],
            self.carry[low:high],
            self.basis[low:high],
            self.returns[low:high],
        )

    def until(self, now_market_ns: int) -> "CarrySeries":
        """What was settled by then: views, nothing is copied."""
        return self.between(np.iinfo(np.int64).min, now_market_ns)


def carry_series(settlements: Sequence[Settlement], *, short_perpetual: bool) -> CarrySeries:
    """Build the series of a pair from its perpetual's settlements: Decimal goes in, floats come out.

    A pair that is short the perpetual receives positive rates and loses when the basis widens.

    Raises:
        MissingDataError: times not ascending, or a price that is not above zero; it names the row.
    """
    return series_of(
        np.array([row.market_ns for row in settlements], dtype=np.int64),
        np.array([float(row.rate) for row in settlements]),
        np.array([float(row.perpetual_price) for row in settlements]),
        np.array([float(row.spot_price) for row in settlements]),
        short_perpetual=short_perpetual,
    )


def series_of(
    times_ns: Ints, rates: Floats, perpetual: Floats, spot: Floats, *, short_perpetual: bool
) -> CarrySeries:
    """The same from columns of market history that are floats already; each of shape (n,).

    Args:
        times_ns: Settlement instants, strictly ascending.
        rates: Settled funding per interval; positive: longs paid shorts.
        perpetual: Its price at each settlement, quote per base.
        spot: The spot price at the same instant.
        short_perpetual: Whether the pair is short of the perpetual.

    Raises:
        MissingDataError: times not ascending, a rate that is not finite, or a price that is not above zero;
            it names the row, counted from 0.
    """
    _check(np.concatenate(([True], np.diff(times_ns) > 0))[: len(times_ns)], "its time is not ascending")
    _check(np.isfinite(rates), "its rate is not a number")
    _check(np.isfinite(perpetual) & (perpetual > 0), "its perpetual price is not above zero")
    _check(np.isfinite(spot) & (spot > 0), "its spot price is not above zero")
    sign = 1.0 if short_perpetual else -1.0
    carry = sign * rates
    basis = perpetual / spot - 1.0
    change = np.diff(basis, prepend=basis[:1])
    return CarrySeries(times_ns, _spans(times_ns), carry, basis, carry - sign * change)


def _check(good: NDArray[np.bool_], why: str) -> None:
    if not np.all(good):
        raise MissingDataError(
            f"Settlement {int(np.argmin(good))} cannot be used: {why}.", field="settlements"
        )


def _spans(times_ns: Ints) -> Floats:
    """Days since the settlement before; 0 where that is no interval. Looks back only."""
    if len(times_ns) == 0:
        return np.zeros(0)
    steps = np.diff(times_ns, prepend=times_ns[0]) / DAY_NS
    before = np.concatenate(([0.0, 0.0], steps))[: len(steps) + 1]
    usual = np.maximum(before[1:], before[:-1])
    # The second settlement has nothing before it to compare with; its step counts when a venue could have it.
    usual[:2] = _SPAN_DAYS_MAX
    known = steps <= np.minimum(_HOLE * usual, _SPAN_DAYS_MAX)
    return np.where(known, steps, 0.0)


def apr_over(series: CarrySeries, days: float, now_market_ns: int) -> float | None:
    """Carry a year over the last `days`; None when settlements of known span cover less than half of them."""
    window = series.between(now_market_ns - int(days * DAY_NS), now_market_ns)
    covered = float(np.sum(window.spans_days))
    if covered < days / 2:
        return None
    return float(np.sum(window.carry[window.spans_days > 0])) * YEAR_DAYS / covered
