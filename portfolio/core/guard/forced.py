"""Forced reduction: the venue took part of one leg (ADL, liquidation) and left the other one standing.

Told apart from a trade of ours by the journal: our fills do not explain the drop and no order of the pair
is in flight. The other leg is cut at once, without waiting for the naked-leg limit.
"""

from portfolio.core.decimals import ZERO
from portfolio.core.guard.values import ActionKind, GuardInput, PairAction, PairFacts, Rule


def forced_reductions(inp: GuardInput) -> tuple[PairAction, ...]:
    """A cut down to the remaining leg for each pair that lost an unexplained part of one."""
    if not inp.account_fresh:
        return ()
    return tuple(
        PairAction(pair_id, ActionKind.REDUCE, facts.legs.hedged, (Rule.FORCED,))
        for pair_id, facts in inp.pairs.items()
        if pair_id not in inp.busy and was_cut(facts)
    )


def was_cut(facts: PairFacts) -> bool:
    """The smaller leg is below what our fills add up to, and the other one stands beyond it."""
    if facts.expected is None or facts.unsettled or facts.unknown or not facts.naked:
        return False
    lost_long = facts.legs.unhedged < 0
    actual = facts.legs.long_quantity if lost_long else facts.legs.short_quantity
    expected = facts.expected.long_quantity if lost_long else facts.expected.short_quantity
    return max(ZERO, expected) - actual > facts.tolerance
