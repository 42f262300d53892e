"""Repaying after exits, against the venue's own rules for it."""

from decimal import Decimal

import anyio
import pytest
from trio.testing import MockClock

from portfolio.core.limits import SECOND_NS
from portfolio.core.names import Coin
from portfolio.operations import MoveEnd, MoveMode
from portfolio.repayment import DebtSweeper, Repayer
from tests.portfolio.rig import START_NS, Settings
from tests.portfolio.trading_desk import trading

D = Decimal
USDT = Coin("USDT")
BLACKOUT_ENDS_NS = START_NS + (5 * 60 + 30) * SECOND_NS


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.mark.anyio
async def test_nothing_owed_needs_no_repayment() -> None:
    async with trading() as trader:
        repayer = trader.kit.repayer
        assert await repayer.settle("i1", USDT) is None


@pytest.mark.anyio
async def test_an_exit_in_the_minutes_without_repayment_waits_for_their_end() -> None:
    async with trading(Settings(usdt=D(10_000))) as trader:
        await trader.hold("SOL", "100")
        await anyio.sleep(4 * 60 + 10 - (trader.rig.clocks.wire_ns() - START_NS) / SECOND_NS)
        intent = trader.approve(("SOL", "100", "0"), intent_id="i2")
        result = await trader.engine("SOL").move(trader.operation(intent, "SOL", MoveMode.URGENT))
        assert result.end is MoveEnd.REACHED, result
        assert trader.owed("USDT") == 0
        assert trader.rig.clocks.wire_ns() >= BLACKOUT_ENDS_NS


@pytest.mark.anyio
async def test_debt_of_other_pairs_stays_when_nothing_is_left_to_repay_with() -> None:
    async with trading(Settings(usdt=D(10_000))) as trader:
        await trader.hold("SOL", "100")
        owed = trader.owed("USDT")
        assert owed > 0
        assert await trader.kit.repayer.settle("i1", USDT) is None
        assert trader.owed("USDT") > owed * D("0.99")


@pytest.mark.anyio
async def test_what_a_desk_that_died_left_unpaid_is_swept_up_once_everything_is_known() -> None:
    async with trading(Settings(usdt=D(10_000))) as trader:
        await trader.hold("SOL", "100")
        known = False
        sweeper = DebtSweeper(view=trader.rig.view, repayer=trader.kit.repayer, recovered=lambda: known)
        assert sweeper.owing() == (), "nothing is free"
        trader.deposit("USDT", "20000")
        await anyio.sleep(2)
        assert sweeper.owing() == (USDT,)
        async with anyio.create_task_group() as group:
            group.start_soon(sweeper.run)
            await anyio.sleep(3)
            assert trader.owed("USDT") > 0
            known = True
            await anyio.sleep(3)
            assert trader.owed("USDT") == 0
            group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_callers_that_ask_together_share_one_repayment() -> None:
    async with trading(Settings(usdt=D(10_000))) as trader:
        await trader.hold("SOL", "100")
        trader.deposit("USDT", "20000")
        await anyio.sleep(2)
        results: list[str | None] = []

        async def ask(repayer: Repayer, name: str) -> None:
            results.append(await repayer.settle(name, USDT))

        before = trader.repaid()
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(ask, trader.kit.repayer, f"i{number}")
        assert results == [None] * 8
        assert trader.owed("USDT") == 0
        assert trader.repaid() - before <= 2
