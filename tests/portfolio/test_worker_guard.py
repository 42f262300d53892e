"""The guard beside everybody else at the worker: whose a pair is, who goes first, who needs no journal."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest

from exchanges.memory import MemoryOptions
from portfolio.core.entries import GuardActed, Noted, OrderPlanned
from portfolio.core.events import RateLimitUpdate
from portfolio.core.limits import SECOND_NS
from portfolio.core.names import PairId
from portfolio.core.orders import Accepted, NotSent, OrderRequest, Outcome, Priority
from portfolio.operations import MoveEnd, MoveMode, MoveResult
from portfolio.writer import JournalWriter
from server.emergency import EmergencyFile
from tests.portfolio.rig import Rig, Settings, desk, pair_id
from tests.portfolio.trading_desk import trading

pytestmark = pytest.mark.anyio
T = TypeVar("T")
RTT_NS = 50_000_000
FAR = Settings(options=MemoryOptions(latency_ns=RTT_NS))


def close_spot(rig: Rig, seconds: int) -> None:
    """The venue says that its limit for spot orders is used up for so long."""
    now = rig.clocks.wire_ns()
    rig.worker.rate_limit(RateLimitUpdate("place.spot", 20, 0, now + seconds * SECOND_NS, now))


def acted(rig: Rig, *pairs: PairId) -> None:
    """The guard writes down that it traded these pairs."""
    rig.journal.append([GuardActed("g1", "naked_leg", pairs, "hedge", None, None)], rig.clocks.wire_ns())


async def naked(rig: Rig, coin: str) -> None:
    """A lead without its hedge, sold for an approved intent."""
    rig.approve((coin, "10"))
    lead = rig.entry(coin, "10")
    assert isinstance((await rig.send(lead))[0], Accepted)
    await rig.settle(lead)
    rig.exchange.requests.clear()


class Sent:
    """Orders that somebody sends in the background, and what became of them."""

    def __init__(self, rig: Rig, *orders: OrderRequest, priority: Priority = Priority.DERISK) -> None:
        self.rig, self.orders, self.priority = rig, orders, priority
        self.outcomes: tuple[Outcome, ...] = ()

    async def go(self) -> None:
        self.outcomes = await self.rig.send(*self.orders, priority=self.priority)

    def reasons(self) -> list[str]:
        return [one.reason if isinstance(one, NotSent) else "" for one in self.outcomes]


# --- whose a pair is --------------------------------------------------------------------------------------


async def test_a_hedge_that_is_still_queued_when_the_guard_takes_its_pair_is_left_to_the_guard() -> None:
    async with desk(settings=FAR) as rig:
        await naked(rig, "SOL")
        close_spot(rig, 3)
        queued = Sent(rig, rig.hedge("SOL", "10"))
        own = rig.hedge("SOL", "10", intent="g1")
        async with anyio.create_task_group() as group:
            group.start_soon(queued.go)
            await anyio.sleep(1)
            rig.guard.held.add(pair_id("SOL"))
            acted(rig, pair_id("SOL"))
            (outcome,) = await rig.send(own, priority=Priority.GUARD)
        assert isinstance(outcome, Accepted)
        assert queued.reasons() == ["the guard holds SOL@bybit"]
        assert rig.exchange.placed == [own.client_order_id], "hedged once"
        assert rig.journal.order(queued.orders[0].client_order_id) is None


async def test_an_engine_whose_hedge_the_guard_took_over_ends_without_another_order() -> None:
    async with trading(FAR) as trader:
        rig, engine = trader.rig, trader.engine("SOL")
        intent = trader.approve(("SOL", "0", "10"))
        led = anyio.Event()

        def lead(orders: Sequence[OrderRequest]) -> None:
            close_spot(rig, 3)
            led.set()

        rig.exchange.on_place = lead
        results: list[MoveResult] = []

        async def move() -> None:
            results.append(await engine.move(trader.operation(intent, "SOL", MoveMode.URGENT)))

        async with anyio.create_task_group() as group:
            group.start_soon(move)
            await led.wait()
            await anyio.sleep(1)
            trader.word.held.add(engine.pair.pair_id)
            rig.guard.held.add(engine.pair.pair_id)
        assert [one.end for one in results] == [MoveEnd.FENCED]
        assert len(rig.exchange.placed) == 1, "its lead"
        assert rig.venue_position("SOL") == -10


async def test_an_order_that_waited_while_the_guard_took_the_pair_and_gave_it_back_is_not_sent() -> None:
    async with desk(settings=FAR) as rig:
        await rig.hold("SOL", "8")
        await rig.hold("ETH", "0.4")
        intent = "i2"
        close_spot(rig, 2)
        queued = Sent(rig, rig.hedge("SOL", "1", intent=intent), rig.hedge("ETH", "0.1", intent=intent))
        async with anyio.create_task_group() as group:
            group.start_soon(queued.go)
            await anyio.sleep(1)
            rig.guard.held.add(pair_id("SOL"))
            acted(rig, pair_id("SOL"))
            await anyio.sleep(0.5)
            rig.guard.held.clear()
        assert queued.reasons() == ["the guard acted on SOL@bybit since i2 began there", ""]
        assert rig.exchange.placed == [queued.orders[1].client_order_id], "its neighbour is nobody's business"
        (again,) = await rig.send(rig.hedge("SOL", "1", intent=intent), priority=Priority.DERISK)
        assert isinstance(again, Accepted), "what is asked for afterwards was made for the pair as it is now"


async def test_an_operation_does_not_go_on_where_the_guard_acted_since_its_first_order() -> None:
    async with desk() as rig:
        await rig.hold("SOL", "8")
        first, second = rig.reduction("SOL", "1", intent="i2"), rig.reduction("SOL", "1", intent="i2")
        assert isinstance((await rig.send(first, priority=Priority.DERISK))[0], Accepted)
        await anyio.sleep(1)
        acted(rig, pair_id("SOL"))
        await anyio.sleep(1)
        (outcome,) = await rig.send(second, priority=Priority.EXIT)
        assert outcome == NotSent("the guard acted on SOL@bybit since i2 began there")
        (other,) = await rig.send(rig.reduction("SOL", "1", intent="i3"), priority=Priority.EXIT)
        assert isinstance(other, Accepted)


async def test_what_is_refused_on_a_held_pair_takes_nothing_from_the_limit() -> None:
    async with desk(settings=FAR) as rig:
        await rig.hold("SOL", "20")
        rig.guard.held.add(pair_id("SOL"))
        start = rig.clocks.monotonic_ns()
        others = await rig.send(
            *(rig.reduction("SOL", "1", intent="i2") for _ in range(10)), priority=Priority.DERISK
        )
        assert {type(one) for one in others} == {NotSent}
        own = await rig.send(*(rig.reduction("SOL", "1") for _ in range(10)), priority=Priority.GUARD)
        assert {type(one) for one in own} == {Accepted}
        assert rig.clocks.monotonic_ns() - start < SECOND_NS // 2


# --- who goes first ---------------------------------------------------------------------------------------


async def test_the_guard_sends_at_once_beside_twenty_exits_that_can_wait() -> None:
    async with desk(settings=FAR) as rig:
        await rig.hold("SOL", "30")
        leads = Sent(
            rig, *(rig.reduction("SOL", "1", intent="i2") for _ in range(20)), priority=Priority.EXIT
        )
        cuts = [rig.reduction("SOL", "1") for _ in range(2)]
        async with anyio.create_task_group() as group:
            group.start_soon(leads.go)
            await anyio.sleep(0.2)
            asked = rig.clocks.wire_ns()
            await rig.send(*cuts, priority=Priority.GUARD)
        at = {key: at for at, _, keys in rig.exchange.requests for key in keys}
        assert [at[one.client_order_id] - asked for one in cuts] == [0, 0]
        assert {type(one) for one in leads.outcomes} == {Accepted}


async def test_the_guard_overtakes_whatever_queues_to_take_risk_off() -> None:
    async with desk(settings=FAR) as rig:
        await rig.hold("SOL", "30")
        others = Sent(rig, *(rig.reduction("SOL", "1", intent="i2") for _ in range(25)))
        cut = rig.reduction("SOL", "1")
        async with anyio.create_task_group() as group:
            group.start_soon(others.go)
            await anyio.sleep(0.2)
            await rig.send(cut, priority=Priority.GUARD)
        assert rig.exchange.placed.index(cut.client_order_id) == 10, "behind what had left the queue only"


@pytest.mark.parametrize(("mode", "waits"), [(MoveMode.NORMAL, True), (MoveMode.URGENT, False)])
async def test_only_an_urgent_exit_draws_the_reserve_for_its_lead(mode: MoveMode, *, waits: bool) -> None:
    async with trading(FAR) as trader:
        rig = trader.rig
        await trader.hold("SOL", "10")
        rig.exchange.requests.clear()
        intent = trader.approve(("SOL", "10", "0"))
        free_ns = rig.clocks.wire_ns() + 120 * SECOND_NS

        async def somebody_else() -> None:
            """Another user of the key sends nine orders a second, evenly, until two minutes are over."""
            used = 0
            while (now := rig.clocks.wire_ns()) < free_ns:
                used = min(used + 1, 9)
                rig.worker.rate_limit(RateLimitUpdate("place.linear", 10, 10 - used, now + SECOND_NS, now))
                await anyio.sleep(0.1)

        async with anyio.create_task_group() as group:
            group.start_soon(somebody_else)
            await anyio.sleep(2)
            result = await trader.engine("SOL").move(trader.operation(intent, "SOL", mode))
        assert result.end is MoveEnd.REACHED
        assert (rig.exchange.requests[0][0] > free_ns) is waits


# --- a journal that cannot commit -------------------------------------------------------------------------


class LateAnswers:
    """A runner whose callers hear of their call a moment after it ran, as they do of a thread's."""

    async def run(self, call: Callable[[], T]) -> T:
        await anyio.lowlevel.checkpoint()
        result = call()
        await anyio.sleep(0.01)
        return result


async def test_what_is_kept_aside_stays_on_disk_until_the_journal_has_it(tmp_path: Path) -> None:
    emergency = EmergencyFile(tmp_path / "emergency", size=1 << 16)
    async with desk() as rig:
        runner = LateAnswers()
        writer = JournalWriter(journal=rig.journal, runner=runner, clocks=rig.clocks, emergency=emergency)
        cut = rig.reduction("SOL", "1")
        planned = OrderPlanned(cut, rig.clocks.wire_ns() + 2 * SECOND_NS)
        writer.owe([Noted("test", "an older debt")])
        async with anyio.create_task_group() as group:
            group.start_soon(writer.keep_aside, [planned])
            await anyio.sleep(0.005)
            assert len(emergency.records()) == 1
            await writer.append([])
            row = rig.journal.order(cut.client_order_id)
            assert row is not None
            assert row.request.quantity == Decimal(1)
            assert emergency.records() == ()
        await writer.append([])
        assert rig.journal.verify().ok
    emergency.close()
