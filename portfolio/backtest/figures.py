"""Figures of an equity curve: Sharpe ratio with its confidence interval, drawdown, years.

Daily returns at UTC day ends; Sharpe is mean over standard deviation x sqrt(365), without a risk-free rate: a
book in cash earns nothing here either.
"""

from collections.abc import Sequence

import numpy as np

from portfolio.backtest.result import Figures, Interval, YearFigures
from portfolio.core.carry import DAY_NS, YEAR_DAYS, Floats, Ints

#: Mean length in days of a block of the bootstrap: funding regimes last for weeks.
BLOCK_DAYS = 30.0
RESAMPLES = 1_000
LEVEL = 0.90
#: A spread below this is rounding.
_NO_SPREAD = 1e-12


def daily_returns(equity: Floats) -> Floats:
    """From points one day apart, (n,) to (n - 1,)."""
    found: Floats = equity[1:] / equity[:-1] - 1.0
    return found


def sharpe_of(returns: Floats) -> float | None:
    """Of daily returns; None without two of them or without a spread."""
    if len(returns) < 2:
        return None
    spread = float(np.std(returns))
    if spread < _NO_SPREAD:
        return None
    return float(np.mean(returns)) / spread * float(np.sqrt(YEAR_DAYS))


def figures_of(daily_equity: Floats, drawdown: float) -> Figures:
    """Figures of a curve of daily points; the drawdown is measured on finer ones."""
    returns = daily_returns(daily_equity)
    if len(returns) == 0:
        return Figures(None, 0.0, 0.0, drawdown)
    growth = float(daily_equity[-1] / daily_equity[0])
    apr = growth ** (YEAR_DAYS / len(returns)) - 1.0 if growth > 0 else -1.0
    return Figures(sharpe_of(returns), apr, float(np.std(returns)) * float(np.sqrt(YEAR_DAYS)), drawdown)


def drawdown_of(equity: Floats) -> Floats:
    """Fall from the running peak at each point, a share of it, >= 0."""
    peak = np.maximum.accumulate(equity)
    found: Floats = 1.0 - equity / peak
    return found


def sharpe_interval(returns: Floats, generator: np.random.Generator) -> Interval | None:
    """Percentile interval by the stationary bootstrap (Politis, Romano 1994): blocks of geometric length.

    None where the ratio itself is not defined.
    """
    count = len(returns)
    if sharpe_of(returns) is None:
        return None
    starts = generator.integers(0, count, size=(RESAMPLES, count))
    begins = generator.random((RESAMPLES, count)) < 1.0 / BLOCK_DAYS
    begins[:, 0] = True
    places = np.arange(count)
    last = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    index = (np.take_along_axis(starts, last, axis=1) + places - last) % count
    drawn = returns[index]
    spread = drawn.std(axis=1)
    ratios = drawn.mean(axis=1) / np.where(spread > _NO_SPREAD, spread, np.nan) * np.sqrt(YEAR_DAYS)
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.nanquantile(ratios, (tail, 1.0 - tail))
    return Interval(float(low), float(high), LEVEL)


def years_of(times_ns: Ints, equity: Floats, utilisation: Floats) -> tuple[YearFigures, ...]:
    """Calendar years, UTC, of daily points; a point at midnight belongs to the day that it ends."""
    years = (times_ns - 1).astype("datetime64[ns]").astype("datetime64[Y]").astype(np.int64) + 1970
    found = []
    for year in np.unique(years[1:]).tolist():
        inside = np.flatnonzero(years == year)
        inside = inside[inside > 0]
        points = np.concatenate((inside[:1] - 1, inside))
        curve = equity[points]
        found.append(
            YearFigures(
                year=int(year),
                days=len(inside),
                figures=figures_of(curve, float(drawdown_of(curve).max())),
                utilisation_mean=float(utilisation[inside].mean()),
            )
        )
    return tuple(found)


def day_ends(first_ns: int, last_ns: int) -> Ints:
    """The start, every midnight after it, and the end."""
    midnights = np.arange(first_ns // DAY_NS + 1, last_ns // DAY_NS + 1, dtype=np.int64) * DAY_NS
    return np.unique(np.concatenate(([first_ns], midnights, [last_ns])))


def last_at(times_ns: Ints, moments: Ints) -> Ints:
    """Index of the last time at or before each moment; -1 before the first."""
    found: Ints = np.searchsorted(times_ns, moments, side="right") - 1
    return found


def weighted_mean(values: Sequence[float] | Floats, weights: Sequence[float] | Floats) -> float | None:
    """None where nothing weighs."""
    total = float(np.sum(weights))
    return None if total <= 0 else float(np.dot(values, weights)) / total
