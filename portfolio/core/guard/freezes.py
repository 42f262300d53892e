"""Rules that only stop entries: staleness and orphans; the margin gap and the drawdown bring their own."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import FreezeWanted, GuardInput, Holding, Rule
from portfolio.core.limits import SECOND_NS

#: A late input refuses entries and cancels resting ones at once; it becomes a freeze in the journal only when
#: it stays late this long, so that a flapping feed does not flap the journal.
STALE_AFTER_NS = 3 * SECOND_NS
#: Fills and holdings reach us on different streams: only what stays unexplained this long is an orphan.
ORPHAN_AFTER_NS = 3 * SECOND_NS
#: Unexplained holdings named in one reason; the rest is counted.
_NAMED_MAX = 5


def aged(state: GuardState, inp: GuardInput) -> GuardState:
    """The state that knows since when inputs are stale and holdings unexplained."""
    since = state.stale_since
    if not inp.stale:
        since = None
    elif since is None:
        since = inp.now_wire_ns
    state = replace(state, stale_since=since)
    if not inp.account_fresh:
        return state
    found = (row.name for row in inp.holdings if unexplained(row))
    return replace(state, orphan_since=lasting(state.orphan_since, found, inp.now_wire_ns))


def lasting(since: Mapping[str, int], names: Iterable[str], now_wire_ns: int) -> dict[str, int]:
    """Since when each of the names that are true now has been true."""
    return {name: since.get(name, now_wire_ns) for name in names}


def stale_freeze(inp: GuardInput, state: GuardState) -> FreezeWanted | None:
    """Freeze once an input has been missing or too old for a while."""
    since = state.stale_since
    if since is None:
        return None
    standing = state.frozen.get(Rule.STALE)
    if standing is not None:
        # One reason for the whole episode: which inputs are late changes by the second.
        return FreezeWanted(Rule.STALE, standing)
    if inp.now_wire_ns - since < STALE_AFTER_NS:
        return None
    return FreezeWanted(Rule.STALE, f"too old: {', '.join(inp.stale)}")


def unexplained(row: Holding) -> bool:
    """Beyond what pairs and treasury explain, or on the wrong side; a shortfall is no orphan.

    A holding with an order in flight is left out: its fills are not booked yet.
    """
    if row.unsettled:
        return False
    if row.explained * row.actual < 0:
        return abs(row.actual) > row.least
    return abs(row.actual) - abs(row.explained) > row.tolerance


def orphan_freeze(inp: GuardInput, state: GuardState) -> FreezeWanted | None:
    """Freeze while anything is unexplained; adopting or flattening it is the operator's choice."""
    standing = state.frozen.get(Rule.ORPHAN)
    if not inp.account_fresh:
        return None if standing is None else FreezeWanted(Rule.ORPHAN, standing)
    # A standing freeze goes on with what is there now; a new one waits until it is sure.
    wait = 0 if standing is not None else ORPHAN_AFTER_NS
    found = [
        row
        for row in inp.holdings
        if row.name in state.orphan_since and inp.now_wire_ns - state.orphan_since[row.name] >= wait
    ]
    if not found:
        return None
    named = "; ".join(f"{row.name} {row.actual - row.explained:f}" for row in found[:_NAMED_MAX])
    more = f" and {len(found) - _NAMED_MAX} more" if len(found) > _NAMED_MAX else ""
    return FreezeWanted(Rule.ORPHAN, f"no pair or treasury entry explains {named}{more}")
