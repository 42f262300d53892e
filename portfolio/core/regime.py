"""Paying regimes: whether a pair pays, since when, for how long such regimes last, and what they pay next.

All functions take the net carry of n pairs over t periods as rates per day (NaN: unknown) and work on all
pairs at once. They look back only: column k depends on columns up to k.
"""

import numpy as np

from portfolio.core.carry import Floats
from portfolio.core.panel import PERIODS_A_DAY, Bools

#: A regime's age is judged by the mean of this many periods: three days.
TEST_PERIODS = 9
#: Whether one ended, which tells for how long pairs are held, by this many: 30 days, like the patient exit.
HOLDING_TEST_PERIODS = 90
#: Regimes of this mean length are assumed before any was seen to end, with the weight of one regime.
HOLDING_PRIOR_DAYS = 60.0
HOLDING_PRIOR_REGIMES = 1.0
#: No gain is counted for longer than this, whatever survived: carry a quarter ahead is anybody's guess.
HOLDING_DAYS_MAX = 90.0
#: Persistence of daily carry that is assumed before it is measured: a half-life of 3 days, with the weight of
#: this many days.
PERSISTENCE_PRIOR = 0.5 ** (1.0 / 3.0)
PERSISTENCE_PRIOR_DAYS = 15.0
#: Bounds of the estimated persistence: half-lives of 0.25 and 34 days.
PERSISTENCE_MIN, PERSISTENCE_MAX = 0.0625, 0.98


def paying(net: Floats, periods: int = TEST_PERIODS) -> Bools:
    """Whether the last three days (or other periods) paid, at each period; shape (n, t) in and out.

    The mean of the last periods, each clipped to the pair's own median size, so that no single
    print, however large, outvotes the others: one negative print between paying ones ends nothing.
    """
    known = ~np.isnan(net)
    counts = np.count_nonzero(known, axis=1)
    sizes = np.sort(np.abs(net), axis=1)
    median = np.take_along_axis(sizes, np.maximum(counts - 1, 0)[:, None] // 2, axis=1)
    scale = np.where(median > 0, median, 1e-12)
    votes = np.where(known, np.clip(net / scale, -1.0, 1.0), 0.0)
    total = np.cumsum(votes, axis=1)
    total[:, periods:] -= total[:, :-periods].copy()
    return np.asarray(total > 1e-9)


def age_days(pays: Bools, known: Bools) -> Floats:
    """Days since the running regime began, 0 where the pair does not pay now; shape (n,).

    A regime that is older than the history is as old as the history.
    """
    length = pays.shape[1]
    broken = ~(pays & (np.cumsum(known, axis=1) > 0))
    run = np.where(np.any(broken, axis=1), np.argmax(broken[:, ::-1], axis=1), length)
    return np.asarray(run / PERIODS_A_DAY, dtype=np.float64)


def holding_days(pays: Bools, known: Bools) -> Floats:
    """Expected length of a paying regime in days, from how those seen survived; shape (n,).

    The constant-hazard maximum likelihood estimate, days paid over regimes ended, with a gamma prior of one
    regime of `HOLDING_PRIOR_DAYS`, at most `HOLDING_DAYS_MAX`. The running regime is censored: its days
    count, no end does. A constant hazard has no memory, so this is what is left of the running regime too.
    A regime that fades into a hole of the history was not seen to end. On 29 pairs of 2021-25 (regimes by
    30 days, before the bound) the mean of the estimates is 168 days; 64 % of the regimes outlived the 180
    days that were looked ahead.
    """
    exposure = np.count_nonzero(pays, axis=1) / PERIODS_A_DAY
    ended = np.count_nonzero(pays[:, :-1] & ~pays[:, 1:] & known[:, 1:], axis=1)
    prior = HOLDING_PRIOR_REGIMES
    days = (exposure + prior * HOLDING_PRIOR_DAYS) / (ended + prior)
    return np.asarray(np.minimum(days, HOLDING_DAYS_MAX), dtype=np.float64)


def persistence(daily: Floats) -> Floats:
    """How much of a day's distance from its mean is left a day later, per pair; shape (n, days) in, (n,) out.

    Least squares of each day on the day before (an AR(1)), pulled towards `PERSISTENCE_PRIOR`. Noise in the
    daily rates lowers it, so that a spike is not mistaken for a level. Half-life = ln 0.5 / ln persistence.
    """
    known = ~np.isnan(daily)
    counts = np.maximum(np.count_nonzero(known, axis=1), 1)
    filled = np.where(known, daily, 0.0)
    apart = np.where(known, filled - (np.sum(filled, axis=1) / counts)[:, None], 0.0)
    variance = np.sum(apart * apart, axis=1)
    together = np.sum(apart[:, 1:] * apart[:, :-1], axis=1)
    prior = PERSISTENCE_PRIOR_DAYS * variance / counts
    moved = variance > 0
    safe = np.where(moved, variance + prior, 1.0)
    fitted = (together + PERSISTENCE_PRIOR * prior) / safe
    return np.where(moved, np.clip(fitted, PERSISTENCE_MIN, PERSISTENCE_MAX), PERSISTENCE_PRIOR)


def reverting_sum(level: Floats, mean: Floats, persistent: Floats, days: Floats) -> Floats:
    """Carry over the coming days when today's level decays towards its mean; all of shape (n,), rates a day.

    The integral of mean + (level - mean) * persistence^t from 0 to `days`.
    """
    decay = -np.log(persistent)
    return np.asarray(mean * days + (level - mean) * -np.expm1(-decay * days) / decay)
