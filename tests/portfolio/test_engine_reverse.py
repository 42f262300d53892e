"""Pairs the other way round, long the perpetual and short borrowed coins, on a real venue core."""

from dataclasses import replace
from decimal import Decimal

import anyio
import pytest
from trio.testing import MockClock

from portfolio.core.intents import IntentStatus
from portfolio.core.names import PairId
from portfolio.operations import MoveEnd, MoveMode
from tests.portfolio.rig import PAIRS
from tests.portfolio.trading_desk import Trader, trading

D = Decimal
DUST = D("0.1")
REVERSE = "SOL:reverse"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture(autouse=True)
def reverse(monkeypatch: pytest.MonkeyPatch) -> None:
    """The desk knows the reverse of a pair."""
    forward = PAIRS[PairId("SOL@bybit")]
    back = replace(
        forward,
        pair_id=PairId("SOL@bybit:reverse"),
        long_leg=forward.short_leg,
        short_leg=forward.long_leg,
    )
    monkeypatch.setitem(PAIRS, back.pair_id, back)


async def change(trader: Trader, coin: str, start: str, end: str, mode: MoveMode = MoveMode.URGENT) -> None:
    """Bring a pair from one size to another, to its end."""
    intent = trader.approve((coin, start, end), intent_id=f"i{coin}{start}{end}")
    result = await trader.engine(coin).move(trader.operation(intent, coin, mode))
    assert result.end is MoveEnd.REACHED, result
    trader.move_intent(intent, IntentStatus.DONE)


@pytest.mark.anyio
@pytest.mark.parametrize("mode", list(MoveMode))
async def test_a_reverse_pair_borrows_its_coin_and_buys_it_back(mode: MoveMode) -> None:
    async with trading() as trader:
        for start, end in (("0", "20"), ("20", "0")):
            await change(trader, REVERSE, start, end, mode)
            held, long = trader.sides("SOL")
            assert long == D(end)
            assert abs(held + D(end)) < DUST
        assert trader.owed("SOL") < DUST


@pytest.mark.anyio
async def test_an_entry_that_buys_what_the_reverse_pair_owes_repays_it() -> None:
    async with trading() as trader:
        await change(trader, REVERSE, "0", "20")
        assert trader.owed("SOL") == 20
        await change(trader, "SOL", "0", "30")
        assert trader.owed("SOL") < DUST


@pytest.mark.anyio
async def test_an_exit_buys_back_what_is_owed_and_no_more_though_the_perpetual_is_larger() -> None:
    async with trading() as trader:
        await change(trader, REVERSE, "0", "20")
        trader.deposit("SOL", "0.09")
        await anyio.sleep(5)
        await change(trader, REVERSE, "19.91", "0")
        held, long = trader.sides("SOL")
        assert long == 0
        assert abs(held) < D("0.001"), "neither owed nor left over"
