"""Weights: a softmax of Sharpe z-scores with a correlation penalty (DESIGN 5).

    w_i proportional to m_i * exp((z_i - lambda * sum_j w_j rho_ij) / T)

`m` is the stability multiplier (1..2), `z` the cross-sectional z-score of Sharpe clipped to +-3, `rho` the
correlation forecast. The weights stand on both sides: they are a fixed point.

Why there is exactly one, and why it is reached. Up to constants the equation is the first-order condition of

    min over the simplex of  sum_i w_i log w_i - sum_i a_i w_i + (k / 2) w' rho w,
    a_i = log m_i + z_i / T,  k = lambda / T,

which is strictly convex for positive semi-definite rho: one solution, inside the simplex. Damping the
logarithms, log w <- (1 - s) log w + s log F(w) (F is the right-hand side of the formula), is mirror descent
on it with the entropy as mirror. Relative to the entropy the objective is 1-strongly convex and smooth with
the constant 1 + k * max |rho_ij|, because d' rho d <= max |rho_ij| * |d|_1^2 (Pinsker). With s = 1 / (1 + k *
max |rho_ij|) the Kullback-Leibler distance to the solution shrinks by the factor (1 - s) a round, whatever
the start (Lu, Freund, Nesterov 2018, theorem 3.1). The equation's residual is measured and returned.
"""

from dataclasses import dataclass

import numpy as np

from portfolio.core.carry import Floats
from portfolio.core.errors import InputError

Z_CLIP = 3.0
#: The largest error of the fixed-point equation that counts as solved.
RESIDUAL_MAX = 1e-10
#: The bound above with a factor of 0.9 a round needs fewer; a stiffer penalty than that is refused.
ROUNDS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class AllocationPolicy:
    """How strongly the weights follow the scores. Infinite temperature weighs by stability alone."""

    #: Of the softmax, in units of z-scores; above 0.
    temperature: float = 1.0
    #: On the correlation with the book, in units of z-scores; 0 ignores correlation.
    penalty: float = 1.0
    #: Whether the stability multiplier counts.
    stability: bool = True
    #: Whether narratives are capped by the notional of one leg and not by the margin that they consume.
    narrative_by_notional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class FixedPoint:
    """Solved weights and the proof of it."""

    #: Positive, sum to 1; shape (n,); empty for no pairs.
    weights: Floats
    iterations: int
    #: max |w - F(w)|.
    residual: float


def z_scores(sharpes: Floats) -> Floats:
    """Cross-sectional z-scores clipped to +-3; all zero when there is no spread. Shape (n,) in and out."""
    spread = float(np.std(sharpes)) if len(sharpes) else 0.0
    # A spread that is only rounding of the values is none.
    if spread <= 1e-12 * float(np.max(np.abs(sharpes), initial=0.0)):
        return np.zeros_like(sharpes)
    return np.clip((sharpes - np.mean(sharpes)) / spread, -Z_CLIP, Z_CLIP)


def softmax_weights(
    sharpes: Floats, stability: Floats, correlation: Floats, policy: AllocationPolicy
) -> FixedPoint:
    """Solve the formula above.

    Args:
        sharpes: Finite, any sign; shape (n,).
        stability: Multipliers of 1 to 2; shape (n,).
        correlation: Positive semi-definite with unit diagonal; shape (n, n). All ones is allowed.
        policy: Temperature and penalty.

    Raises:
        InputError: something is not finite, or the equation was not solved: the correlation is not positive
            semi-definite, or the penalty is too stiff for the temperature.
    """
    if not (np.all(np.isfinite(sharpes)) and np.all(np.isfinite(correlation))):
        raise InputError("A Sharpe ratio or a correlation is not finite.", field="correlation")
    if len(sharpes) == 0:
        return FixedPoint(np.zeros(0), 0, 0.0)
    pull = z_scores(sharpes) / policy.temperature
    if policy.stability:
        pull = pull + np.log(stability)
    push = policy.penalty / policy.temperature * correlation
    step = 1.0 / (1.0 + float(np.max(np.abs(push))))
    logs = _normalised(pull)
    for iteration in range(1, ROUNDS_MAX + 1):
        weights = np.exp(logs)
        answer = _normalised(pull - push @ weights)
        residual = float(np.abs(np.exp(answer) - weights).max())
        if residual <= RESIDUAL_MAX:
            return FixedPoint(weights, iteration, residual)
        logs = _normalised((1.0 - step) * logs + step * answer)
    raise InputError(
        f"The weights did not settle: the equation is off by {residual:.1e} after {ROUNDS_MAX} rounds.",
        field="correlation",
        next_step="Check that the correlation is positive semi-definite, or lower penalty / temperature.",
    )


def _normalised(logs: Floats) -> Floats:
    """Logarithms of weights that sum to 1."""
    away = logs - logs.max()
    return np.asarray(away - np.log(np.exp(away).sum()), dtype=np.float64)
