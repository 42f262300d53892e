"""order/pre-check: what an order would do to the rates, by the venue's own rules; nothing is placed.

The page does not say how the order is counted. A recorded answer (JKorf, `PreCheckOrder`: MM rate 0.0021 to
0.0294, IM rate 0.0030 to 0.0357) has maintenance margin in it, which a resting order does not add: so the
order counts as filled at once, here at the mark and with the account's taker fee.
"""

from dataclasses import dataclass

from exchanges.paper import risk
from exchanges.paper.admission import refusal_of, refuse
from exchanges.paper.commands import PlaceOrder, Reply
from exchanges.paper.state import State
from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ZERO
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.apply import trade
from portfolio.core.venue_check import VenueCheck


@dataclass(frozen=True, slots=True)
class PreCheck:
    """The rates, and the refusal that the order would meet, if any."""

    rates: VenueCheck
    refusal: Reply | None


def pre_check(state: State, command: PlaceOrder) -> PreCheck | Reply:
    """The account's rates before and after one perpetual order, as the venue reports them (shifted or not).

    A Reply says why there is no answer: a kind that is not asked about, or an account without rates.
    """
    instrument = state.instrument(command.instrument_id)
    if instrument.kind is InstrumentKind.SPOT:
        return refuse("10001", "params error: category spot is not supported here")
    quantity = command.quantity
    if command.reduce_only:
        # Such an order never crosses zero: what lies beyond the position is cut off.
        held = state.holding(command.instrument_id).quantity
        quantity = min(quantity, max(ZERO, -held * command.side.sign))
    before = risk.margin_state(state, and_of=(command.instrument_id,))
    after = trade(before, {command.instrument_id: command.side.sign * quantity})
    first = risk.shifted(state, risk.value(before).figures)
    then = risk.shifted(state, risk.value(after).figures)
    rates = _rates(first, then)
    if rates is None:
        return refuse("110007", "ab not enough for new order")
    return PreCheck(rates, refusal_of(state, instrument, command))


def _rates(before: MarginFigures, after: MarginFigures) -> VenueCheck | None:
    """None while an ECV is not positive: there are no rates then."""
    if before.adjusted_equity <= 0 or after.adjusted_equity <= 0:
        return None
    return VenueCheck(
        im_rate_before=before.initial_margin / before.adjusted_equity,
        mm_rate_before=before.maintenance_margin / before.adjusted_equity,
        im_rate_after=after.initial_margin / after.adjusted_equity,
        mm_rate_after=after.maintenance_margin / after.adjusted_equity,
    )
