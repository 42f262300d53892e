"""Exponentially weighted second moments of pair returns, and correlation matrices made positive definite.

EWMA needs no fit, so it is what `forecast` falls back to where DCC-GARCH cannot be had. Zero mean, as in
RiskMetrics (1996); weights fall with calendar days, so a day without data neither counts nor ages out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from portfolio.core.carry import DAY_NS, CarrySeries, Floats, Ints
from portfolio.core.recursion import linear_recursion

#: Days after which an observation counts half.
HALFLIFE_DAYS = 30.0
#: Weight of the identity in the shrunk correlation.
SHRINKAGE = 0.2
#: Smallest eigenvalue that `nearest_correlation` leaves, before its diagonal is made one again.
EIGENVALUE_FLOOR = 1e-3
#: Days that a volatility is made of before anything is divided by it.
RESIDUALS_MIN = 30
_DECAY = 0.5 ** (1.0 / HALFLIFE_DAYS)


@dataclass(frozen=True, slots=True, eq=False)
class EwmaMoments:
    """Weighted sums over the days so far; n pairs."""

    #: Sum of weight times product of two pairs' returns, over the days that have both; shape (n, n).
    products: Floats
    #: Sum of those weights; shape (n, n).
    weights: Floats
    #: Days that have the pair; shape (n,).
    counts: Ints

    def advance(self, row: Floats) -> "EwmaMoments":
        """With one more day: `row` has shape (n,), NaN where a pair has no data."""
        seen = np.isfinite(row)
        value = np.where(seen, row, 0.0)
        return EwmaMoments(
            _DECAY * self.products + np.outer(value, value),
            _DECAY * self.weights + np.outer(seen, seen),
            self.counts + seen,
        )

    def variances(self) -> Floats:
        """Of the next day; shape (n,). NaN below two days: nothing can be said."""
        known = self.counts >= 2
        return np.where(known, np.diag(self.products) / np.where(known, np.diag(self.weights), 1.0), np.nan)

    def residuals(self, row: Floats) -> Floats:
        """The next day's returns over their volatility; shape (n,), NaN where either is unknown.

        A volatility counts as known from `RESIDUALS_MIN` days on and while it is above zero.
        """
        known = (self.counts >= RESIDUALS_MIN) & (np.diag(self.products) > 0)
        return np.where(known, row / np.sqrt(np.where(known, self.variances(), 1.0)), np.nan)

    def correlation(self) -> Floats:
        """Of the next day, shrunk towards the identity; shape (n, n), positive definite.

        A pair without variance, or with fewer than two days in common with another, is uncorrelated.
        """
        covariance = self.products / np.where(self.weights > 0, self.weights, 1.0)
        spread = np.sqrt(np.diag(covariance))
        safe = np.where((spread > 0) & (self.counts >= 2), spread, np.inf)
        correlation = np.clip(covariance / np.outer(safe, safe), -1.0, 1.0)
        np.fill_diagonal(correlation, 1.0)
        # The weights of a complete table are equal; pairwise sums over different days can be indefinite.
        if np.any(self.weights != np.max(self.weights, initial=0.0)):
            correlation = nearest_correlation(correlation)
        shrunk = (1.0 - SHRINKAGE) * correlation
        np.fill_diagonal(shrunk, 1.0)
        return np.asarray(shrunk, dtype=np.float64)


def ewma_moments(returns: Floats) -> EwmaMoments:
    """Moments after all days of `returns`: shape (days, pairs), newest last, NaN where a pair has no data."""
    seen = np.isfinite(returns)
    values = np.where(seen, returns, 0.0)
    weights = _DECAY ** np.arange(len(returns) - 1, -1, -1, dtype=np.float64)[:, None]
    present = seen.astype(np.float64)
    return EwmaMoments(
        (values * weights).T @ values, (present * weights).T @ present, np.sum(seen, axis=0, dtype=np.int64)
    )


def ewma_residuals(returns: Floats) -> Floats:
    """Each day's returns over the volatility known the day before; shape (days, pairs) in and out.

    What `EwmaMoments.residuals` says day by day, at once.
    """
    seen = np.isfinite(returns)
    late = np.zeros((2, *returns.shape))
    late[0, 1:] = np.where(seen, returns, 0.0)[:-1] ** 2
    late[1, 1:] = seen[:-1]
    sums = linear_recursion(late.transpose(2, 0, 1), np.full(returns.shape[1], _DECAY)).transpose(1, 2, 0)
    before = np.cumsum(seen, axis=0) - seen
    known = (before >= RESIDUALS_MIN) & (sums[0] > 0)
    ratio = sums[0] / np.where(known, sums[1], 1.0)
    return np.where(known, returns / np.sqrt(np.where(known, ratio, 1.0)), np.nan)


def ewma_correlation(returns: Floats) -> Floats:
    """Correlation forecast from returns of shape (days, pairs), newest last; shape (pairs, pairs).

    Zero-mean, exponentially weighted, shrunk towards the identity. A column without variance is
    uncorrelated; fewer than two days give the identity, which claims nothing.
    """
    return ewma_moments(returns).correlation()


def nearest_correlation(matrix: Floats) -> Floats:
    """A positive definite correlation matrix near a symmetric one with unit diagonal; shape (n, n).

    Eigenvalues below the floor are lifted to it and the diagonal is made one again; a matrix that has none
    comes back as it is.
    """
    values, vectors = np.linalg.eigh(matrix)
    if values[0] >= EIGENVALUE_FLOOR:
        return matrix
    lifted = (vectors * np.maximum(values, EIGENVALUE_FLOOR)) @ vectors.T
    spread = np.sqrt(np.diag(lifted))
    out = lifted / np.outer(spread, spread)
    np.fill_diagonal(out, 1.0)
    return np.asarray((out + out.T) / 2.0, dtype=np.float64)


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
