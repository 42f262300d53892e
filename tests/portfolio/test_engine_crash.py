"""The process dies between any two journal calls of a move; the next one continues and repeats nothing."""

from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from trio.testing import MockClock

from exchanges.paper.commands import RejectNext
from portfolio.core.entries import GuardActed
from portfolio.core.instrument import InstrumentKind
from portfolio.core.intents import Intent, IntentStatus
from portfolio.core.limits import RiskLimits, TradeLimits
from portfolio.core.orders import OrderClass, Priority, Side
from portfolio.operations import MoveMode
from tests.portfolio.rig import Crash, Rig, Settings, World, spot, world
from tests.portfolio.trading_desk import Trader, make_trader

D = Decimal
LIMITS = RiskLimits(trade=TradeLimits(slice_notional_max=D(700)))


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def trader_on(rig: Rig, mode: MoveMode) -> Trader:
    return make_trader(rig, LIMITS, mode)


async def first_life(
    made: World,
    mode: MoveMode,
    *,
    before: int | None,
    after: int | None,
    move: tuple[str, str, str] = ("SOL", "0", "10"),
    intent_id: str = "i1",
) -> Intent:
    """A desk that is told to die at a journal call of its controller's work; it may also finish."""
    intents: list[Intent] = []
    try:
        async with made.desk() as rig:
            trader = trader_on(rig, mode)
            intents.append(trader.approve(move, intent_id=intent_id))
            rig.rails.die_before = None if before is None else rig.rails.calls + before
            rig.rails.die_after = None if after is None else rig.rails.calls + after
            while await trader.controller.tick() == 0:
                if trader.status(intents[0]).final:
                    break
    except* Crash:
        pass
    return intents[0]


async def next_life(made: World, intent: Intent, mode: MoveMode) -> None:
    """A new desk on the same journal finishes the intent, and the venue agrees with the journal."""
    async with made.desk() as rig:
        trader = trader_on(rig, mode)
        with anyio.fail_after(600):
            while not trader.status(intent).final:
                await trader.controller.tick()
        assert trader.status(intent) is IntentStatus.DONE, trader.note(intent)
        held, short = trader.sides("SOL")
        assert short == -10
        assert 0 <= 10 - held < D("0.05")
        assert trader.progress(intent, "SOL").violation() is None
        placed = made.exchange.placed
        assert len(placed) == len(set(placed))


@pytest.mark.anyio
@pytest.mark.parametrize("call", range(3, 39, 3))
@pytest.mark.parametrize("committed", [False, True])
async def test_an_urgent_entry_continues_after_a_crash(tmp_path: Path, call: int, committed: bool) -> None:
    async with world(str(tmp_path / "journal.db"), Settings()) as made:
        before, after = (None, call) if committed else (call, None)
        intent = await first_life(made, MoveMode.URGENT, before=before, after=after)
        await next_life(made, intent, MoveMode.URGENT)


@pytest.mark.anyio
@pytest.mark.parametrize("call", range(4, 40, 6))
async def test_a_resting_entry_continues_after_a_crash(tmp_path: Path, call: int) -> None:
    async with world(str(tmp_path / "journal.db"), Settings()) as made:
        intent = await first_life(made, MoveMode.NORMAL, before=None, after=call)
        await next_life(made, intent, MoveMode.NORMAL)


@pytest.mark.anyio
async def test_a_crash_behind_the_venue_is_resolved_before_anything_is_sent(tmp_path: Path) -> None:
    async with world(str(tmp_path / "journal.db"), Settings()) as made:
        made.exchange.die_after_place = True
        intent = await first_life(made, MoveMode.URGENT, before=None, after=None)
        made.exchange.die_after_place = False
        await next_life(made, intent, MoveMode.URGENT)


@pytest.mark.anyio
async def test_what_the_guard_mended_before_the_crash_is_not_hedged_again(tmp_path: Path) -> None:
    async with world(str(tmp_path / "journal.db"), Settings()) as made:
        async with made.desk() as rig:
            intent = trader_on(rig, MoveMode.URGENT).approve(("SOL", "0", "10"))
            lead = rig.entry("SOL", "10", intent=intent.intent_id)
            mended = GuardActed("g1", "naked_leg", (Trader.pair_id("SOL"),), "hedge", None, None)
            await rig.send(lead)
            rig.journal.append([mended], rig.clocks.wire_ns())
            buy = rig.order("SOL", InstrumentKind.SPOT, Side.BUY, D(10), OrderClass.HEDGE, intent="g1")
            await rig.send(buy, priority=Priority.GUARD)
            await rig.settle(lead, buy)
        async with made.desk() as rig:
            trader = trader_on(rig, MoveMode.URGENT)
            while not trader.status(intent).final:
                await trader.controller.tick()
            assert trader.status(intent) is IntentStatus.STOPPED
            assert "the guard took the pair" in trader.note(intent)
            held, short = trader.sides("SOL")
            assert short == -10
            assert D("9.95") < held <= 10


@pytest.mark.anyio
@pytest.mark.parametrize("call", range(10, 26, 2))
async def test_taking_a_lead_back_continues_after_a_crash(tmp_path: Path, call: int) -> None:
    async with world(str(tmp_path / "journal.db"), Settings()) as made:
        made.core.handle(RejectNext(spot("SOL"), "170131", "Spot is closed.", 99), made.clocks.market_ns())
        intent = await first_life(made, MoveMode.URGENT, before=None, after=call)
        async with made.desk() as rig:
            trader = trader_on(rig, MoveMode.URGENT)
            while not trader.status(intent).final:
                await trader.controller.tick()
            assert trader.status(intent) is IntentStatus.STOPPED
            assert trader.sides("SOL") == (D(0), D(0))


@pytest.mark.anyio
@pytest.mark.parametrize("call", range(3, 36, 4))
async def test_an_exit_and_its_repayment_continue_after_a_crash(tmp_path: Path, call: int) -> None:
    async with world(str(tmp_path / "journal.db"), Settings(usdt=D(5000))) as made:
        async with made.desk() as rig:
            await trader_on(rig, MoveMode.URGENT).hold("SOL", "50")
        intent = await first_life(
            made, MoveMode.URGENT, before=None, after=call, move=("SOL", "50", "0"), intent_id="i2"
        )
        async with made.desk() as rig:
            trader = trader_on(rig, MoveMode.URGENT)
            while not trader.status(intent).final:
                await trader.controller.tick()
            assert trader.status(intent) is IntentStatus.DONE, trader.note(intent)
            held, short = trader.sides("SOL")
            assert short == 0
            assert 0 <= held < D("0.1")
            assert trader.owed("USDT") == 0
