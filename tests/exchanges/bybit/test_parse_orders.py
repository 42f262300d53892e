"""Orders, executions and batch answers as values; our requests as the venue's items."""

from decimal import Decimal

import pytest

from exchanges.bybit.parse_orders import (
    batch_outcomes,
    cancel_item,
    fill,
    order_item,
    order_state,
    pre_check,
)
from exchanges.bybit.parse_stream import private_events
from exchanges.fields import mapping
from portfolio.core.errors import VenueError
from portfolio.core.events import BalanceUpdate, FillUpdate
from portfolio.core.names import ClientOrderId, InstrumentId, IntentId, PairId, VenueOrderId
from portfolio.core.orders import (
    Accepted,
    CancelRequest,
    OrderClass,
    OrderRequest,
    OrderStatus,
    Rejected,
    Side,
    TimeInForce,
    Unknown,
)
from portfolio.core.venue_check import VenueCheck
from tests.exchanges.bybit.payloads import envelope, first, result

PERPETUAL = InstrumentId("bybit:linear:BTCUSDT")
SPOT = InstrumentId("bybit:spot:BTCUSDT")


def request(
    name: InstrumentId, price: str | None, *, borrow: bool = False, reduce_only: bool = False
) -> OrderRequest:
    return OrderRequest(
        client_order_id=ClientOrderId("c1"),
        instrument_id=name,
        side=Side.BUY,
        quantity=Decimal("0.010"),
        limit_price=None if price is None else Decimal(price),
        time_in_force=TimeInForce.POST_ONLY,
        reduce_only=reduce_only,
        borrow=borrow,
        order_class=OrderClass.ENTRY,
        pair_id=PairId("BTC@bybit"),
        intent_id=IntentId("i1"),
    )


def test_a_perpetual_limit_order_names_mode_and_reduce_only() -> None:
    assert order_item(request(PERPETUAL, "60000.0", reduce_only=True)) == {
        "symbol": "BTCUSDT",
        "side": "Buy",
        "orderType": "Limit",
        "qty": "0.01",
        "price": "60000",
        "timeInForce": "PostOnly",
        "orderLinkId": "c1",
        "positionIdx": 0,
        "reduceOnly": True,
    }


def test_a_spot_market_order_counts_in_base_coins_and_says_whether_it_borrows() -> None:
    assert order_item(request(SPOT, None, borrow=True)) == {
        "symbol": "BTCUSDT",
        "side": "Buy",
        "orderType": "Market",
        "qty": "0.01",
        "orderLinkId": "c1",
        "isLeverage": 1,
        "marketUnit": "baseCoin",
    }
    assert order_item(request(SPOT, "1"))["isLeverage"] == 0


def test_a_cancel_names_only_our_id() -> None:
    assert cancel_item(CancelRequest(ClientOrderId("c1"), SPOT)) == {"symbol": "BTCUSDT", "orderLinkId": "c1"}


def test_a_working_order_is_read_as_sent() -> None:
    order = order_state("linear", first("GetOrders"))
    assert order.status is OrderStatus.WORKING
    assert (order.quantity, order.limit_price, order.filled) == (Decimal("0.10"), Decimal(1600), Decimal(0))
    assert order.average_price is None
    assert order.reject_reason is None


def test_a_post_only_order_that_would_have_crossed_is_cancelled_with_its_reason() -> None:
    order = order_state("linear", first("GetOrderHistory"))
    assert order.status is OrderStatus.CANCELLED
    assert order.reject_reason == "EC_PostOnlyWillTakeLiquidity"


def test_a_fill_that_raced_a_cancel_is_filled_without_a_reason() -> None:
    row = first("GetOrders") | {
        "orderStatus": "Filled",
        "rejectReason": "EC_OrigClOrdIDDoesNotExist",
        "cumExecQty": "0.10",
        "avgPrice": "1599.5",
    }
    order = order_state("linear", row)
    assert (order.status, order.reject_reason) == (OrderStatus.FILLED, None)
    assert order.average_price == Decimal("1599.5")


@pytest.mark.parametrize("change", [{"orderStatus": "Dreaming"}, {"side": ""}, {"orderType": "UNKNOWN"}])
def test_an_order_with_an_unknown_word_is_an_error(change: dict[str, object]) -> None:
    with pytest.raises(VenueError):
        order_state("linear", first("GetOrders") | change)


def execution(**changes: object) -> dict[str, object]:
    return first("GetUserTrades") | {"symbol": "ETHUSDT"} | changes


def test_an_execution_is_a_fill_with_its_fee_coin() -> None:
    one = fill("linear", execution())
    assert one is not None
    assert (one.quantity, one.price, one.fee) == (Decimal("0.1"), Decimal("1190.15"), Decimal("0.071409"))
    assert one.fee_coin == "USDT"
    spot = fill("spot", execution(feeCurrency="ETH"))
    assert spot is not None
    assert spot.fee_coin == "ETH"


def test_funding_is_no_fill_and_an_unknown_execution_type_is_an_error() -> None:
    assert fill("linear", execution(execType="Funding")) is None
    with pytest.raises(VenueError, match="execType"):
        fill("linear", execution(execType="Gift"))


def test_a_spot_fill_without_a_fee_coin_is_an_error_because_it_may_be_either() -> None:
    with pytest.raises(VenueError, match="feeCurrency"):
        fill("spot", execution(feeCurrency=""))


def outcomes(name: str, *links: str) -> tuple[object, ...]:
    body = envelope(name)
    return batch_outcomes(mapping(body, "result"), mapping(body, "retExtInfo"), links)


def test_a_batch_is_read_item_by_item() -> None:
    assert outcomes("PlaceMultipleOrders", "spot-btc-03", "spot-atom-03") == (
        Accepted(VenueOrderId("1666800494330512128")),
        Accepted(VenueOrderId("1666800494330512129")),
    )
    cancelled = outcomes("CancelMultipleOrders", "spot-btc-03", "1666800494330512129")
    assert cancelled == (
        Accepted(VenueOrderId("1666800494330512128")),
        Rejected("170213", "Order does not exist."),
    )


def test_a_batch_answer_that_does_not_line_up_proves_nothing() -> None:
    short = outcomes("PlaceMultipleOrders", "spot-btc-03", "spot-atom-03", "third")
    assert isinstance(short[2], Unknown)
    swapped = outcomes("PlaceMultipleOrders", "spot-atom-03", "spot-btc-03")
    assert all(isinstance(one, Unknown) for one in swapped)
    assert all(isinstance(one, Unknown) for one in batch_outcomes({}, {}, ["a", "b"]))


def test_a_server_error_of_one_item_is_unknown() -> None:
    body = envelope("CancelMultipleOrders")
    extra = {"list": [{"code": 0, "msg": "OK"}, {"code": 10016, "msg": "Server error"}]}
    found = batch_outcomes(mapping(body, "result"), extra, ["spot-btc-03", "1666800494330512129"])
    assert isinstance(found[1], Unknown)


def test_private_frames_become_events_and_other_categories_are_skipped() -> None:
    row = execution(category="linear")
    option = execution(category="option")
    frame = {"topic": "execution", "creationTime": 5, "data": [row, option]}
    events = private_events(frame, 7)
    assert [type(one) for one in events] == [FillUpdate]
    wallet = {"topic": "wallet", "creationTime": 5, "data": [first("GetBalances")]}
    (balance,) = private_events(wallet, 7)
    assert isinstance(balance, BalanceUpdate)
    assert (balance.event_market_ns, balance.seen_wire_ns) == (5_000_000, 7)
    with pytest.raises(VenueError, match="topic"):
        private_events({"topic": "dreams", "creationTime": 5, "data": []}, 7)


def test_the_rates_of_a_pre_check_are_whole_numbers_of_one_ten_thousandth() -> None:
    found = pre_check(result("PreCheckOrder"))
    assert found == VenueCheck(Decimal("0.0030"), Decimal("0.0021"), Decimal("0.0357"), Decimal("0.0294"))
