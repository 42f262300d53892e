"""The bookkeeper on a real venue core whose streams stutter, lie in order, break and fall silent."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from exchanges.paper.commands import CancelOrder, ChangeTables, PlaceOrder, Transfer
from exchanges.paper.config import SECOND_NS
from exchanges.paper.faults import Disconnect, FaultPlan, NoticeFault, RequestFault
from portfolio.booking import ORPHAN_FILL
from portfolio.core.account import AccountSnapshot
from portfolio.core.entries import CashBooked, Noted, TablesChanged, TreasuryAdopted
from portfolio.core.errors import UnknownNameError, VenueError
from portfolio.core.events import EndOfData, FillUpdate, OrderUpdate
from portfolio.core.names import ClientOrderId, Coin
from portfolio.core.orders import Accepted, NotSent, OrderStatus, Side, TimeInForce, Unknown
from portfolio.core.risk import FeeRates
from tests.portfolio.rig import Rig, Settings, World, desk, pair_id, perpetual, spot, world

pytestmark = pytest.mark.anyio


def booked(rig: Rig, kind: type) -> list[object]:
    return [one.entry for one in rig.journal.read() if isinstance(one.entry, kind)]


@pytest.mark.parametrize("fault", NoticeFault)
async def test_stuttering_and_swapped_notices_are_booked_once(fault: NoticeFault) -> None:
    plan = FaultPlan(notices={fault: Decimal(1)})
    async with desk(settings=Settings(faults=plan)) as rig:
        await rig.hold("SOL", "10")
        await rig.hold("ETH", "1")
        truth = sum(row.quantity for row in await rig.exchange.fills(0))
        assert sum(row.fill.quantity for row in rig.journal.fills()) == truth
        for coin in ("SOL", "ETH"):
            held = rig.journal.holdings()[pair_id(coin), perpetual(coin)]
            assert held == rig.venue_position(coin)
        assert rig.journal.freezes() == ()


async def test_the_view_shows_what_was_traded_and_the_treasury() -> None:
    async with world(":memory:", Settings(recovered=False)) as made, made.desk(bookkeeping=False) as rig:
        rig.journal.append([TreasuryAdopted(Coin("SOL"), Decimal(3), "collateral")], 1)
        async with anyio.create_task_group() as group:
            await group.start(rig.bookkeeper.run)
            assert rig.view.treasury == {"SOL": 3}
            assert rig.view.snapshot is not None
            await rig.worker.until_recovered()
            await rig.hold("SOL", "10")
            legs = rig.view.legs(pair_id("SOL"))
            assert legs.short_quantity == 10
            assert legs.long_quantity == Decimal("6.99")
            assert rig.view.tables is not None
            assert rig.view.ages().account_ns is not None
            group.cancel_scope.cancel()


async def test_a_fill_of_nobodys_order_freezes_entries_until_the_operator_lifts_it() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        price = rig.price(perpetual("SOL"), Side.SELL)
        rig.exchange.command(PlaceOrder("byhand", perpetual("SOL"), Side.SELL, Decimal(2), price))
        await anyio.sleep(1)
        (freeze,) = rig.journal.freezes()
        assert (freeze.source, freeze.lifted_by) == (ORPHAN_FILL, "operator")
        (outcome,) = await rig.send(rig.entry("SOL", "1"))
        assert isinstance(outcome, NotSent)
        assert rig.journal.holdings() == {}


async def test_what_happened_while_the_stream_was_down_is_booked_when_it_is_back() -> None:
    plan = FaultPlan(disconnects=(Disconnect(5 * SECOND_NS, 10 * SECOND_NS),))
    async with desk(settings=Settings(faults=plan)) as rig:
        rig.approve(("SOL", "10"))
        await anyio.sleep(6)
        lead = rig.entry("SOL", "10")
        assert isinstance((await rig.send(lead))[0], Accepted)
        rig.exchange.command(
            PlaceOrder("byhand", spot("SOL"), Side.BUY, Decimal(1), rig.price(spot("SOL"), Side.BUY))
        )
        row = await rig.worker.settled(lead.client_order_id, timeout_ns=20 * SECOND_NS)
        assert (row.state, row.filled) == ("closed", Decimal(10))
        await anyio.sleep(15)
        assert [one.source for one in rig.journal.freezes()] == [ORPHAN_FILL], "found by asking for fills"


async def test_an_order_whose_events_got_lost_is_asked_for() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        rig.exchange.mute = (OrderUpdate, FillUpdate)
        lead = rig.entry("SOL", "10")
        await rig.send(lead)
        row = await rig.worker.settled(lead.client_order_id, timeout_ns=20 * SECOND_NS)
        assert (row.state, row.filled) == ("closed", Decimal(10))


async def test_a_terminal_order_whose_fills_got_lost_is_closed_only_with_them() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        rig.exchange.mute = (FillUpdate,)
        lead = rig.entry("SOL", "10")
        await rig.send(lead)
        await anyio.sleep(0.1)
        row = rig.journal.order(lead.client_order_id)
        assert row is not None
        assert (row.state, row.filled) == ("accepted", Decimal(0))
        row = await rig.worker.settled(lead.client_order_id, timeout_ns=5 * SECOND_NS)
        assert (row.state, row.filled) == ("closed", Decimal(10))


async def test_a_late_taken_order_is_followed_until_it_is_cancelled() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        price = rig.price(perpetual("SOL"), Side.BUY)
        resting = rig.entry("SOL", "1", price=price, time_in_force=TimeInForce.POST_ONLY)
        await rig.send(resting)
        await anyio.sleep(30)
        row = rig.journal.order(resting.client_order_id)
        assert row is not None
        assert row.state == "accepted"
        crossing = rig.entry("SOL", "1", time_in_force=TimeInForce.POST_ONLY)
        await rig.send(crossing)
        row = await rig.worker.settled(crossing.client_order_id, timeout_ns=5 * SECOND_NS)
        assert row.status in (OrderStatus.CANCELLED, OrderStatus.REJECTED)


async def test_cash_rows_are_booked_once_over_all_lives(tmp_path: Path) -> None:
    async with world(str(tmp_path / "journal"), Settings()) as made:
        for life in range(2):
            async with made.desk() as rig:
                made.exchange.command(Transfer(Coin("USDT"), Decimal(100 + life)))
                await anyio.sleep(200)
                rows = [one for one in booked(rig, CashBooked) if isinstance(one, CashBooked)]
                amounts = sorted(row.amount for row in rows)
                assert amounts == [*range(100, 101 + life), 200_000]
                assert len({(row.kind, row.reference) for row in rows}) == len(rows)


async def test_a_changed_risk_table_is_an_audit_line() -> None:
    async with desk() as rig:
        await anyio.sleep(1)
        assert rig.view.tables is not None
        fees = {perpetual("SOL"): FeeRates(Decimal("0.0001"), Decimal("0.0004"))}
        rig.exchange.command(ChangeTables(fees=fees))
        await rig.bookkeeper.refresh_tables()
        (changed,) = booked(rig, TablesChanged)
        assert changed == TablesChanged(
            "fees of bybit:linear:SOLUSDT: maker 0.0002 -> 0.0001 / taker 0.00055 -> 0.0004"
        )
        assert rig.view.tables_changed is not None
        assert rig.view.tables_changed.summary == changed.summary
        assert rig.view.tables.fees[perpetual("SOL")] == fees[perpetual("SOL")]
        rig.disk(fails=True)
        rig.exchange.command(ChangeTables(fees={perpetual("ETH"): fees[perpetual("SOL")]}))
        await rig.bookkeeper.refresh_tables()
        rig.disk(fails=False)
        await anyio.sleep(90)
        assert len(booked(rig, TablesChanged)) == 2, "written once the journal can"


async def test_a_venue_that_cannot_be_read_fills_no_journal_and_stops_nothing() -> None:
    async with desk() as rig:
        rig.exchange.faults = FaultPlan(reads_failed=Decimal("0.5"))
        await rig.hold("SOL", "10")
        await anyio.sleep(180)
        notes = [one for one in booked(rig, Noted) if isinstance(one, Noted)]
        topics = {note.topic for note in notes}
        assert topics
        assert all(sum(note.topic == topic for note in notes) <= 5 for topic in topics)
        assert rig.journal.holdings()[pair_id("SOL"), perpetual("SOL")] == -10


async def test_fills_wait_for_a_journal_that_cannot_commit_and_the_view_does_not() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        lead = rig.entry("SOL", "10")

        def fail(orders: object) -> None:
            rig.disk(fails=True)

        rig.exchange.on_place = fail
        await rig.send(lead)
        await anyio.sleep(5)
        assert rig.view.legs(lead.pair_id).short_quantity == 10
        assert rig.journal.fills() == ()
        rig.disk(fails=False)
        await rig.settle(lead)
        assert rig.journal.holdings()[lead.pair_id, lead.instrument_id] == -10


async def test_an_accepted_order_that_no_query_shows_is_over_only_after_minutes() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        price = rig.price(perpetual("SOL"), Side.BUY)
        flickers, gone = (
            rig.entry("SOL", "1", price=price, time_in_force=TimeInForce.POST_ONLY) for _ in range(2)
        )
        await rig.send(flickers, gone)
        rig.exchange.mute = (OrderUpdate,)
        for order in (flickers, gone):
            rig.exchange.command(CancelOrder(order.instrument_id, order_link_id=order.client_order_id))
        rig.exchange.hidden = {flickers.client_order_id, gone.client_order_id}
        await anyio.sleep(200)
        assert {row.state for row in rig.journal.orders()} == {"accepted"}
        rig.exchange.hidden = {gone.client_order_id}
        row = await rig.worker.settled(flickers.client_order_id, timeout_ns=10 * SECOND_NS)
        assert (row.state, row.status) == ("closed", OrderStatus.CANCELLED)
        row = await rig.worker.settled(gone.client_order_id, timeout_ns=150 * SECOND_NS)
        assert (row.state, row.status) == ("closed", OrderStatus.CANCELLED)


async def test_an_unknown_outcome_outlasts_a_venue_that_cannot_be_asked() -> None:
    async with desk(settings=Settings(faults=FaultPlan(explicit={1: RequestFault.LOST_ANSWER}))) as rig:
        rig.approve(("SOL", "10"))
        lead = rig.entry("SOL", "10")
        rig.exchange.mute = (OrderUpdate, FillUpdate)
        rig.exchange.faults = replace(rig.exchange.faults, reads_failed=Decimal(1))
        assert isinstance((await rig.send(lead))[0], Unknown)
        await anyio.sleep(30)
        assert rig.worker.unknown_pairs() == {lead.pair_id}
        rig.exchange.faults = FaultPlan()
        await rig.settle(lead)
        assert rig.journal.holdings()[lead.pair_id, lead.instrument_id] == -10


async def test_a_journal_that_cannot_even_be_read_for_a_while_loses_nothing() -> None:
    plan = FaultPlan(disconnects=(Disconnect(12 * SECOND_NS, 2 * SECOND_NS),))
    async with desk(settings=Settings(faults=plan)) as rig:
        rig.approve(("SOL", "10"))
        lead = rig.entry("SOL", "10")

        def fail(orders: object) -> None:
            rig.rails.broken = "disk I/O error"

        rig.exchange.on_place = fail
        await anyio.sleep(10)
        await rig.send(lead)
        rig.exchange.command(Transfer(Coin("USDT"), Decimal(7)))
        await anyio.sleep(120)
        assert rig.worker.journal_failure == "disk I/O error"
        rig.rails.broken = None
        await rig.settle(lead)
        await anyio.sleep(10)
        assert rig.journal.holdings()[lead.pair_id, lead.instrument_id] == -10
        amounts = {one.amount for one in booked(rig, CashBooked) if isinstance(one, CashBooked)}
        assert Decimal(7) in amounts


async def test_the_end_of_the_data_is_not_a_failure() -> None:
    async with desk() as rig:
        rig.exchange.tell(EndOfData(rig.clocks.market_ns(), rig.clocks.wire_ns()))
        await anyio.sleep(0.1)
        rig.exchange.hang_up()
        await anyio.sleep(1)
        assert rig.view.ended
        assert rig.bookkeeper.recovered


async def test_asking_for_an_order_that_was_never_planned_is_an_error() -> None:
    async with desk() as rig:
        with pytest.raises(UnknownNameError):
            await rig.bookkeeper.resolve(ClientOrderId("nobody"))


async def test_an_account_read_that_an_event_overtook_is_not_used() -> None:
    async with desk() as rig:
        await rig.hold("SOL", "10")
        stale = await rig.exchange.snapshot()

        async def overtaken() -> AccountSnapshot:
            price = rig.price(perpetual("ETH"), Side.SELL)
            rig.exchange.command(PlaceOrder("", perpetual("ETH"), Side.SELL, Decimal("0.1"), price))
            await anyio.sleep(0.001)
            return replace(stale, positions=())

        rig.exchange.read_account = overtaken
        assert not await rig.bookkeeper.refresh()
        assert rig.view.legs(pair_id("SOL")).short_quantity == 10


async def cut_off(made: World) -> None:
    """A life whose venue closes the stream for good."""
    async with made.desk():
        made.exchange.hang_up()
        await anyio.sleep(1)


async def broken_inside(made: World) -> None:
    """A life in which a read meets a bug."""
    async with made.desk():

        async def bug() -> AccountSnapshot:
            raise ZeroDivisionError

        made.exchange.read_account = bug
        await anyio.sleep(5)


async def test_the_end_of_the_event_stream_stops_the_desk() -> None:
    async with world(":memory:", Settings()) as made:
        with pytest.raises(VenueError, match="stream ended"):
            await cut_off(made)


async def test_a_failure_of_ours_is_not_survived() -> None:
    async with world(":memory:", Settings()) as made:
        with pytest.raises(ZeroDivisionError):
            await broken_inside(made)


async def test_tables_are_read_every_five_minutes_and_at_once_when_asked_for_but_not_in_a_flood() -> None:
    async with desk() as rig:
        await anyio.sleep(1)

        def seen() -> int:
            assert rig.view.tables is not None
            return rig.view.tables.seen_wire_ns

        first = seen()
        rig.bookkeeper.tables_soon()
        await anyio.sleep(1)
        asked = seen()
        assert 0 < asked - first < 2 * SECOND_NS
        rig.bookkeeper.tables_soon()
        await anyio.sleep(5)
        assert seen() == asked
        await anyio.sleep(6)
        again = seen()
        assert 9 * SECOND_NS < again - asked < 12 * SECOND_NS
        await anyio.sleep(290)
        assert seen() == again
        await anyio.sleep(15)
        assert seen() - again >= 5 * 60 * SECOND_NS
