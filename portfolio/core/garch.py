"""GARCH(1,1) of many series at once, by Gaussian quasi maximum likelihood.

    r[t] = mu + e[t],   s[t] = omega + alpha * e[t-1]^2 + beta * s[t-1]

with s the conditional variance (Bollerslev 1986; QML: Bollerslev and Wooldridge 1992). omega > 0, alpha and
beta >= 0, alpha + beta < 1. The variance before the first observation is the backcast of RiskMetrics: squared
residuals of the first 75 observations with weights 0.94^i. Every series is scaled to unit variance inside,
and its time counts its own observations: one without data leaves its state as it was.

Score and information: Fiorentini, Calzolari and Panattoni (1996), by the recursions of the derivatives.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portfolio.core.ascent import Ascent, Slope, maximise
from portfolio.core.carry import Floats, Ints
from portfolio.core.recursion import linear_recursion

#: Below this many observations a fit is noise.
OBSERVATIONS_MIN = 250
#: At most this share of a series may be one and the same value: a variance has nothing to follow.
REPEATS_MAX = 0.5
#: A larger alpha is what single huge prints leave: no memory, and a forecast that is the last move.
ALPHA_MAX = 0.95
_BACKCAST_DAYS = 75
_BACKCAST_DECAY = 0.94
_LOG_2PI = float(np.log(2.0 * np.pi))
#: Spread of a series over its largest absolute value below which it is constant but for rounding.
_SPREAD_MIN = 1e-12
#: Of log omega, the logits of persistence and of alpha's share, and mu, scaled: alpha + beta <= 1 - 1e-6.
_BOUNDS = (np.array([np.log(1e-8), -7.0, -14.0, -10.0]), np.array([np.log(1e2), 13.8, 14.0, 10.0]))
#: Rounds of the climbs from all starts, before the best goes on alone.
_TRIAL_ROUNDS = 3
#: Starts: (alpha, alpha + beta).
_GRID = tuple((a, p) for a in (0.01, 0.05, 0.1, 0.2, 0.4) for p in (0.5, 0.7, 0.9, 0.98, 0.995) if a < p)


@dataclass(frozen=True, slots=True, eq=False)
class Garch:
    """Parameters of n series in units of the returns, and where their recursions stand.

    NaN throughout where `reasons` says why a series has no fit.
    """

    #: Mean per observation; shape (n,).
    mu: Floats
    #: Return units squared, > 0; shape (n,).
    omega: Floats
    #: Weight of the last squared residual, >= 0; shape (n,).
    alpha: Floats
    #: Weight of the last variance, >= 0; shape (n,).
    beta: Floats
    #: Of the next observation; shape (n,).
    variance: Floats
    #: Why a series has no fit, None when it has; length n.
    reasons: tuple[str | None, ...]

    def residuals(self, row: Floats) -> Floats:
        """A next observation, less its mean, over its volatility; shape (n,), NaN where either is unknown."""
        return np.asarray((row - self.mu) / np.sqrt(self.variance), dtype=np.float64)

    def mean_variance(self, horizon: float) -> Floats:
        """Expected variance of the next observations, on average over `horizon` (>= 1) of them; shape (n,).

        It decays from the next one's to the long-run variance omega / (1 - alpha - beta).
        """
        persistence = self.alpha + self.beta
        long_run = self.omega / (1.0 - persistence)
        share = (1.0 - persistence**horizon) / (horizon * (1.0 - persistence))
        return np.asarray(long_run + (self.variance - long_run) * share, dtype=np.float64)

    def advance(self, row: Floats) -> "Garch":
        """After one more observation of shape (n,); NaN leaves a series as it was."""
        moved = self.omega + self.alpha * (row - self.mu) ** 2 + self.beta * self.variance
        return replace(self, variance=np.where(np.isnan(row), self.variance, moved))


@dataclass(frozen=True, slots=True, eq=False)
class GarchFit:
    """What a fit found, of n series."""

    garch: Garch
    #: Gaussian, of the returns as given; shape (n,), NaN without a fit.
    log_likelihood: Floats
    #: Residuals over conditional volatility; shape of the returns, NaN without a return or a fit.
    residuals: Floats


class _Packed(NamedTuple):
    """Scaled series at the end of their rows, zeros before."""

    #: Shape (m, t).
    values: Floats
    #: True from each first observation on; shape (m, t).
    present: NDArray[np.bool_]
    #: Number of the first observation; shape (m,).
    first: Ints
    #: Variance before the first; shape (m,).
    backcast: Floats


def fit_garch(returns: Floats, *, constant_mean: bool = True, variance_targeting: bool = False) -> GarchFit:
    """Fit every column of `returns`, shape (observations, n), newest last, NaN where there is none.

    Without `constant_mean` mu is 0. With `variance_targeting` omega is (1 - alpha - beta) times the sample
    variance. A column that cannot be fitted says why in `reasons`; nothing is put in its place.
    """
    count = returns.shape[1]
    reasons = [_why_not(column[np.isfinite(column)]) for column in returns.T]
    kept = np.array([number for number, why in enumerate(reasons) if why is None], dtype=np.int64)
    table = np.full((6, count), np.nan)
    residuals = np.full(returns.shape, np.nan)
    if len(kept):
        columns = returns[:, kept]
        centre = np.nanmean(columns, axis=0) if constant_mean else np.zeros(len(kept))
        scale = np.sqrt(np.nanmean((columns - centre) ** 2, axis=0))
        packed = _pack((columns - centre) / scale)
        problem = _Problem(packed, constant_mean, variance_targeting)
        ascent = problem.climb()
        theta = problem.parameters(ascent.points)
        found, errors = _unscaled(packed, theta, centre, scale)
        for number, column in enumerate(kept):
            reasons[column] = _why_useless(bool(ascent.converged[number]), theta[number])
            if reasons[column] is None:
                table[:, column] = found[:, number]
                residuals[np.isfinite(returns[:, column]), column] = errors[number, packed.present[number]]
    garch = Garch(table[0], table[1], table[2], table[3], table[4], tuple(reasons))
    return GarchFit(garch, table[5], residuals)


def _unscaled(packed: _Packed, theta: Floats, centre: Floats, scale: Floats) -> tuple[Floats, Floats]:
    """Mu, omega, alpha, beta, next variance and log-likelihood in units of the returns, shape (6, m).

    And the standardised residuals of the packed rows, shape (m, t).
    """
    variance, error = _variances(packed, theta)
    omega, alpha, beta, mu = theta.T
    following = omega + alpha * error[:, -1] ** 2 + beta * variance[:, -1]
    likelihood = _log_likelihood(packed, variance, error) - np.sum(packed.present, axis=1) * np.log(scale)
    found = (centre + scale * mu, scale**2 * omega, alpha, beta, scale**2 * following, likelihood)
    return np.array(found), error / np.sqrt(variance)


def _why_useless(converged: bool, theta: Floats) -> str | None:
    """What is wrong with a fit's parameters, shape (4,); None when nothing is."""
    if not converged:
        return "the likelihood search did not settle"
    if theta[1] > ALPHA_MAX:
        return f"degenerate: alpha is {theta[1]:.3f}, the variance would be the last square alone"
    return None


def _why_not(values: Floats) -> str | None:
    """What forbids a fit of these observations, shape (k,); None when nothing does."""
    if len(values) < OBSERVATIONS_MIN:
        return f"{len(values)} observations, {OBSERVATIONS_MIN} are needed"
    if np.std(values) <= _SPREAD_MIN * np.max(np.abs(values)):
        return "the series is constant"
    repeats = np.max(np.unique(values, return_counts=True)[1]) / len(values)
    if repeats > REPEATS_MAX:
        return f"{repeats:.0%} of the observations are one and the same value"
    return None


def _pack(scaled: Floats) -> _Packed:
    """Observations of each column moved to the end of a row; shape (t, m) in."""
    steps, count = scaled.shape
    values = np.zeros((count, steps))
    present = np.zeros((count, steps), dtype=np.bool_)
    backcast = np.zeros(count)
    for number, column in enumerate(scaled.T):
        observed = column[np.isfinite(column)]
        values[number, steps - len(observed) :] = observed
        present[number, steps - len(observed) :] = True
        early = observed[:_BACKCAST_DAYS] ** 2
        weights = _BACKCAST_DECAY ** np.arange(len(early), dtype=np.float64)
        backcast[number] = np.sum(weights * early) / np.sum(weights)
    first = np.argmax(present, axis=1)
    longest = int(np.min(first))
    return _Packed(values[:, longest:], present[:, longest:], first - longest, backcast)


def _variances(packed: _Packed, theta: Floats) -> tuple[Floats, Floats]:
    """Conditional variances and residuals of shape (m, t), 1 and 0 before each first observation.

    `theta` has shape (m, 4): omega, alpha, beta, mu.
    """
    omega, alpha, _, mu = theta.T[:, :, None]
    error = np.where(packed.present, packed.values - mu, 0.0)
    inputs = np.where(packed.present, omega, 0.0)
    inputs[:, 1:] += alpha * error[:, :-1] ** 2
    rows = np.arange(len(theta))
    inputs[rows, packed.first] += (theta[:, 1] + theta[:, 2]) * packed.backcast
    variance = linear_recursion(inputs[:, None, :], theta[:, 2])[:, 0, :]
    return np.where(packed.present, variance, 1.0), error


def _slopes(packed: _Packed, theta: Floats, variance: Floats, error: Floats) -> Floats:
    """D variance / d theta; shape (m, 4, t)."""
    rows = np.arange(len(theta))
    inputs = np.zeros((len(theta), 4, error.shape[1]))
    inputs[:, 0, :] = packed.present
    inputs[:, 1, 1:] = error[:, :-1] ** 2
    inputs[:, 2, 1:] = np.where(packed.present, variance, 0.0)[:, :-1]
    inputs[rows, 1:3, packed.first] = packed.backcast[:, None]
    inputs[:, 3, 1:] = -2.0 * theta[:, 1, None] * error[:, :-1]
    return linear_recursion(inputs, theta[:, 2])


def _log_likelihood(packed: _Packed, variance: Floats, error: Floats) -> Floats:
    each = _LOG_2PI + np.log(variance) + error**2 / variance
    return np.asarray(-0.5 * np.sum(each * packed.present, axis=1), dtype=np.float64)


class _Problem:
    """The log-likelihood over log omega, the logits of alpha + beta and of alpha's share of it, and mu."""

    def __init__(self, packed: _Packed, constant_mean: bool, variance_targeting: bool) -> None:
        self._packed = packed
        self._free = np.array([not variance_targeting, True, True, constant_mean])
        self._targeting = variance_targeting

    def climb(self) -> Ascent:
        """The likeliest parameters of each series: the best of four short climbs, continued.

        A series with a few huge prints has several tops, a hundred nats apart.
        """
        first = [maximise(self, starts, *_BOUNDS, rounds_max=_TRIAL_ROUNDS) for starts in self._starts()]
        leader = np.argmax([ascent.values for ascent in first], axis=0)
        points = np.stack([ascent.points for ascent in first])[leader, np.arange(len(leader))]
        return maximise(self, points, *_BOUNDS)

    def _starts(self) -> list[Floats]:
        """For each series the best points of the grid with low or high alpha and low or high persistence."""
        count = len(self._packed.values)
        found: dict[tuple[bool, bool], tuple[Floats, Floats]] = {}
        for alpha, persistence in _GRID:
            point = np.array(
                [np.log(1.0 - persistence), _logit(persistence), _logit(alpha / persistence), 0.0]
            )
            trial = np.tile(point, (count, 1))
            value = _log_likelihood(self._packed, *_variances(self._packed, self.parameters(trial)))
            kind = (alpha <= 0.05, persistence < 0.9)
            best, points = found.get(kind, (np.full(count, -np.inf), trial))
            better = value > best
            found[kind] = np.where(better, value, best), np.where(better[:, None], trial, points)
        return [points for _, points in found.values()]

    def parameters(self, points: Floats) -> Floats:
        """Omega, alpha, beta, mu of points; shape (m, 4) in and out."""
        persistence, share = (_sigmoid(points[:, number]) for number in (1, 2))
        omega = 1.0 - persistence if self._targeting else np.exp(points[:, 0])
        return np.column_stack((omega, persistence * share, persistence * (1.0 - share), points[:, 3]))

    def _chain(self, points: Floats, theta: Floats) -> Floats:
        """D theta / d point; shape (m, 4, 4), last axis the point's."""
        persistence, share = (_sigmoid(points[:, number]) for number in (1, 2))
        turn = persistence * (1.0 - persistence)
        chain = np.zeros((len(points), 4, 4))
        chain[:, 0, 0] = theta[:, 0]
        chain[:, 1, 1], chain[:, 2, 1] = turn * share, turn * (1.0 - share)
        chain[:, 1, 2] = persistence * share * (1.0 - share)
        chain[:, 2, 2] = -chain[:, 1, 2]
        chain[:, 3, 3] = 1.0
        if self._targeting:
            chain[:, 0, 1] = -turn
        return np.asarray(chain * self._free, dtype=np.float64)

    def __call__(self, points: Floats, rows: Ints) -> Slope:
        """Log-likelihood of the scaled series `rows` at `points`, with its slopes."""
        values, present, first, backcast = self._packed
        packed = _Packed(values[rows], present[rows], first[rows], backcast[rows])
        theta = self.parameters(points)
        variance, error = _variances(packed, theta)
        slopes = _slopes(packed, theta, variance, error)
        value = _log_likelihood(packed, variance, error)
        weight = 0.5 * (error**2 / variance - 1.0) / variance * packed.present
        score = np.matmul(slopes, weight[:, :, None])[:, :, 0]
        score[:, 3] += np.sum(error / variance, axis=1)
        relative = slopes * (packed.present / variance)[:, None, :]
        information = 0.5 * np.matmul(relative, relative.transpose(0, 2, 1))
        information[:, 3, 3] += np.sum(packed.present / variance, axis=1)
        chain = self._chain(points, theta)
        turned = chain.transpose(0, 2, 1)
        return Slope(value, np.matmul(turned, score[:, :, None])[:, :, 0], turned @ information @ chain)


def _sigmoid(x: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-x))


def _logit(share: float) -> float:
    return float(np.log(share / (1.0 - share)))
