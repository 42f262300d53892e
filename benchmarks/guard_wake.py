"""How late the guard wakes, while everything is quiet and while clients flood the front.

The real processes run in paper mode. A probe on the desk's event loop (see probed_desk.py) says how late its
sleep of 5 ms ends, which is how late the guard's own ends. Several agents, each with as many calls in flight
as its limit lets pass, ask for what-ifs as fast as they are answered; what is beyond the limit per token is
refused by the front, and counted. Everything shares the machine's cores, the flooding clients too.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from benchmarks.agent import connected, succeeded
from benchmarks.front import WHAT_IF
from benchmarks.measure import Result, spread
from benchmarks.probed_desk import lateness_ms
from benchmarks.stack import Stack, running

AGENTS = 4
IN_FLIGHT = 8


@dataclass(slots=True)
class Count:
    """What the flood came to."""

    answered: int = 0
    refused: int = 0


def run(*, tiny: bool = False) -> Result:
    """Milliseconds late on the desk's loop, quiet, flooded and quiet again."""
    with running() as stack:
        return measure(stack, seconds=0.5 if tiny else 10.0, agents=1 if tiny else AGENTS)


def measure(stack: Stack, *, seconds: float, agents: int) -> Result:
    """The same on processes that run."""
    count = Count()
    tokens = [stack.token, *(stack.add_token(f"flood{number}") for number in range(1, agents))]
    quiet = _during(stack, lambda: anyio.run(anyio.sleep, seconds))
    flooded = _during(stack, lambda: anyio.run(_flood, stack.home.agent_socket, tokens, seconds, count))
    after = _during(stack, lambda: anyio.run(anyio.sleep, seconds / 2))
    late_quiet, late_flooded = spread(quiet), spread(flooded)
    return {
        "agents": len(tokens),
        "flood_seconds": seconds,
        "calls_per_second": round((count.answered + count.refused) / seconds, 1),
        "what_ifs_per_second": round(count.answered / seconds, 1),
        "refused_share": round(count.refused / max(1, count.answered + count.refused), 3),
        "late_quiet_ms": late_quiet,
        "late_flooded_ms": late_flooded,
        "late_after_ms": spread(after),
        "p99_flooded_over_quiet": round(late_flooded["p99"] / max(late_quiet["p99"], 0.001), 2),
    }


def _during(stack: Stack, work: Callable[[], None]) -> list[float]:
    since = time.monotonic_ns()
    work()
    return lateness_ms(stack.home, since, time.monotonic_ns())


async def _flood(path: Path, tokens: Sequence[str], seconds: float, count: Count) -> None:
    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as tasks:
            for token in tokens:
                tasks.start_soon(_one, path, token, count)


async def _one(path: Path, token: str, count: Count) -> None:
    """Keep so many calls in flight, for ever."""
    call = {"name": "simulate_margin", "arguments": WHAT_IF}
    async with connected(path, token) as agent:
        for _ in range(IN_FLIGHT):
            await agent.send("tools/call", call)
        while True:
            answer = await agent.receive()
            if succeeded(answer):
                count.answered += 1
            else:
                count.refused += 1
            await agent.send("tools/call", call)
