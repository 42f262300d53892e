"""A journal that cannot be used for a while: what is under way waits, and ends hedged when it is back."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from trio.testing import MockClock

from portfolio.core.entries import GuardActed, Noted
from portfolio.core.errors import JournalError, JournalFencedError, JournalForeignError
from portfolio.core.intents import Intent, IntentStatus
from portfolio.core.limits import SECOND_NS, RiskLimits, TradeLimits
from portfolio.core.names import IntentId, PairId
from portfolio.core.orders import OrderClass, OrderRequest, Priority, Side, TimeInForce
from portfolio.journal_retry import JournalRetry
from portfolio.operations import MoveMode
from portfolio.writer import NotCommitted
from tests.portfolio.guard_rig import guarded, pair
from tests.portfolio.living_desk import AGENT, BTC, SOL, Living, with_desk
from tests.portfolio.rig import Settings, perpetual, plain_errors, world
from tests.portfolio.rig import World as RigWorld
from tests.portfolio.test_guard_parts import Kept
from tests.portfolio.trading_desk import Trader, make_trader, trading

D = Decimal
SLICED = RiskLimits(trade=TradeLimits(slice_notional_max=D(700)))
DUST = D("0.1")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def disk_fails_after(trader: Trader, orders: int, *, reads: bool) -> anyio.Event:
    """The disk fails, and the event is set, as soon as so many more orders left: no answer is recorded."""
    failed = anyio.Event()
    placed: list[str] = []

    def look(batch: Sequence[OrderRequest]) -> None:
        placed.extend(one.client_order_id for one in batch)
        if len(placed) >= orders:
            trader.rig.exchange.on_place = lambda _: None
            disk(trader, fails=True, reads=reads)
            failed.set()

    trader.rig.exchange.on_place = look
    return failed


def disk(trader: Trader, *, fails: bool, reads: bool) -> None:
    if reads:
        trader.rig.rails.broken = "disk I/O error" if fails else None
    else:
        trader.rig.disk(fails=fails)


async def through_outage(
    trader: Trader, intent: Intent, orders: int, *, seconds: int, reads: bool
) -> list[str]:
    """Run the controller to the end of the intent, through an outage; what was sent in the outage."""
    failed = disk_fails_after(trader, orders, reads=reads)
    async with anyio.create_task_group() as tasks:
        await tasks.start(trader.controller.run)
        await failed.wait()
        before = len(trader.rig.exchange.placed)
        await anyio.sleep(seconds)
        sent = trader.rig.exchange.placed[before:]
        assert not trader.status(intent).final
        disk(trader, fails=False, reads=reads)
        with anyio.fail_after(300):
            await trader.ended(intent)
        tasks.cancel_scope.cancel()
    return sent


def hedged(trader: Trader, coin: str) -> bool:
    held, short = trader.sides(coin)
    return abs(held + short) < DUST


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [3, 90])
@pytest.mark.parametrize("orders", [1, 2, 3, 4])
@pytest.mark.parametrize("reads", [False, True])
async def test_an_entry_sends_nothing_in_the_outage_and_is_completed_after_it(
    orders: int, seconds: int, *, reads: bool
) -> None:
    async with trading(limits=SLICED, mode=MoveMode.URGENT) as trader:
        intent = trader.approve(("SOL", "0", "10"), room="0.1")
        assert await through_outage(trader, intent, orders, seconds=seconds, reads=reads) == []
        assert trader.status(intent) is IntentStatus.DONE, trader.note(intent)
        assert trader.sides("SOL")[1] == -10
        assert hedged(trader, "SOL")
        assert trader.progress(intent, "SOL").violation() is None
        placed = trader.rig.exchange.placed
        assert len(placed) == len(set(placed))


@pytest.mark.anyio
@pytest.mark.parametrize("orders", [1, 2, 3])
@pytest.mark.parametrize("reads", [False, True])
async def test_an_exit_sends_nothing_in_the_outage_and_is_completed_after_it(
    orders: int, *, reads: bool
) -> None:
    async with trading(limits=SLICED, mode=MoveMode.URGENT) as trader:
        await trader.hold("SOL", "10")
        intent = trader.approve(("SOL", "10", "0"), room="0.1", intent_id="i2")
        assert await through_outage(trader, intent, orders, seconds=20, reads=reads) == []
        assert trader.status(intent) is IntentStatus.DONE, trader.note(intent)
        assert trader.sides("SOL")[1] == 0
        assert hedged(trader, "SOL")


@pytest.mark.anyio
@pytest.mark.parametrize("leaving", [False, True])
async def test_a_hedge_that_cannot_be_recorded_is_sent_later_and_its_lead_not_taken_back(
    *, leaving: bool
) -> None:
    async with trading(mode=MoveMode.URGENT) as trader:
        if leaving:
            await trader.hold("SOL", "10")
        move = ("SOL", "10", "0") if leaving else ("SOL", "0", "10")
        intent = trader.approve(move, room="0.1", intent_id="i2")
        trader.rig.rails.delay_seconds = 0.01

        def booked() -> bool:
            return any(row.filled for row in trader.rig.journal.orders(intent_id=intent.intent_id))

        async with anyio.create_task_group() as tasks:
            await tasks.start(trader.controller.run)
            while not booked():  # noqa: ASYNC110 - the journal has no news
                await anyio.sleep(0.001)
            trader.rig.disk(fails=True)
            await anyio.sleep(20)
            assert not hedged(trader, "SOL")
            trader.rig.disk(fails=False)
            with anyio.fail_after(60):
                await trader.ended(intent)
            tasks.cancel_scope.cancel()
        assert trader.status(intent) is IntentStatus.DONE, trader.note(intent)
        assert hedged(trader, "SOL")
        assert len(trader.rig.journal.orders(intent_id=intent.intent_id)) == 2


@pytest.mark.anyio
@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("reads", [False, True])
async def test_nothing_rests_once_the_desk_knows_that_it_cannot_record_a_hedge(
    *, answered: bool, reads: bool
) -> None:
    async with trading(limits=SLICED) as trader:
        intent = trader.approve(("SOL", "0", "10"), room="0.1")
        failed = anyio.Event() if answered else disk_fails_after(trader, 1, reads=reads)
        async with anyio.create_task_group() as tasks:
            await tasks.start(trader.controller.run)
            if answered:
                while not (trader.rig.exchange.core.open_orders() and trader.sent(intent, OrderClass.ENTRY)):
                    await trader.rig.view.changed()
                await anyio.sleep(1)
                disk(trader, fails=True, reads=reads)
                with pytest.raises(NotCommitted):
                    await trader.rig.worker.writer.append([Noted("ledger", "something else happened")])
            else:
                await failed.wait()
            await anyio.sleep(2)
            assert trader.rig.exchange.core.open_orders() == ()
            disk(trader, fails=False, reads=reads)
            with anyio.fail_after(900):
                await trader.ended(intent)
            tasks.cancel_scope.cancel()
        assert trader.status(intent) is IntentStatus.DONE, trader.note(intent)
        assert hedged(trader, "SOL")


@pytest.mark.anyio
async def test_a_pair_that_the_guard_took_in_the_outage_is_left_to_it() -> None:
    async with trading(limits=SLICED, mode=MoveMode.URGENT) as trader:
        intent = trader.approve(("SOL", "0", "10"))
        failed = disk_fails_after(trader, 1, reads=False)
        async with anyio.create_task_group() as tasks:
            await tasks.start(trader.controller.run)
            await failed.wait()
            await anyio.sleep(6)
            trader.word.held.add(trader.pair_id("SOL"))
            await anyio.sleep(30)
            trader.rig.disk(fails=False)
            with anyio.fail_after(60):
                await trader.ended(intent)
            tasks.cancel_scope.cancel()
        assert trader.status(intent) is IntentStatus.STOPPED
        assert "the guard took the pair" in trader.note(intent)
        assert len(trader.rig.exchange.placed) == 1


@pytest.mark.anyio
async def test_an_intent_that_waits_in_the_outage_expires_after_it() -> None:
    async with trading() as trader:
        made = trader.intent(("XRP", "0", "1000"))
        intent = trader.propose(replace(made, expires_wire_ns=trader.rig.clocks.wire_ns() + 8 * SECOND_NS))
        async with anyio.create_task_group() as tasks:
            await tasks.start(trader.controller.run)
            trader.rig.disk(fails=True)
            await anyio.sleep(30)
            assert trader.status(intent) is IntentStatus.PROPOSED
            trader.rig.disk(fails=False)
            with anyio.fail_after(5):
                await trader.ended(intent)
            tasks.cancel_scope.cancel()
        assert trader.status(intent) is IntentStatus.EXPIRED


@pytest.mark.anyio
async def test_what_rests_for_nobody_is_withdrawn_though_another_intent_cannot_be_closed() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "10"))
        price = trader.rig.price(perpetual("SOL"), Side.SELL, D("-0.008"))
        order = trader.rig.entry("SOL", "1", price=price, time_in_force=TimeInForce.POST_ONLY)
        await trader.rig.send(order)
        trader.move_intent(intent, IntentStatus.STOPPED)
        made = trader.intent(("XRP", "0", "1000"), intent_id="i2")
        trader.propose(replace(made, expires_wire_ns=trader.rig.clocks.wire_ns()))
        trader.rig.disk(fails=True)
        async with anyio.create_task_group() as tasks:
            await tasks.start(trader.controller.run)
            await anyio.sleep(10)
            assert trader.rig.exchange.core.open_orders() == ()
            tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_an_idle_desk_outlives_a_disk_that_cannot_be_read_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with trading(mode=MoveMode.URGENT) as trader, anyio.create_task_group() as tasks:
        with caplog.at_level(logging.INFO, "portfolio"):
            await tasks.start(trader.controller.run)
            disk(trader, fails=True, reads=True)
            await anyio.sleep(600)
            disk(trader, fails=False, reads=True)
            intent = trader.approve(("SOL", "0", "10"), room="0.1")
            trader.controller.nudge()
            with anyio.fail_after(30):
                await trader.ended(intent)
        assert trader.status(intent) is IntentStatus.DONE
        said = [record.getMessage() for record in caplog.records]
        assert said == [
            "the journal cannot be used, what needs it waits: disk I/O error",
            "what waited for the journal goes on",
        ]
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_journal_that_another_desk_took_over_is_not_waited_for() -> None:
    async def run() -> None:
        async with trading() as trader:
            made = trader.intent(("XRP", "0", "1000"))
            trader.propose(replace(made, expires_wire_ns=trader.rig.clocks.wire_ns()))
            trader.rig.journal.reopen(trader.rig.clocks.wire_ns())
            with plain_errors(), anyio.fail_after(10):
                await trader.controller.run()

    with pytest.raises(JournalFencedError):
        await run()


@pytest.mark.anyio
async def test_a_journal_found_foreign_while_it_is_waited_for_ends_the_wait() -> None:
    answers: list[JournalError] = [JournalError("The disk is full."), JournalForeignError("Not ours.")]

    async def attempt() -> None:
        raise answers.pop(0)

    with pytest.raises(JournalForeignError):
        await JournalRetry().until_done(attempt)


@pytest.mark.anyio
async def test_a_stop_of_the_desk_ends_the_wait() -> None:
    async def failing() -> None:
        raise JournalError("The disk is full.")

    with plain_errors(), anyio.move_on_after(60) as scope:
        await JournalRetry().until_done(failing)
    assert scope.cancelled_caught


@pytest.mark.anyio
async def test_the_guard_holds_a_pair_until_the_journal_has_what_it_did(tmp_path: Path) -> None:
    settings = Settings(emergency=Kept())
    async with guarded({}, settings=settings, path=str(tmp_path / "journal.db")) as post:
        post.rig.approve(("SOL", "20"))
        lead = post.rig.entry("SOL", "20")
        await post.trade(lead)
        await post.rig.settle(lead)
        post.rig.disk(fails=True)
        await post.until(lambda: post.sides("SOL") == (D(0), D(0)))
        await anyio.sleep(60)
        assert post.entries(GuardActed) == []
        assert post.guard.holds(pair("SOL"))
        post.rig.disk(fails=False)
        await anyio.sleep(3)
        assert post.entries(GuardActed) != []
        assert not post.guard.holds(pair("SOL"))


async def a_lead_cut_without_a_journal(made: RigWorld) -> Intent:
    """A life that ends in an outage, when its guard has unwound a lead that could not be hedged."""
    async with made.desk() as rig:
        trader = make_trader(rig, RiskLimits(), MoveMode.URGENT)
        intent = trader.approve(("SOL", "0", "10"))
        lead = rig.entry("SOL", "5")
        await rig.send(lead)
        await rig.settle(lead)
        rig.disk(fails=True)
        await rig.send(rig.reduction("SOL", "5"), priority=Priority.GUARD)
        await anyio.sleep(3)
        assert trader.sides("SOL") == (D(0), D(0))
    return intent


@pytest.mark.anyio
async def test_a_desk_that_died_in_the_outage_does_not_hedge_what_its_guard_had_unwound(
    tmp_path: Path,
) -> None:
    async with world(str(tmp_path / "journal.db"), Settings(emergency=Kept())) as made:
        intent = await a_lead_cut_without_a_journal(made)
        made.exchange.requests.clear()
        async with made.desk() as rig:
            trader = make_trader(rig, RiskLimits(), MoveMode.URGENT)
            assert await trader.controller.tick() == 0
            assert trader.status(intent) is IntentStatus.STOPPED
            assert "the guard took the pair" in trader.note(intent)
            assert made.exchange.placed == []


# --- the whole desk, its guard awake ------------------------------------------------------------------------


def journal_writes(living: Living, *, fail: bool) -> None:
    """Let the journal's database refuse to write, for real."""
    connection = living.world.journal._connection
    assert connection is not None
    connection.exec_driver_sql(f"PRAGMA query_only = {int(fail)}")
    if connection.in_transaction():
        connection.rollback()


async def approved(living: Living, *wanted: tuple[PairId, int]) -> IntentId:
    row = (await living.propose(*wanted)).row
    assert row is not None
    intent = row.intent
    await living.desk.request_execution(AGENT, intent.intent_id, intent.digest)
    await living.desk.approve(intent.intent_id, living.sign(intent.digest))
    return intent.intent_id


def naked(living: Living) -> Decimal:
    """The truth at the venue: coins of SOL that nothing hedges."""
    core = living.world.venue.core
    held = sum((row.balance.wallet for row in core.coins() if row.balance.coin == "SOL"), start=D(0))
    position = core.position(perpetual("SOL")).position
    return held + (D(0) if position is None else position.quantity)


@pytest.mark.parametrize("leaving", [False, True])
@pytest.mark.parametrize("into_it", [0.005, 0.015, 0.025, 0.035])
def test_a_desk_whose_disk_fills_up_in_a_move_is_up_and_hedged_when_there_is_space_again(
    into_it: float, *, leaving: bool
) -> None:
    async def test(living: Living) -> None:
        if leaving:
            await approved(living, (SOL, 40_000))
            await anyio.sleep(15)
        intent_id = await approved(living, (SOL, 0 if leaving else 40_000))
        await anyio.sleep(into_it)
        journal_writes(living, fail=True)
        before = living.world.journal.intent(intent_id)
        assert before is not None
        assert before.status is IntentStatus.EXECUTING
        await anyio.sleep(15)
        assert living.world.assembly is not None
        journal_writes(living, fail=False)
        await anyio.sleep(15)
        row = living.world.journal.intent(intent_id)
        assert row is not None
        assert row.status.final
        assert abs(naked(living)) < 1
        assert living.world.journal.orders(unsettled_only=True) == ()

    with_desk(test)


def test_a_desk_whose_disk_is_full_tells_its_callers_and_works_again_afterwards() -> None:
    async def test(living: Living) -> None:
        row = (await living.propose((SOL, 20_000))).row
        assert row is not None
        intent = row.intent
        journal_writes(living, fail=True)
        with pytest.raises(JournalError, match="read-only"):
            await living.propose((BTC, 10_000))
        with pytest.raises(JournalError, match="read-only"):
            await living.desk.request_execution(AGENT, intent.intent_id, intent.digest)
        with pytest.raises(JournalError, match="read-only"):
            await living.desk.approve(intent.intent_id, living.sign(intent.digest))
        with pytest.raises(JournalError, match="read-only"):
            await living.desk.halt("look")
        assert (await living.desk.read(AGENT)).intents != ()
        await anyio.sleep(10)
        journal_writes(living, fail=False)
        await living.desk.approve(intent.intent_id, living.sign(intent.digest))
        await anyio.sleep(15)
        assert (await living.desk.progress(intent.intent_id)).row.status is IntentStatus.DONE

    with_desk(test)
