"""Parameters of the wire as commands of the core."""

from exchanges.paper.bybit.wire import Call, Refusal
from exchanges.paper.commands import (
    AmendOrder,
    Borrow,
    CancelAll,
    CancelOrder,
    PlaceOrder,
    Repay,
    SetCollateralSwitch,
    SetLeverage,
    SetSpotLeverage,
)
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import Coin
from portfolio.core.orders import Side, TimeInForce

_SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}
_FORCES = {
    "GTC": TimeInForce.GTC,
    "IOC": TimeInForce.IOC,
    "FOK": TimeInForce.FOK,
    "PostOnly": TimeInForce.POST_ONLY,
}


def create(call: Call) -> PlaceOrder:
    """order/create, or one item of create-batch."""
    name = call.instrument()
    spot = call.kind() is InstrumentKind.SPOT
    side = _SIDES.get(call.text("side"))
    if side is None:
        raise Refusal("10001", "Side invalid")
    kind = call.text("orderType")
    if kind not in ("Limit", "Market"):
        raise Refusal("10001", "OrderType invalid")
    force = _FORCES.get(call.text("timeInForce", "GTC"))
    if force is None:
        raise Refusal("10001", "timeInForce invalid")
    if call.integer("positionIdx", 0) != 0:
        raise Refusal("10001", "position idx not match position mode")
    market = kind == "Market"
    unit = call.text("marketUnit", "quoteCoin" if side is Side.BUY else "baseCoin")
    return PlaceOrder(
        order_link_id=call.text("orderLinkId", ""),
        instrument_id=name,
        side=side,
        quantity=call.number("qty"),
        price=None if market else call.number("price"),
        time_in_force=TimeInForce.IOC if market else force,
        reduce_only=call.flag("reduceOnly"),
        borrow=spot and call.flag("isLeverage"),
        quantity_in_quote=spot and market and unit == "quoteCoin",
    )


def cancel(call: Call) -> CancelOrder:
    """order/cancel, or one item of cancel-batch."""
    link, order_id = _ids(call)
    return CancelOrder(call.instrument(), link, order_id)


def amend(call: Call) -> AmendOrder:
    """order/amend, or one item of amend-batch."""
    link, order_id = _ids(call)
    quantity, price = call.number_or_none("qty"), call.number_or_none("price")
    return AmendOrder(call.instrument(), link, order_id, quantity, price)


def cancel_all(call: Call) -> CancelAll:
    """order/cancel-all."""
    symbol = call.text("symbol", "")
    if not symbol and call.kind() is InstrumentKind.PERPETUAL and not call.text("settleCoin", ""):
        call.text("baseCoin")
    return CancelAll(call.kind(), call.instrument() if symbol else None)


def _ids(call: Call) -> tuple[str, str]:
    link, order_id = call.text("orderLinkId", ""), call.text("orderId", "")
    if not link and not order_id:
        raise Refusal("10001", "params error: orderId or orderLinkId is required")
    return link, order_id


def set_leverage(call: Call) -> SetLeverage:
    """position/set-leverage; both sides are equal in one-way mode."""
    if call.number("buyLeverage") != call.number("sellLeverage"):
        raise Refusal("10001", "buy leverage not equal sell leverage")
    return SetLeverage(call.instrument(), call.number("buyLeverage"))


def set_spot_leverage(call: Call) -> SetSpotLeverage:
    """spot-margin-trade/set-leverage."""
    return SetSpotLeverage(call.number("leverage"))


def set_collateral(call: Call) -> SetCollateralSwitch:
    """account/set-collateral-switch."""
    word = call.text("collateralSwitch")
    if word not in ("ON", "OFF"):
        raise Refusal("10001", "params error: collateralSwitch is invalid")
    return SetCollateralSwitch(Coin(call.text("coin")), word == "ON")


def repay(call: Call) -> Repay:
    """account/no-convert-repay."""
    return Repay(Coin(call.text("coin")), call.number_or_none("amount"))


def borrow(call: Call) -> Borrow:
    """account/borrow."""
    return Borrow(Coin(call.text("coin")), call.number("amount"))
