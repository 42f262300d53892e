"""One venue's history on its own grid of settlement times: what an account lives through, step by step."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portfolio.backtest.candles import Candles, extremes
from portfolio.backtest.history import PairHistory
from portfolio.core.carry import DAY_NS, HOUR_NS, YEAR_DAYS, CarrySeries, Floats, Ints
from portfolio.core.names import Coin, PairId, Venue

Bools = NDArray[np.bool_]

#: Borrowing has no archive: USDT costs the larger of this and a share of what BTC carry paid, a year.
BORROW_FLOOR_APR = 0.06
BORROW_FUNDING_SHARE = 0.7
_BORROW_WINDOW = 90
_HOURS_A_YEAR = 24 * YEAR_DAYS
#: In a hole of the archive funding is not known, and no more interest than this is counted against it.
HOLE_HOURS = 24.0


@dataclass(frozen=True, slots=True, eq=False)
class VenueMarket:
    """T steps of n pairs; a step is an instant at which at least one of them settles."""

    venue: Venue
    pair_ids: tuple[PairId, ...]
    coins: tuple[Coin, ...]
    series: tuple[CarrySeries, ...]
    #: (T,), strictly ascending, and hours since the step before (0 at the first, at most HOLE_HOURS).
    times_ns: Ints
    hours: Floats
    #: (T, n): the pair has prices now: between its first and its last settlement. Prices of others are 1.
    alive: Bools
    #: (T, n): a settlement of the pair falls on the step.
    settles: Bools
    spot: Floats
    mark: Floats
    #: (T, n): quote that one short coin receives at the step.
    funding: Floats
    #: (T, n): factors of both prices at the extremes since the step before.
    high: Floats
    low: Floats
    #: Share of (step, living pair) whose extremes are from candles.
    hourly_share: float
    #: (n,): the last step of each pair, and whether its history ends before the venue's does.
    last: Ints
    ends: Bools
    #: (T,): what borrowing quote coins costs a year, known at the step.
    borrow_apr: Floats

    @property
    def hourly_rate(self) -> Floats:
        """(T,): interest per hour."""
        return self.borrow_apr / _HOURS_A_YEAR

    def index_of(self, time_ns: int) -> int:
        """The first step at or after a moment; T when there is none."""
        return int(np.searchsorted(self.times_ns, time_ns))


def venue_market(
    venue: Venue,
    pairs: Mapping[PairId, PairHistory],
    candles: Mapping[PairId, Candles],
    borrow: tuple[Ints, Floats],
) -> VenueMarket:
    """Align the pairs of one venue.

    Args:
        venue: Of all of them.
        pairs: At least one.
        candles: By pair; may lack some or all.
        borrow: Times and borrow rates a year, ascending; what is known at a step is its last one.
    """
    rows = tuple(pairs.values())
    times = np.unique(np.concatenate([row.times_ns for row in rows]))
    shape = (len(times), len(rows))
    spot, mark, funding = np.ones(shape), np.ones(shape), np.zeros(shape)
    high, low = np.ones(shape), np.ones(shape)
    alive, settles = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    last = np.zeros(len(rows), dtype=np.int64)
    real = 0
    for column, row in enumerate(rows):
        at = np.searchsorted(times, row.times_ns)
        # The last settlements of a file need not fall on one instant: within a day nothing ended.
        gone = times[-1] - row.times_ns[-1] > DAY_NS
        first, last[column] = at[0], at[-1] if gone else len(times) - 1
        steps = np.arange(first, last[column] + 1)
        own = np.searchsorted(at, steps, side="right") - 1
        spot[steps, column], mark[steps, column] = row.spot[own], row.mark[own]
        alive[steps, column] = True
        settles[at, column] = True
        funding[at, column] = row.rate * row.mark
        found = extremes(row, candles.get(row.pair_id))
        high[at, column], low[at, column] = found.high, found.low
        real += int(np.count_nonzero(found.real))
    known = np.searchsorted(borrow[0], times, side="right") - 1
    return VenueMarket(
        venue=venue,
        pair_ids=tuple(pairs),
        coins=tuple(row.coin for row in rows),
        series=tuple(row.series() for row in rows),
        times_ns=times,
        hours=np.minimum(np.diff(times, prepend=times[0]) / HOUR_NS, HOLE_HOURS),
        alive=alive,
        settles=settles,
        spot=spot,
        mark=mark,
        funding=funding,
        high=high,
        low=low,
        hourly_share=real / max(1, int(np.count_nonzero(settles))),
        last=last,
        ends=last < len(times) - 1,
        borrow_apr=np.where(known >= 0, borrow[1][np.maximum(known, 0)], BORROW_FLOOR_APR),
    )


def borrow_proxy(pairs: Mapping[PairId, PairHistory], multiple: float) -> tuple[Ints, Floats]:
    """Times and borrow rates a year: max(6 %, 0.7 x the median BTC funding of about 30 days), scaled.

    Of the BTC pair with the longest history; without BTC of the pair with the longest one.
    """
    names = [key for key, row in pairs.items() if row.coin == "BTC"] or list(pairs)
    row = pairs[max(names, key=lambda key: (len(pairs[key].times_ns), key))]
    series = row.series()
    spans = np.where(series.spans_days > 0, series.spans_days, np.nan)
    yearly = series.carry * YEAR_DAYS / spans
    windows = np.lib.stride_tricks.sliding_window_view(
        np.concatenate((np.full(_BORROW_WINDOW - 1, np.nan), yearly)), _BORROW_WINDOW
    )
    some = np.isfinite(windows).any(axis=1)
    median = np.zeros(len(yearly))
    median[some] = np.nanmedian(windows[some], axis=1)
    rate = np.maximum(BORROW_FLOOR_APR, BORROW_FUNDING_SHARE * median)
    return row.times_ns, rate * multiple
