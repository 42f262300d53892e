"""Drawdown: equity without transfers against its persisted peak.

Over the limit, and for longer than the ledger takes to show a withdrawal, entries freeze and the book winds
down. Winding down is calm: one pair at a time, the first in rank first, each closed whole before the next.
Only the operator ends it, and with that the peak starts again from the equity of the moment.
"""

from dataclasses import replace
from decimal import Decimal

from portfolio.core.decimals import ONE, ZERO
from portfolio.core.guard.ladder import ranked
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import ActionKind, FreezeWanted, GuardInput, PairAction, Rule, Transfer
from portfolio.core.limits import MINUTE_NS

#: Equity falls the moment a withdrawal leaves, its ledger row is booked up to a minute later.
DRAWDOWN_AFTER_NS = 2 * MINUTE_NS


def own_equity(inp: GuardInput, state: GuardState) -> Decimal | None:
    """The venue's equity with every transfer taken out, USD; None while it is not fresh.

    Ours is not used: an error of ours must not wind down the book.
    """
    if inp.venue is None or not inp.venue_fresh:
        return None
    return inp.venue.total_equity - state.transfers_usd


def measured(state: GuardState, inp: GuardInput) -> GuardState:
    """The state with transfers counted, the peak raised, and the time since when equity is below the line.

    The peak rises only while ours and the venue's figures agree: a false high would freeze the desk days
    later.
    """
    for transfer in inp.transfers:
        state = _counted(state, transfer)
    equity = own_equity(inp, state)
    if equity is None:
        return state
    agreed = state.gap is None or state.gap <= inp.limits.guard.gap_freeze
    if state.peak_equity is None:
        now = inp.venue_market_ns
        state = replace(state, peak_equity=equity, peak_market_ns=now, measured_from_market_ns=now)
    elif equity > state.peak_equity and agreed:
        state = replace(state, peak_equity=equity, peak_market_ns=inp.venue_market_ns)
    since = None
    if _floor(inp, state) > equity:
        since = inp.now_wire_ns if state.drawdown_since is None else state.drawdown_since
    return replace(state, drawdown_since=since)


def _counted(state: GuardState, transfer: Transfer) -> GuardState:
    """One transfer taken out of equity, and out of the peak where the peak's reading had it in already."""
    peak = state.peak_equity
    if peak is None or transfer.event_market_ns <= state.measured_from_market_ns:
        return state
    if transfer.event_market_ns <= state.peak_market_ns:
        peak -= transfer.usd
    return replace(state, transfers_usd=state.transfers_usd + transfer.usd, peak_equity=peak)


def _floor(inp: GuardInput, state: GuardState) -> Decimal:
    """The lowest equity that is tolerated; nothing is below it while the account never had equity."""
    peak = state.peak_equity
    if peak is None or peak <= 0:
        return Decimal("-Infinity")
    return peak * (ONE - inp.limits.guard.drawdown_max)


def drawdown_freeze(inp: GuardInput, state: GuardState) -> FreezeWanted | None:
    """Freeze when equity stays below the line; it stands until the operator lifts it."""
    standing = state.frozen.get(Rule.DRAWDOWN)
    if standing is not None:
        return FreezeWanted(Rule.DRAWDOWN, standing, "operator")
    since, equity, peak = state.drawdown_since, own_equity(inp, state), state.peak_equity
    if since is None or equity is None or not peak or inp.now_wire_ns - since < DRAWDOWN_AFTER_NS:
        return None
    lost = (ONE - equity / peak) * 100
    return FreezeWanted(Rule.DRAWDOWN, f"equity is {lost:.1f} % below its peak of {peak:.2f} USD", "operator")


def wind_down(inp: GuardInput, freeze: FreezeWanted | None) -> tuple[PairAction, ...]:
    """The next pair to close while the drawdown stands."""
    if freeze is None or inp.ladder_out:
        return ()
    return tuple(
        PairAction(facts.spec.pair_id, ActionKind.REDUCE, ZERO, (Rule.DRAWDOWN,))
        for facts in ranked(inp.pairs)[:1]
    )
