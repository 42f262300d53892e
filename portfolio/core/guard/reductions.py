"""Health, usage and flatten: when the account crosses a line, which pairs go and how far."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ZERO
from portfolio.core.guard.ladder import (
    LadderPlan,
    Rung,
    climb,
    health_measure,
    ranked,
    rungs,
    usage_measure,
)
from portfolio.core.guard.margin_gap import Basis
from portfolio.core.guard.values import ActionKind, GuardInput, PairAction, PriceCheck, Rule, Simulate
from portfolio.core.limits import GuardLimits
from portfolio.core.names import PairId

#: Two independent prices of a coin confirm each other within this: wider than any basis seen in calm or
#: stressed hours, narrower than a bad print that would matter.
SOURCES_AGREE = Decimal("0.03")


@dataclass(frozen=True, slots=True)
class Reduction:
    """What the margin lines demand now."""

    actions: tuple[PairAction, ...] = ()
    #: Figures after them as simulated; None when nothing was simulated.
    planned: MarginFigures | None = None


def must_flatten(inp: GuardInput, basis: Basis) -> bool:
    """Health is below the last line, and it is confirmed.

    A fresh venue figure confirms it; without one every price that our figure rests on must have two
    independent sources that agree. Unconfirmed, the ranking ladder still works.
    """
    if basis.figures is None or basis.figures.health_score >= inp.limits.guard.flatten_below_health:
        return False
    return inp.venue_fresh or sources_agree(inp.price_checks, inp.limits.freshness.price_ns)


def sources_agree(checks: tuple[PriceCheck, ...], age_max_ns: int) -> bool:
    """Whether there are checks at all and each has two recent prices that confirm each other."""
    return bool(checks) and all(_agrees(check, age_max_ns) for check in checks)


def _agrees(check: PriceCheck, age_max_ns: int) -> bool:
    first, second, age = check.first, check.second, check.age_ns
    if first is None or second is None or age is None or age > age_max_ns:
        return False
    return abs(first - second) <= SOURCES_AGREE * min(first, second)


def flatten(inp: GuardInput, basis: Basis) -> Reduction:
    """Every pair to zero, the first in rank first."""
    actions = tuple(
        PairAction(facts.spec.pair_id, ActionKind.REDUCE, ZERO, (Rule.FLATTEN,))
        for facts in ranked(inp.pairs)
    )
    planned = None if basis.simulate is None else basis.simulate({action.pair_id: ZERO for action in actions})
    return Reduction(actions, planned)


def reduce(inp: GuardInput, basis: Basis) -> Reduction:
    """Flatten, or else the health ladder and then, from where it ends, the usage ladder."""
    if must_flatten(inp, basis):
        return flatten(inp, basis)
    if basis.figures is None or basis.simulate is None or inp.ladder_out:
        return Reduction()
    limits = inp.limits.guard
    ladder = rungs(inp.pairs, limits)
    health = _health_ladder(ladder, basis.figures, basis.simulate, limits)
    start = {} if health is None else health.targets
    figures = basis.figures if health is None else health.figures
    usage = _usage_ladder(ladder, figures, basis.simulate, limits, start)
    last = usage or health
    if last is None:
        return Reduction()
    actions = tuple(
        PairAction(pair_id, ActionKind.REDUCE, target, _rules(pair_id, target, health))
        for pair_id, target in last.targets.items()
    )
    return Reduction(actions, last.figures)


def _health_ladder(
    ladder: tuple[Rung, ...], figures: MarginFigures, simulate: Simulate, limits: GuardLimits
) -> LadderPlan | None:
    if figures.health_score >= limits.reduce_below_health:
        return None
    return climb(ladder, simulate, health_measure, limits.reduce_to_health, limits.ladder_cut)


def _usage_ladder(
    ladder: tuple[Rung, ...],
    figures: MarginFigures,
    simulate: Simulate,
    limits: GuardLimits,
    start: Mapping[PairId, Decimal],
) -> LadderPlan | None:
    usage = figures.margin_usage
    if usage is not None and usage <= limits.reduce_above_usage:
        return None
    return climb(ladder, simulate, usage_measure, -limits.reduce_to_usage, limits.ladder_cut, start)


def _rules(pair_id: PairId, target: Decimal, health: LadderPlan | None) -> tuple[Rule, ...]:
    by_health = None if health is None else health.targets.get(pair_id)
    if by_health is None:
        return (Rule.USAGE,)
    return (Rule.HEALTH,) if by_health == target else (Rule.HEALTH, Rule.USAGE)
