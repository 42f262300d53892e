"""Orders against the made book: takers walk its levels, resting ones wait for flow or a passing price.

Times in force as at the venue: IOC drops its rest, FOK fills whole or not at all, a post-only order that
would take is accepted and then cancelled with EC_PostOnlyWillTakeLiquidity, a market order is an IOC at a
protective price. Own orders are not shown in the book and do not meet each other.
"""

from dataclasses import replace
from decimal import Decimal

from exchanges.paper.fills import Match, fill
from exchanges.paper.rows import OrderNotice, VenueOrder, VenueOrderStatus
from exchanges.paper.state import State
from portfolio.core.decimals import ZERO, round_down_to_step
from portfolio.core.instrument import InstrumentKind
from portfolio.core.market import Level
from portfolio.core.names import InstrumentId
from portfolio.core.orders import Side, TimeInForce


def cancel(state: State, order: VenueOrder, *, cancel_type: str, reason: str) -> VenueOrder:
    """End a working order."""
    spot = state.instrument(order.instrument_id).kind is InstrumentKind.SPOT
    partly = order.filled > 0 and spot
    status = VenueOrderStatus.PARTIALLY_FILLED_CANCELLED if partly else VenueOrderStatus.CANCELLED
    new = replace(
        order,
        status=status,
        locked=ZERO,
        cancel_type=cancel_type,
        reject_reason=reason,
        updated_ns=state.now_ns,
    )
    state.keep_order(new)
    return new


def enter(state: State, order: VenueOrder) -> None:
    """Match a new (or amended) order at once and rest or end what is left."""
    side = order.side
    best = state.books[order.instrument_id].best(side.opposite, state.middle(order.instrument_id))
    crossing = order.price >= best if side is Side.BUY else order.price <= best
    if order.time_in_force is TimeInForce.POST_ONLY and crossing:
        cancel(state, order, cancel_type="UNKNOWN", reason="EC_PostOnlyWillTakeLiquidity")
        return
    if crossing:
        order = _take(state, order)
    if not order.status.open:
        return
    if order.market or order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
        whole = order.time_in_force is TimeInForce.FOK
        reason = "EC_CancelForNoFullFill" if whole else "EC_NoImmediateQtyToFill"
        cancel(state, order, cancel_type="UNKNOWN", reason=reason)


def _take(state: State, order: VenueOrder) -> VenueOrder:
    """Walk the opposite side up to the order's price."""
    book = state.books[order.instrument_id]
    levels = _reachable(state, order)
    budget = _fillable(state, order)
    share = state.fill_limits.pop(order.instrument_id, None)
    if share is not None:
        budget = round_down_to_step(budget * share, state.instrument(order.instrument_id).lot_size)
    if (
        order.time_in_force is TimeInForce.FOK
        and sum((level.quantity for level in levels), ZERO) < order.left
    ):
        return order
    taken = ZERO
    for level in levels:
        quantity = min(budget - taken, level.quantity, _affordable(state, order, level.price))
        if quantity <= 0:
            break
        order = fill(state, order, Match(quantity, level.price, maker=False))
        taken += quantity
    if taken:
        book.take(order.side.opposite, taken, state.now_ns)
        state.outbox.append(OrderNotice(order, state.now_ns))
    return order if not order.status.open else _drop_exhausted(state, order)


def _reachable(state: State, order: VenueOrder) -> list[Level]:
    """Opposite levels at the order's price or better, as far as its quantity reaches."""
    book = state.books[order.instrument_id]
    found: list[Level] = []
    reached = ZERO
    for level in book.levels(order.side.opposite, state.middle(order.instrument_id), state.now_ns):
        beyond = level.price > order.price if order.side is Side.BUY else level.price < order.price
        if beyond or reached >= order.left:
            break
        found.append(level)
        reached += level.quantity
    return found


def _fillable(state: State, order: VenueOrder) -> Decimal:
    """What may still fill: a reduce-only order never more than the position it reduces."""
    if not order.reduce_only:
        return order.left
    quantity = state.holding(order.instrument_id).quantity
    opposite = quantity * order.side.sign < 0
    return min(order.left, abs(quantity)) if opposite else ZERO


def _affordable(state: State, order: VenueOrder, price: Decimal) -> Decimal:
    """A spot market buy without borrowing stops when its coins are used up."""
    instrument = state.instrument(order.instrument_id)
    if instrument.kind is not InstrumentKind.SPOT or order.borrow or not order.market:
        return order.left
    if order.side is Side.SELL:
        return order.left
    free = state.free(instrument.quote, besides=order.order_id)
    return min(order.left, round_down_to_step(free / price, instrument.lot_size))


def _drop_exhausted(state: State, order: VenueOrder) -> VenueOrder:
    """A reduce-only order whose position is gone ends."""
    if order.reduce_only and _fillable(state, order) == 0:
        return cancel(state, order, cancel_type="CancelByReduceOnly", reason="EC_NoError")
    return order


def work_resting(state: State) -> None:
    """At a grid time: let flow and passing prices fill what rests, oldest order first."""
    flows: dict[tuple[InstrumentId, Side], Decimal] = {}
    for known in tuple(state.working.values()):
        order = state.orders[known.order_id]
        if not order.status.open:
            continue
        order = _drop_exhausted(state, order)
        if not order.status.open:
            continue
        quantity = min(_fillable(state, order), _reaching(state, order, flows))
        if quantity <= 0:
            continue
        order = fill(state, order, Match(quantity, order.price, maker=True))
        state.outbox.append(OrderNotice(order, state.now_ns))


def _reaching(state: State, order: VenueOrder, flows: dict[tuple[InstrumentId, Side], Decimal]) -> Decimal:
    """Base coins that reach a resting order now; flow is shared by the orders of one side.

    The market passed it: everything the other side shows up to its price, and the flow. It leads its side:
    the flow. It stands at the best price among others: half of the flow. Behind the best: nothing.
    """
    book = state.books[order.instrument_id]
    middle = state.middle(order.instrument_id)
    side = order.side
    own, other = book.best(side, middle), book.best(side.opposite, middle)
    lead = (order.price - own) * side.sign
    if lead < 0:
        return ZERO
    key = (order.instrument_id, side)
    flow = flows.get(key)
    if flow is None:
        flow = flows[key] = book.flow(side, middle, state.now_ns)
    if (order.price - other) * side.sign >= 0:
        shown = sum((level.quantity for level in _reachable(state, order)), ZERO)
        quantity = min(order.left, shown + flow)
        from_book = min(quantity, shown)
        book.take(side.opposite, from_book, state.now_ns)
        flows[key] = flow - (quantity - from_book)
        return quantity
    if lead == 0:
        flow = round_down_to_step(flow / 2, state.instrument(order.instrument_id).lot_size)
    quantity = min(order.left, flow)
    flows[key] -= quantity
    return quantity
