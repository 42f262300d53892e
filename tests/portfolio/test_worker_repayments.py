"""The worker's repayments on a real venue core: journalled, spaced, and none that begins while it stops."""

from decimal import Decimal
from itertools import pairwise

import anyio
import pytest

from exchanges.memory import MemoryOptions
from portfolio.core.entries import RepaymentMoved
from portfolio.core.instrument import InstrumentKind
from portfolio.core.limits import MINUTE_NS, SECOND_NS
from portfolio.core.names import Coin
from portfolio.core.orders import Accepted, NotSent, OrderClass, Outcome, Priority, Rejected, Side
from tests.portfolio.rig import START_NS, Settings, desk, world

pytestmark = pytest.mark.anyio
FAR = Settings(options=MemoryOptions(latency_ns=50_000_000))


async def test_a_repayment_is_journalled_before_and_after() -> None:
    async with desk() as rig:
        outcome = await rig.worker.repay("op1", Coin("SOL"), None)
        assert isinstance(outcome, Rejected), "there is no debt"
        moved = [one.entry for one in rig.journal.read() if isinstance(one.entry, RepaymentMoved)]
        assert [(one.operation_id, one.coin, one.quantity, one.status) for one in moved] == [
            ("op1", Coin("SOL"), Decimal(0), "planned"),
            ("op1", Coin("SOL"), Decimal(0), "refused"),
        ]


async def test_a_debt_is_repaid_in_full() -> None:
    async with desk() as rig:
        sale = rig.order(
            "SOL", InstrumentKind.SPOT, Side.SELL, Decimal(5), OrderClass.HEDGE, intent="g1", borrow=True
        )
        buy = rig.order("SOL", InstrumentKind.SPOT, Side.BUY, Decimal("5.1"), OrderClass.REDUCE, intent="g1")
        for order in (sale, buy):
            assert isinstance((await rig.send(order, priority=Priority.DERISK))[0], Accepted)
            await rig.settle(order)
        await rig.bookkeeper.refresh()
        assert rig.view.debt(Coin("SOL")) == 5
        assert isinstance(await rig.worker.repay("op1", Coin("SOL"), None), Accepted)
        await rig.bookkeeper.refresh()
        assert rig.view.debt(Coin("SOL")) == 0
        moved = [one.entry for one in rig.journal.read() if isinstance(one.entry, RepaymentMoved)]
        assert [(one.quantity, one.status) for one in moved] == [
            (Decimal(5), "planned"),
            (Decimal(5), "done"),
        ]


async def test_repayments_keep_the_venues_distance_whoever_asks_and_after_a_restart() -> None:
    async with desk() as rig:
        times: list[int] = []
        pay = rig.exchange.repay

        async def timed(coin: Coin, quantity: Decimal | None, deadline_wire_ns: int) -> Outcome:
            times.append(rig.clocks.monotonic_ns())
            return await pay(coin, quantity, deadline_wire_ns)

        rig.exchange.repay = timed  # type: ignore[method-assign]
        async with anyio.create_task_group() as group:
            for operation in ("op1", "g1", "op2"):
                group.start_soon(rig.worker.repay, operation, Coin("SOL"), None)
        assert times[0] >= SECOND_NS, "the desk before may have repaid just now"
        assert all(after - before >= SECOND_NS for before, after in pairwise(times))


async def test_no_repayment_is_tried_while_the_venue_takes_none() -> None:
    async with desk() as rig:
        until = START_NS + 4 * MINUTE_NS - rig.clocks.wire_ns()
        await anyio.sleep(until / SECOND_NS + 1)
        outcome = await rig.worker.repay("op1", Coin("SOL"), Decimal(1))
        assert isinstance(outcome, NotSent)
        assert "no repayment" in outcome.reason
        assert [one for one in rig.journal.read() if isinstance(one.entry, RepaymentMoved)] == []


async def test_a_worker_that_stopped_repays_nothing() -> None:
    async with world(":memory:", Settings()) as made:
        async with made.desk() as rig:
            assert rig.worker.veto is rig.guard
        assert isinstance(await rig.worker.repay("op1", Coin("SOL"), Decimal(1)), NotSent)


async def test_a_worker_that_stops_begins_no_repayment_while_it_finishes_what_is_on_the_wire() -> None:
    async with world(":memory:", FAR) as made:
        outcomes: list[Outcome] = []
        async with made.desk() as rig:
            rig.approve(("BTC", "0.2"))
            async with anyio.create_task_group() as group:

                async def send() -> None:
                    with anyio.CancelScope(shield=True):
                        outcomes.extend(await rig.send(rig.entry("BTC", "0.01")))

                async def repay_late() -> None:
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(0.04)
                        assert outcomes == [], "the order is still on the wire"
                        outcomes.append(await rig.worker.repay("op1", Coin("SOL"), Decimal(1)))

                group.start_soon(send)
                group.start_soon(repay_late)
                await anyio.sleep(0.03)
                rig.stop()
        refused, sent = outcomes
        assert isinstance(refused, NotSent)
        assert "not running" in refused.reason
        assert isinstance(sent, Accepted)


async def test_repayments_keep_the_distance_that_the_venue_asks_for() -> None:
    async with desk() as rig:
        outcomes: list[Outcome] = []

        async def repay(operation: str) -> None:
            outcomes.append(await rig.worker.repay(operation, Coin("SOL"), Decimal(1)))

        start = rig.clocks.monotonic_ns()
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(repay, f"op{number}")
        assert rig.clocks.monotonic_ns() - start >= 2 * SECOND_NS
        assert {one.venue_code for one in outcomes if isinstance(one, Rejected)} != {"10006"}
