"""Correlation of pair returns: exponentially weighted, shrunk, positive definite.

DCC-GARCH comes in its place.
"""

from collections.abc import Sequence

import numpy as np

from portfolio.core.carry import DAY_NS, CarrySeries, Floats

#: Days after which an observation counts half.
HALFLIFE_DAYS = 30.0
#: Weight of the identity in the shrunk correlation.
SHRINKAGE = 0.2


def daily_returns(series: Sequence[CarrySeries]) -> Floats:
    """Sum of each pair's returns per UTC day over the days that all pairs cover; shape (days, pairs).

    Days are compared because settlement times differ per symbol. No common day: shape (0, pairs).
    """
    if not series:
        return np.zeros((0, 0))
    days = [row.times_ns // DAY_NS for row in series]
    first, last = max(int(d[0]) for d in days), min(int(d[-1]) for d in days)
    if last < first:
        return np.zeros((0, len(series)))
    out = np.zeros((last - first + 1, len(series)))
    for column, (day, row) in enumerate(zip(days, series, strict=True)):
        inside = (day >= first) & (day <= last)
        np.add.at(out[:, column], day[inside] - first, row.returns[inside])
    return out


def ewma_correlation(returns: Floats) -> Floats:
    """Correlation forecast from returns of shape (days, pairs), newest last; shape (pairs, pairs).

    Zero-mean, exponentially weighted, shrunk towards the identity. A column without variance is
    uncorrelated; fewer than two days give the identity, which claims nothing.
    """
    count, pairs = returns.shape
    if count < 2:
        return np.eye(pairs)
    weights = 0.5 ** (np.arange(count - 1, -1, -1, dtype=np.float64) / HALFLIFE_DAYS)
    covariance = (returns * weights[:, None]).T @ returns / np.sum(weights)
    spread = np.sqrt(np.diag(covariance))
    safe = np.where(spread > 0, spread, 1.0)
    correlation = np.clip(covariance / np.outer(safe, safe), -1.0, 1.0)
    shrunk = (1.0 - SHRINKAGE) * correlation
    np.fill_diagonal(shrunk, 1.0)
    return np.asarray(shrunk, dtype=np.float64)
