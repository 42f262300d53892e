"""A breaching tick: from the price that breaks the guard's line to its order on the wire.

A held book is stored once; every sample opens it anew in a desk of its own, so that none learns from the one
before, and lets the market jump. Time runs from when the new prices lie in the desk's stream: it takes them
in, the guard values the account, simulates its whole ladder and commits what it will do, and the worker
commits and sends the orders.
"""

import shutil
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from benchmarks.journal import WORK
from benchmarks.measure import Result, ms, spread
from benchmarks.tick import hold
from benchmarks.world import Desk, Scale, World
from portfolio.core.entries import GuardActed, OrderPlanned
from portfolio.core.limits import SECOND_NS
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario, exposed_coins, market_factors, stressed

#: Between the guard's line (0.7) and the one below which it flattens (0.5).
HEALTH = Decimal("0.62")
#: Little cash: the spot legs are bought on credit, so that a market that rises is dangerous.
EQUITY_USD = Decimal(7_500)
BAR_MS = 100
#: All batches of one decision leave within this; the next decision waits for their effect.
SETTLE_NS = SECOND_NS // 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One breach, ms after the tick."""

    #: The guard's decision is on its way to the journal.
    decided_ms: float
    #: The worker took the orders and is about to commit them.
    planned_ms: float
    #: The first batch leaves the desk, and the last one of this decision.
    sent_ms: float
    last_sent_ms: float
    orders: int


def run(*, tiny: bool = False) -> Result:
    """p99 of few samples is the largest of them."""
    result: Result = {"bar_p99_ms": BAR_MS}
    for pairs, times in ((2, 1),) if tiny else ((7, 30), (20, 10)):
        samples = anyio.run(_samples, pairs, times)
        result[f"tick_to_order_{pairs}_pairs"] = {
            "orders": samples[-1].orders,
            "tick_to_decision_ms": spread([one.decided_ms for one in samples]),
            "tick_to_worker_ms": spread([one.planned_ms for one in samples]),
            "tick_to_wire_ms": spread([one.sent_ms for one in samples]),
            "tick_to_last_on_wire_ms": spread([one.last_sent_ms for one in samples]),
        }
    return result


async def _samples(pairs: int, times: int) -> list[Sample]:
    WORK.mkdir(exist_ok=True)
    scale = Scale(pairs, latency_ns=0, equity_usd=EQUITY_USD)
    with TemporaryDirectory(prefix="bench-breach-", dir=WORK) as folder:
        held = Path(folder, "held.db")
        world = World(scale)
        async with world.desk(held) as desk:
            await hold(desk)
            await anyio.sleep(1.2)  # one more read of the account, so that nothing is on its way
            factor = breaking_factor(desk)
        world.core.advance(world.clocks.market_ns())
        stored = world.core.dump()
        samples = []
        for number in range(times):
            path = Path(folder, f"{number}.db")
            shutil.copy(held, path)
            async with World(scale, stored).desk(path) as desk:
                samples.append(await _breach(desk, factor))
        return samples


def breaking_factor(desk: Desk) -> Decimal:
    """How much every coin must rise for the account's health to be `HEALTH`, found by bisection."""
    state, sim = desk.assembly.view.margin_state(), MarginSim()

    def health(factor: Decimal) -> Decimal:
        return sim.rule(_moved(state, factor), extrapolate=True).figures.health_score

    low, high = Decimal(1), Decimal(8)
    assert health(high) < HEALTH < health(low), "no rise breaks the line"
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if health(middle) < HEALTH else (middle, high)
    return high


def _moved(state: MarginState, factor: Decimal) -> MarginState:
    return stressed(state, Scenario("jump", market_factors(exposed_coins(state), factor - 1)))


async def _breach(desk: Desk, factor: Decimal) -> Sample:
    exchange = desk.exchange
    after = desk.journal.head()[0]
    exchange.expect()
    exchange.jump(factor)
    tick = time.time_ns()
    with anyio.fail_after(10):
        await exchange.went.wait()
    await anyio.sleep(SETTLE_NS / SECOND_NS)
    rows = await desk.runner.run(lambda: desk.journal.read(after, 10_000))
    decided = next(row.wire_ns for row in rows if isinstance(row.entry, GuardActed))
    planned = [row for row in rows if isinstance(row.entry, OrderPlanned)]
    first = exchange.sent
    return Sample(
        decided_ms=ms(decided - tick),
        planned_ms=ms(planned[0].wire_ns - tick),
        sent_ms=ms(first[0].wire_ns - tick),
        last_sent_ms=ms(first[-1].wire_ns - tick),
        orders=sum(len(sent.orders) for sent in first),
    )
