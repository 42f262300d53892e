"""Drawdown: equity without transfers against its persisted peak.

Over the limit no entry passes. Over it for two minutes, and proven no withdrawal by a reading of the venue's
ledger that began long enough after the fall was seen, it is a drawdown: entries freeze and the book winds
down. Without such a reading, or with a row in it whose worth is not known, entries freeze and the book waits,
while the health ladder and the other rules protect the account; after an hour it winds down all the same.
Winding down is calm: one pair at a time, the first in rank first, each closed whole before the next. Only the
operator ends it, and with that the peak starts again from the equity of the moment.
"""

from dataclasses import replace
from decimal import Decimal

from portfolio.core.decimals import ONE, ZERO
from portfolio.core.guard.ladder import ranked
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import ActionKind, FreezeWanted, GuardInput, PairAction, Rule, Transfer
from portfolio.core.limits import HOUR_NS, MINUTE_NS

#: A fall that is over sooner winds down nothing.
DRAWDOWN_AFTER_NS = 2 * MINUTE_NS
#: Equity falls the moment a withdrawal leaves; the venue does not say how much later its ledger shows it.
#: A reading that began so long after the fall was seen counts.
LEDGER_LAG_NS = MINUTE_NS
#: A ledger that cannot tell keeps the book from winding down for so long: a withdrawal wound down by mistake
#: costs a round trip of the whole book, a loss that goes on is bounded by the ladder meanwhile.
UNPROVEN_MAX_NS = HOUR_NS


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
    """Freeze when equity stays below the line; as a drawdown it stands until the operator lifts it.

    While the ledger has not proven it, the freeze is LEDGER's, which ends by itself.
    """
    standing = state.frozen.get(Rule.DRAWDOWN)
    if standing is not None:
        return FreezeWanted(Rule.DRAWDOWN, standing, "operator")
    since, equity, peak = state.drawdown_since, own_equity(inp, state), state.peak_equity
    if since is None or not peak or inp.now_wire_ns - since < DRAWDOWN_AFTER_NS:
        return None
    unproven = _unproven(inp, state, since)
    waits = unproven is not None and inp.now_wire_ns - since < UNPROVEN_MAX_NS
    doubted = state.frozen.get(Rule.LEDGER)
    if doubted is not None and (waits or equity is None):
        # One reason for the whole episode, and no end of it while equity is not known.
        return FreezeWanted(Rule.LEDGER, doubted)
    if equity is None:
        return None
    fallen = f"equity is {(ONE - equity / peak) * 100:.1f} % below its peak of {peak:.2f} USD"
    if waits:
        return FreezeWanted(Rule.LEDGER, f"{fallen}, perhaps withdrawn: {unproven}")
    return FreezeWanted(Rule.DRAWDOWN, fallen, "operator")


def _unproven(inp: GuardInput, state: GuardState, since: int) -> str | None:
    """Why the fall since then may be a withdrawal still; None: the ledger shows that it is none."""
    read = inp.ledger_read_wire_ns
    if read is None or read - since < LEDGER_LAG_NS:
        return "the venue's ledger was not read since"
    # What moved before the peak was read is in the peak, and explains no fall from it.
    later = [row.name for row in inp.uncounted if row.event_market_ns > state.peak_market_ns]
    if not later:
        return None
    more = f" and {len(later) - 1} more" if len(later) > 1 else ""
    return f"the worth of {later[0]}{more} is not known"


def wind_down(inp: GuardInput, freeze: FreezeWanted | None) -> tuple[PairAction, ...]:
    """The next pair to close while a drawdown stands."""
    if freeze is None or freeze.source != Rule.DRAWDOWN or inp.ladder_out:
        return ()
    return tuple(
        PairAction(facts.spec.pair_id, ActionKind.REDUCE, ZERO, (Rule.DRAWDOWN,))
        for facts in ranked(inp.pairs)[:1]
    )
