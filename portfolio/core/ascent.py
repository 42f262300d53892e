"""Maximise many small smooth functions at once: damped scoring steps (Levenberg-Marquardt), in step for all.

Every problem keeps its own damping and stops on its own, so that one awkward series does not hold up the
others or change their answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portfolio.core.carry import Floats, Ints

#: A problem is done when its next step promises to raise its value by less than this.
TOLERANCE = 1e-7
ROUNDS_MAX = 200
_DAMPING_MIN, _DAMPING_MAX = 1e-5, 1e8
#: Scoring takes ten rounds or so where the model is about right; after this many the curvature is measured.
_PATIENCE = 20
_DIFFERENCE = 1e-5
#: Longest step of one coordinate.
_STRIDE = 2.0


class Slope(NamedTuple):
    """Of m problems at one point each."""

    #: Shape (m,); -inf or NaN where the point is impossible.
    value: Floats
    #: Shape (m, k).
    gradient: Floats
    #: Positive semi-definite stand-in for the negative Hessian; shape (m, k, k).
    information: Floats


#: (points of shape (m, k), their problems' numbers of shape (m,)) -> Slope
Objective = Callable[[Floats, Ints], Slope]


@dataclass(frozen=True, slots=True, eq=False)
class Ascent:
    """Where each of n problems ended."""

    #: Shape (n, k).
    points: Floats
    #: Shape (n,).
    values: Floats
    #: Shape (n,).
    converged: NDArray[np.bool_]
    #: Rounds that the slowest took.
    rounds: int


def maximise(
    objective: Objective, starts: Floats, lower: Floats, upper: Floats, *, rounds_max: int = ROUNDS_MAX
) -> Ascent:
    """Climb from `starts`, shape (n, k), whose values must be finite, within bounds of shape (k,).

    At most `rounds_max` rounds; what has not arrived by then has not converged.
    """
    points = np.clip(starts, lower, upper)
    running = np.arange(len(points), dtype=np.int64)
    value, gradient, information = objective(points, running)
    values = value.copy()
    damping = np.full(len(points), 1e-2)
    converged = np.zeros(len(points), dtype=np.bool_)
    rounds = 0
    while rounds < rounds_max:
        rounds += 1
        room = (lower - points[running], upper - points[running])
        # What an undamped step promises: damping alone must not look like arrival.
        whole = _step(gradient[running], information[running], np.zeros(len(running)), *room)
        done = 0.5 * np.sum(whole * gradient[running], axis=1) < TOLERANCE
        converged[running[done]] = True
        left = ~done & (damping[running] < _DAMPING_MAX)
        running, room = running[left], (room[0][left], room[1][left])
        if len(running) == 0:
            break
        trial = points[running] + _step(gradient[running], information[running], damping[running], *room)
        found = objective(trial, running)
        if rounds > _PATIENCE:
            found = found._replace(information=_curvature(objective, trial, running, found))
        better = found.value > values[running]
        taken = running[better]
        points[taken], values[taken] = trial[better], found.value[better]
        gradient[taken], information[taken] = found.gradient[better], found.information[better]
        damping[running] = np.maximum(damping[running] * np.where(better, 0.2, 8.0), _DAMPING_MIN)
    return Ascent(points, values, converged, rounds)


def _curvature(objective: Objective, points: Floats, rows: Ints, at: Slope) -> Floats:
    """The negative Hessian by differences of the gradient, made positive; shape (m, k, k).

    Each coordinate is scaled by its information first and every eigenvalue counts by its size, so that a
    saddle repels (Dauphin et al. 2014).
    """
    size = points.shape[1]
    hessian = np.zeros_like(at.information)
    for number, shift in enumerate(np.eye(size) * _DIFFERENCE):
        ahead, behind = objective(points + shift, rows).gradient, objective(points - shift, rows).gradient
        hessian[:, :, number] = (behind - ahead) / (2.0 * _DIFFERENCE)
    diagonal = np.einsum("nkk->nk", at.information)
    scale = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    outer = scale[:, :, None] * scale[:, None, :]
    free = (diagonal > 0.0)[:, :, None] & (diagonal > 0.0)[:, None, :]
    values, vectors = np.linalg.eigh((hessian + hessian.transpose(0, 2, 1)) / (2.0 * outer) * free)
    lifted = np.maximum(np.abs(values), 1e-4)
    return np.asarray((vectors * lifted[:, None, :]) @ vectors.transpose(0, 2, 1) * outer * free, np.float64)


def _step(gradient: Floats, information: Floats, damping: Floats, least: Floats, most: Floats) -> Floats:
    """Solve (I + damping * diag(I)) step = gradient within least <= step <= most; shape (m, k).

    What would leave the bounds, or go too far for a quadratic to be trusted, is held at its limit and the
    others are solved for again, given that.
    """
    low, high = np.maximum(least, -_STRIDE), np.minimum(most, _STRIDE)
    index = np.arange(information.shape[1])
    diagonal = information[:, index, index]
    lifted = information.copy()
    lifted[:, index, index] += (damping[:, None] + 1e-10) * diagonal
    held = (diagonal <= 0.0) | ((high <= 0.0) & (gradient > 0.0)) | ((low >= 0.0) & (gradient < 0.0))
    step = np.zeros_like(gradient)
    for _ in index:
        pull = gradient - np.matmul(lifted, (step * held)[:, :, None])[:, :, 0]
        loose = ~held
        system = lifted * (loose[:, :, None] & loose[:, None, :])
        system[:, index, index] += held
        step = np.where(held, step, np.linalg.solve(system, (pull * loose)[:, :, None])[:, :, 0])
        beyond = np.maximum(step - high, low - step)
        worst = np.argmax(beyond, axis=1)[:, None] == index
        outside = worst & (beyond > 0.0)
        if not np.any(outside):
            break
        step = np.where(outside, np.clip(step, low, high), step)
        held = held | outside
    return np.clip(step, low, high)
