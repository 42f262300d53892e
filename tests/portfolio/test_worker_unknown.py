"""What nobody knows: lost and late answers, crashes, and a journal that cannot commit."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from exchanges.memory import MemoryOptions
from exchanges.paper.faults import FaultPlan, RequestFault
from portfolio.core.errors import Effect, JournalError, JournalFencedError, VenueError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.limits import SECOND_NS
from portfolio.core.names import Coin
from portfolio.core.orders import (
    Accepted,
    NotSent,
    OrderClass,
    OrderRequest,
    Priority,
    Rejected,
    Side,
    Unknown,
)
from portfolio.journal.open import open_journal
from server.emergency import EmergencyFile
from tests.portfolio.rig import ACCOUNT, MODE, UID, Crash, Rig, Settings, World, desk, perpetual, world

pytestmark = pytest.mark.anyio


def faulty(**explicit: RequestFault) -> Settings:
    """The n-th write request goes wrong: n1=RequestFault.LATE."""
    return Settings(faults=FaultPlan(explicit={int(key[1:]): fault for key, fault in explicit.items()}))


async def test_a_lost_answer_is_unknown_until_the_order_is_found_by_its_id() -> None:
    async with desk(settings=faulty(n1=RequestFault.LOST_ANSWER)) as rig:
        rig.approve(("SOL", "10"))
        lead = rig.entry("SOL", "10")
        (outcome,) = await rig.send(lead)
        assert isinstance(outcome, Unknown)
        assert rig.worker.unknown_pairs() == {lead.pair_id}
        row = await rig.bookkeeper.resolve(lead.client_order_id)
        assert row.state in ("accepted", "closed")
        await rig.settle(lead)
        assert rig.worker.unknown_pairs() == frozenset()
        assert rig.venue_position("SOL") == -10
        assert rig.journal.holdings()[lead.pair_id, lead.instrument_id] == -10
        assert isinstance((await rig.send(lead))[0], Accepted), "the same order again is the same order"
        assert rig.exchange.placed == [lead.client_order_id]


async def test_an_order_that_arrives_after_everybody_gave_up_is_booked() -> None:
    plan = FaultPlan(explicit={1: RequestFault.LATE}, late_ns=SECOND_NS)
    async with desk(settings=Settings(faults=plan)) as rig:
        rig.approve(("SOL", "10"))
        lead = rig.entry("SOL", "10")
        assert isinstance((await rig.send(lead))[0], Unknown)
        assert rig.venue_position("SOL") == 0
        row = await rig.worker.settled(lead.client_order_id, timeout_ns=20 * SECOND_NS)
        assert (row.state, row.filled) == ("closed", Decimal(10))
        assert rig.venue_position("SOL") == -10


async def test_an_order_past_its_deadline_is_refused_by_the_venue_and_proven_absent() -> None:
    plan = FaultPlan(explicit={1: RequestFault.LATE}, late_ns=3 * SECOND_NS)
    async with desk(settings=Settings(faults=plan)) as rig:
        rig.approve(("SOL", "10"))
        lead = rig.entry("SOL", "10")
        sent = rig.clocks.wire_ns()
        assert isinstance((await rig.send(lead))[0], Unknown)
        assert isinstance((await rig.send(lead))[0], Unknown), "asking again sends nothing"
        row = await rig.worker.settled(lead.client_order_id, timeout_ns=30 * SECOND_NS)
        assert row.state == "absent"
        traits = rig.exchange.traits
        certain = traits.send_deadline_ns + traits.clock_skew_ns + traits.visibility_lag_ns
        assert rig.clocks.wire_ns() - sent >= certain
        assert rig.venue_position("SOL") == 0
        (again,) = await rig.send(lead)
        assert isinstance(again, NotSent)
        assert "next attempt" in again.reason
        (retry,) = await rig.send(rig.entry("SOL", "10"))
        assert isinstance(retry, Accepted), "what is proven absent used nothing of the approval up"


async def test_a_venue_that_never_answers_is_given_up_after_the_deadline() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        lead = rig.entry("SOL", "10")
        rig.exchange.silent = True
        before = rig.clocks.wire_ns()
        (outcome,) = await rig.send(lead)
        rig.exchange.silent = False
        assert isinstance(outcome, Unknown)
        assert "no answer within 3500 ms" in outcome.reason
        assert rig.clocks.wire_ns() - before <= 4 * SECOND_NS
        await rig.settle(lead)
        assert rig.journal.holdings()[lead.pair_id, lead.instrument_id] == -10


@pytest.mark.parametrize(
    ("effect", "outcome", "state"),
    [
        (Effect.NOT_SENT, NotSent, "not_sent"),
        (Effect.REJECTED, Rejected, "rejected"),
        (Effect.UNKNOWN, Unknown, "unknown"),
    ],
)
async def test_an_error_of_the_venue_says_whether_it_may_have_happened(
    effect: Effect, outcome: type, state: str
) -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))

        def fail(orders: object) -> None:
            raise VenueError("connection reset", effect=effect, venue_code="10001")

        rig.exchange.on_place = fail
        lead = rig.entry("SOL", "10")
        (answer,) = await rig.send(lead)
        assert isinstance(answer, outcome)
        row = rig.journal.order(lead.client_order_id)
        assert row is not None
        assert (row.state, "connection reset" in row.detail) == (state, True)


async def test_an_order_whose_journal_took_longer_than_its_deadline_is_not_sent() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        lead = rig.entry("SOL", "10")
        rig.rails.delay_seconds = 2.5
        (outcome,) = await rig.send(lead)
        assert isinstance(outcome, NotSent)
        assert "send deadline" in outcome.reason
        row = rig.journal.order(lead.client_order_id)
        assert row is not None
        assert row.state == "not_sent"
        assert rig.exchange.placed == []


async def test_beside_an_unknown_only_orders_run_that_cannot_overshoot() -> None:
    # Two requests make the pair; the third is lost for longer than the test lasts.
    plan = FaultPlan(explicit={3: RequestFault.LATE}, late_ns=60 * SECOND_NS)
    async with desk(settings=Settings(faults=plan)) as rig:
        await rig.hold("SOL", "10")
        rig.approve(("SOL", "10"), ("ETH", "1"))
        assert isinstance((await rig.send(rig.entry("SOL", "2")))[0], Unknown)

        def spot_order(side: Side, quantity: str, *, borrow: bool = False) -> OrderRequest:
            return rig.order(
                "SOL",
                InstrumentKind.SPOT,
                side,
                Decimal(quantity),
                OrderClass.HEDGE if side is Side.BUY else OrderClass.REDUCE,
                borrow=borrow,
            )

        refused = [
            rig.entry("SOL", "1"),
            spot_order(Side.BUY, "2"),
            spot_order(Side.SELL, "10"),  # a purchase of 10 pays its fee in the coin
            spot_order(Side.SELL, "1", borrow=True),
            replace(rig.reduction("SOL", "1"), reduce_only=False),
        ]
        for order in refused:
            (outcome,) = await rig.send(order, priority=Priority.DERISK)
            assert isinstance(outcome, NotSent), order
            assert "unknown outcome" in outcome.reason
        sale, another = spot_order(Side.SELL, "9.9"), spot_order(Side.SELL, "0.2")
        outcomes = await rig.send(rig.reduction("SOL", "4"), sale, another, priority=Priority.DERISK)
        assert [type(one) for one in outcomes] == [Accepted, Accepted, NotSent]
        assert isinstance((await rig.send(rig.entry("ETH", "1")))[0], Accepted), "other pairs go on"


# --- crashes ----------------------------------------------------------------------------------------------


async def enter(rig: Rig) -> OrderRequest:
    """What a controller does at every start: the same slice of the same intent."""
    if rig.journal.intent(rig.intent(("SOL", "10")).intent_id) is None:
        rig.approve(("SOL", "10"))
    tick = rig.instruments[perpetual("SOL")].tick_size
    price = rig.opening[perpetual("SOL")] * Decimal("0.995") // tick * tick
    lead = rig.entry("SOL", "10", slice_no=0, price=price)
    await rig.send(lead)
    return lead


async def life(made: World, *, before: int | None, after: int | None, on_wire: bool) -> None:
    """One life that ends at a chosen step of sending one order."""
    async with made.desk() as rig:
        await rig.worker.until_recovered()
        rig.rails.die_before = None if before is None else rig.rails.calls + before
        rig.rails.die_after = None if after is None else rig.rails.calls + after
        made.exchange.die_after_place = on_wire
        lead = await enter(rig)
        await rig.settle(lead)
        await anyio.sleep(1)
        raise Crash  # where no step was hit, it dies afterwards


@pytest.mark.parametrize(
    ("before", "after", "on_wire"),
    [(step, None, False) for step in range(1, 6)]
    + [(None, step, False) for step in range(1, 6)]
    + [(None, None, True)],
)
async def test_a_crash_at_any_step_sends_nothing_twice_and_loses_nothing(
    tmp_path: Path, before: int | None, after: int | None, on_wire: bool
) -> None:
    async with world(str(tmp_path / "journal"), Settings()) as made:
        with pytest.raises(Crash):
            await life(made, before=before, after=after, on_wire=on_wire)
        made.exchange.die_after_place = False
        async with made.desk() as rig:
            lead = await enter(rig)
            row = await rig.worker.settled(lead.client_order_id, timeout_ns=30 * SECOND_NS)
            assert len(made.exchange.placed) <= 2
            if row.state == "absent":
                assert made.exchange.placed == []
            else:
                assert (row.state, row.filled) == ("closed", Decimal(10))
                assert made.exchange.placed == [lead.client_order_id]
            expected = Decimal(0) if row.state == "absent" else Decimal(-10)
            assert rig.venue_position("SOL") == expected
            assert rig.journal.holdings().get((lead.pair_id, lead.instrument_id), Decimal(0)) == expected
            assert rig.journal.verify().ok


async def test_entries_wait_until_the_outcomes_of_the_time_before_are_known(tmp_path: Path) -> None:
    async with world(str(tmp_path / "journal"), Settings(recovered=False)) as made:
        with pytest.raises(Crash):
            await life(made, before=None, after=1, on_wire=False)  # planned, never sent
        async with made.desk() as rig:
            assert not rig.worker.recovered
            (pair,) = rig.worker.unknown_pairs()
            (refused,) = await rig.send(rig.entry("SOL", "1", slice_no=1))
            assert isinstance(refused, NotSent)
            assert "recovering" in refused.reason
            await rig.worker.until_recovered()
            assert rig.worker.unknown_pairs() == frozenset()
            (row,) = rig.journal.orders()
            assert (row.state, row.request.pair_id) == ("absent", pair)
            (passed,) = await rig.send(rig.entry("SOL", "1", slice_no=1))
            assert isinstance(passed, Accepted)


# --- a journal that cannot commit -------------------------------------------------------------------------


async def test_without_a_journal_entries_stop_and_the_guard_still_reduces(tmp_path: Path) -> None:
    emergency = EmergencyFile(tmp_path / "emergency", size=1 << 16)
    path = str(tmp_path / "journal")
    async with world(path, Settings(emergency=emergency)) as made, made.desk() as rig:
        await rig.hold("SOL", "10")
        rig.approve(("SOL", "10"))
        rig.disk(fails=True)
        (entry,) = await rig.send(rig.entry("SOL", "1"))
        (hedge,) = await rig.send(rig.hedge("SOL", "1"))
        for outcome in (entry, hedge):
            assert isinstance(outcome, NotSent)
            assert "the journal cannot commit" in outcome.reason
        assert rig.worker.journal_failure is not None
        sale = rig.order("SOL", InstrumentKind.SPOT, Side.SELL, Decimal(4), OrderClass.REDUCE, intent="g1")
        cut = rig.reduction("SOL", "4")
        bought = rig.order("SOL", InstrumentKind.SPOT, Side.BUY, Decimal(1), OrderClass.HEDGE, intent="g1")
        outcomes = await rig.send(cut, sale, priority=Priority.DERISK)
        assert [type(one) for one in outcomes] == [NotSent, NotSent], "nobody but the guard sends"
        assert rig.exchange.requests == []
        outcomes = await rig.send(cut, sale, bought, priority=Priority.GUARD)
        assert [type(one) for one in outcomes] == [Accepted, Accepted, NotSent]
        assert len(emergency.records()) == 2
        await anyio.sleep(3)
        assert rig.venue_position("SOL") == -6
        assert rig.journal.order(cut.client_order_id) is None
        rig.disk(fails=False)
        await anyio.sleep(3)
        await rig.settle(cut, sale)
        assert rig.worker.journal_failure is None
        assert emergency.records() == ()
        pair = cut.pair_id
        assert rig.journal.holdings()[pair, cut.instrument_id] == -6
        assert rig.journal.holdings()[pair, sale.instrument_id] == Decimal("5.99")
        assert rig.journal.freezes() == (), "no fill is an orphan"
        (entry,) = await rig.send(rig.entry("SOL", "1"))
        assert isinstance(entry, Accepted)
    emergency.close()


async def test_without_a_journal_an_old_account_read_bounds_nothing(tmp_path: Path) -> None:
    emergency = EmergencyFile(tmp_path / "emergency", size=1 << 16)
    async with desk(settings=Settings(emergency=emergency)) as rig:
        await rig.hold("SOL", "10")
        rig.disk(fails=True)

        def sale(quantity: str) -> OrderRequest:
            return rig.order(
                "SOL", InstrumentKind.SPOT, Side.SELL, Decimal(quantity), OrderClass.REDUCE, intent="g1"
            )

        first, cut = sale("6"), rig.reduction("SOL", "1")
        outcomes = await rig.send(first, sale("6"), cut, priority=Priority.GUARD)
        assert [type(one) for one in outcomes] == [Accepted, NotSent, Accepted], "one holding bounds both"
        outcomes = await rig.send(first, cut, priority=Priority.GUARD)
        assert [type(one) for one in outcomes] == [NotSent, NotSent], "the same order never goes twice"
        rig.exchange.faults = FaultPlan(reads_failed=Decimal(1))
        rig.exchange.mute = (object,)
        await anyio.sleep(5)
        outcomes = await rig.send(sale("1"), rig.reduction("SOL", "1"), priority=Priority.GUARD)
        assert [type(one) for one in outcomes] == [NotSent, Accepted], "the venue itself bounds the other"
    emergency.close()


async def last_cut(made: World) -> None:
    """A life that ends while only the emergency file knows of the guard's last order."""
    async with made.desk() as rig:
        await rig.hold("SOL", "10")
        rig.disk(fails=True)
        await rig.send(rig.reduction("SOL", "4"), priority=Priority.GUARD)
        raise Crash


async def test_a_crash_without_a_journal_leaves_the_orders_in_the_emergency_file(tmp_path: Path) -> None:
    emergency = EmergencyFile(tmp_path / "emergency", size=1 << 16)
    async with world(str(tmp_path / "journal"), Settings(emergency=emergency)) as made:
        with pytest.raises(Crash):
            await last_cut(made)
        async with made.desk() as rig:
            cut = rig.reduction("SOL", "4")
            await rig.settle(cut)
            row = rig.journal.order(cut.client_order_id)
            assert row is not None
            assert (row.state, row.filled) == ("closed", Decimal(4))
            assert rig.journal.freezes() == ()
            assert emergency.records() == ()
    emergency.close()


async def test_without_a_journal_and_an_emergency_file_nothing_is_sent() -> None:
    async with desk() as rig:
        await rig.hold("SOL", "10")
        rig.disk(fails=True)
        (outcome,) = await rig.send(rig.reduction("SOL", "4"), priority=Priority.GUARD)
        assert isinstance(outcome, NotSent)
        assert "no emergency file" in outcome.reason
        assert isinstance(await rig.worker.repay("op", Coin("SOL"), Decimal(1)), NotSent)
        assert rig.exchange.requests == []


async def test_a_full_emergency_file_stops_the_guard_with_a_reason(tmp_path: Path) -> None:
    emergency = EmergencyFile(tmp_path / "emergency", size=100)
    async with desk(settings=Settings(emergency=emergency)) as rig:
        await rig.hold("SOL", "10")
        rig.disk(fails=True)
        (outcome,) = await rig.send(rig.reduction("SOL", "4"), priority=Priority.GUARD)
        assert isinstance(outcome, NotSent)
        assert "no room" in outcome.reason
    emergency.close()


async def test_an_answer_that_the_journal_cannot_take_is_written_when_it_can() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))

        def fail(orders: object) -> None:
            rig.disk(fails=True)

        rig.exchange.on_place = fail
        lead = rig.entry("SOL", "10")
        (outcome,) = await rig.send(lead)
        assert isinstance(outcome, Accepted), "the caller learns what happened"
        row = rig.journal.order(lead.client_order_id)
        assert row is not None
        assert row.state == "planned"
        rig.disk(fails=False)
        await rig.settle(lead)
        row = rig.journal.order(lead.client_order_id)
        assert row is not None
        assert (row.state, row.venue_order_id) == ("closed", outcome.venue_order_id)


async def overtaken(made: World) -> None:
    """A life in which somebody opens the same journal."""
    async with made.desk() as rig:
        rig.approve(("SOL", "10"))
        now = rig.clocks.wire_ns()
        other = open_journal(made.path, account=ACCOUNT, uid=UID, mode=MODE, wire_ns=now, version="test")
        try:
            await rig.send(rig.entry("SOL", "10"))
        finally:
            other.close()


async def test_a_desk_whose_journal_another_desk_took_stops(tmp_path: Path) -> None:
    async with world(str(tmp_path / "journal"), Settings()) as made:
        with pytest.raises(JournalFencedError):
            await overtaken(made)
        assert made.exchange.placed == []


async def test_a_worker_does_not_start_on_a_journal_that_it_cannot_read() -> None:
    async with world(":memory:", Settings(broken="unreadable")) as made:
        with pytest.raises(JournalError, match="unreadable"):
            async with made.desk():
                raise AssertionError("it started")


@pytest.mark.parametrize("latency_ms", [0, 50])
async def test_a_desk_stopped_on_the_wire_has_the_answer_in_its_journal(
    tmp_path: Path, latency_ms: int
) -> None:
    options = MemoryOptions(latency_ns=latency_ms * 1_000_000)
    async with world(str(tmp_path / "journal"), Settings(options=options)) as made:
        async with made.desk() as rig:
            rig.approve(("SOL", "10"))
            async with anyio.create_task_group() as group:
                group.start_soon(rig.send, rig.entry("SOL", "10"))
                await anyio.sleep(0.01)
                group.cancel_scope.cancel()
        async with made.desk() as rig:
            (row,) = rig.journal.orders()
            assert (row.state, row.filled) == ("closed", Decimal(10))
