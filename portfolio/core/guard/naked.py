"""Naked legs: a pair whose net delta stays beyond tolerance is taken from its engine and made whole.

Read on a fresh account only: on an old one the missing leg may have been filled long ago, and mending it
would make the very thing it mends. (Cuts of both legs stay possible on stale data; see the arbiter.)
"""

from dataclasses import replace
from decimal import Decimal

from portfolio.core.guard.margin_gap import Basis
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import ActionKind, GuardInput, PairAction, PairFacts, Rule
from portfolio.core.names import PairId

#: Inputs without which no hedge may be sent; late funding or borrow rates must not turn a hedge into an
#: unwind.
_NEEDED = frozenset({"account", "prices", "tables", "end_of_data"})


def watched(state: GuardState, inp: GuardInput) -> GuardState:
    """The state with the times since when each pair is naked; pairs made whole are forgotten."""
    if not inp.account_fresh:
        return state
    since = {
        pair_id: state.naked_since.get(pair_id, inp.now_wire_ns)
        for pair_id, facts in inp.pairs.items()
        if facts.naked
    }
    attempts = {pair_id: count for pair_id, count in state.naked_attempts.items() if pair_id in since}
    return replace(state, naked_since=since, naked_attempts=attempts)


def naked_legs(inp: GuardInput, state: GuardState, basis: Basis) -> tuple[PairAction, ...]:
    """One action for each pair that was naked for too long and has no answer outstanding."""
    if not inp.account_fresh:
        return ()
    return tuple(
        _mend(inp, state, basis, pair_id)
        for pair_id, since in state.naked_since.items()
        if inp.now_wire_ns - since >= inp.limits.guard.naked_leg_ns and pair_id not in inp.busy
    )


def _mend(inp: GuardInput, state: GuardState, basis: Basis, pair_id: PairId) -> PairAction:
    facts = inp.pairs[pair_id]
    if _can_hedge(inp, state, basis, facts) and _hedge_is_better(facts):
        return PairAction(pair_id, ActionKind.HEDGE, facts.larger, (Rule.NAKED_LEG,))
    return PairAction(pair_id, ActionKind.REDUCE, facts.legs.hedged, (Rule.NAKED_LEG,))


def _can_hedge(inp: GuardInput, state: GuardState, basis: Basis, facts: PairFacts) -> bool:
    """Hedging adds a position, so it fails closed: fresh data, a book, a healthy account, one try."""
    limits, figures = inp.limits.guard, basis.figures
    if _NEEDED & set(inp.stale) or facts.unknown or state.naked_attempts.get(facts.spec.pair_id, 0) > 0:
        return False
    if _missing_cost(facts) is None or figures is None:
        return False
    usage = figures.margin_usage
    return (
        figures.health_score >= limits.reduce_below_health
        and usage is not None
        and usage <= limits.reduce_above_usage
    )


def _hedge_is_better(facts: PairFacts) -> bool:
    """What the operation at work wants decides; without one the cheaper leg, on a tie the smaller book."""
    if facts.wanted is not None:
        return facts.wanted >= facts.larger - facts.tolerance
    missing, present = _missing_cost(facts), _present_cost(facts)
    return missing is not None and present is not None and missing < present


def _missing_cost(facts: PairFacts) -> Decimal | None:
    return facts.short_cost if facts.legs.unhedged > 0 else facts.long_cost


def _present_cost(facts: PairFacts) -> Decimal | None:
    return facts.long_cost if facts.legs.unhedged > 0 else facts.short_cost
