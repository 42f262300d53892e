"""Forced reduction: the venue took part of one leg (ADL, liquidation) and left the other one standing.

Told apart from a trade of ours by the journal: our fills do not explain the drop, no order of the pair is
in flight, and a reading of the journal that began later than streams may be apart says so as well. Then the
other leg is cut at once, without waiting for the naked-leg limit.
"""

from dataclasses import replace

from portfolio.core.decimals import ZERO
from portfolio.core.guard.freezes import lasting
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import ActionKind, GuardInput, PairAction, PairFacts, Rule
from portfolio.core.limits import SECOND_NS

#: A fill may be booked a moment before the holding shows it, or after it; cutting in between would make the
#: naked leg. So the journal must be read again, this long after the drop was noticed; what it said before
#: does not count, however late it answers.
FORCED_AFTER_NS = SECOND_NS


def noticed(state: GuardState, inp: GuardInput) -> GuardState:
    """The state that knows since when each pair lacks an unexplained part of a leg."""
    if not inp.account_fresh:
        return state
    found = (pair_id for pair_id, facts in inp.pairs.items() if was_cut(facts))
    return replace(state, forced_since=lasting(state.forced_since, found, inp.now_wire_ns))


def forced_reductions(inp: GuardInput, state: GuardState) -> tuple[PairAction, ...]:
    """A cut down to the remaining leg for each pair that lost an unexplained part of one."""
    read_ns = inp.journal_read_wire_ns
    if not inp.account_fresh or read_ns is None:
        return ()
    return tuple(
        PairAction(pair_id, ActionKind.REDUCE, facts.legs.hedged, (Rule.FORCED,))
        for pair_id, facts in inp.pairs.items()
        if read_ns - state.forced_since.get(pair_id, read_ns) >= FORCED_AFTER_NS
    )


def was_cut(facts: PairFacts) -> bool:
    """The smaller leg is below what our fills add up to, and the other one stands beyond it."""
    if facts.expected is None or facts.unsettled or facts.unknown or not facts.naked:
        return False
    lost_long = facts.legs.unhedged < 0
    actual = facts.legs.long_quantity if lost_long else facts.legs.short_quantity
    expected = facts.expected.long_quantity if lost_long else facts.expected.short_quantity
    return max(ZERO, expected) - actual > facts.tolerance
