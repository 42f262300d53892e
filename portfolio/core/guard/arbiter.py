"""The arbiter: one decision per account and tick.

Order of what is done: cancel entries, naked legs, flatten, health ladder, usage, forced reductions,
wind-down. Actions on one pair merge to the largest cut. Pure: the same input gives the same decision, and a
pair whose orders are on their way is left alone, so deciding every few milliseconds does nothing twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from portfolio.core.guard.drawdown import drawdown_freeze, measured, wind_down
from portfolio.core.guard.forced import forced_reductions, noticed
from portfolio.core.guard.freezes import aged, orphan_freeze, stale_freeze
from portfolio.core.guard.margin_gap import Basis, basis, gap_freeze, sampled
from portfolio.core.guard.naked import naked_legs, watched
from portfolio.core.guard.reductions import must_flatten, reduce
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import (
    ActionKind,
    FreezeWanted,
    GuardDecision,
    GuardInput,
    PairAction,
    PairFacts,
    Rule,
    Simulate,
    Word,
)
from portfolio.core.limits import MINUTE_NS
from portfolio.core.names import PairId

#: Cuts of one pair within this time are one reduction: a ladder may need several rounds.
EPISODE_NS = MINUTE_NS


def decide(inp: GuardInput, simulate: Simulate | None) -> GuardDecision:
    """What to do now, and the state after it.

    Args:
        inp: Everything known.
        simulate: Our margin simulation of cuts; None while it cannot be computed.
    """
    state = inp.state
    for rule in (sampled, watched, noticed, aged, measured):
        state = rule(state, inp)
    source = basis(inp, state, simulate)
    drawdown = drawdown_freeze(inp, state)
    wanted = _present(
        stale_freeze(inp, state), gap_freeze(state, inp.limits.guard), orphan_freeze(inp, state), drawdown
    )
    reduction = reduce(inp, source)
    actions = merge(
        (
            *naked_legs(inp, state, source),
            *reduction.actions,
            *forced_reductions(inp, state),
            *wind_down(inp, drawdown),
        ),
        inp.pairs,
        inp.busy,
    )
    released = _released(inp, state, actions)
    after = _after(inp, state, wanted, actions, released)
    return GuardDecision(
        state=after,
        word=_word(inp, source, wanted, actions),
        cancel_entries=bool(inp.halted or inp.stale or wanted or actions or state.drawdown_since is not None),
        freeze=tuple(row for row in wanted if row.source not in inp.state.frozen),
        thaw=tuple(name for name in inp.state.frozen if name not in after.frozen),
        actions=actions,
        released=released,
        basis=source.name,
        figures=source.figures,
        health_planned=None if reduction.planned is None else reduction.planned.health_score,
    )


def _present(*rows: FreezeWanted | None) -> tuple[FreezeWanted, ...]:
    return tuple(row for row in rows if row is not None)


def merge(
    actions: Iterable[PairAction], pairs: Mapping[PairId, PairFacts], busy: frozenset[PairId] = frozenset()
) -> tuple[PairAction, ...]:
    """One action per pair, the largest cut, at the place of the pair's first; busy pairs are left alone."""
    chosen: dict[PairId, PairAction] = {}
    for action in actions:
        if action.pair_id in busy:
            continue
        before = chosen.get(action.pair_id)
        chosen[action.pair_id] = action if before is None else _both(before, action, pairs[action.pair_id])
    return tuple(chosen.values())


def _both(first: PairAction, second: PairAction, facts: PairFacts) -> PairAction:
    """Whoever cuts wins over whoever hedges, and takes the naked part along."""
    target = min(first.to_quantity, second.to_quantity)
    if ActionKind.HEDGE in (first.kind, second.kind):
        target = min(target, facts.legs.hedged)
    rules = tuple(dict.fromkeys((*first.rules, *second.rules)))
    return PairAction(first.pair_id, ActionKind.REDUCE, target, rules)


def _released(inp: GuardInput, state: GuardState, actions: tuple[PairAction, ...]) -> tuple[PairId, ...]:
    """Held pairs that are whole again, as a fresh account shows, and that nothing is being done to."""
    if not inp.account_fresh:
        return ()
    acted = {action.pair_id for action in actions}
    return tuple(
        pair_id
        for pair_id in state.held
        if pair_id not in acted and pair_id not in inp.busy and pair_id not in state.naked_since
    )


def _after(
    inp: GuardInput,
    state: GuardState,
    wanted: tuple[FreezeWanted, ...],
    actions: tuple[PairAction, ...],
    released: tuple[PairId, ...],
) -> GuardState:
    now = inp.now_wire_ns
    cooldown = {coin: until for coin, until in state.cooldown_until.items() if until > now}
    held = {pair_id: rule for pair_id, rule in state.held.items() if pair_id not in released}
    attempts, reductions = dict(state.naked_attempts), dict(state.reductions)
    reduced_at = dict(state.reduced_at)
    for action in actions:
        pair_id = action.pair_id
        held[pair_id] = action.rules[0]
        if Rule.NAKED_LEG in action.rules:
            attempts[pair_id] = attempts.get(pair_id, 0) + 1
        if action.kind is ActionKind.HEDGE:
            continue
        cooldown[inp.pairs[pair_id].spec.coin] = now + inp.limits.guard.cooldown_ns
        if now - reduced_at.get(pair_id, now - EPISODE_NS) >= EPISODE_NS:
            reductions[pair_id] = reductions.get(pair_id, 0) + 1
            reduced_at[pair_id] = now
    return replace(
        state,
        operations=state.operations + bool(actions),
        cooldown_until=cooldown,
        reductions=reductions,
        reduced_at=reduced_at,
        naked_attempts=attempts,
        held=held,
        frozen={row.source: row.reason for row in wanted},
    )


def _word(
    inp: GuardInput, source: Basis, wanted: tuple[FreezeWanted, ...], actions: tuple[PairAction, ...]
) -> Word:
    if inp.halted:
        return Word.HALTED
    holds_any = any(facts.naked or facts.legs.hedged > facts.tolerance for facts in inp.pairs.values())
    if holds_any and must_flatten(inp, source):
        return Word.FLATTENING
    if actions or inp.busy:
        return Word.REDUCING
    return Word.FROZEN if wanted or inp.stale else Word.OK


def acknowledged(state: GuardState, pairs: Iterable[PairId] | None = None) -> GuardState:
    """The operator saw it: the pairs (None: all) may be entered again, and a drawdown's peak starts anew.

    So does the peak of a fall that the venue's ledger has not explained yet.

    Cool-downs of coins run on: they are about the market, not about consent.
    """
    cleared = set(state.reductions) if pairs is None else set(pairs)
    state = replace(
        state,
        reductions={key: count for key, count in state.reductions.items() if key not in cleared},
        reduced_at={key: at for key, at in state.reduced_at.items() if key not in cleared},
    )
    if pairs is not None or state.frozen.keys().isdisjoint((Rule.DRAWDOWN, Rule.LEDGER)):
        return state
    frozen = {source: reason for source, reason in state.frozen.items() if source != Rule.DRAWDOWN}
    return replace(state, frozen=frozen, peak_equity=None, drawdown_since=None)


def planned_health(decision: GuardDecision) -> Decimal | None:
    """Health after the actions as simulated, else as it is now; None when it cannot be told."""
    if decision.health_planned is not None:
        return decision.health_planned
    return None if decision.figures is None else decision.figures.health_score
