"""The controller from an approved intent to its end, on a real venue core under a virtual clock."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import anyio
import pytest
from trio.testing import MockClock

from exchanges.paper.commands import RejectNext, Shock
from portfolio.core.entries import IntentApproved
from portfolio.core.intents import Intent, IntentStatus
from portfolio.core.limits import MINUTE_NS, SECOND_NS, RiskLimits, TradeLimits
from portfolio.core.names import Coin, PairId
from portfolio.core.orders import OrderClass, OrderRequest, Side, TimeInForce
from portfolio.operations import MoveMode
from tests.portfolio.rig import PAIRS, Settings, perpetual, spot
from tests.portfolio.trading_desk import Trader, trading

D = Decimal
SLICED = RiskLimits(trade=TradeLimits(slice_notional_max=D(2000)))
DUST = D("0.1")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def until_final(trader: Trader, intent: Intent, *, seconds: int = 3600) -> IntentStatus:
    """Run the controller until the intent has ended."""
    async with anyio.create_task_group() as tasks:
        await tasks.start(trader.controller.run)
        with anyio.fail_after(seconds):
            await trader.ended(intent)
        tasks.cancel_scope.cancel()
    return trader.status(intent)


def hedged(trader: Trader, coin: str, quantity: str) -> bool:
    held, short = trader.sides(coin)
    return short == -D(quantity) and abs(held - D(quantity)) < DUST


def resting(trader: Trader) -> bool:
    """The truth at the venue: something of ours rests in a book."""
    return bool(trader.rig.exchange.core.open_orders())


@pytest.mark.anyio
async def test_an_approved_intent_is_brought_to_its_targets_and_done() -> None:
    async with trading(mode=MoveMode.URGENT) as trader:
        intent = trader.approve(("SOL", "0", "10"), ("ETH", "0", "1"), ("DOGE", "0", "10000"))
        assert await until_final(trader, intent) is IntentStatus.DONE
        assert hedged(trader, "SOL", "10")
        assert hedged(trader, "ETH", "1")
        assert hedged(trader, "DOGE", "10000")


@pytest.mark.anyio
async def test_an_approval_is_looked_at_when_nudged_and_not_at_the_next_interval_only() -> None:
    async with trading(mode=MoveMode.URGENT) as trader, anyio.create_task_group() as tasks:
        await tasks.start(trader.controller.run)
        await anyio.sleep(40)
        started = trader.rig.clocks.wire_ns()
        intent = trader.approve(("SOL", "0", "10"))
        trader.controller.nudge()
        with anyio.fail_after(30):
            await trader.ended(intent)
        assert trader.rig.clocks.wire_ns() - started < 30 * SECOND_NS
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_without_a_nudge_an_approval_is_found_at_the_next_interval() -> None:
    async with trading(mode=MoveMode.URGENT) as trader, anyio.create_task_group() as tasks:
        await tasks.start(trader.controller.run)
        await anyio.sleep(40)
        intent = trader.approve(("XRP", "0", "1000"), room="0.02")
        with anyio.fail_after(6 * 60):
            await trader.ended(intent)
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_in_a_swap_the_new_pair_never_gets_ahead_of_the_old_one() -> None:
    async with trading(Settings(usdt=D(40_000)), limits=SLICED, mode=MoveMode.URGENT) as trader:
        await trader.hold("SOL", "100")
        intent = trader.approve(("SOL", "100", "0"), ("ETH", "0", "5"), intent_id="i2")
        ahead: list[tuple[Decimal, Decimal]] = []

        def look(orders: Sequence[OrderRequest]) -> None:
            for order in orders:
                if order.order_class is OrderClass.ENTRY:
                    entered = (trader.progress(intent, "ETH").lead.most) / 5
                    left = trader.progress(intent, "SOL").hedge.done / 100
                    ahead.append((entered, left))

        trader.rig.exchange.on_place = look
        assert await until_final(trader, intent) is IntentStatus.DONE, trader.note(intent)
        assert hedged(trader, "SOL", "0")
        assert hedged(trader, "ETH", "5")
        assert len(ahead) > 2
        assert all(entered <= left + D("0.001") for entered, left in ahead), ahead
        assert ahead[0][1] < 1


@pytest.mark.anyio
async def test_an_exit_that_cannot_leave_keeps_the_new_pair_out() -> None:
    async with trading(Settings(usdt=D(40_000)), limits=SLICED, mode=MoveMode.URGENT) as trader:
        await trader.hold("SOL", "100")
        intent = trader.approve(("SOL", "100", "0"), ("ETH", "0", "5"), intent_id="i2")
        trader.rig.exchange.command(RejectNext(spot("SOL"), "170131", "Spot is closed.", 99))
        assert await until_final(trader, intent) is IntentStatus.STOPPED
        assert "did not free enough" in trader.note(intent)
        assert trader.sides("ETH") == (D(0), D(0))
        assert hedged(trader, "SOL", "100")


@pytest.mark.anyio
async def test_a_cancelled_intent_ends_cancelled_with_what_it_filled_kept_hedged() -> None:
    async with trading(limits=SLICED, mode=MoveMode.URGENT) as trader:
        intent = trader.approve(("SOL", "0", "100"))
        placed: list[str] = []

        def look(orders: Sequence[OrderRequest]) -> None:
            placed.extend(order.client_order_id for order in orders)
            if len(placed) == 3:
                trader.move_intent(intent, IntentStatus.CANCELLING)

        trader.rig.exchange.on_place = look
        assert await until_final(trader, intent) is IntentStatus.CANCELLED
        held, short = trader.sides("SOL")
        assert 0 < -short < 100
        assert abs(held + short) < DUST
        assert "the intent is cancelling" in trader.note(intent)


@pytest.mark.anyio
async def test_an_intent_cancelled_before_it_starts_sends_nothing() -> None:
    async with trading(mode=MoveMode.URGENT) as trader:
        intent = trader.approve(("SOL", "0", "10"))
        trader.move_intent(intent, IntentStatus.CANCELLING)
        assert await until_final(trader, intent) is IntentStatus.CANCELLED
        assert trader.rig.exchange.placed == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "words"),
    [({"fingerprint": "other"}, "outside"), ({"health_after": D("1.5")}, "health fell")],
)
async def test_an_approved_intent_whose_world_moved_on_is_void_and_sends_nothing(
    changes: dict[str, object], words: str
) -> None:
    async with trading(mode=MoveMode.URGENT) as trader:
        made = trader.intent(("SOL", "0", "10"))
        intent = trader.record(replace(made, **changes))  # type: ignore[arg-type]
        assert await until_final(trader, intent) is IntentStatus.VOID
        assert words in trader.note(intent)
        assert trader.rig.exchange.placed == []


@pytest.mark.anyio
async def test_a_price_that_runs_away_voids_an_intent_that_still_waits() -> None:
    async with trading() as trader:
        intent = trader.intent(("SOL", "0", "10"))
        trader.propose(intent)
        trader.rig.exchange.command(Shock({Coin("SOL"): D("1.02")}))
        assert await until_final(trader, intent) is IntentStatus.VOID
        assert "moved by" in trader.note(intent)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "begun", "ends"),
    [
        (IntentStatus.PROPOSED, False, IntentStatus.VOID),
        (IntentStatus.EXECUTING, False, IntentStatus.VOID),
        (IntentStatus.EXECUTING, True, IntentStatus.STOPPED),
        (IntentStatus.CANCELLING, True, IntentStatus.CANCELLED),
    ],
)
async def test_an_intent_of_a_pair_that_was_delisted_ends_and_the_desk_does_not(
    *, status: IntentStatus, begun: bool, ends: IntentStatus
) -> None:
    async with trading(mode=MoveMode.URGENT) as trader:
        made = trader.intent(("SOL", "0", "10"), ("ETH", "0", "1"))
        lost = replace(made.targets[0], pair_id=PairId("GONE@bybit"))
        made = replace(made, targets=(lost, made.targets[1]))
        intent = trader.propose(made) if status is IntentStatus.PROPOSED else trader.record(made)
        if begun:
            await trader.rig.send(trader.rig.entry("ETH", "0.1"))
        if status is IntentStatus.CANCELLING:
            trader.move_intent(intent, status)
        assert await until_final(trader, intent) is ends
        assert trader.note(intent) == "GONE@bybit: not a pair of this desk any more"


@pytest.mark.anyio
async def test_an_intent_that_nobody_answers_expires() -> None:
    async with trading() as trader:
        made = trader.intent(("XRP", "0", "1000"))
        soon = trader.rig.clocks.wire_ns() + MINUTE_NS // 4
        intent = trader.propose(replace(made, expires_wire_ns=soon))
        assert await until_final(trader, intent) is IntentStatus.EXPIRED
        assert trader.rig.clocks.wire_ns() >= soon


@pytest.mark.anyio
async def test_an_intent_that_cannot_be_judged_for_want_of_data_waits_until_its_approval_ends() -> None:
    async with trading(mode=MoveMode.URGENT) as trader:
        intent = trader.propose(trader.intent(("SOL", "0", "10")))
        approval = trader.rig.sign(intent, seconds=20)
        trader.rig.journal.append([IntentApproved(intent.intent_id, approval)], trader.rig.clocks.wire_ns())
        trader.rig.view.tables = None
        assert await until_final(trader, intent) is IntentStatus.STOPPED
        assert "could not go on in time" in trader.note(intent)
        assert trader.rig.exchange.placed == []


@pytest.mark.anyio
@pytest.mark.parametrize("begun", [False, True])
async def test_an_account_that_cannot_be_stops_no_desk_and_starts_no_entry(*, begun: bool) -> None:
    async with trading(mode=MoveMode.URGENT) as trader:
        await trader.hold("SOL", "9")
        intent = trader.propose(trader.intent(("SOL", "9", "0"), ("ETH", "0", "1"), intent_id="i2"))
        approval = trader.rig.sign(intent, seconds=20)
        waits = trader.propose(trader.intent(("XRP", "0", "1000"), intent_id="i3"))
        trader.rig.journal.append([IntentApproved(intent.intent_id, approval)], trader.rig.clocks.wire_ns())
        if begun:
            await trader.rig.send(trader.rig.entry("ETH", "0.1", intent="i2"))
        trader.rig.exchange.placed.clear()
        trader.lie()
        assert await until_final(trader, intent) is IntentStatus.STOPPED
        assert ("approval expired" if begun else "The account cannot be valued") in trader.note(intent)
        assert trader.status(waits) is IntentStatus.PROPOSED
        assert trader.sent(intent, OrderClass.ENTRY) == [] or begun


@pytest.mark.anyio
async def test_an_intent_that_waits_for_data_can_be_cancelled() -> None:
    async with trading(mode=MoveMode.URGENT) as trader:
        intent = trader.approve(("SOL", "9", "0"), ("ETH", "0", "1"))
        trader.move_intent(intent, IntentStatus.CANCELLING)
        trader.rig.view.tables = None
        assert await until_final(trader, intent) is IntentStatus.CANCELLED
        assert "SOL@bybit: the intent is cancelling (lead 0 of 9" in trader.note(intent)
        assert trader.rig.exchange.placed == []


@pytest.mark.anyio
async def test_what_was_begun_is_brought_to_its_end_though_data_are_missing_when_the_approval_ends() -> None:
    async with trading(limits=SLICED) as trader:
        await trader.hold("SOL", "50")
        intent = trader.propose(trader.intent(("SOL", "50", "0"), ("ETH", "0", "1"), intent_id="i2"))
        approval = trader.rig.sign(intent, seconds=20)
        trader.rig.journal.append([IntentApproved(intent.intent_id, approval)], trader.rig.clocks.wire_ns())
        async with anyio.create_task_group() as tasks:
            await tasks.start(trader.controller.run)
            with anyio.fail_after(15):
                while not resting(trader):
                    await trader.rig.view.changed()
            tasks.cancel_scope.cancel()
        trader.rig.view.tables = None
        assert await until_final(trader, intent) is IntentStatus.STOPPED
        assert "ETH@bybit: the approval expired" in trader.note(intent)
        assert not resting(trader)
        assert hedged(trader, "SOL", "0")
        assert trader.sides("ETH") == (D(0), D(0))


@pytest.mark.anyio
async def test_an_order_that_rests_for_an_intent_that_has_ended_is_withdrawn() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "10"))
        price = trader.rig.price(perpetual("SOL"), Side.SELL, D("-0.008"))
        order = trader.rig.entry("SOL", "1", price=price, time_in_force=TimeInForce.POST_ONLY)
        await trader.rig.send(order)
        assert resting(trader)
        trader.move_intent(intent, IntentStatus.STOPPED)
        async with anyio.create_task_group() as tasks:
            await tasks.start(trader.controller.run)
            row = await trader.rig.worker.settled(order.client_order_id, timeout_ns=10 * SECOND_NS)
            assert (row.state, row.filled) == ("closed", D(0))
            tasks.cancel_scope.cancel()
        assert not resting(trader)


@pytest.mark.anyio
async def test_nothing_starts_before_the_outcomes_of_the_time_before_are_known() -> None:
    async with trading(Settings(recovered=False), mode=MoveMode.URGENT) as trader:
        await trader.rig.view.changed()
        intent = trader.approve(("SOL", "0", "10"))
        trader.recovered = False
        assert await trader.controller.tick() > 0
        assert trader.status(intent) is IntentStatus.EXECUTING
        assert trader.rig.exchange.placed == []


@pytest.mark.anyio
async def test_a_flip_leaves_before_it_enters_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = PAIRS[PairId("SOL@bybit")]
    reverse = replace(
        forward,
        pair_id=PairId("SOL@bybit:reverse"),
        long_leg=forward.short_leg,
        short_leg=forward.long_leg,
    )
    monkeypatch.setitem(PAIRS, reverse.pair_id, reverse)
    async with trading(mode=MoveMode.URGENT) as trader:
        await trader.hold("SOL", "10")
        intent = trader.approve(("SOL:reverse", "0", "10"), ("SOL", "10", "0"), intent_id="i2")
        assert await until_final(trader, intent) is IntentStatus.DONE, trader.note(intent)
        held, long = trader.sides("SOL")
        assert long == 10
        assert abs(held + 10) < DUST
