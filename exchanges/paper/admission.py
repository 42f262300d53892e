"""What the venue checks before it takes an order, in its order and with its codes (reference 6.1).

An order that passes becomes a `VenueOrder` ready for the book; one that fails becomes a Reply and has no
effect.
"""

from dataclasses import replace
from decimal import Decimal

from exchanges.paper import risk
from exchanges.paper.commands import PlaceOrder, Reply
from exchanges.paper.rows import VenueOrder, VenueOrderStatus
from exchanges.paper.state import State
from portfolio.core.decimals import ONE, ZERO, round_down_to_step, round_up_to_step
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.names import Coin
from portfolio.core.orders import Side, TimeInForce

_LINK_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_LINK_LENGTH_MAX = 36
#: Working orders: linear per symbol, spot per account.
_WORKING_MAX = 500


def refuse(code: str, message: str) -> Reply:
    """An answer that says no."""
    return Reply(code=code, message=message)


def admit(state: State, command: PlaceOrder) -> VenueOrder | Reply:
    """The order as the book takes it, or the refusal."""
    instrument = state.instrument(command.instrument_id)
    command = _in_base(state, instrument, command)
    refusal = _check_link(state, instrument, command) or _check_rejections(state, command)
    refusal = refusal or refusal_of(state, instrument, command)
    if refusal is not None:
        return refusal
    return _order(state, instrument, command, limit_price(state, command))


def refusal_of(state: State, instrument: Instrument, command: PlaceOrder) -> Reply | None:
    """What the venue's rules have against an order whose id is new; None: nothing. Changes nothing."""
    refusal = _check_size(state, instrument, command) or _check_price(state, instrument, command)
    if refusal is not None:
        return refusal
    price = limit_price(state, command)
    if instrument.kind is InstrumentKind.SPOT:
        return _check_caps(state, instrument, command) or _check_spot(state, instrument, command, price)
    return _check_caps(state, instrument, command) or _check_linear(state, command, price)


def band(state: State, command: PlaceOrder) -> Decimal:
    """The farthest price this side may have (reference 2.1.5; spot's premium average taken as zero)."""
    listing = state.listing(command.instrument_id)
    index = state.index(command.instrument_id)
    tick = listing.instrument.tick_size
    middle = index if listing.instrument.kind is InstrumentKind.SPOT else state.mark(command.instrument_id)
    x, y = listing.price_limit_x, listing.price_limit_y
    if command.side is Side.BUY:
        return round_down_to_step(min(max(index, middle * (ONE + x)), middle * (ONE + y)), tick)
    return round_up_to_step(max(min(index, middle * (ONE - x)), middle * (ONE - y)), tick)


def limit_price(state: State, command: PlaceOrder) -> Decimal:
    """Price in the book: the protective one for a market order; a perpetual's limit is silently re-priced."""
    edge = band(state, command)
    if command.price is None:
        return edge
    return min(command.price, edge) if command.side is Side.BUY else max(command.price, edge)


def _in_base(state: State, instrument: Instrument, command: PlaceOrder) -> PlaceOrder:
    """A spot market order in quote coins, turned into base coins at the best price of now."""
    if not command.quantity_in_quote:
        return command
    best = state.books[command.instrument_id].best(command.side.opposite, state.middle(command.instrument_id))
    quantity = round_down_to_step(command.quantity / best, instrument.lot_size)
    return replace(command, quantity=quantity, quantity_in_quote=False)


def _check_link(state: State, instrument: Instrument, command: PlaceOrder) -> Reply | None:
    link = command.order_link_id
    if len(link) > _LINK_LENGTH_MAX or not set(link) <= _LINK_CHARACTERS:
        return refuse("10001", "orderLinkId is not at most 36 letters, digits, - or _")
    if link and (instrument.kind, link) in state.links:
        spot = instrument.kind is InstrumentKind.SPOT
        return refuse(
            "170141" if spot else "110072",
            "Duplicate clientOrderId" if spot else "OrderLinkedID is duplicate",
        )
    return None


def _check_rejections(state: State, command: PlaceOrder) -> Reply | None:
    waiting = state.rejections.get(command.instrument_id)
    return refuse(*waiting.pop(0)) if waiting else None


def _check_size(state: State, instrument: Instrument, command: PlaceOrder) -> Reply | None:
    spot = instrument.kind is InstrumentKind.SPOT
    quantity = command.quantity
    if quantity < instrument.quantity_min:
        return refuse("170136" if spot else "10001", "Order quantity is below the lower limit")
    if quantity % instrument.lot_size:
        return refuse("170137" if spot else "10001", "Order quantity has too many decimals")
    most = instrument.quantity_max if command.price is not None else instrument.market_quantity_max
    if most is not None and quantity > most and not command.reduce_only:
        return refuse("170124" if spot else "10001", "Order quantity exceeds the upper limit")
    price = command.price
    if price is None:
        price = state.books[command.instrument_id].best(
            command.side.opposite, state.middle(command.instrument_id)
        )
    if quantity * price < instrument.notional_min and not command.reduce_only:
        return refuse(
            "170140" if spot else "110094",
            f"Order value is below the lower limit of {instrument.notional_min} {instrument.quote}",
        )
    return None


def _check_price(state: State, instrument: Instrument, command: PlaceOrder) -> Reply | None:
    if command.price is None:
        return None
    spot = instrument.kind is InstrumentKind.SPOT
    if command.price <= 0 or command.price % instrument.tick_size:
        return refuse("170134" if spot else "10001", "Order price is not a multiple of the tick")
    if not spot:
        return None
    edge = band(state, command)
    if command.side is Side.BUY and command.price > edge:
        return refuse("170193", f"Buy order price cannot be higher than {edge}")
    if command.side is Side.SELL and command.price < edge:
        return refuse("170194", f"Sell order price cannot be lower than {edge}")
    return None


def _check_caps(state: State, instrument: Instrument, command: PlaceOrder) -> Reply | None:
    if state.liquidating:
        return refuse(
            "170226" if instrument.kind is InstrumentKind.SPOT else "110007", "Account is being liquidated"
        )
    spot = instrument.kind is InstrumentKind.SPOT
    working = sum(
        1
        for order in state.working.values()
        if (state.instrument(order.instrument_id).kind is InstrumentKind.SPOT) == spot
        and (spot or order.instrument_id == command.instrument_id)
    )
    if working >= _WORKING_MAX:
        return refuse("170810" if spot else "110020", "Too many working orders")
    return None


def _check_linear(state: State, command: PlaceOrder, price: Decimal) -> Reply | None:
    if command.reduce_only:
        quantity = state.holding(command.instrument_id).quantity
        if quantity * command.side.sign >= 0:
            return refuse("110017", "current position is zero, cannot fix reduce-only order qty")
        return None
    if not risk.within_tiers(state, command.instrument_id, command, price):
        return refuse("110090", "Position would exceed the risk limit")
    if command.price is None:
        # A market order costs what it meets; its protective price would count a loss that it will not make.
        price = state.books[command.instrument_id].best(
            command.side.opposite, state.middle(command.instrument_id)
        )
    if not risk.perpetual_fits(state, command, price):
        return refuse("110007", "ab not enough for new order")
    return None


def _check_spot(state: State, instrument: Instrument, command: PlaceOrder, price: Decimal) -> Reply | None:
    if command.reduce_only:
        return refuse("10001", "reduceOnly is not for spot")
    buying = command.side is Side.BUY
    coin = instrument.quote if buying else instrument.base
    if buying and command.price is None:
        price = state.books[command.instrument_id].best(Side.SELL, state.middle(command.instrument_id))
    need = command.quantity * price if buying else command.quantity
    missing = need - state.free(coin)
    if missing > 0:
        refusal = _check_loan(state, command, coin, missing)
        if refusal is not None:
            return refusal
    if not risk.spot_fits(state, command, price):
        return refuse("170033", "margin Insufficient account balance")
    return None


def _check_loan(state: State, command: PlaceOrder, coin: Coin, missing: Decimal) -> Reply | None:
    if not command.borrow:
        return refuse("170131", "Insufficient balance.")
    table = state.tables.borrow.get(coin)
    if table is None or not table.borrowable:
        return refuse("170037", f"{coin} cannot be borrowed")
    if table.quantity_max is not None and state.ledger.debt(coin) + missing > table.quantity_max:
        return refuse("170034", f"Borrowing would exceed the limit of {table.quantity_max} {coin}")
    if not risk.may_borrow(state):
        return refuse("170033", "margin Insufficient account balance")
    return None


def _order(state: State, instrument: Instrument, command: PlaceOrder, price: Decimal) -> VenueOrder:
    order_id = state.next_order_id(instrument.kind)
    spot = instrument.kind is InstrumentKind.SPOT
    buying = command.side is Side.BUY
    coin = instrument.quote if buying else instrument.base
    need = command.quantity * price if buying else command.quantity
    return VenueOrder(
        order_id=order_id,
        order_link_id=command.order_link_id or (order_id if spot else ""),
        instrument_id=command.instrument_id,
        side=command.side,
        market=command.price is None,
        price=price,
        quantity=command.quantity,
        time_in_force=TimeInForce.IOC if command.price is None else command.time_in_force,
        reduce_only=command.reduce_only,
        borrow=command.borrow,
        status=VenueOrderStatus.NEW,
        filled=ZERO,
        filled_quote=ZERO,
        fees=(),
        locked=min(need, state.free(coin)) if spot else ZERO,
        locked_coin=coin if spot else Coin(""),
        reject_reason="EC_NoError",
        cancel_type="UNKNOWN",
        create_type="CreateByUser",
        created_ns=state.now_ns,
        updated_ns=state.now_ns,
    )
