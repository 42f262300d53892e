"""Weights: a softmax of Sharpe z-scores with a correlation penalty, then caps that redistribute.

    w_i proportional to m_i * exp((z_i - lambda * sum_j w_j rho_ij) / T)

`m` is the stability multiplier (1..2), `z` the cross-sectional z-score of Sharpe clipped to +-3, `rho` the
correlation forecast. The weights are the fixed point of a damped iteration, which contracts for the
constants used here.
"""

from dataclasses import dataclass

import numpy as np

from portfolio.core.carry import Floats

TEMPERATURE = 1.0
PENALTY = 1.0
Z_CLIP = 3.0
_DAMPING = 0.5
#: The damped map shrinks the error by more than a tenth a round: 200 rounds end below 1e-9 for any input in
#: use.
_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class CappedWeights:
    """Weights after caps; shape (n,), non-negative. `unplaced` is what no pair could take, 0..1."""

    weights: Floats
    unplaced: float
    #: True where the cap binds; shape (n,).
    capped: tuple[bool, ...]


def z_scores(sharpes: Floats) -> Floats:
    """Cross-sectional z-scores clipped to +-3; all zero when there is no spread. Shape (n,) in and out."""
    spread = float(np.std(sharpes))
    if spread == 0:
        return np.zeros_like(sharpes)
    return np.clip((sharpes - np.mean(sharpes)) / spread, -Z_CLIP, Z_CLIP)


def softmax_weights(sharpes: Floats, stability: Floats, correlation: Floats) -> Floats:
    """The fixed point of the formula above; shape (n,), positive, sums to 1. Empty in, empty out."""
    count = len(sharpes)
    if count == 0:
        return np.zeros(0)
    z = z_scores(sharpes)
    weights = np.full(count, 1.0 / count)
    for _ in range(_ROUNDS):
        exponent = (z - PENALTY * (correlation @ weights)) / TEMPERATURE
        raw = stability * np.exp(exponent - np.max(exponent))
        weights = _DAMPING * weights + (1.0 - _DAMPING) * raw / np.sum(raw)
    return weights


def cap_weights(weights: Floats, caps: Floats) -> CappedWeights:
    """Cut to caps and give the cut weight to the others in proportion, until none can take more.

    `weights` and `caps` have shape (n,), both non-negative; weights sum to 1 or all are zero.
    """
    out = np.minimum(weights, caps)
    target = float(np.sum(weights))
    for _ in range(len(weights)):
        missing = target - float(np.sum(out))
        room = (out < caps) & (weights > 0)
        if missing <= 1e-15 or not np.any(room):
            break
        share = np.where(room, weights, 0.0)
        out = np.minimum(out + missing * share / np.sum(share), caps)
    capped = tuple(bool(x) for x in (out >= caps) & (weights > 0))
    return CappedWeights(out, max(0.0, target - float(np.sum(out))), capped)
