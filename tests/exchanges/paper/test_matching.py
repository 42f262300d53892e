from decimal import Decimal

import pytest

from exchanges.paper.commands import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    FreezeBook,
    LimitNextFill,
    RejectNext,
    Shock,
)
from exchanges.paper.rows import ExecutionNotice, OrderNotice, VenueOrderStatus
from portfolio.core.instrument import InstrumentKind
from portfolio.core.orders import Side, TimeInForce
from tests.exchanges.paper.venues import (
    BTC,
    BTC_PERP,
    BTC_SPOT,
    SOL_PERP,
    best,
    do,
    order,
    refused,
    run,
    venue,
    wallet,
)

Status = VenueOrderStatus


def test_a_market_order_walks_the_levels_it_needs_and_pays_their_prices() -> None:
    core = venue(usdt="5000000")
    asks = core.book(BTC_PERP).asks
    quantity = asks[0].quantity + asks[1].quantity + Decimal("0.001")
    done = do(core, order(BTC_PERP, Side.BUY, str(quantity)))
    assert done.status is Status.FILLED
    fills = [row for row in core.executions() if row.order_id == done.order_id]
    assert [(row.price, row.quantity) for row in fills] == [
        (asks[0].price, asks[0].quantity),
        (asks[1].price, asks[1].quantity),
        (asks[2].price, Decimal("0.001")),
    ]


def test_the_next_taker_finds_less_until_a_second_has_passed() -> None:
    core = venue(usdt="5000000")
    first = core.book(BTC_PERP).asks[0]
    do(core, order(BTC_PERP, Side.BUY, str(first.quantity)))
    assert core.book(BTC_PERP).asks[0].price > first.price
    run(core, seconds=1)
    assert core.book(BTC_PERP).asks[0].quantity == first.quantity


def test_an_ioc_order_fills_what_it_can_and_drops_the_rest() -> None:
    core = venue(usdt="5000000")
    ask = core.book(BTC_PERP).asks[0]
    done = do(core, order(BTC_PERP, Side.BUY, str(ask.quantity + 1), ask.price, tif=TimeInForce.IOC))
    assert (done.status, done.filled) == (Status.CANCELLED, ask.quantity)


def test_a_spot_ioc_rest_ends_as_partially_filled_cancelled() -> None:
    core = venue(usdt="5000000")
    ask = core.book(BTC_SPOT).asks[0]
    done = do(core, order(BTC_SPOT, Side.BUY, str(ask.quantity + 1), ask.price, tif=TimeInForce.IOC))
    assert (done.status, done.filled) == (Status.PARTIALLY_FILLED_CANCELLED, ask.quantity)
    assert done.locked == 0


def test_a_fok_order_that_cannot_fill_whole_fills_nothing() -> None:
    core = venue(usdt="5000000")
    ask = core.book(BTC_PERP).asks[0]
    done = do(core, order(BTC_PERP, Side.BUY, str(ask.quantity + 1), ask.price, tif=TimeInForce.FOK))
    assert (done.status, done.filled) == (Status.CANCELLED, Decimal(0))
    whole = do(core, order(BTC_PERP, Side.BUY, str(ask.quantity), ask.price, tif=TimeInForce.FOK))
    assert whole.status is Status.FILLED


def test_a_post_only_order_that_would_take_is_accepted_and_then_cancelled() -> None:
    core = venue()
    done = do(
        core, order(BTC_PERP, Side.BUY, "0.1", best(core, BTC_PERP, Side.SELL), tif=TimeInForce.POST_ONLY)
    )
    assert done.status is Status.CANCELLED
    assert done.reject_reason == "EC_PostOnlyWillTakeLiquidity"
    told = [notice.order.status for notice in core.advance(core.now_ns) if isinstance(notice, OrderNotice)]
    assert told == [Status.NEW, Status.CANCELLED]


def test_a_post_only_order_at_the_best_price_fills_as_maker_from_the_flow() -> None:
    core = venue()
    done = do(
        core, order(BTC_PERP, Side.SELL, "0.2", best(core, BTC_PERP, Side.SELL), tif=TimeInForce.POST_ONLY)
    )
    assert done.status is Status.NEW
    notices = run(core, seconds=120)
    fills = [notice.execution for notice in notices if isinstance(notice, ExecutionNotice)]
    assert sum(fill.quantity for fill in fills) == Decimal("0.2")
    assert all(fill.maker and fill.price == done.price for fill in fills)
    assert sum(fill.fee for fill in fills) == Decimal("0.2") * done.price * Decimal("0.0002")


def test_a_large_resting_order_fills_in_parts() -> None:
    core = venue(usdt="100000000")
    done = do(
        core, order(BTC_PERP, Side.SELL, "400", best(core, BTC_PERP, Side.SELL), tif=TimeInForce.POST_ONLY)
    )
    fills = [notice for notice in run(core, seconds=300) if isinstance(notice, ExecutionNotice)]
    now = core.order(BTC_PERP, order_id=done.order_id)
    assert now is not None
    assert len(fills) > 1
    assert 0 < now.filled < 400
    assert now.status is Status.PARTIALLY_FILLED


def test_an_order_far_from_the_market_waits_until_the_price_comes() -> None:
    core = venue()
    done = do(core, order(BTC_PERP, Side.BUY, "0.1", "59500"))
    run(core, seconds=300)
    assert core.order(BTC_PERP, order_id=done.order_id) == done
    core.handle(Shock({BTC: Decimal("0.98")}), core.now_ns)
    run(core, seconds=10)
    now = core.order(BTC_PERP, order_id=done.order_id)
    assert now is not None
    assert (now.status, now.average_price) == (Status.FILLED, Decimal(59500))


def test_a_perpetual_limit_beyond_the_band_is_repriced_and_a_spot_one_refused() -> None:
    core = venue()
    done = do(core, order(BTC_PERP, Side.SELL, "0.1", "30000"))
    assert done.price == Decimal(59400)
    assert refused(core, order(BTC_SPOT, Side.BUY, "0.1", "90000")).code == "170193"
    assert refused(core, order(BTC_SPOT, Side.SELL, "0.1", "30000")).code == "170194"


@pytest.mark.parametrize(
    ("quantity", "price", "code"),
    [
        ("0.0001", "60000", "10001"),
        ("0.0015", "60000", "10001"),
        ("0.001", "60000.05", "10001"),
        ("0.001", "4000", "110094"),
        ("1200", "60000", "10001"),
        ("0.001", "-1", "110094"),
    ],
)
def test_a_bad_perpetual_size_or_price_is_refused_with_the_venues_code(
    quantity: str, price: str, code: str
) -> None:
    assert refused(venue(), order(BTC_PERP, Side.BUY, quantity, price)).code == code


@pytest.mark.parametrize(
    ("quantity", "price", "code"),
    [
        ("0.0000001", "60000", "170136"),
        ("0.0010001", "60000", "170137"),
        ("0.00001", "60000", "170140"),
        ("0.01", "60000.001", "170134"),
        ("84", "60000", "170124"),
        ("10", "60000", "170131"),
    ],
)
def test_a_bad_spot_size_or_price_is_refused_with_the_venues_code(
    quantity: str, price: str, code: str
) -> None:
    assert refused(venue(), order(BTC_SPOT, Side.BUY, quantity, price)).code == code


def test_a_client_id_works_once_for_ever_and_per_kind() -> None:
    core = venue()
    do(core, order(BTC_PERP, Side.BUY, "0.1", link="same"))
    run(core, hours=20)
    assert refused(core, order(BTC_PERP, Side.BUY, "0.1", link="same")).code == "110072"
    do(core, order(BTC_SPOT, Side.BUY, "0.1", link="same"))
    assert refused(core, order(BTC_SPOT, Side.BUY, "0.1", link="same")).code == "170141"
    assert refused(core, order(BTC_PERP, Side.BUY, "0.1", link="a b")).code == "10001"


def test_reduce_only_needs_something_to_reduce_and_never_flips() -> None:
    core = venue()
    assert refused(core, order(BTC_PERP, Side.SELL, "0.1", reduce_only=True)).code == "110017"
    do(core, order(BTC_PERP, Side.BUY, "0.3"))
    assert refused(core, order(BTC_PERP, Side.BUY, "0.1", reduce_only=True)).code == "110017"
    done = do(core, order(BTC_PERP, Side.SELL, "1", reduce_only=True))
    assert (done.filled, done.status, done.cancel_type) == (
        Decimal("0.3"),
        Status.CANCELLED,
        "CancelByReduceOnly",
    )
    assert core.positions() == ()


def test_a_resting_reduce_only_order_ends_when_its_position_is_gone() -> None:
    core = venue()
    do(core, order(BTC_PERP, Side.BUY, "0.3"))
    resting = do(core, order(BTC_PERP, Side.SELL, "0.3", "60500", reduce_only=True))
    do(core, order(BTC_PERP, Side.SELL, "0.3", reduce_only=True))
    run(core, seconds=6)
    now = core.order(BTC_PERP, order_id=resting.order_id)
    assert now is not None
    assert (now.status, now.cancel_type) == (Status.CANCELLED, "CancelByReduceOnly")


def test_a_spot_market_buy_in_quote_coins_spends_no_more_than_asked() -> None:
    core = venue()
    done = do(core, order(BTC_SPOT, Side.BUY, "6000", in_quote=True))
    assert Decimal(5999) < done.filled_quote <= Decimal(6000)


def test_a_spot_market_buy_of_everything_never_makes_debt() -> None:
    core = venue(usdt="600000")
    ask = best(core, BTC_SPOT, Side.SELL)
    quantity = (Decimal(600000) / ask).quantize(Decimal("0.000001")) - Decimal("0.000001")
    do(core, order(BTC_SPOT, Side.BUY, str(quantity)))
    assert wallet(core, core.coins()[0].balance.coin) >= 0


def test_cancel_ends_a_working_order_once() -> None:
    core = venue()
    done = do(core, order(BTC_PERP, Side.BUY, "0.1", "59500", link="c1"))
    assert core.handle(CancelOrder(BTC_PERP, order_link_id="c1"), core.now_ns).ok
    assert core.handle(CancelOrder(BTC_PERP, order_id=done.order_id), core.now_ns).code == "110001"
    assert core.handle(CancelOrder(BTC_SPOT, order_link_id="c1"), core.now_ns).code == "170213"


def test_cancel_all_takes_one_kind_or_one_instrument() -> None:
    core = venue()
    for key, price in ((BTC_PERP, "59500"), (SOL_PERP, "149"), (BTC_SPOT, "59500")):
        do(core, order(key, Side.BUY, "0.1", price))
    assert len(core.handle(CancelAll(InstrumentKind.PERPETUAL, SOL_PERP), core.now_ns).cancelled) == 1
    assert len(core.handle(CancelAll(InstrumentKind.PERPETUAL), core.now_ns).cancelled) == 1
    assert [row.instrument_id for row in core.open_orders()] == [BTC_SPOT]


def test_an_amended_order_can_cross_and_keeps_its_id() -> None:
    core = venue()
    done = do(core, order(BTC_PERP, Side.BUY, "0.1", "59500"))
    reply = core.handle(
        AmendOrder(BTC_PERP, order_id=done.order_id, quantity=Decimal("0.2"), price=Decimal(60100)),
        core.now_ns,
    )
    assert reply.ok
    now = core.order(BTC_PERP, order_id=done.order_id)
    assert now is not None
    assert (now.status, now.filled) == (Status.FILLED, Decimal("0.2"))
    assert (
        core.handle(AmendOrder(BTC_PERP, order_id=done.order_id, price=Decimal(1)), core.now_ns).code
        == "110001"
    )


def test_planned_trouble_limits_a_fill_refuses_an_order_and_freezes_the_shown_book() -> None:
    core = venue()
    core.handle(LimitNextFill(BTC_PERP, Decimal("0.5")), core.now_ns)
    assert do(core, order(BTC_PERP, Side.BUY, "0.2")).filled == Decimal("0.1")
    core.handle(RejectNext(BTC_PERP, "110007", "planned"), core.now_ns)
    assert core.handle(order(BTC_PERP, Side.BUY, "0.2"), core.now_ns).code == "110007"
    core.handle(FreezeBook(BTC_PERP, 10 * 10**9), core.now_ns)
    shown = core.book(BTC_PERP)
    run(core, seconds=9)
    assert core.book(BTC_PERP) == shown
    run(core, seconds=2)
    assert core.book(BTC_PERP) != shown
