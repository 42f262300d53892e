"""Drawdown: equity without transfers against its persisted peak.

Over the limit entries freeze and the book winds down. Winding down is calm: one pair at a time, the first
in rank first, each closed whole before the next. Only the operator ends it, and with that the peak starts
again from the equity of the moment.
"""

from dataclasses import replace
from decimal import Decimal

from portfolio.core.decimals import ONE, ZERO
from portfolio.core.guard.ladder import ranked
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import ActionKind, FreezeWanted, GuardInput, PairAction, Rule


def own_equity(inp: GuardInput, state: GuardState) -> Decimal | None:
    """The venue's equity with every transfer taken out, USD; None while it is not fresh.

    Ours is not used: an error of ours must not wind down the book.
    """
    if inp.venue is None or not inp.venue_fresh:
        return None
    return inp.venue.total_equity - state.transfers_usd


def measured(state: GuardState, inp: GuardInput) -> GuardState:
    """The state with transfers counted and the peak raised.

    The peak rises only while ours and the venue's figures agree: a false high would freeze the desk days
    later.
    """
    state = replace(state, transfers_usd=state.transfers_usd + inp.transfers_usd)
    equity = own_equity(inp, state)
    if equity is None:
        return state
    if state.peak_equity is None:
        return replace(state, peak_equity=equity)
    if equity > state.peak_equity and (state.gap is None or state.gap <= inp.limits.guard.gap_freeze):
        return replace(state, peak_equity=equity)
    return state


def drawdown_freeze(inp: GuardInput, state: GuardState) -> FreezeWanted | None:
    """Freeze when equity is below the peak by more than the limit; it stands until the operator lifts it."""
    standing = state.frozen.get(Rule.DRAWDOWN)
    if standing is not None:
        return FreezeWanted(Rule.DRAWDOWN, standing, "operator")
    equity, peak = own_equity(inp, state), state.peak_equity
    # The peak of an account that never had equity says nothing.
    if equity is None or peak is None or peak <= 0:
        return None
    if equity >= peak * (ONE - inp.limits.guard.drawdown_max):
        return None
    lost = (ONE - equity / peak) * 100
    return FreezeWanted(Rule.DRAWDOWN, f"equity is {lost:.1f} % below its peak of {peak:.2f} USD", "operator")


def wind_down(inp: GuardInput, freeze: FreezeWanted | None) -> tuple[PairAction, ...]:
    """The next pair to close while the drawdown stands."""
    if freeze is None:
        return ()
    return tuple(
        PairAction(facts.spec.pair_id, ActionKind.REDUCE, ZERO, (Rule.DRAWDOWN,))
        for facts in ranked(inp.pairs)
        if facts.larger > facts.tolerance
    )[:1]
