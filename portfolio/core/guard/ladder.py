"""The ranking ladder: which pairs to cut, and how far, until the account is back behind its line.

Invariants: no leg ever grows; without its last step the plan would miss the goal; it reaches the goal or
every pair whose cut helps is closed; equal input gives an equal plan.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.account import SHADOW, MarginFigures
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.guard.values import PairFacts, Simulate
from portfolio.core.limits import GuardLimits
from portfolio.core.names import PairId

#: What a ladder climbs: larger is better; None where the ratio has no value (ECV <= 0).
Measure = Callable[[MarginFigures], Decimal | None]


def health_measure(figures: MarginFigures) -> Decimal | None:
    """The health score without its clamp, so that steps still count on an account below zero."""
    if figures.adjusted_equity <= 0:
        return None
    return ONE - (ONE + SHADOW) * figures.maintenance_margin / figures.adjusted_equity


def usage_measure(figures: MarginFigures) -> Decimal | None:
    """Margin usage, negated."""
    usage = figures.margin_usage
    return None if usage is None else -usage


@dataclass(frozen=True, slots=True)
class Rung:
    """One pair on the ladder."""

    pair_id: PairId
    #: Coins of the larger leg.
    quantity: Decimal
    #: A rest below this many coins is closed fully.
    rest_min: Decimal


@dataclass(frozen=True, slots=True)
class LadderPlan:
    """Absolute one-leg targets of the pairs to cut, in the order in which they were first cut."""

    targets: Mapping[PairId, Decimal]
    figures: MarginFigures
    reached: bool


def ranked(pairs: Mapping[PairId, PairFacts]) -> tuple[PairFacts, ...]:
    """Pairs that hold more than dust, the first to go first: no score, then the lowest, then by name."""
    held = [facts for facts in pairs.values() if facts.larger > facts.tolerance]
    return tuple(
        sorted(
            held,
            key=lambda facts: (facts.score is not None, facts.score or ZERO, facts.spec.pair_id),
        )
    )


def rungs(pairs: Mapping[PairId, PairFacts], limits: GuardLimits) -> tuple[Rung, ...]:
    """The ladder of these pairs. A pair without a price is closed whole: its rest cannot be judged."""
    order = ranked(pairs)
    book = sum((facts.notional or ZERO for facts in order), start=ZERO)
    rows = []
    for facts in order:
        least = max(book * limits.rest_book_share_min, facts.notional_min * limits.rest_notional_min_multiple)
        rest_min = least / facts.price if facts.price else facts.larger
        rows.append(Rung(facts.spec.pair_id, facts.larger, rest_min))
    return tuple(rows)


def climb(
    ladder: Sequence[Rung],
    simulate: Simulate,
    measure: Measure,
    goal: Decimal,
    cut: Decimal,
    start: Mapping[PairId, Decimal] | None = None,
) -> LadderPlan:
    """Cut in rank order, again and again, until `measure` reaches `goal`.

    Args:
        ladder: Pairs, the first to go first.
        simulate: Figures after cutting.
        measure: Larger is better.
        goal: Where to stop.
        cut: Share of what is left that one step takes, in (0, 1].
        start: Targets that are decided already; the plan contains them.
    """
    targets = dict(start or {})
    figures = simulate(targets)
    value = measure(figures)
    progress = True
    while progress and not _reached(value, goal):
        progress = False
        for rung in ladder:
            current = min(rung.quantity, targets.get(rung.pair_id, rung.quantity))
            if current <= 0:
                continue
            trial = {**targets, rung.pair_id: _next(current, cut, rung.rest_min)}
            trial_figures = simulate(trial)
            trial_value = measure(trial_figures)
            if not _raises(value, trial_value):
                continue
            targets, figures, value, progress = trial, trial_figures, trial_value, True
            if _reached(value, goal):
                break
    return LadderPlan(targets, figures, _reached(value, goal))


def _next(current: Decimal, cut: Decimal, rest_min: Decimal) -> Decimal:
    rest = current * (ONE - cut)
    return ZERO if rest < rest_min else rest


def _reached(value: Decimal | None, goal: Decimal) -> bool:
    return value is not None and value >= goal


def _raises(before: Decimal | None, after: Decimal | None) -> bool:
    """Below zero equity no step can be measured, so every cut counts as help."""
    if before is None:
        return True
    return after is not None and after > before
