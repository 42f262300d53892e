"""The adapter against the paper venue's wire, over real sockets: reads and writes."""

from decimal import Decimal

import anyio
import pytest

from exchanges.paper.commands import PlaceOrder
from exchanges.paper.pre_check import PreCheck
from portfolio.core.decimals import ZERO
from portfolio.core.errors import Effect, InputError, VenueError
from portfolio.core.events import FillUpdate, PositionUpdate, Reset
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import ClientOrderId
from portfolio.core.orders import (
    Absent,
    Accepted,
    CancelRequest,
    Found,
    NotKnown,
    NotSent,
    OrderStatus,
    Outcome,
    Rejected,
    Side,
    TimeInForce,
    Unknown,
)
from tests.exchanges.bybit.rig import HOUR_NS, KEY, SECOND_NS, connected, order, until
from tests.exchanges.paper.venues import BTC_PERP, BTC_SPOT, SOL_PERP, SOL_SPOT, START, USDT

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_everything_that_is_read_at_the_start_comes_through_the_wire() -> None:
    async with connected() as rig:
        core = rig.venue.core
        instruments = await rig.exchange.instruments()
        assert {one.instrument_id for one in instruments} == {one.instrument_id for one in core.instruments()}
        for one in instruments:
            sent = core.listing(one.instrument_id).instrument
            assert (one.lot_size, one.tick_size, one.notional_min) == (
                sent.lot_size,
                sent.tick_size,
                sent.notional_min,
            )
            assert one.funding_interval_minutes == sent.funding_interval_minutes
        assert await rig.exchange.listed_coins() == {one.base for one in core.instruments()}
        tables, sent_tables = await rig.exchange.risk_tables(), core.tables(0)
        assert tables.positions == sent_tables.positions
        assert tables.fees == sent_tables.fees
        assert tables.collateral == sent_tables.collateral
        assert tables.borrow == sent_tables.borrow
        credentials = await rig.exchange.credentials()
        assert (credentials.uid, credentials.can_trade, credentials.can_withdraw) == ("12345678", True, False)
        market = await rig.exchange.market()
        assert {quote.instrument_id for quote in market.quotes} == {one.instrument_id for one in instruments}
        assert {price.coin for price in market.coins} == {"BTC", "SOL", "USDT"}
        assert {one.interval_minutes for one in market.funding} == {480, 60}


async def test_settled_funding_comes_with_the_prices_of_its_instants() -> None:
    async with connected(at_ns=START + 9 * HOUR_NS + SECOND_NS) as rig:
        found = await rig.exchange.settlements(SOL_PERP, START + 5 * HOUR_NS)
        assert [one.market_ns for one in found] == [START + hours * HOUR_NS for hours in range(5, 10)]
        assert all(abs(one.perpetual_price - 150) < 1 and abs(one.spot_price - 150) < 1 for one in found)
        assert all(
            one.rate == sent.rate
            for one, sent in zip(
                found, rig.venue.core.settlements(SOL_PERP, START + 5 * HOUR_NS), strict=True
            )
        )


async def test_a_pair_is_entered_and_the_account_shows_it() -> None:
    async with connected() as rig, rig.exchange.events() as events:
        first = await events.receive()
        assert isinstance(first, Reset)
        assert first.snapshot.positions == ()
        short, long = order(SOL_PERP, Side.SELL, "10"), order(SOL_SPOT, Side.BUY, "10")
        outcomes = await rig.exchange.place([short], rig.soon()) + await rig.exchange.place(
            [long], rig.soon()
        )
        assert all(isinstance(one, Accepted) for one in outcomes)
        fill = await until(events, FillUpdate, lambda one: one.fill.instrument_id == SOL_PERP)
        assert fill.fill.client_order_id == short.client_order_id
        position = await until(events, PositionUpdate)
        assert position.position is not None
        assert position.position.quantity == Decimal(-10)
        snapshot = await rig.exchange.snapshot()
        (held,) = snapshot.positions
        assert held.quantity == Decimal(-10)
        sol = next(row for row in snapshot.balances if row.coin == "SOL")
        assert sol.wallet == Decimal("9.99")  # the fee of a spot buy is taken in the coin bought
        sent = rig.venue.core.figures()
        assert abs(snapshot.figures.adjusted_equity / sent.adjusted_equity - 1) < Decimal("1e-3")
        assert {one.instrument_id for one in await rig.exchange.fills(0)} == {SOL_PERP, SOL_SPOT}


async def test_an_order_that_fills_in_part_is_found_with_its_fills_and_cancelled() -> None:
    async with connected() as rig:
        await rig.control("limit-fill", category="linear", symbol="SOLUSDT", share="0.5")
        one = order(SOL_PERP, Side.BUY, "10", "150.5")
        assert isinstance((await rig.exchange.place([one], rig.soon()))[0], Accepted)
        found = await rig.exchange.find(one.client_order_id, SOL_PERP)
        assert isinstance(found, Found)
        assert ZERO < found.order.filled < one.quantity
        assert sum((fill.quantity for fill in found.fills), ZERO) == found.order.filled
        cancel = CancelRequest(one.client_order_id, SOL_PERP)
        (outcome,) = await rig.exchange.cancel([cancel], rig.soon())
        assert isinstance(outcome, Accepted | Rejected)
        (again,) = await rig.exchange.cancel([cancel], rig.soon())
        assert isinstance(again, Rejected)
        assert again.venue_code == "110001"
        after = await rig.exchange.find(one.client_order_id, SOL_PERP)
        assert isinstance(after, Found)
        assert after.order.status.terminal


async def test_a_resting_order_is_in_the_snapshot_until_it_is_cancelled() -> None:
    async with connected() as rig:
        resting = [
            order(BTC_PERP, Side.BUY, "0.01", "55000", tif=TimeInForce.POST_ONLY),
            order(SOL_PERP, Side.BUY, "1", "140", tif=TimeInForce.POST_ONLY),
        ]
        outcomes = await rig.exchange.place(resting, rig.soon())
        assert [type(one) for one in outcomes] == [Accepted, Accepted]
        open_ids = {row.client_order_id for row in (await rig.exchange.snapshot()).orders}
        assert open_ids == {one.client_order_id for one in resting}
        cancels = [CancelRequest(one.client_order_id, one.instrument_id) for one in resting]
        assert all(isinstance(one, Accepted) for one in await rig.exchange.cancel(cancels, rig.soon()))
        assert (await rig.exchange.snapshot()).orders == ()
        found = await rig.exchange.find(resting[0].client_order_id, BTC_PERP)
        assert isinstance(found, Found)
        assert (found.order.status, found.fills) == (OrderStatus.CANCELLED, ())


async def test_an_order_that_was_never_sent_is_absent_up_to_when_the_search_began() -> None:
    async with connected() as rig:
        before = rig.clocks.wire_ns()
        found = await rig.exchange.find(ClientOrderId("never"), SOL_SPOT)
        assert isinstance(found, Absent)
        assert before <= found.covered_until_wire_ns <= rig.clocks.wire_ns()


async def test_a_search_that_cannot_be_answered_says_so() -> None:
    async with connected() as rig:
        await rig.control("faults", faults=[{"on": "order/history", "effect": "http", "status": 502}])
        assert isinstance(await rig.exchange.find(ClientOrderId("never"), SOL_SPOT), NotKnown)


@pytest.mark.parametrize("use_trade_socket", [True, False], ids=["trade socket", "REST"])
async def test_each_item_of_a_batch_has_its_own_outcome(use_trade_socket: bool) -> None:
    async with connected(use_trade_socket=use_trade_socket) as rig:
        good = order(BTC_SPOT, Side.BUY, "0.001", "59000")
        poor = order(BTC_SPOT, Side.BUY, "5", "59900")
        tiny = order(BTC_SPOT, Side.BUY, "0.00001", "59000")
        outcomes = await rig.exchange.place([good, poor, tiny], rig.soon())
        assert isinstance(outcomes[0], Accepted)
        assert isinstance(outcomes[1], Rejected)
        assert isinstance(outcomes[2], Rejected)
        assert (outcomes[1].venue_code, outcomes[2].venue_code) == ("170131", "170140")


async def test_an_id_that_was_used_before_is_looked_up_and_never_called_rejected() -> None:
    async with connected() as rig:
        one = order(SOL_PERP, Side.BUY, "1", "140")
        assert isinstance((await rig.exchange.place([one], rig.soon()))[0], Accepted)
        assert isinstance((await rig.exchange.place([one], rig.soon()))[0], Unknown)
        assert isinstance(await rig.exchange.find(one.client_order_id, SOL_PERP), Found)


@pytest.mark.parametrize("use_trade_socket", [True, False], ids=["trade socket", "REST"])
async def test_a_lost_answer_leaves_an_order_unknown_until_it_is_found(
    use_trade_socket: bool,
) -> None:
    async with connected(use_trade_socket=use_trade_socket) as rig:
        await rig.control("faults", faults=[{"on": "order/create-batch", "effect": "lose_answer"}])
        one = order(SOL_PERP, Side.SELL, "2")
        (outcome,) = await rig.exchange.place([one], rig.soon(200))
        assert isinstance(outcome, Unknown)
        found = await rig.exchange.find(one.client_order_id, SOL_PERP)
        assert isinstance(found, Found)
        assert found.order.filled == Decimal(2)


async def test_a_request_that_is_lost_leaves_an_order_unknown_and_then_absent() -> None:
    async with connected() as rig:
        await rig.control("faults", faults=[{"on": "order/create-batch", "effect": "lose_request"}])
        one = order(SOL_PERP, Side.SELL, "2")
        (outcome,) = await rig.exchange.place([one], rig.soon(200))
        assert isinstance(outcome, Unknown)
        assert isinstance(await rig.exchange.find(one.client_order_id, SOL_PERP), Absent)


async def test_a_trade_socket_that_is_cut_while_an_answer_is_awaited_leaves_the_order_unknown() -> None:
    async with connected() as rig, rig.exchange.events() as events:
        await rig.control("faults", faults=[{"on": "order/create-batch", "effect": "lose_answer"}])
        one = order(SOL_PERP, Side.SELL, "2")
        outcomes: list[Outcome] = []

        async def place() -> None:
            outcomes.extend(await rig.exchange.place([one], rig.soon()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(place)
            await until(events, FillUpdate)
            rig.venue.drop("trade")
        assert isinstance(outcomes[0], Unknown)


async def test_while_the_trade_socket_is_down_orders_go_by_rest() -> None:
    async with connected(ws_trade="ws://127.0.0.1:9/v5/trade") as rig:
        (outcome,) = await rig.exchange.place([order(SOL_PERP, Side.SELL, "2")], rig.soon())
        assert isinstance(outcome, Accepted)
        assert rig.venue.trade == set()


async def test_a_batch_over_the_limit_is_cut_where_the_limit_ends() -> None:
    async with connected() as rig:
        many = [order(SOL_PERP, Side.BUY, "1", "140") for _ in range(14)]
        outcomes = await rig.exchange.place(many, rig.soon())
        assert [type(one) for one in outcomes] == [Accepted] * 10 + [Rejected] * 4
        assert {one.venue_code for one in outcomes if isinstance(one, Rejected)} == {"10006"}


async def test_an_order_after_its_deadline_is_not_sent() -> None:
    async with connected() as rig:
        (outcome,) = await rig.exchange.place([order(SOL_PERP, Side.SELL, "2")], rig.soon(-1))
        assert isinstance(outcome, NotSent)
        assert rig.venue.core.positions() == ()


async def test_an_order_that_arrives_after_its_deadline_is_refused_by_the_venue() -> None:
    async with connected(latency_s=0.4) as rig:
        (outcome,) = await rig.exchange.place([order(SOL_PERP, Side.SELL, "2")], rig.soon(50))
        assert isinstance(outcome, Rejected)
        assert outcome.venue_code == "10002"
        assert rig.venue.core.positions() == ()


async def test_a_batch_of_two_kinds_or_too_many_is_refused_here() -> None:
    async with connected() as rig:
        with pytest.raises(InputError, match="one kind"):
            await rig.exchange.place(
                [order(SOL_PERP, Side.BUY, "1"), order(SOL_SPOT, Side.BUY, "1")], rig.soon()
            )
        most = rig.exchange.traits.batch_max[InstrumentKind.SPOT]
        with pytest.raises(InputError, match="too large"):
            await rig.exchange.place([order(SOL_SPOT, Side.BUY, "1")] * (most + 1), rig.soon())


async def test_a_clock_that_is_off_is_measured_and_a_jump_of_it_refuses_until_measured_again() -> None:
    async with connected() as rig:
        await rig.control("skew", ms=10_000)
        with pytest.raises(VenueError) as caught:
            await rig.exchange.fills(START)
        assert caught.value.venue_code == "10002"
        (outcome,) = await rig.exchange.place([order(SOL_PERP, Side.SELL, "1")], rig.soon())
        assert isinstance(outcome, NotSent)


async def test_a_wrong_secret_opens_nothing_and_is_shown_nowhere() -> None:
    async with connected(secret="wrongsecret0123456789", use_trade_socket=False) as rig:
        with pytest.raises(VenueError) as caught:
            await rig.exchange.snapshot()
        assert (caught.value.venue_code, caught.value.effect) == ("10004", Effect.REJECTED)
        assert "wrongsecret" not in str(caught.value)
        assert KEY.api_key not in str(caught.value)


async def test_borrowed_coins_are_debt_until_they_are_repaid() -> None:
    async with connected(at_ns=START + 2 * HOUR_NS + 600 * SECOND_NS) as rig:
        sold = order(SOL_SPOT, Side.SELL, "20", borrow=True)
        assert isinstance((await rig.exchange.place([sold], rig.soon()))[0], Accepted)
        debt = next(row for row in (await rig.exchange.snapshot()).balances if row.coin == "SOL")
        assert debt.spot_borrow == Decimal(20)
        bought = order(SOL_SPOT, Side.BUY, "25")
        assert isinstance((await rig.exchange.place([bought], rig.soon()))[0], Accepted)
        assert isinstance(await rig.exchange.repay(debt.coin, None, rig.soon()), Accepted)
        after = next(row for row in (await rig.exchange.snapshot()).balances if row.coin == "SOL")
        assert after.spot_borrow == ZERO
        again = await rig.exchange.repay(debt.coin, Decimal(1), rig.soon())
        assert isinstance(again, Rejected | Unknown)


async def test_a_repayment_while_interest_is_booked_is_rejected() -> None:
    async with connected(at_ns=START + 2 * HOUR_NS + 270 * SECOND_NS) as rig:
        outcome = await rig.exchange.repay(USDT, None, rig.soon())
        assert isinstance(outcome, Rejected)
        assert outcome.venue_code == "34022035"


async def test_leverage_is_brought_to_the_policy_and_doing_it_twice_is_fine() -> None:
    async with connected() as rig:
        await rig.exchange.prepare()
        await rig.exchange.prepare()
        assert rig.venue.core.leverage(SOL_PERP) == Decimal(10)
        assert rig.venue.core.spot_leverage == Decimal(10)


async def test_the_venue_says_what_an_order_would_do_and_places_nothing() -> None:
    async with connected() as rig:
        await rig.exchange.place([order(SOL_PERP, Side.SELL, "100")], rig.soon())
        before = rig.venue.core.open_orders() + rig.venue.core.closed_orders()
        found = await rig.exchange.check_order(order(BTC_PERP, Side.SELL, "1"))
        assert found is not None
        sent = rig.venue.core.pre_check(
            PlaceOrder("", BTC_PERP, Side.SELL, Decimal(1), None, TimeInForce.IOC)
        )
        assert isinstance(sent, PreCheck)
        assert found.mm_rate_before > 0
        for ours, theirs in (
            (found.im_rate_before, sent.rates.im_rate_before),
            (found.mm_rate_before, sent.rates.mm_rate_before),
            (found.im_rate_after, sent.rates.im_rate_after),
            (found.mm_rate_after, sent.rates.mm_rate_after),
        ):
            # Cut to four places on the wire.
            assert ours <= theirs < ours + Decimal("0.0001")
        assert rig.venue.core.open_orders() + rig.venue.core.closed_orders() == before


async def test_an_order_that_the_venue_would_refuse_is_an_error_and_spot_has_no_answer() -> None:
    async with connected() as rig:
        assert await rig.exchange.check_order(order(SOL_SPOT, Side.BUY, "1")) is None
        with pytest.raises(VenueError) as refused:
            await rig.exchange.check_order(order(BTC_PERP, Side.SELL, "100"))
        assert (refused.value.effect, refused.value.venue_code) == (Effect.REJECTED, "110007")
