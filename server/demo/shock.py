"""The market move that brings an account to a wanted health, solved on the exact margin rule."""

from decimal import Decimal

from portfolio.core.decimals import ONE
from portfolio.core.errors import RefusedError
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario, exposed_coins, stressed

#: A rally is what hurts a delta-neutral account with haircut collateral; more than this is not tried.
FACTOR_MAX = Decimal(20)
_STEPS = 40
_FOUR_DIGITS = Decimal("0.0001")


def health_at(sim: MarginSim, state: MarginState, factor: Decimal) -> Decimal:
    """Health when every coin's price is multiplied by `factor`."""
    factors = dict.fromkeys(exposed_coins(state), factor)
    return sim.rule(stressed(state, Scenario("shock", factors)), extrapolate=True).figures.health_score


def solve(sim: MarginSim, state: MarginState, wanted: Decimal) -> Decimal:
    """The rally factor, > 1, that leaves health `wanted`; rounded up to four digits.

    Raises:
        RefusedError: no rally up to FACTOR_MAX does.
    """
    low, high = ONE, FACTOR_MAX
    if health_at(sim, state, high) > wanted:
        raise RefusedError(f"No rally up to {FACTOR_MAX} x brings health to {wanted}.")
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if health_at(sim, state, middle) > wanted:
            low = middle
        else:
            high = middle
    return high.quantize(_FOUR_DIGITS)
