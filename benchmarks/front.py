"""simulate_margin as an agent sees it, beside a tool that does nothing.

Both are asked in turn over sockets of the same kind, each served by a process of its own: agent.sock of the
real front (paper mode, all processes running), and an empty tool of the same SDK behind the same door. Calls
are paced so that the front's limit per token refuses none.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio

from benchmarks.agent import Agent, connected
from benchmarks.measure import Result, ms, spread
from benchmarks.stack import Stack, running

PAIRS = tuple(f"{coin}@bybit" for coin in ("AVAX", "BNB", "BTC", "DOGE", "ETH", "SOL", "XRP"))
WHAT_IF: dict[str, Any] = {"targets": [{"pair": pair, "notional_usd": "20000"} for pair in PAIRS]}
#: The front lets one token make 20 calls a second.
EVERY_SECONDS = 0.055


def run(*, tiny: bool = False) -> Result:
    """Milliseconds per call, on an otherwise idle desk; seven pairs under the standard stresses."""
    with running() as stack:
        return measure(stack, 3 if tiny else 200)


def measure(stack: Stack, times: int) -> Result:
    """The same on processes that run."""
    with _empty(stack.home.run_dir / "empty.sock") as path:
        what_ifs, empties = anyio.run(_calls, stack, path, times)
    ours, theirs = spread(what_ifs), spread(empties)
    return {
        "pairs": len(PAIRS),
        "simulate_margin_ms": ours,
        "empty_tool_ms": theirs,
        "p50_over_empty": round(ours["p50"] / theirs["p50"], 2),
        "p95_over_empty": round(ours["p95"] / theirs["p95"], 2),
    }


@contextmanager
def _empty(path: Path) -> Iterator[Path]:
    """The empty tool's process."""
    process = subprocess.Popen([sys.executable, "-P", "-m", "benchmarks.empty_tool", str(path)])  # noqa: S603
    try:
        deadline = time.monotonic() + 20
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        yield path
    finally:
        process.terminate()
        process.wait(10)


async def _calls(stack: Stack, empty: Path, times: int) -> tuple[list[float], list[float]]:
    what_ifs: list[float] = []
    empties: list[float] = []
    async with connected(stack.home.agent_socket, stack.token) as front, connected(empty, "bench") as other:
        for number in range(-3, times):  # the first ones warm everybody up
            turn = anyio.current_time()
            one = await _timed(front, "simulate_margin", WHAT_IF)
            two = await _timed(other, "empty", {})
            if number >= 0:
                what_ifs.append(one)
                empties.append(two)
            await anyio.sleep_until(turn + EVERY_SECONDS)
    return what_ifs, empties


async def _timed(agent: Agent, tool: str, arguments: dict[str, Any]) -> float:
    start = time.perf_counter_ns()
    await agent.call(tool, arguments)
    return ms(time.perf_counter_ns() - start)
