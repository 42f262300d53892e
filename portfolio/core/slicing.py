"""How large the next order is: slices of the lead, hedges of what the lead has filled, and the way back.

Every function returns a quantity that the venue takes (a multiple of the lot, above both minimums, below
the maximum) or zero, and never more than the room that `Increments` leaves. What cannot be traded is left
as dust.
"""

from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import ZERO, round_down_to_step, round_up_to_step
from portfolio.core.increments import Increments, gross_for_net
from portfolio.core.instrument import Instrument


@dataclass(frozen=True, slots=True)
class LeadLimits:
    """What bounds one slice of the lead beyond the plan, in coins; None: no limit."""

    #: In quote.
    notional_max: Decimal
    #: What the books of both legs hold within the price limits.
    depth: Decimal | None = None
    #: Most that the whole operation may have done after this slice (proportional entry).
    allowance: Decimal | None = None


def tradable(quantity: Decimal, instrument: Instrument, price: Decimal) -> Decimal:
    """The largest order of at most `quantity` that the venue takes at `price`, or 0."""
    limit = quantity if instrument.quantity_max is None else min(quantity, instrument.quantity_max)
    if limit <= 0:
        return ZERO
    rounded = round_down_to_step(limit, instrument.lot_size)
    if rounded < instrument.quantity_min or rounded * price < instrument.notional_min:
        return ZERO
    return rounded


def next_lead(
    increments: Increments, lead: Instrument, hedge: Instrument, price: Decimal, limits: LeadLimits
) -> Decimal:
    """The next slice of the lead, or 0 when the rest is dust or no limit leaves room.

    It is a multiple of the coarser lot so that the hedge can follow it. A rest too small for an order of
    its own joins the slice; a slice is at least the smallest order, whatever `notional_max` says.
    """
    room = increments.lead_room
    if limits.allowance is not None:
        room = min(room, max(ZERO, limits.allowance - increments.lead.most))
    largest = room if limits.depth is None else min(room, limits.depth)
    slice_max = max(limits.notional_max / price, smallest_order(lead, hedge, price))
    sliced = _both(min(largest, slice_max), lead, hedge, price)
    if _both(room - sliced, lead, hedge, price) == 0:
        return _both(largest, lead, hedge, price)
    return sliced


def smallest_order(lead: Instrument, hedge: Instrument, price: Decimal) -> Decimal:
    """The smallest lead order that the venue takes and whose fill it lets us hedge by one order, in coins."""
    least = max(lead.quantity_min, hedge.quantity_min, lead.notional_min / price, hedge.notional_min / price)
    step = max(lead.lot_size, hedge.lot_size)
    return max(step, round_up_to_step(least, step))


def last_lead(increments: Increments, lead: Instrument, price: Decimal, limits: LeadLimits) -> Decimal:
    """A slice of a lead that closes a pair: only the lead's own lot and minimums count."""
    return next_lead(increments, lead, lead, price, limits)


def _both(quantity: Decimal, lead: Instrument, hedge: Instrument, price: Decimal) -> Decimal:
    """The largest lead order of at most `quantity` whose full fill could be hedged by one order, or 0."""
    step = max(lead.lot_size, hedge.lot_size)
    rounded = tradable(round_down_to_step(max(ZERO, quantity), step), lead, price)
    return rounded if tradable(rounded, hedge, price) > 0 else ZERO


def next_hedge(
    increments: Increments, hedge: Instrument, price: Decimal, *, fee_rate: Decimal, held: Decimal | None
) -> Decimal:
    """The next hedge, or 0 while what the lead filled is dust.

    Args:
        increments: The operation so far.
        hedge: The hedging instrument.
        price: For the minimum notional, in quote.
        fee_rate: The share of the coins bought that the venue keeps (a spot buy); 0 for every other hedge.
        held: Coins of the leg that an exit may take off, net of fees; None: no such limit.
    """
    room = increments.hedge_room if held is None else min(increments.hedge_room, held)
    return tradable(gross_for_net(room, fee_rate), hedge, price)


def next_unwind(increments: Increments, lead: Instrument, price: Decimal) -> Decimal:
    """How much of the lead to take back so that what stays is hedged, or 0 while that is dust.

    Orders of the lead that are still open must be cancelled first; they are not counted as hedgeable.
    """
    return tradable(increments.hedge_room, lead, price)
