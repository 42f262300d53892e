"""Rules that only stop entries: staleness and orphans; the margin gap and the drawdown bring their own."""

from dataclasses import replace

from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import FreezeWanted, GuardInput, Holding, Rule
from portfolio.core.limits import SECOND_NS

#: Inputs must stay fresh this long before the freeze is lifted: a flapping feed must not flap the journal.
#: The veto itself looks at the inputs of the moment and waits for nobody.
THAW_AFTER_NS = 3 * SECOND_NS
#: Unexplained holdings named in one reason; the rest is counted.
_NAMED_MAX = 5


def aged(state: GuardState, inp: GuardInput) -> GuardState:
    """The state that remembers the last stale tick."""
    return replace(state, stale_at=inp.now_wire_ns) if inp.stale else state


def stale_freeze(inp: GuardInput, state: GuardState) -> FreezeWanted | None:
    """Freeze while an input is missing or too old, and a little longer."""
    if inp.stale:
        # One reason for the whole episode: which inputs are late changes by the second.
        return FreezeWanted(Rule.STALE, state.frozen.get(Rule.STALE, f"too old: {', '.join(inp.stale)}"))
    recent = state.stale_at is not None and inp.now_wire_ns - state.stale_at < THAW_AFTER_NS
    if recent and Rule.STALE in state.frozen:
        return FreezeWanted(Rule.STALE, state.frozen[Rule.STALE])
    return None


def orphans(holdings: tuple[Holding, ...]) -> tuple[Holding, ...]:
    """Holdings beyond what pairs and treasury explain, or on the wrong side; a shortfall is no orphan.

    A holding with an order in flight is left out: its fills are not booked yet.
    """
    return tuple(row for row in holdings if not row.unsettled and _unexplained(row))


def _unexplained(row: Holding) -> bool:
    if row.explained * row.actual < 0:
        return abs(row.actual) > row.tolerance
    return abs(row.actual) - abs(row.explained) > row.tolerance


def orphan_freeze(inp: GuardInput, state: GuardState) -> FreezeWanted | None:
    """Freeze while anything is unexplained; adopting or flattening it is the operator's choice."""
    if not inp.account_fresh:
        standing = state.frozen.get(Rule.ORPHAN)
        return None if standing is None else FreezeWanted(Rule.ORPHAN, standing)
    found = orphans(inp.holdings)
    if not found:
        return None
    named = "; ".join(f"{row.name} {row.actual - row.explained:f}" for row in found[:_NAMED_MAX])
    more = f" and {len(found) - _NAMED_MAX} more" if len(found) > _NAMED_MAX else ""
    return FreezeWanted(Rule.ORPHAN, f"no pair or treasury entry explains {named}{more}")
