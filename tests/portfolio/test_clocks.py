from decimal import Decimal

import anyio
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from portfolio.clocks import LoopClocks, ManualClocks, PaperClocks, SystemClocks
from portfolio.core.errors import InputError, NumberError
from portfolio.ports import Clocks

WIRE = 1_700_000_000_000_000_000
MARKET = 1_600_000_000_000_000_000


def test_every_clock_is_the_port() -> None:
    manual: Clocks = ManualClocks()
    system: Clocks = SystemClocks()
    paper: Clocks = PaperClocks(start_market_ns=0, start_wire_ns=0, speed=1)
    assert all(isinstance(one.wire_ns(), int) for one in (manual, system, paper))


def test_live_market_time_is_wire_time_and_durations_never_go_back() -> None:
    clocks = SystemClocks()
    before, market, after = clocks.wire_ns(), clocks.market_ns(), clocks.wire_ns()
    assert before <= market <= after
    assert clocks.monotonic_ns() <= clocks.monotonic_ns()


@given(st.integers(0, 10**19), st.decimals(min_value=0, max_value=100_000, places=6))
def test_paper_market_time_is_exact_whatever_the_speed(elapsed: int, speed: Decimal) -> None:
    clocks = PaperClocks(start_market_ns=MARKET, start_wire_ns=WIRE, speed=speed)
    micro = int(speed * 1_000_000)
    assert clocks.market_at(WIRE + elapsed) == MARKET + elapsed * micro // 1_000_000


def test_two_processes_with_the_same_start_agree_on_the_market_time() -> None:
    first, second = (PaperClocks(start_market_ns=MARKET, start_wire_ns=WIRE, speed=60) for _ in range(2))
    assert first.market_at(WIRE + 123) == second.market_at(WIRE + 123)
    assert first.market_ns() <= second.market_ns() <= first.market_ns()


@pytest.mark.parametrize("speed", [Decimal(-1), Decimal("NaN"), Decimal("Infinity"), True, 1.5])
def test_a_speed_that_is_no_decimal_from_zero_up_is_refused(speed: Decimal) -> None:
    with pytest.raises(NumberError, match="speed"):
        PaperClocks(start_market_ns=0, start_wire_ns=0, speed=speed)


def test_loop_clocks_follow_the_virtual_clock() -> None:
    async def main() -> None:
        await anyio.sleep(7)
        clocks = LoopClocks(start_wire_ns=WIRE, start_market_ns=MARKET, speed=Decimal("2.5"))
        assert (clocks.wire_ns(), clocks.market_ns(), clocks.monotonic_ns()) == (WIRE, MARKET, 0)
        await anyio.sleep(3600.25)
        assert clocks.monotonic_ns() == 3_600_250_000_000
        assert clocks.wire_ns() == WIRE + 3_600_250_000_000
        assert clocks.market_ns() == MARKET + 9_000_625_000_000

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_manual_clocks_move_only_when_told() -> None:
    clocks = ManualClocks(wire_ns=WIRE, market_ns=MARKET)
    clocks.advance(10)
    clocks.advance(5, market_ns=50)
    assert (clocks.wire_ns(), clocks.market_ns(), clocks.monotonic_ns()) == (WIRE + 15, MARKET + 60, 15)
    assert ManualClocks(wire_ns=WIRE).market_ns() == WIRE


@pytest.mark.parametrize(("wire_ns", "market_ns"), [(-1, None), (1, -1), (-1, 1)])
def test_manual_clocks_do_not_go_back(wire_ns: int, market_ns: int | None) -> None:
    with pytest.raises(InputError, match="does not go back"):
        ManualClocks().advance(wire_ns, market_ns=market_ns)
