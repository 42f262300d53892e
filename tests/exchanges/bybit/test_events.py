"""The adapter's events over real sockets: a Reset first, a Reset after every Gap, nothing lost in between."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import anyio
import pytest

from portfolio.core.entries import CashBooked
from portfolio.core.errors import VenueError
from portfolio.core.events import (
    BalanceUpdate,
    EndOfData,
    FillUpdate,
    Gap,
    OrderUpdate,
    PositionUpdate,
    RateLimitUpdate,
    Reset,
)
from portfolio.core.market import CoinPrice, FundingOutlook, Mark, Quote
from portfolio.core.orders import OrderStatus, Side
from tests.exchanges.bybit.rig import HOUR_NS, SECOND_NS, connected, order, until
from tests.exchanges.paper.venues import BTC_PERP, SOL_PERP, SOL_SPOT, START, do, venue
from tests.exchanges.paper.venues import order as venue_order

pytestmark = pytest.mark.anyio
QUARTER_S = SECOND_NS // 4


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def ascending(values: Sequence[Decimal]) -> bool:
    return all(low < high for low, high in pairwise(values))


async def test_prices_of_every_instrument_and_coin_arrive() -> None:
    async with connected() as rig, rig.exchange.events() as events:
        known = {one.instrument_id for one in await rig.exchange.instruments()}
        quotes: dict[str, Quote] = {}
        marks: set[str] = set()
        coins: set[str] = set()
        funding: set[str] = set()
        with anyio.fail_after(10):
            async for event in events:
                match event:
                    case Quote():
                        quotes[event.instrument_id] = event
                    case Mark():
                        marks.add(event.instrument_id)
                    case CoinPrice():
                        coins.add(event.coin)
                    case FundingOutlook():
                        funding.add(event.instrument_id)
                if set(quotes) == known and len(marks) == len(funding) == 2 and len(coins) == 3:
                    break
        assert coins == {"BTC", "SOL", "USDT"}
        for quote in quotes.values():
            assert ascending([level.price for level in reversed(quote.bids)])
            assert ascending([level.price for level in quote.asks])
            assert quote.bids[0].price < quote.asks[0].price


async def test_an_order_is_told_before_its_fill_and_its_fill_before_the_position() -> None:
    async with connected() as rig, rig.exchange.events() as events:
        one = order(SOL_PERP, Side.SELL, "3")
        await rig.exchange.place([one], rig.soon())
        seen: list[type] = []
        with anyio.fail_after(10):
            async for event in events:
                if isinstance(event, OrderUpdate | FillUpdate | PositionUpdate):
                    seen.append(type(event))
                if isinstance(event, PositionUpdate):
                    break
        assert seen[0] is OrderUpdate
        assert seen.index(OrderUpdate) < seen.index(FillUpdate) < seen.index(PositionUpdate)


async def test_an_answer_to_an_order_tells_what_is_left_of_its_limit() -> None:
    async with connected() as rig, rig.exchange.events() as events:
        await rig.exchange.place([order(SOL_PERP, Side.BUY, "1", "140") for _ in range(3)], rig.soon())
        limit = await until(events, RateLimitUpdate)
        names = {one.name for one in rig.exchange.traits.rate_limits.values()}
        assert limit.limit_name in names
        assert (limit.limit, limit.remaining) == (10, 7)


async def test_the_venues_own_figures_are_read_again_and_again() -> None:
    async with connected() as rig, rig.exchange.events() as events:
        first = await until(events, BalanceUpdate)
        second = await until(events, BalanceUpdate)
        assert first.figures is not None
        assert second.seen_wire_ns > first.seen_wire_ns


async def test_funding_is_in_the_ledger_with_our_sign_and_is_no_fill() -> None:
    settles = START + 2 * HOUR_NS
    core = venue(uid="12345678")
    do(core, venue_order(SOL_PERP, Side.SELL, "10"))
    async with connected(core, at_ns=settles - QUARTER_S) as rig, rig.exchange.events() as events:
        rows: list[CashBooked] = []
        while not rows:
            await until(events, BalanceUpdate)
            rows = [one for one in await rig.exchange.ledger(settles) if one.kind == "funding"]
        assert [(row.instrument_id, row.event_market_ns) for row in rows] == [(SOL_PERP, settles)]
        assert rows[0].amount > 0  # the rate is positive, so the short side receives
        assert await rig.exchange.fills(settles) == ()


async def test_a_private_socket_that_is_cut_is_a_gap_then_hidden_fills_then_a_reset() -> None:
    async with connected() as rig, rig.exchange.events() as events:
        await until(events, Reset)
        rig.venue.drop("private")
        gap = await until(events, Gap)
        assert gap.stream == "private"
        await rig.exchange.place([order(SOL_PERP, Side.SELL, "4")], rig.soon())
        fills: list[str] = []
        with anyio.fail_after(10):
            async for event in events:
                if isinstance(event, FillUpdate):
                    fills.append(event.fill.fill_id)
                if isinstance(event, Reset) and event.snapshot.positions:
                    break
        assert {fill.fill_id for fill in await rig.exchange.fills(START)} <= set(fills)


async def test_a_public_socket_that_is_cut_is_a_gap_and_prices_come_back() -> None:
    async with connected() as rig, rig.exchange.events() as events:
        await until(events, Reset)
        rig.venue.drop("public")
        gap = await until(events, Gap)
        assert gap.stream.startswith("public.")
        await until(events, Reset)
        fresh = await until(events, Quote, lambda one: one.seen_wire_ns > gap.seen_wire_ns)
        assert fresh.bids


async def test_a_book_with_a_hole_is_a_gap_until_its_new_snapshot() -> None:
    async with connected() as rig, rig.exchange.events() as events:
        await until(events, Quote, lambda one: one.instrument_id == BTC_PERP)
        await rig.control("tear-book", category="linear", symbol="BTCUSDT")
        gap = await until(events, Gap)
        assert (gap.stream, "orderbook.50.BTCUSDT" in gap.reason) == ("public.linear", True)
        await until(events, Reset)
        await until(events, Quote, lambda one: one.instrument_id == BTC_PERP)


async def test_prices_follow_a_shock_and_a_forced_reduction_is_told_as_a_fill_of_nobody() -> None:
    async with connected() as rig, rig.exchange.events() as events:
        await rig.exchange.place([order(SOL_PERP, Side.SELL, "10")], rig.soon())
        await rig.control("shock", multipliers={"SOL": "1.1"})
        mark = await until(
            events, Mark, lambda one: one.instrument_id == SOL_PERP and one.mark_price > Decimal(160)
        )
        assert mark.mark_price < Decimal(170)
        await rig.control("adl", category="linear", symbol="SOLUSDT", fraction="0.5")
        cut = await until(events, FillUpdate, lambda one: one.fill.client_order_id == "")
        assert (cut.fill.side, cut.fill.quantity) == (Side.BUY, Decimal(5))


async def test_a_lowered_collateral_ratio_reaches_the_tables() -> None:
    async with connected() as rig:
        coin = (await rig.exchange.instruments())[0].base
        before = (await rig.exchange.risk_tables()).collateral[coin].tiers[0].ratio
        await rig.control("ratio", coin=coin, shift="-0.05")
        after = (await rig.exchange.risk_tables()).collateral[coin].tiers[0].ratio
        assert after == before - Decimal("0.05")


async def test_a_cancelled_order_is_told_as_such() -> None:
    async with connected() as rig, rig.exchange.events() as events:
        await rig.exchange.place([order(SOL_SPOT, Side.BUY, "1", "149")], rig.soon())
        working = await until(events, OrderUpdate)
        assert working.order.status is OrderStatus.WORKING
        await rig.control("reject", category="spot", symbol="SOLUSDT", code="170131", count=1)
        crossing = order(SOL_PERP, Side.BUY, "1", "152", link="crossing")
        await rig.exchange.place([crossing], rig.soon())
        await until(events, OrderUpdate, lambda one: one.order.client_order_id == "crossing")


async def test_the_end_of_the_history_is_told() -> None:
    core = venue(uid="12345678", hours=3)
    async with connected(core, at_ns=START + 3 * HOUR_NS - QUARTER_S) as rig, rig.exchange.events() as events:
        end = await until(events, EndOfData)
        assert end.market_ns >= START + 3 * HOUR_NS - SECOND_NS


async def test_events_that_cannot_be_had_are_an_error_at_once() -> None:
    async with connected(secret="wrong-secret-0123456789", use_trade_socket=False) as rig:
        with pytest.raises(VenueError):
            async with rig.exchange.events():
                pass
