from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal

import anyio
import pytest
import trio
import trio.testing
from anyio.streams.memory import MemoryObjectReceiveStream

from exchanges.memory import MemoryExchange, MemoryOptions
from exchanges.paper.commands import AutoDeleverage, Shock
from exchanges.paper.config import SECOND_NS
from exchanges.paper.core import VenueCore
from exchanges.paper.faults import Disconnect, FaultPlan, NoticeFault, RequestFault, seeded_plan
from exchanges.paper.traits import BYBIT_TRAITS
from portfolio.clocks import LoopClocks, ManualClocks
from portfolio.core.errors import Effect, InputError, VenueError
from portfolio.core.events import (
    BalanceUpdate,
    EndOfData,
    FillUpdate,
    Gap,
    OrderUpdate,
    PositionUpdate,
    RateLimitUpdate,
    Reset,
    VenueEvent,
)
from portfolio.core.instrument import InstrumentKind
from portfolio.core.market import CoinPrice, FundingOutlook, Mark, Quote
from portfolio.core.names import ClientOrderId, InstrumentId, IntentId, PairId
from portfolio.core.orders import (
    Absent,
    Accepted,
    CancelRequest,
    Found,
    NotKnown,
    NotSent,
    OrderClass,
    OrderRequest,
    OrderStatus,
    Rejected,
    Side,
    TimeInForce,
    Unknown,
)
from portfolio.ports import Exchange
from server.simulation import deterministic
from tests.exchanges.paper.venues import BTC, BTC_PERP, BTC_SPOT, SOL_PERP, START, USDT, best, venue

WIRE = 1_700_000_000 * SECOND_NS


@pytest.fixture(
    params=["asyncio", "trio"],
)
def anyio_backend(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, object]]]:
    if request.param == "asyncio":
        yield "asyncio", {}
    else:
        yield "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


def request(
    link: str,
    key: InstrumentId = BTC_PERP,
    side: Side = Side.SELL,
    quantity: str = "0.1",
    price: Decimal | None = None,
    tif: TimeInForce = TimeInForce.IOC,
    borrow: bool = False,
) -> OrderRequest:
    return OrderRequest(
        client_order_id=ClientOrderId(link),
        instrument_id=key,
        side=side,
        quantity=Decimal(quantity),
        limit_price=price,
        time_in_force=tif,
        reduce_only=False,
        borrow=borrow,
        order_class=OrderClass.ENTRY,
        pair_id=PairId("BTC@bybit"),
        intent_id=IntentId("i1"),
    )


def manual(
    core: VenueCore, faults: FaultPlan | None = None, options: MemoryOptions | None = None
) -> tuple[MemoryExchange, ManualClocks]:
    clocks = ManualClocks(wire_ns=WIRE, market_ns=START)
    exchange = MemoryExchange(core, clocks, faults=faults or FaultPlan(), options=options or MemoryOptions())
    return exchange, clocks


def drain(stream: MemoryObjectReceiveStream[VenueEvent]) -> list[VenueEvent]:
    events: list[VenueEvent] = []
    while True:
        try:
            events.append(stream.receive_nowait())
        except anyio.WouldBlock:
            return events


@asynccontextmanager
async def running(exchange: MemoryExchange) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        await tasks.start(exchange.run)
        yield
        tasks.cancel_scope.cancel()


async def test_it_is_an_exchange_and_its_reads_agree_with_the_venue() -> None:
    core = venue()
    exchange, _ = manual(core)
    port: Exchange = exchange
    assert await port.instruments() == core.instruments()
    assert (await port.risk_tables()).seen_wire_ns == WIRE
    assert (await port.credentials()).can_withdraw is False
    snapshot = await port.snapshot()
    assert (snapshot.uid, snapshot.figures.total_equity) == ("u1", Decimal(100000))
    market = await port.market()
    assert len(market.quotes) == 4
    assert len(market.marks) == len(market.funding) == 2
    assert {row.coin for row in market.coins} == {"USDT", "BTC", "SOL"}
    assert await port.ledger(START)
    assert await port.settlements(BTC_PERP, START - 10**18) != ()


async def test_a_placed_order_is_told_filled_and_found() -> None:
    exchange, _ = manual(venue())
    async with exchange.events() as stream:
        assert isinstance(stream.receive_nowait(), Reset)
        (outcome,) = await exchange.place([request("a1")], WIRE + SECOND_NS)
        assert isinstance(outcome, Accepted)
        events = drain(stream)
    kinds = {type(event) for event in events}
    assert {OrderUpdate, FillUpdate, PositionUpdate, BalanceUpdate, RateLimitUpdate} <= kinds
    assert {Quote, Mark, CoinPrice, FundingOutlook} <= kinds
    found = await exchange.find(ClientOrderId("a1"), BTC_PERP)
    assert isinstance(found, Found)
    assert found.order.status is OrderStatus.FILLED
    assert sum(fill.quantity for fill in found.fills) == Decimal("0.1")
    assert await exchange.fills(START) == found.fills


async def test_each_item_of_a_batch_has_its_own_outcome() -> None:
    exchange, _ = manual(venue())
    bad = request("b2", quantity="0.00001")
    outcomes = await exchange.place([request("b1"), bad, request("b1")], WIRE + SECOND_NS)
    assert isinstance(outcomes[0], Accepted)
    assert [row.venue_code for row in outcomes[1:] if isinstance(row, Rejected)] == ["10001", "110072"]


async def test_a_request_after_its_deadline_is_refused_without_effect() -> None:
    core = venue()
    exchange, _ = manual(core)
    (outcome,) = await exchange.place([request("late")], WIRE - 1)
    assert isinstance(outcome, Rejected)
    assert outcome.venue_code == "10002"
    assert core.executions() == ()


async def test_the_rate_limit_counts_items_in_a_rolling_second() -> None:
    exchange, clocks = manual(venue())
    orders = [request(f"r{number}", quantity="0.001", side=Side.BUY) for number in range(12)]
    outcomes = await exchange.place(orders, WIRE + SECOND_NS)
    assert [isinstance(row, Accepted) for row in outcomes] == [True] * 10 + [False] * 2
    assert isinstance(outcomes[-1], Rejected)
    assert outcomes[-1].venue_code == "10006"
    clocks.advance(SECOND_NS - 1)
    (early,) = await exchange.place([request("r20", quantity="0.001")], WIRE + 9 * SECOND_NS)
    assert isinstance(early, Rejected)
    clocks.advance(1)
    (again,) = await exchange.place([request("r21", quantity="0.001")], WIRE + 9 * SECOND_NS)
    assert isinstance(again, Accepted)


async def test_bad_batches_are_errors_of_the_caller() -> None:
    exchange, _ = manual(venue())
    with pytest.raises(InputError):
        await exchange.place([], WIRE)
    with pytest.raises(InputError):
        await exchange.place([request("x"), request("y", BTC_SPOT)], WIRE)
    with pytest.raises(InputError):
        await exchange.place([request(f"s{n}", BTC_SPOT) for n in range(11)], WIRE)
    with pytest.raises(InputError):
        await exchange.place([request("x", InstrumentId("bybit:linear:NOPEUSDT"))], WIRE)


async def test_a_lost_answer_is_unknown_and_the_order_is_found_later() -> None:
    exchange, _ = manual(venue(), FaultPlan(explicit={1: RequestFault.LOST_ANSWER}))
    (outcome,) = await exchange.place([request("lost")], WIRE + SECOND_NS)
    assert isinstance(outcome, Unknown)
    assert isinstance(await exchange.find(ClientOrderId("lost"), BTC_PERP), Found)


async def test_a_refused_connection_is_not_sent() -> None:
    core = venue()
    exchange, _ = manual(core, FaultPlan(explicit={1: RequestFault.NOT_SENT}))
    (outcome,) = await exchange.place([request("no")], WIRE + SECOND_NS)
    assert isinstance(outcome, NotSent)
    assert core.executions() == ()


@pytest.mark.parametrize(("deadline_s", "arrives"), [(2, True), (1, False)])
async def test_a_late_request_arrives_only_before_its_deadline(deadline_s: int, arrives: bool) -> None:
    plan = FaultPlan(explicit={1: RequestFault.LATE}, late_ns=3 * SECOND_NS // 2)
    exchange, clocks = manual(venue(), plan)
    (outcome,) = await exchange.place([request("late")], WIRE + deadline_s * SECOND_NS)
    assert isinstance(outcome, Unknown)
    assert isinstance(await exchange.find(ClientOrderId("late"), BTC_PERP), Absent)
    clocks.advance(3 * SECOND_NS // 2)
    found = await exchange.find(ClientOrderId("late"), BTC_PERP)
    assert isinstance(found, Found) is arrives


async def test_an_order_younger_than_the_visibility_lag_looks_absent_when_it_was_asked_for() -> None:
    exchange, clocks = manual(venue(), options=MemoryOptions(visibility_lag_ns=SECOND_NS))
    await exchange.place([request("young")], WIRE + SECOND_NS)
    clocks.advance(SECOND_NS // 2)
    answer = await exchange.find(ClientOrderId("young"), BTC_PERP)
    assert answer == Absent(covered_until_wire_ns=WIRE + SECOND_NS // 2)
    clocks.advance(SECOND_NS // 2)
    assert isinstance(await exchange.find(ClientOrderId("young"), BTC_PERP), Found)


async def test_planned_refusals_and_partial_fills_happen() -> None:
    plan = FaultPlan(
        explicit={1: RequestFault.REJECT, 2: RequestFault.RATE_LIMIT, 3: RequestFault.PARTIAL_FILL},
        partial_share=Decimal("0.5"),
    )
    exchange, _ = manual(venue(), plan)
    deadline = WIRE + SECOND_NS
    assert isinstance((await exchange.place([request("p1")], deadline))[0], Rejected)
    assert isinstance((await exchange.place([request("p2")], deadline))[0], Rejected)
    assert isinstance((await exchange.place([request("p3")], deadline))[0], Accepted)
    found = await exchange.find(ClientOrderId("p3"), BTC_PERP)
    assert isinstance(found, Found)
    assert found.order.filled == Decimal("0.05")


async def test_failed_reads_raise_and_make_find_say_not_known() -> None:
    exchange, _ = manual(venue(), FaultPlan(reads_failed=Decimal(1)))
    with pytest.raises(VenueError):
        await exchange.snapshot()
    assert isinstance(await exchange.find(ClientOrderId("x"), BTC_PERP), NotKnown)


async def test_cancel_ends_a_resting_order_and_refuses_a_finished_one() -> None:
    core = venue()
    exchange, _ = manual(core)
    price = best(core, BTC_PERP, Side.SELL) + 100
    await exchange.place([request("rest", price=price, tif=TimeInForce.POST_ONLY)], WIRE + SECOND_NS)
    cancel = CancelRequest(ClientOrderId("rest"), BTC_PERP)
    assert isinstance((await exchange.cancel([cancel], WIRE + SECOND_NS))[0], Accepted)
    (again,) = await exchange.cancel([cancel], WIRE + SECOND_NS)
    assert isinstance(again, Rejected)
    found = await exchange.find(ClientOrderId("rest"), BTC_PERP)
    assert isinstance(found, Found)
    assert found.order.status is OrderStatus.CANCELLED


async def test_repay_pays_once_a_second_and_says_how_it_went() -> None:
    core = venue(usdt="20000")
    exchange, clocks = manual(core)
    spot = request("buy", BTC_SPOT, Side.BUY, "0.5", borrow=True)
    assert isinstance((await exchange.place([spot], WIRE + SECOND_NS))[0], Accepted)
    sold = request("sell", BTC_SPOT, Side.SELL, "0.2")
    assert isinstance((await exchange.place([sold], WIRE + SECOND_NS))[0], Accepted)
    assert isinstance(await exchange.repay(USDT, None, WIRE + SECOND_NS), Accepted)
    limited = await exchange.repay(USDT, None, WIRE + SECOND_NS)
    assert isinstance(limited, Rejected)
    assert limited.venue_code == "10006"
    clocks.advance(SECOND_NS)
    nothing = await exchange.repay(BTC, None, WIRE + 2 * SECOND_NS)
    assert isinstance(nothing, Rejected)
    assert nothing.venue_code == "176016"


async def test_duplicated_and_swapped_notices_lose_nothing() -> None:
    plan = FaultPlan(
        seed=3, notices={NoticeFault.DUPLICATE: Decimal("0.4"), NoticeFault.REORDER: Decimal("0.4")}
    )
    exchange, _ = manual(venue(), plan)
    async with exchange.events() as stream:
        for number in range(10):
            await exchange.place([request(f"n{number}", quantity="0.01")], WIRE + SECOND_NS)
        events = drain(stream)
    fills = [event.fill.fill_id for event in events if isinstance(event, FillUpdate)]
    assert len(set(fills)) == 10
    assert len(fills) > 10


async def test_a_disconnect_says_gap_keeps_silent_and_comes_back_with_a_reset() -> None:
    plan = FaultPlan(disconnects=(Disconnect(SECOND_NS, 5 * SECOND_NS),))
    exchange, clocks = manual(venue(), plan)
    async with exchange.events() as stream:
        drain(stream)
        clocks.advance(SECOND_NS)
        exchange.pump()
        assert [type(event) for event in drain(stream)] == [Gap]
        await exchange.place([request("dark")], clocks.wire_ns() + SECOND_NS)
        assert drain(stream) == []
        clocks.advance(5 * SECOND_NS)
        exchange.pump()
        reset, *_ = drain(stream)
    assert isinstance(reset, Reset)
    assert [row.instrument_id for row in reset.snapshot.positions] == [BTC_PERP]


async def test_a_listener_that_does_not_read_gets_a_gap_and_a_reset_instead() -> None:
    exchange, clocks = manual(venue(), options=MemoryOptions(buffer_max=8))
    async with exchange.events() as stream:
        for _ in range(5):
            clocks.advance(SECOND_NS)
            exchange.pump()
        first = drain(stream)
        assert len(first) == 8
        exchange.pump()
        gap, reset, *_ = drain(stream)
    assert isinstance(gap, Gap)
    assert isinstance(reset, Reset)


async def test_a_reader_that_left_disturbs_nobody() -> None:
    exchange, clocks = manual(venue())
    async with exchange.events() as gone, exchange.events() as stays:
        gone.close()
        drain(stays)
        clocks.advance(SECOND_NS)
        exchange.pump()
        assert drain(stays)


async def test_the_operators_hand_is_felt_at_once() -> None:
    exchange, _ = manual(venue())
    await exchange.place([request("h1", quantity="1")], WIRE + SECOND_NS)
    async with exchange.events() as stream:
        drain(stream)
        assert exchange.command(AutoDeleverage(BTC_PERP, Decimal(1))).ok
        events = drain(stream)
    fills = [event.fill for event in events if isinstance(event, FillUpdate)]
    assert [(fill.client_order_id, fill.fee) for fill in fills] == [(ClientOrderId(""), Decimal(0))]
    assert any(isinstance(event, PositionUpdate) and event.position is None for event in events)


async def test_the_market_runs_by_itself_and_says_when_the_data_ends(anyio_backend_name: str) -> None:
    # A whole hour of market passes in about 50 ms of wire time, so that real clocks need no patience.
    clocks = LoopClocks(start_wire_ns=WIRE, start_market_ns=START, speed=72_000)
    options = MemoryOptions(tick_ns=SECOND_NS // 100, market_speed=Decimal(72_000), buffer_max=100_000)
    exchange = MemoryExchange(venue(hours=1), clocks, options=options)
    async with exchange.events() as stream, running(exchange):
        with anyio.fail_after(30):
            async for event in stream:
                if isinstance(event, EndOfData):
                    break
    assert exchange.core.ended


async def test_latency_delays_answers_and_events(anyio_backend_name: str) -> None:
    clocks = LoopClocks(start_wire_ns=WIRE, start_market_ns=START)
    options = MemoryOptions(latency_ns=SECOND_NS // 50, tick_ns=SECOND_NS // 200)
    exchange = MemoryExchange(venue(), clocks, options=options)
    async with exchange.events() as stream, running(exchange):
        sent = clocks.wire_ns()
        (outcome,) = await exchange.place([request("slow")], sent + 2 * SECOND_NS)
        assert isinstance(outcome, Accepted)
        assert clocks.wire_ns() - sent >= SECOND_NS // 50 - 1000
        with anyio.fail_after(10):
            async for event in stream:
                if isinstance(event, FillUpdate):
                    break


async def test_a_deadline_that_passes_on_the_way_is_the_venues_refusal(anyio_backend_name: str) -> None:
    clocks = LoopClocks(start_wire_ns=WIRE, start_market_ns=START)
    exchange = MemoryExchange(venue(), clocks, options=MemoryOptions(latency_ns=SECOND_NS // 25))
    (outcome,) = await exchange.place([request("slow")], clocks.wire_ns() + SECOND_NS // 100)
    assert isinstance(outcome, Rejected)
    assert exchange.core.executions() == ()


def trace(seed: int) -> list[object]:
    """Ten minutes of trouble under trio's virtual clock, everything heard and answered."""
    heard: list[object] = []

    async def day() -> None:
        clocks = LoopClocks(start_wire_ns=WIRE, start_market_ns=START)
        core = venue(seed=seed)
        plan = seeded_plan(seed, core.instruments(), 600 * SECOND_NS)
        options = MemoryOptions(latency_ns=SECOND_NS // 20, visibility_lag_ns=SECOND_NS)
        exchange = MemoryExchange(core, clocks, faults=plan, options=options)

        hear = heard.append

        async def listen() -> None:
            async with exchange.events() as stream:
                async for event in stream:
                    hear(event)

        async with anyio.create_task_group() as tasks:
            await tasks.start(exchange.run)
            tasks.start_soon(listen)
            for number in range(60):
                await anyio.sleep(10)
                key = (BTC_PERP, SOL_PERP)[number % 2]
                deadline = clocks.wire_ns() + 2 * SECOND_NS
                heard.extend(await exchange.place([request(f"z{number}", key)], deadline))
            exchange.command(Shock({BTC: Decimal("0.95")}))
            tasks.cancel_scope.cancel()

    deterministic.run(day, seed=seed)
    return heard


def test_the_same_seed_gives_the_same_trace_with_every_fault() -> None:
    first = trace(11)
    assert first == trace(11)
    assert any(isinstance(row, Unknown) for row in first)
    assert any(isinstance(row, Gap) for row in first)
    assert first != trace(12)


def test_limits_are_per_kind() -> None:
    limits = BYBIT_TRAITS.rate_limits
    assert limits[("place", InstrumentKind.PERPETUAL)].count == 10
    assert limits[("cancel", InstrumentKind.SPOT)].count == 20


async def test_the_venue_is_asked_what_an_order_would_do() -> None:
    core = venue()
    exchange, _ = manual(core)
    found = await exchange.check_order(request("q1", BTC_PERP, Side.SELL, "1"))
    assert found is not None
    assert found.mm_rate_before == 0 < found.mm_rate_after < found.im_rate_after
    assert core.open_orders() + core.closed_orders() == ()
    assert await exchange.check_order(request("q2", BTC_SPOT, Side.BUY)) is None
    with pytest.raises(VenueError) as refused:
        await exchange.check_order(request("q3", BTC_PERP, Side.SELL, "100"))
    assert refused.value.effect is Effect.REJECTED
