"""The carry of many pairs on one grid: pairs x periods of eight hours, the newest last.

Symbols settle every 1, 2, 4 or 8 hours and change it; on the grid they are compared alike and every window is
a slice of columns. The grid ends at the moment of the decision, so nothing later can enter it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portfolio.core.carry import DAY_NS, HOUR_NS, CarrySeries, Floats, Ints

Bools = NDArray[np.bool_]

#: The longest interval that venues use: a period then holds a settlement of every symbol that is alive.
PERIOD_NS = 8 * HOUR_NS
PERIODS_A_DAY = DAY_NS // PERIOD_NS


@dataclass(frozen=True, slots=True, eq=False)
class CarryPanel:
    """What n pairs earned in each of t periods up to `now_ns`; before borrowing, staking and fees.

    A period without a settlement of known span has `covered` 0: its carry is unknown, not zero.
    """

    #: End of the last period, market clock.
    now_ns: int
    #: Carry of the settlements of known span, a fraction of one leg's notional; shape (n, t).
    carry: Floats
    #: Days that those settlements paid for; shape (n, t).
    covered: Floats
    #: Carry and change of the basis of all settlements; shape (n, t), NaN where there was none.
    returns: Floats
    #: The newest settlement, 0 where there is none; shape (n,).
    last_ns: Ints

    @property
    def days(self) -> int:
        """Whole days that the grid spans."""
        return int(self.carry.shape[1] // PERIODS_A_DAY)

    def rows(self, keep: Sequence[int]) -> "CarryPanel":
        """The panel of some pairs, in the order given."""
        index = np.array(keep, dtype=np.int64)
        return CarryPanel(
            self.now_ns, self.carry[index], self.covered[index], self.returns[index], self.last_ns[index]
        )

    def daily_returns(self) -> Floats:
        """Sum of returns per day up to now, newest last, as risk forecasts take it; shape (days, n).

        NaN on a day without a settlement.
        """
        by_day = self.returns.reshape(len(self.returns), self.days, PERIODS_A_DAY)
        found = np.any(~np.isnan(by_day), axis=2)
        return np.where(found, np.nansum(by_day, axis=2), np.nan).T


def carry_panel(series: Sequence[CarrySeries], now_ns: int, days: int) -> CarryPanel:
    """Put each series on the grid of the last `days` days; one pass over all settlements.

    Each series may be longer at both ends: what is later than `now_ns` is not looked at.
    """
    count, periods = len(series), int(days * PERIODS_A_DAY)
    if not series:
        empty = np.zeros((0, periods))
        return CarryPanel(now_ns, empty, empty, empty, np.zeros(0, dtype=np.int64))
    edges = np.array((now_ns - periods * PERIOD_NS, now_ns))
    inside = [slice(*row.times_ns.searchsorted(edges, side="right").tolist()) for row in series]
    lengths = np.array([part.stop - part.start for part in inside])
    times = np.concatenate([row.times_ns[part] for row, part in zip(series, inside, strict=True)])
    column = periods - 1 - (now_ns - times) // PERIOD_NS
    cell = np.repeat(np.arange(count) * periods, lengths) + column
    spans = np.concatenate([row.spans_days[part] for row, part in zip(series, inside, strict=True)])
    carry = np.concatenate([row.carry[part] for row, part in zip(series, inside, strict=True)])
    carry *= spans > 0
    returns = np.concatenate([row.returns[part] for row, part in zip(series, inside, strict=True)])
    size, shape = count * periods, (count, periods)
    seen = np.bincount(cell, minlength=size)
    moved = np.where(seen > 0, _sums(cell, returns, size), np.nan)
    return CarryPanel(
        now_ns=now_ns,
        carry=_sums(cell, carry, size).reshape(shape),
        covered=_sums(cell, spans, size).reshape(shape),
        returns=moved.reshape(shape),
        last_ns=_last(times, lengths),
    )


def _sums(cell: Ints, values: Floats, size: int) -> Floats:
    return np.bincount(cell, values, size).astype(np.float64, copy=False)


def _last(times: Ints, lengths: Ints) -> Ints:
    """The last of each run of times; 0 for an empty run."""
    ends = np.cumsum(lengths)
    return np.where(lengths > 0, np.append(times, 0)[np.maximum(ends - 1, 0)], 0)
