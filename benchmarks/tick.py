"""The guard's path while all is well: one price event up to its decision.

The desk is the production assembly on the in-memory venue, with its journal on a file, in real time.
"""

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from benchmarks.journal import WORK
from benchmarks.measure import Result, ms, spread
from benchmarks.world import Desk, Scale, World
from portfolio.core.market import Mark


def run(*, tiny: bool = False) -> Result:
    """Prices that move nothing; breach.py has the one that does."""
    result: Result = {}
    for pairs in (2,) if tiny else (7, 20):
        result |= anyio.run(_measure, pairs, 5 if tiny else 300)
    return result


async def _measure(pairs: int, times: int) -> Result:
    WORK.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="bench-tick-", dir=WORK) as folder:
        async with World(Scale(pairs)).desk(Path(folder, "journal.db")) as desk:
            await hold(desk)
            applied, decided = await _decide(desk, times)
            looked = await _look(desk, times)
    return {
        f"apply_mark_us_{pairs}_pairs": spread(applied),
        f"decide_ms_{pairs}_pairs": spread(decided),
        f"event_to_looked_ms_{pairs}_pairs": spread(looked),
    }


async def hold(desk: Desk) -> None:
    """Enter every pair."""
    intent = await desk.propose(dict.fromkeys(desk.assembly.view.pairs, desk.scale.leg_usd))
    await desk.approve(intent)
    ended = await desk.finished(intent)
    assert ended.status == "done", ended.note


def _marks(desk: Desk, number: int) -> Mark:
    """A new mark of one perpetual, one tick up or down."""
    view = desk.assembly.view
    legs = sorted(pair.short_leg for pair in view.pairs.values())
    before = view.mark(legs[number % len(legs)])
    tick = view.instrument(before.instrument_id).tick_size * (1 if number // len(legs) % 2 else -1)
    now = desk.clocks.wire_ns()
    return replace(
        before,
        mark_price=before.mark_price + tick,
        event_market_ns=before.event_market_ns + 1,
        seen_wire_ns=now,
    )


async def _decide(desk: Desk, times: int) -> tuple[list[float], list[float]]:
    """Work alone: us to take the price in, ms to value the account and decide."""
    guard, view = desk.assembly.guard, desk.assembly.view
    applied, decided = [], []
    for number in range(times):
        mark = _marks(desk, number)
        start = time.perf_counter_ns()
        view.apply(mark)
        taken = time.perf_counter_ns()
        decision = guard._decide()  # the guard's own loop does this and nothing else when there is no action
        done = time.perf_counter_ns()
        assert not decision.actions
        applied.append((taken - start) / 1000)
        decided.append(ms(done - taken))
        await anyio.sleep(0.002)
    return applied, decided


async def _look(desk: Desk, times: int) -> list[float]:
    """With the loop: ms from a price to the end of the look, the guard's pause of 2 ms included."""
    view, samples = desk.assembly.view, []
    for number in range(times):
        looked = desk.looked()
        start = time.perf_counter_ns()
        view.apply(_marks(desk, number))
        await looked.wait()
        samples.append(ms(time.perf_counter_ns() - start))
        await anyio.sleep(0.003)
    return samples
