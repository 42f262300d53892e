"""A bad day at the venue, drawn from a seed: whatever goes wrong, the books say what the venue did."""

from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from exchanges.memory import MemoryOptions
from exchanges.paper.faults import Disconnect, FaultPlan, NoticeFault, RequestFault
from portfolio.core.instrument import InstrumentKind
from portfolio.core.limits import SECOND_NS
from portfolio.core.names import InstrumentId
from portfolio.core.orders import OrderClass, OrderRequest, Priority, Side
from tests.portfolio.rig import COINS, Crash, Rig, Settings, World, desk, pair_id, world

QUANTITIES = {"SOL": "4", "ETH": "0.2", "BNB": "1"}


def bad_day(seed: int) -> FaultPlan:
    return FaultPlan(
        seed=seed,
        requests={
            RequestFault.NOT_SENT: Decimal("0.08"),
            RequestFault.LOST_ANSWER: Decimal("0.15"),
            RequestFault.LATE: Decimal("0.15"),
            RequestFault.REJECT: Decimal("0.08"),
            RequestFault.PARTIAL_FILL: Decimal("0.15"),
        },
        notices={NoticeFault.DUPLICATE: Decimal("0.2"), NoticeFault.REORDER: Decimal("0.2")},
        # Half of what comes late still makes its deadline.
        late_ns=SECOND_NS + seed % 2 * 2 * SECOND_NS,
        disconnects=(Disconnect(20 * SECOND_NS, 5 * SECOND_NS),),
    )


async def trade(rig: Rig, coin: str) -> None:
    """Enter and reduce one pair in slices without asking how the last one ended."""
    for number in range(4):
        lead = rig.entry(coin, QUANTITIES[coin], intent="i1")
        hedge = rig.hedge(coin, QUANTITIES[coin], intent="i1")
        await rig.send(lead, hedge)
        await anyio.sleep(1.5)
        cut = rig.reduction(coin, QUANTITIES[coin], intent=f"g{coin}")
        sale = rig.order(
            coin,
            InstrumentKind.SPOT,
            Side.SELL,
            Decimal(QUANTITIES[coin]) / 2,
            OrderClass.REDUCE,
            intent=f"g{coin}",
        )
        if number % 2:
            await rig.send(cut, sale, priority=Priority.DERISK)


async def a_day(made: World, *, dies: bool) -> None:
    async with made.desk() as rig:
        if rig.journal.intent(rig.intent(("SOL", "1")).intent_id) is None:
            rig.approve(*((coin, str(Decimal(quantity) * 10)) for coin, quantity in QUANTITIES.items()))
        start = len(rig.journal.orders())
        for coin in QUANTITIES:  # ids of a second life must not repeat those of the first
            for intent in ("i1", f"g{coin}"):
                for kind in ("linear", "spot"):
                    key = (rig.intent(("SOL", "1"), intent_id=intent).intent_id, leg(kind, coin))
                    rig.sliced[key] = start
        rig.rails.die_after = rig.rails.calls + 40 if dies else None
        async with anyio.create_task_group() as group:
            for coin in QUANTITIES:
                group.start_soon(trade, rig, coin)
        for row in rig.journal.orders(unsettled_only=True):
            await rig.worker.settled(row.request.client_order_id, timeout_ns=60 * SECOND_NS)
        await anyio.sleep(30)
        check(rig)


def leg(kind: str, coin: str) -> InstrumentId:
    return InstrumentId(f"bybit:{kind}:{coin}USDT")


def check(rig: Rig) -> None:
    """The journal explains every fill of the venue, and every order has come to its end."""
    placed = rig.exchange.placed
    assert len(placed) == len(set(placed)), "nothing is sent twice"
    assert rig.journal.orders(unsettled_only=True) == ()
    assert rig.journal.freezes() == ()
    for coin in QUANTITIES:
        held = rig.journal.holdings().get((pair_id(coin), leg("linear", coin)), Decimal(0))
        assert held == rig.venue_position(coin)
    sent = {row.request.client_order_id for row in rig.journal.orders()}
    assert set(placed) <= sent
    done = [row for row in rig.journal.orders() if row.filled]
    assert done
    assert all(row.state == "closed" for row in done)
    assert rig.journal.verify().ok


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(6))
async def test_after_a_bad_day_the_books_agree_with_the_venue(seed: int) -> None:
    options = MemoryOptions(latency_ns=50_000_000, visibility_lag_ns=SECOND_NS)
    async with world(":memory:", Settings(faults=bad_day(seed), options=options)) as made:
        await a_day(made, dies=False)


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(6))
async def test_after_a_crash_in_a_bad_day_the_next_life_finds_out_what_happened(
    tmp_path: Path, seed: int
) -> None:
    settings = Settings(faults=bad_day(seed), options=MemoryOptions(latency_ns=50_000_000))
    async with world(str(tmp_path / "journal"), settings) as made:
        with pytest.raises(Crash):
            await a_day(made, dies=True)
        await a_day(made, dies=False)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_the_same_code_runs_on_the_event_loop_of_production(anyio_backend: str) -> None:
    async with desk() as rig:
        assert set(QUANTITIES) <= set(COINS)
        rig.approve(("SOL", "4"))
        orders: list[OrderRequest] = [rig.entry("SOL", "4"), rig.hedge("SOL", "4")]
        await rig.send(*orders)
        for order in orders:
            row = await rig.worker.settled(order.client_order_id, timeout_ns=30 * SECOND_NS)
            assert (row.state, row.filled) == ("closed", Decimal(4))
