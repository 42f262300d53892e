"""DCC(1,1): correlation that moves, from standardised residuals of univariate models.

    Q[t+1] = (1 - a - b) S + a e[t] e[t]' + b Q[t],   R[t] = Q[t] scaled to unit diagonal

(Engle 2002), with S the shrunk sample correlation of `correlation_target`. a and b >= 0, a + b < 1, maximise
the mean of the Gaussian log-likelihoods of pairs of series (composite likelihood: Engle, Shephard and
Sheppard 2008; Pakel et al. 2021), each over the observations that both have.

S is positive definite and what is added to it positive semi-definite, so Q is; R is then mixed with a trace
of the identity, so that rounding cannot undo it however large a residual.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portfolio.core.ascent import Slope, maximise
from portfolio.core.carry import Floats, Ints
from portfolio.core.correlation_target import CorrelationTarget, correlation_target
from portfolio.core.recursion import linear_recursion

#: A residual counts as at most so many standard deviations, in the fit and in every update: one print must
#: not move all correlations for weeks (bounded innovations, as in Boudt, Danielsson and Laurent 2013).
RESIDUAL_MAX = 10.0
#: Below this many common observations a pair of series says nothing about a and b.
OBSERVATIONS_MIN = 250
#: More pairs than this add cost and hardly any information: the nearest columns are taken.
PAIRS_MAX = 120
#: Weight of the identity in a forecast: no eigenvalue of it is below this.
IDENTITY_WEIGHT = 1e-4
#: Of Q at the start of the filter this share may be left at its end.
_MEMORY = 1e-6
#: Of the logits of a + b and of a's share of it: a + b <= 0.9995.
_BOUNDS = (np.array([-7.0, -14.0]), np.array([7.6, 14.0]))
_CHUNK = 8
#: Of one less a squared correlation, so that residuals that are the same twice do not divide by zero.
_FREE_MIN = 1e-10
#: Starts: (a, a + b).
_GRID = ((0.005, 0.99), (0.02, 0.98), (0.02, 0.9), (0.05, 0.95), (0.05, 0.8), (0.1, 0.9), (0.2, 0.7))


@dataclass(frozen=True, slots=True, eq=False)
class Dcc:
    """Parameters, and where the recursion stands; n series."""

    #: Weight of the last residuals' products, >= 0.
    a: float
    #: Weight of the last Q, >= 0; a + b < 1.
    b: float
    target: CorrelationTarget
    #: Q of the next observation; shape (n, n).
    q: Floats
    #: Pairs of series in the likelihood.
    pairs: int
    #: Mean over these of the log-likelihood of their residuals given the correlation.
    log_likelihood: float

    def correlation(self) -> Floats:
        """Of the next observation; shape (n, n), no eigenvalue below `IDENTITY_WEIGHT`."""
        scaled = _scaled(self.q)
        mixed = (1.0 - IDENTITY_WEIGHT) / 2.0 * (scaled + scaled.T)
        np.fill_diagonal(mixed, 1.0)
        return mixed

    def advance(self, residuals: Floats) -> "Dcc":
        """After one more observation of shape (n,), NaN where there is none: O(n^2), O(n^3) with a NaN.

        What is absent enters by its expectation given what is there, under the present correlation (the E
        step of EM); an observation without any residual changes nothing.
        """
        seen = np.isfinite(residuals)
        if not np.any(seen):
            return self
        held = _held(residuals)
        product = np.outer(held, held) if np.all(seen) else self._expected(held, seen)
        rest = 1.0 - self.a - self.b
        return replace(self, q=rest * self.target.matrix + self.a * product + self.b * self.q)

    def _expected(self, residuals: Floats, seen: NDArray[np.bool_]) -> Floats:
        """E[e e'] given the elements that are there."""
        correlation = self.correlation()
        there, absent = np.flatnonzero(seen), np.flatnonzero(~seen)
        across = correlation[np.ix_(there, absent)]
        weights = np.linalg.solve(correlation[np.ix_(there, there)], across)
        filled = residuals.copy()
        filled[absent] = weights.T @ residuals[there]
        out = np.outer(filled, filled)
        out[np.ix_(absent, absent)] += correlation[np.ix_(absent, absent)] - across.T @ weights
        return np.asarray(out, dtype=np.float64)


def fit_dcc(residuals: Floats) -> Dcc | str:
    """Fit to standardised residuals of shape (observations, n), newest last, NaN where there is none.

    A text says why there is no fit. One series is no reason: its correlation is 1.
    """
    held = _held(residuals)
    target = correlation_target(held)
    count = held.shape[1]
    if count == 1:
        return Dcc(0.0, 0.0, target, target.matrix, 0, 0.0)
    pairs = _pairs(held)
    if len(pairs) == 0:
        return f"no two pairs share {OBSERVATIONS_MIN} observations"
    problem = _Composite(held, pairs, target.matrix)
    ascent = maximise(problem, problem.start(), *_BOUNDS)
    if not ascent.converged[0]:
        return "the likelihood search of the correlation did not settle"
    a, b = _parameters(ascent.points[0])
    fit = Dcc(a, b, target, target.matrix, len(pairs), float(ascent.values[0]))
    days = max(1, int(np.ceil(np.log(_MEMORY) / np.log(max(b, _MEMORY)))))
    for row in held[-days:]:
        fit = fit.advance(row)
    return fit


def correlation_path(fit: Dcc, residuals: Floats) -> Floats:
    """R of each observation given those before, from Q = S at the first; shape (observations, n, n).

    For complete residuals of shape (observations, n), as diagnostics and comparisons need it.
    """
    steps, count = residuals.shape
    held = _held(residuals[:-1])
    excess = held[:, :, None] * held[:, None, :] - fit.target.matrix
    inputs = np.zeros((1, count * count, steps))
    inputs[0, :, 1:] = excess.reshape(steps - 1, count * count).T
    moved = linear_recursion(inputs, np.array([fit.b]))[0].T.reshape(steps, count, count)
    return _scaled(fit.target.matrix + fit.a * moved)


def log_likelihood(correlations: Floats, residuals: Floats) -> float:
    """Gaussian log-likelihood of complete residuals, (t, n), under correlations, (t, n, n).

    With the sum of minus the logs of the volatilities it is the joint likelihood of the returns.
    """
    lower = np.linalg.cholesky(correlations)
    solved = np.linalg.solve(lower, residuals[:, :, None])[:, :, 0]
    logs = 2.0 * np.sum(np.log(np.einsum("tii->ti", lower)))
    return float(-0.5 * (residuals.size * np.log(2.0 * np.pi) + logs + np.sum(solved**2)))


def _held(residuals: Floats) -> Floats:
    return np.clip(residuals, -RESIDUAL_MAX, RESIDUAL_MAX)


def _scaled(q: Floats) -> Floats:
    """To unit diagonal; shape (..., n, n)."""
    spread = np.sqrt(np.einsum("...ii->...i", q))
    return np.asarray(q / (spread[..., :, None] * spread[..., None, :]), dtype=np.float64)


def _pairs(residuals: Floats) -> Ints:
    """Columns of each pair, shape (p, 2): neighbours in a ring first, then those one further."""
    count = residuals.shape[1]
    seen = np.isfinite(residuals).astype(np.float64)
    common = seen.T @ seen
    found = [
        (i, (i + gap) % count)
        for gap in range(1, count // 2 + 1)
        for i in range(count if 2 * gap < count else gap)
        if common[i, (i + gap) % count] >= OBSERVATIONS_MIN
    ]
    return np.array(found[:PAIRS_MAX], dtype=np.int64).reshape(-1, 2)


def _parameters(point: Floats) -> tuple[float, float]:
    persistence, share = 1.0 / (1.0 + np.exp(-point))
    return float(persistence * share), float(persistence * (1.0 - share))


class _Pairs(NamedTuple):
    """Pairs, few enough for a processor's cache, their common observations at the end of the rows."""

    #: Of e_i^2, e_j^2 and e_i e_j; shape (p, 3, 1).
    targets: Floats
    #: e_i^2 + e_j^2, 0 where the pair has no observation; shape (p, t).
    squares: Floats
    #: e_i e_j; shape (p, t).
    cross: Floats
    #: Products less their targets, one observation late; shape (p, 3, t).
    excess: Floats
    #: 1 where the pair has an observation; shape (p, t).
    present: Floats


class _Composite:
    """Mean log-likelihood of the pairs over the logits of a + b and of a's share."""

    def __init__(self, residuals: Floats, pairs: Ints, target: Floats) -> None:
        self._count = len(pairs)
        self._chunks = [
            _chunk(residuals, pairs[start : start + _CHUNK], target) for start in range(0, len(pairs), _CHUNK)
        ]

    def start(self) -> Floats:
        """The best of the grid; shape (1, 2)."""
        a, total = max(_GRID, key=lambda pair: self._value(pair[0], pair[1] - pair[0]))
        return np.array([[np.log(total / (1.0 - total)), np.log(a / (total - a))]])

    def _value(self, a: float, b: float) -> float:
        return sum(_value(chunk, a * _late_sums(chunk.excess, b)) for chunk in self._chunks) / self._count

    def __call__(self, points: Floats, rows: Ints) -> Slope:
        """One problem: `points` has shape (1, 2)."""
        a, b = _parameters(points[0])
        value, gradient, information = 0.0, np.zeros(2), np.zeros((2, 2))
        for chunk in self._chunks:
            by_a = _late_sums(chunk.excess, b)
            late = np.zeros_like(by_a)
            np.multiply(by_a[:, :, :-1], a, out=late[:, :, 1:])
            value += _value(chunk, a * by_a)
            slope, weight = _slopes(chunk, a * by_a, (by_a, _late_sums(late, b)))
            gradient += slope
            information += weight
        chain = _chain(points[0]) / np.sqrt(self._count)
        return Slope(
            np.array([value]) / self._count,
            (chain.T @ gradient)[None] / np.sqrt(self._count),
            (chain.T @ information @ chain)[None],
        )


def _late_sums(inputs: Floats, decay: float) -> Floats:
    """Each row's recursion; shape (p, 3, t) in and out."""
    pairs, rows, steps = inputs.shape
    solved = linear_recursion(inputs.reshape(1, pairs * rows, steps), np.array([decay]))
    return solved.reshape(pairs, rows, steps)


def _rho(chunk: _Pairs, moved: Floats) -> tuple[Floats, Floats, Floats]:
    """Correlations, one less their squares, and what scales q_ij; `moved` is Q less its target, (p, 3, t)."""
    q = chunk.targets + moved
    root = np.sqrt(q[:, 0] * q[:, 1])
    rho = q[:, 2] / root
    return rho, np.maximum(1.0 - rho**2, _FREE_MIN), root


def _value(chunk: _Pairs, moved: Floats) -> float:
    """Log-likelihood of the residuals given the correlation, but for constants."""
    rho, free, _ = _rho(chunk, moved)
    each = np.log(free) * chunk.present + (chunk.squares - 2.0 * rho * chunk.cross) / free - chunk.squares
    return -0.5 * float(np.sum(each))


def _slopes(chunk: _Pairs, moved: Floats, by: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Gradient (2,) and expected information (2, 2) over (a, b), whose d Q are `by`."""
    rho, free, root = _rho(chunk, moved)
    score = (rho * free * chunk.present + chunk.cross * (1.0 + rho**2) - rho * chunk.squares) / free**2
    weight = (1.0 + rho**2) / free**2 * chunk.present
    half = 0.5 * rho / (chunk.targets[:, :2] + moved[:, :2]).transpose(1, 0, 2)
    turns = [each[:, 2] / root - half[0] * each[:, 0] - half[1] * each[:, 1] for each in by]
    return (
        np.array([np.sum(score * turn) for turn in turns]),
        np.array([[np.sum(weight * left * right) for right in turns] for left in turns]),
    )


def _chain(point: Floats) -> Floats:
    """D (a, b) / d point; shape (2, 2), last axis the point's."""
    persistence, share = 1.0 / (1.0 + np.exp(-point))
    turn, cut = persistence * (1.0 - persistence), persistence * share * (1.0 - share)
    return np.array([[turn * share, cut], [turn * (1.0 - share), -cut]])


def _chunk(residuals: Floats, pairs: Ints, target: Floats) -> _Pairs:
    steps = len(residuals)
    products = np.zeros((len(pairs), 3, steps))
    present = np.zeros((len(pairs), steps))
    for number, (i, j) in enumerate(pairs):
        left, right = residuals[:, i], residuals[:, j]
        both = np.isfinite(left) & np.isfinite(right)
        left, right = left[both], right[both]
        products[number, :, steps - len(left) :] = left**2, right**2, left * right
        present[number, steps - len(left) :] = 1.0
    targets = np.ones((len(pairs), 3, 1))
    targets[:, 2, 0] = target[pairs[:, 0], pairs[:, 1]]
    excess = np.zeros_like(products)
    excess[:, :, 1:] = (products - targets * present[:, None, :])[:, :, :-1]
    return _Pairs(targets, products[:, 0] + products[:, 1], products[:, 2].copy(), excess, present)
