"""The account's own commands besides placing: cancel, amend, borrow, repay, settings."""

from dataclasses import replace

from exchanges.paper import matching, risk
from exchanges.paper.accrual import in_blackout
from exchanges.paper.admission import refuse
from exchanges.paper.commands import (
    AmendOrder,
    Borrow,
    CancelAll,
    CancelOrder,
    PlaceOrder,
    Repay,
    Reply,
    SetCollateralSwitch,
    SetLeverage,
    SetSpotLeverage,
)
from exchanges.paper.rows import VenueOrder
from exchanges.paper.state import State
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import InstrumentId

AccountCommand = (
    CancelOrder
    | CancelAll
    | AmendOrder
    | Repay
    | Borrow
    | SetLeverage
    | SetSpotLeverage
    | SetCollateralSwitch
)
_DONE = Reply()


def apply(state: State, command: AccountCommand) -> Reply:
    """Do what the account asks."""
    match command:
        case CancelOrder():
            return cancel(state, command)
        case CancelAll():
            return cancel_all(state, command)
        case AmendOrder():
            return amend(state, command)
        case Repay():
            return repay(state, command)
        case Borrow():
            return borrow(state, command)
        case SetLeverage():
            return set_leverage(state, command)
        case SetSpotLeverage():
            return set_spot_leverage(state, command)
        case SetCollateralSwitch():
            return set_collateral_switch(state, command)


def find_order(
    state: State, key: InstrumentId, *, order_link_id: str = "", order_id: str = ""
) -> VenueOrder | None:
    """By the venue's id, else by the client's."""
    if not order_id:
        order_id = state.links.get((state.instrument(key).kind, order_link_id), "")
    order = state.orders.get(order_id)
    return order if order is not None and order.instrument_id == key else None


def cancel(state: State, command: CancelOrder) -> Reply:
    """A closed or unknown order is refused: 110001 (linear), 170213 (spot)."""
    order = find_order(
        state, command.instrument_id, order_link_id=command.order_link_id, order_id=command.order_id
    )
    if order is None or not order.status.open:
        return _no_order(state, command.instrument_id)
    matching.cancel(state, order, cancel_type="CancelByUser", reason="EC_PerCancelRequest")
    return Reply(order_id=order.order_id, order_link_id=order.order_link_id)


def cancel_all(state: State, command: CancelAll) -> Reply:
    """Cancel what works of a kind or an instrument."""
    cancelled: list[tuple[str, str]] = []
    for order in tuple(state.working.values()):
        instrument = state.instrument(order.instrument_id)
        if instrument.kind is command.kind and command.instrument_id in (None, order.instrument_id):
            matching.cancel(state, order, cancel_type="CancelByUser", reason="EC_PerCancelRequest")
            cancelled.append((order.order_id, order.order_link_id))
    return Reply(cancelled=tuple(cancelled))


def amend(state: State, command: AmendOrder) -> Reply:
    """New total quantity and/or price; the order loses nothing but its place."""
    key = command.instrument_id
    order = find_order(state, key, order_link_id=command.order_link_id, order_id=command.order_id)
    if order is None or not order.status.open:
        return _no_order(state, key)
    instrument = state.instrument(key)
    spot = instrument.kind is InstrumentKind.SPOT
    quantity = order.quantity if command.quantity is None else command.quantity
    price = order.price if command.price is None else command.price
    if quantity <= order.filled:
        return refuse("170313" if spot else "110064", "Quantity is not above what is filled already")
    if quantity % instrument.lot_size or price % instrument.tick_size or price <= 0:
        return refuse("10001", "Quantity or price is not a multiple of its step")
    need = (quantity - order.filled) * (price if order.locked_coin == instrument.quote else ONE)
    free = state.free(order.locked_coin, besides=order.order_id) if spot else ZERO
    if spot and need > free and not order.borrow:
        return refuse("170131", "Insufficient balance.")
    more = PlaceOrder("", key, order.side, quantity - order.quantity, price, reduce_only=order.reduce_only)
    if not spot and more.quantity > 0 and not risk.perpetual_fits(state, more, price):
        return refuse("110007", "ab not enough for new order")
    new = replace(
        order,
        quantity=quantity,
        price=price,
        locked=min(need, free) if spot else ZERO,
        updated_ns=state.now_ns,
    )
    state.keep_order(new)
    matching.enter(state, new)
    return Reply(order_id=order.order_id, order_link_id=order.order_link_id)


def repay(state: State, command: Repay) -> Reply:
    """Without conversion, from the coin's own free balance; refused around the booking of interest."""
    if in_blackout(state.now_ns):
        return refuse("34022035", "Repayment is not available while interest is being calculated")
    debt = state.ledger.debt(command.coin)
    if debt <= 0:
        return refuse("176016", "There is nothing to repay")
    if command.quantity is not None and command.quantity > debt:
        return refuse("34022041", "The amount exceeds the debt")
    free = state.free(command.coin)
    wanted = debt if command.quantity is None else command.quantity
    quantity = min(wanted, free) if command.quantity is None else wanted
    if quantity <= 0 or quantity > free:
        return refuse("176015", "Insufficient available balance")
    state.ledger.repay(command.coin, quantity, state.now_ns)
    return Reply(quantity=quantity)


def borrow(state: State, command: Borrow) -> Reply:
    """By hand, at the floating rate."""
    table = state.tables.borrow.get(command.coin)
    if table is None or not table.borrowable:
        return refuse("170037", f"{command.coin} cannot be borrowed")
    over = table.quantity_max is not None and (
        state.ledger.debt(command.coin) + command.quantity > table.quantity_max
    )
    if command.quantity <= 0 or over:
        return refuse("10001", "The amount is not between zero and the limit")
    if not risk.may_borrow(state):
        return refuse("34022031", "The margin rate is too high to borrow")
    state.ledger.borrow(command.coin, command.quantity, state.now_ns)
    return Reply(quantity=command.quantity)


def set_leverage(state: State, command: SetLeverage) -> Reply:
    """Of one perpetual; working positions are margined at it at once."""
    tiers = state.tables.positions.get(command.instrument_id)
    if tiers is None:
        return refuse("10001", "Only perpetuals have a leverage")
    if not ONE <= command.leverage <= tiers[0].leverage_max:
        return refuse("110013", f"Leverage must be between 1 and {tiers[0].leverage_max}")
    if command.leverage == state.leverage(command.instrument_id):
        return refuse("110043", "leverage not modified")
    state.leverages[command.instrument_id] = command.leverage
    state.moved.add(command.instrument_id)
    return _DONE


def set_spot_leverage(state: State, command: SetSpotLeverage) -> Reply:
    """2 to 10."""
    if not 2 <= command.leverage <= 10:
        return refuse("10001", "Spot leverage must be between 2 and 10")
    state.spot_leverage = command.leverage
    return _DONE


def set_collateral_switch(state: State, command: SetCollateralSwitch) -> Reply:
    """Not for USDT."""
    table = state.tables.collateral.get(command.coin)
    if table is None or command.coin == "USDT":
        return refuse("10001", f"The collateral switch of {command.coin} cannot be set")
    changed = replace(table, enabled=command.enabled)
    state.tables = replace(state.tables, collateral={**state.tables.collateral, command.coin: changed})
    return _DONE


def _no_order(state: State, key: InstrumentId) -> Reply:
    if state.instrument(key).kind is InstrumentKind.SPOT:
        return refuse("170213", "Order does not exist.")
    return refuse("110001", "order not exists or too late to cancel")
