"""Entry veto: the last line before an ENTRY order reaches the venue. It fails closed.

Two parts: what stands against entries whatever they are, and what the account would look like after them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from portfolio.core.guard.state import GuardState
from portfolio.core.limits import MINUTE_NS, RiskLimits
from portfolio.core.margin.results import Breach
from portfolio.core.names import Coin, PairId

#: A pair reduced this often takes entries only after the operator acknowledged.
REDUCTIONS_MAX = 2


@dataclass(frozen=True, slots=True)
class EntryFacts:
    """What is known about the entries asked for, besides margin."""

    now_wire_ns: int
    state: GuardState
    #: The pairs that the orders belong to, with their coins.
    pairs: Mapping[PairId, Coin]
    recovered: bool
    halted: bool
    #: Standing freezes, source to reason, the guard's own and everybody else's.
    freezes: Mapping[str, str]
    #: Missing or old inputs, with the books of the instruments about to be traded.
    stale: tuple[str, ...]
    #: Pairs with an order of unknown outcome.
    unknown: frozenset[PairId]


def standing_veto(facts: EntryFacts, limits: RiskLimits) -> str | None:
    """Why no entry may go now, whatever it is; None when nothing stands against it."""
    if not facts.recovered:
        return "recovery has not finished: what was in flight at the last stop is not accounted for"
    if facts.halted:
        return "the desk is halted by the operator"
    for source, reason in sorted(facts.freezes.items()):
        return f"entries are frozen ({source}: {reason})"
    if facts.stale:
        return f"inputs are missing or too old: {', '.join(facts.stale)}"
    if facts.state.drawdown_since is not None:
        return "equity is below its drawdown line"
    gap = facts.state.gap
    if gap is not None and gap > limits.guard.gap_distrust:
        return f"our margin figures and the venue's differ by {gap * 100:.2f} %"
    reasons = (_pair_veto(facts, pair_id, coin) for pair_id, coin in facts.pairs.items())
    return next((reason for reason in reasons if reason is not None), None)


def _pair_veto(facts: EntryFacts, pair_id: PairId, coin: Coin) -> str | None:
    state = facts.state
    if pair_id in state.held:
        return f"the guard holds {pair_id} ({state.held[pair_id]})"
    if pair_id in facts.unknown:
        return f"the outcome of an order of {pair_id} is unknown"
    if state.reductions.get(pair_id, 0) >= REDUCTIONS_MAX:
        return f"the guard reduced {pair_id} twice: the operator must acknowledge it first"
    left = state.cooldown_until.get(coin, 0) - facts.now_wire_ns
    if left > 0:
        return f"the guard reduced {coin}: no entries for another {left // MINUTE_NS + 1} min"
    return None


def breach_veto(breaches: Sequence[Breach]) -> str | None:
    """Why the account after the orders would be over a line; None when it would be over none."""
    if not breaches:
        return None
    first = breaches[0]
    value = "no value" if first.value is None else f"{first.value:.4f}"
    bound = "" if first.bound is None else f" (line {first.bound})"
    more = f" and {len(breaches) - 1} more" if len(breaches) > 1 else ""
    return f"after the order {first.limit} would be {value}{bound}{more}"
