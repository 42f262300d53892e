"""Orders and executions of Bybit v5 as values, and our requests as its items. Pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import zip_longest

from exchanges.bybit import codes
from exchanges.bybit.symbols import to_id, to_venue
from exchanges.errors import unreadable
from exchanges.fields import Row, boolean, decimal, decimal_or_none, integer, rows, text
from portfolio.core.decimals import plain
from portfolio.core.errors import Effect
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import ClientOrderId, Coin, VenueOrderId
from portfolio.core.orders import (
    Accepted,
    CancelRequest,
    Fill,
    OrderRequest,
    OrderState,
    OrderStatus,
    Outcome,
    Rejected,
    Side,
    TimeInForce,
    Unknown,
)
from portfolio.core.venue_check import VenueCheck

MS_NS = 1_000_000

_SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}
_STATUSES = {
    "New": OrderStatus.WORKING,
    "PartiallyFilled": OrderStatus.WORKING,
    "Untriggered": OrderStatus.WORKING,
    "Triggered": OrderStatus.WORKING,
    "Filled": OrderStatus.FILLED,
    "Cancelled": OrderStatus.CANCELLED,
    "PartiallyFilledCanceled": OrderStatus.CANCELLED,
    "Deactivated": OrderStatus.CANCELLED,
    "Rejected": OrderStatus.REJECTED,
}
_TIME_IN_FORCE = {
    TimeInForce.GTC: "GTC",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
    TimeInForce.POST_ONLY: "PostOnly",
}
#: Executions that move coins or a position.
_TRADES = frozenset({"Trade", "AdlTrade", "BustTrade", "BlockTrade", "MovePosition"})
#: Executions that only move cash: the transaction log tells them.
_CASH = frozenset({"Funding"})


def order_item(order: OrderRequest) -> dict[str, object]:
    """The create item of one order. Optional fields that have the venue's default are left out."""
    kind, symbol = to_venue(order.instrument_id)
    item: dict[str, object] = {
        "symbol": symbol,
        "side": "Buy" if order.side is Side.BUY else "Sell",
        "orderType": "Market" if order.limit_price is None else "Limit",
        "qty": plain(order.quantity),
        "orderLinkId": order.client_order_id,
    }
    if order.limit_price is not None:
        item["price"] = plain(order.limit_price)
        item["timeInForce"] = _TIME_IN_FORCE[order.time_in_force]
    if kind is InstrumentKind.SPOT:
        item["isLeverage"] = 1 if order.borrow else 0
        if order.limit_price is None:
            # Without it a market buy would read its quantity in the quote coin.
            item["marketUnit"] = "baseCoin"
    else:
        item["positionIdx"] = 0
        item["reduceOnly"] = order.reduce_only
    return item


def pre_check(row: Row) -> VenueCheck:
    """order/pre-check: whole numbers of 1e-4."""
    im_before, mm_before, im_after, mm_after = (
        Decimal(integer(row, name)).scaleb(-4) for name in ("preImrE4", "preMmrE4", "postImrE4", "postMmrE4")
    )
    return VenueCheck(im_before, mm_before, im_after, mm_after)


def cancel_item(cancel: CancelRequest) -> dict[str, object]:
    """The cancel item of one order, by our id."""
    return {"symbol": to_venue(cancel.instrument_id)[1], "orderLinkId": cancel.client_order_id}


def order_state(category: str, row: Row) -> OrderState:
    """One order of realtime, history or the order topic."""
    status = text(row, "orderStatus")
    if status not in _STATUSES:
        raise unreadable("order", "orderStatus", status)
    kind = text(row, "orderType")
    if kind not in ("Market", "Limit"):
        raise unreadable("order", "orderType", kind)
    filled = decimal(row, "cumExecQty")
    reason = text(row, "rejectReason")
    return OrderState(
        client_order_id=ClientOrderId(text(row, "orderLinkId")),
        venue_order_id=VenueOrderId(text(row, "orderId")),
        instrument_id=to_id(category, text(row, "symbol")),
        side=_side(row),
        quantity=decimal(row, "qty"),
        limit_price=decimal(row, "price") if kind == "Limit" else None,
        filled=filled,
        average_price=decimal_or_none(row, "avgPrice") if filled else None,
        status=_STATUSES[status],
        reduce_only=boolean(row, "reduceOnly"),
        # A cancel that lost the race against a fill leaves a reason on an order that was filled.
        reject_reason=None if reason in ("", "EC_NoError") or status == "Filled" else reason,
    )


def fill(category: str, row: Row) -> Fill | None:
    """One execution; None for those that only move cash.

    Raises:
        VenueError: an execution type that is not known here.
    """
    kind = text(row, "execType")
    if kind in _CASH:
        return None
    if kind not in _TRADES:
        raise unreadable("execution", "execType", kind)
    return Fill(
        fill_id=text(row, "execId"),
        client_order_id=ClientOrderId(text(row, "orderLinkId")),
        venue_order_id=VenueOrderId(text(row, "orderId")),
        instrument_id=to_id(category, text(row, "symbol")),
        side=_side(row),
        quantity=decimal(row, "execQty"),
        price=decimal(row, "execPrice"),
        fee=decimal(row, "execFee"),
        fee_coin=_fee_coin(category, row),
        maker=boolean(row, "isMaker"),
        event_market_ns=integer(row, "execTime") * MS_NS,
    )


def _fee_coin(category: str, row: Row) -> Coin:
    named = row.get("feeCurrency", "")
    if isinstance(named, str) and named:
        return Coin(named)
    # Seen empty or absent on linear executions, whose fees are always in the settlement coin.
    if category == "linear" and text(row, "symbol").endswith("USDT"):
        return Coin("USDT")
    raise unreadable("execution", "feeCurrency", named)


def _side(row: Row) -> Side:
    word = text(row, "side")
    if word not in _SIDES:
        raise unreadable("order", "side", word)
    return _SIDES[word]


def batch_outcomes(result: Row, extra: Row, links: Sequence[str]) -> tuple[Outcome, ...]:
    """What a batch answer (retCode 0) says of each item, in the order sent.

    `result.list` carries the ids and `extra.list` the codes, row by row. Whatever does not line up with what
    was sent is unknown: an answer about another order proves nothing about ours.
    """
    ids = rows(result, "list") if "list" in result else ()
    verdicts = rows(extra, "list") if "list" in extra else ()
    return tuple(
        _item_outcome(named, verdict, link)
        for link, named, verdict in list(zip_longest(links, ids, verdicts))[: len(links)]
    )


def _item_outcome(named: Row | None, verdict: Row | None, link: str) -> Outcome:
    if named is None or verdict is None:
        return Unknown("The venue's answer lacks this item.")
    code, message = str(verdict.get("code")), str(verdict.get("msg"))
    if code == codes.OK:
        order_id = text(named, "orderId")
        if not order_id or text(named, "orderLinkId") != link:
            return Unknown("The venue's answer names another order.")
        return Accepted(VenueOrderId(order_id))
    if codes.effect_of_item(code) is Effect.REJECTED:
        return Rejected(code, message)
    return Unknown(f"{code}: {message}")


def order_rows(frame: Mapping[str, object]) -> tuple[tuple[str, Row], ...]:
    """Rows of an order, execution or position frame that concern what we trade, with their category."""
    found: list[tuple[str, Row]] = []
    for row in rows(frame, "data"):
        category = text(row, "category")
        if category in ("spot", "linear"):
            found.append((category, row))
        elif category not in ("inverse", "option"):
            raise unreadable("frame", "category", category)
    return tuple(found)
