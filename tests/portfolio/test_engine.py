"""The engine against a real venue core, worker, bookkeeper and journal, under a virtual clock."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from trio.testing import MockClock

from exchanges.paper.commands import RejectNext, ShiftFigures, Shock
from exchanges.paper.faults import FaultPlan, RequestFault
from portfolio.core.errors import InputError
from portfolio.core.intents import Intent, IntentStatus
from portfolio.core.limits import SECOND_NS, RiskLimits, TradeLimits
from portfolio.core.names import Coin
from portfolio.core.orders import OrderClass, OrderRequest, Side, TimeInForce
from portfolio.core.pairs import PairLegs, PairStatus
from portfolio.operations import MoveEnd, MoveMode, MoveResult
from tests.portfolio.rig import START_NS, Settings, perpetual, spot
from tests.portfolio.trading_desk import Trader, trading

D = Decimal
SMALL_SLICES = RiskLimits(trade=TradeLimits(slice_notional_max=D(500)))
DUST = D("0.05")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def move(
    trader: Trader, intent: Intent, mode: MoveMode = MoveMode.URGENT, coin: str = "SOL"
) -> MoveResult:
    """Carry the intent's move of one coin through, looking at the invariant before every order."""
    broken: list[str] = []
    before = trader.rig.exchange.on_place

    def look(orders: Sequence[OrderRequest]) -> None:
        before(orders)
        violation = trader.progress(intent, coin).violation()
        if violation is not None:
            broken.append(violation)

    trader.rig.exchange.on_place = look
    result = await trader.engine(coin).move(trader.operation(intent, coin, mode))
    assert broken == []
    assert trader.progress(intent, coin).violation() is None
    return result


def on_lead(trader: Trader, number: int, act: object) -> None:
    """Do something when the n-th order on a perpetual is about to reach the venue."""
    seen = 0

    def look(orders: Sequence[OrderRequest]) -> None:
        nonlocal seen
        for order in orders:
            if ":linear:" in order.instrument_id:
                seen += 1
                if seen == number and callable(act):
                    act()

    trader.rig.exchange.on_place = look


@pytest.mark.anyio
async def test_an_urgent_entry_ends_hedged_net_of_the_fee_paid_in_the_coin() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "10"))
        result = await move(trader, intent)
        assert result.end is MoveEnd.REACHED, result
        held, short = trader.sides("SOL")
        assert short == -10
        assert 0 <= 10 - held < D("0.02")
        rows = trader.rig.journal.orders(intent_id=intent.intent_id)
        assert {row.request.time_in_force for row in rows} == {TimeInForce.IOC}
        assert [row.request.order_class for row in rows] == [OrderClass.ENTRY, OrderClass.HEDGE]


@pytest.mark.anyio
async def test_a_normal_entry_rests_its_lead_first_and_takes_after_the_deadline() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "100"))
        result = await move(trader, intent, MoveMode.NORMAL)
        assert result.end is MoveEnd.REACHED, result
        leads = trader.sent(intent, OrderClass.ENTRY)
        assert leads[0].request.time_in_force is TimeInForce.POST_ONLY
        assert sum(row.filled for row in leads) == 100
        held, short = trader.sides("SOL")
        assert short == -100
        assert 0 <= 100 - held < D("0.1")


@pytest.mark.anyio
async def test_a_move_goes_in_slices_and_hedges_each_before_the_next() -> None:
    async with trading(limits=SMALL_SLICES) as trader:
        intent = trader.approve(("SOL", "0", "10"))
        result = await move(trader, intent)
        assert result.end is MoveEnd.REACHED
        classes = [row.request.order_class for row in trader.rig.journal.orders(intent_id=intent.intent_id)]
        assert classes == [OrderClass.ENTRY, OrderClass.HEDGE] * (len(classes) // 2)
        assert len(classes) >= 6


@pytest.mark.anyio
async def test_no_entry_goes_in_the_half_minute_after_a_settlement() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "10"))
        await move(trader, intent)
        first = trader.sent(intent, OrderClass.ENTRY)[0]
        assert first.planned_wire_ns > START_NS + 30 * SECOND_NS


@pytest.mark.anyio
async def test_an_exit_closes_both_legs_and_repays_what_was_borrowed() -> None:
    async with trading(Settings(usdt=D(10_000))) as trader:
        await trader.hold("SOL", "100")
        assert trader.owed("USDT") > 4000
        intent = trader.approve(("SOL", "100", "0"), intent_id="i2")
        result = await move(trader, intent)
        assert result.end is MoveEnd.REACHED, result
        held, short = trader.sides("SOL")
        assert short == 0
        assert 0 <= held < DUST
        assert trader.owed("USDT") == 0
        assert trader.sent(intent, OrderClass.ENTRY) == []
        assert all(row.request.reduce_only for row in trader.sent(intent, OrderClass.REDUCE))
        assert not any(row.request.borrow for row in trader.sent(intent, OrderClass.HEDGE))
        assert trader.engine("SOL").freed > D("0.999")


@pytest.mark.anyio
async def test_a_partial_exit_keeps_the_rest_hedged() -> None:
    async with trading() as trader:
        await trader.hold("SOL", "20")
        intent = trader.approve(("SOL", "20", "8"), intent_id="i2")
        assert (await move(trader, intent)).end is MoveEnd.REACHED
        held, short = trader.sides("SOL")
        assert short == -8
        assert abs(held - 8) < DUST


@pytest.mark.anyio
async def test_a_hedge_refused_once_is_sent_again() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "10"))
        trader.rig.exchange.command(RejectNext(spot("SOL"), "170131", "Insufficient balance."))
        result = await move(trader, intent)
        assert result.end is MoveEnd.REACHED
        assert [row.state for row in trader.sent(intent, OrderClass.HEDGE)] == ["rejected", "closed"]


@pytest.mark.anyio
async def test_a_hedge_refused_twice_takes_the_lead_back() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "10"))
        trader.rig.exchange.command(RejectNext(spot("SOL"), "170131", "Insufficient balance.", 99))
        result = await move(trader, intent)
        assert result.end is MoveEnd.STOPPED
        assert "Insufficient balance" in result.reason
        assert trader.sides("SOL") == (D(0), D(0))
        (back,) = trader.sent(intent, OrderClass.REDUCE)
        assert (back.request.side, back.request.reduce_only) == (Side.BUY, True)


@pytest.mark.anyio
async def test_an_exit_that_cannot_sell_its_spot_goes_back_to_hedged() -> None:
    async with trading() as trader:
        await trader.hold("SOL", "10")
        intent = trader.approve(("SOL", "10", "0"), intent_id="i2")
        trader.rig.exchange.command(RejectNext(spot("SOL"), "170131", "Spot is closed.", 99))
        result = await move(trader, intent)
        assert result.end is MoveEnd.STOPPED
        held, short = trader.sides("SOL")
        assert short == -10
        assert abs(held - 10) < DUST


@pytest.mark.anyio
async def test_an_account_that_falls_ill_between_lead_and_hedge_takes_the_lead_back() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "10"))
        on_lead(trader, 1, lambda: trader.rig.exchange.command(ShiftFigures(equity_factor=D("0.0001"))))
        result = await move(trader, intent)
        assert result.end is MoveEnd.STOPPED
        assert "health" in result.reason
        assert trader.sides("SOL") == (D(0), D(0))


@pytest.mark.anyio
async def test_a_gate_that_closes_midway_stops_the_move_hedged() -> None:
    async with trading(limits=SMALL_SLICES) as trader:
        intent = trader.approve(("SOL", "0", "10"))
        on_lead(trader, 2, lambda: setattr(trader.word, "frozen", "margin gap"))
        result = await move(trader, intent)
        assert result.end is MoveEnd.STOPPED
        assert "margin gap" in result.reason
        held, short = trader.sides("SOL")
        assert 0 < -short < 10
        assert abs(held + short) < DUST


@pytest.mark.anyio
async def test_a_cancelled_intent_keeps_what_it_filled_hedged_and_sends_no_more() -> None:
    async with trading(limits=SMALL_SLICES) as trader:
        intent = trader.approve(("SOL", "0", "10"))
        on_lead(trader, 2, lambda: trader.move_intent(intent, IntentStatus.CANCELLING))
        result = await move(trader, intent)
        assert result.end is MoveEnd.CANCELLED
        held, short = trader.sides("SOL")
        assert 0 < -short < 10
        assert abs(held + short) < DUST


@pytest.mark.anyio
async def test_a_resting_lead_is_withdrawn_when_its_intent_is_cancelled() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "100"))
        on_lead(trader, 1, lambda: trader.move_intent(intent, IntentStatus.CANCELLING))
        result = await move(trader, intent, MoveMode.NORMAL)
        assert result.end is MoveEnd.CANCELLED
        assert trader.rig.exchange.core.open_orders() == ()
        held, short = trader.sides("SOL")
        assert abs(held + short) < DUST


@pytest.mark.anyio
async def test_the_guard_taking_the_pair_stops_the_engine_before_its_next_order() -> None:
    async with trading(limits=SMALL_SLICES) as trader:
        intent = trader.approve(("SOL", "0", "10"))
        engine = trader.engine("SOL")
        on_lead(trader, 2, lambda: trader.word.held.add(engine.pair.pair_id))
        result = await move(trader, intent)
        assert result.end is MoveEnd.FENCED
        rows = trader.rig.journal.orders(intent_id=intent.intent_id)
        assert [row.request.order_class for row in rows][-1] is OrderClass.ENTRY
        assert engine.status(trader.rig.view.legs(engine.pair.pair_id)) is PairStatus.GUARDED


@pytest.mark.anyio
async def test_a_fence_stops_the_running_operation_only() -> None:
    async with trading(limits=SMALL_SLICES) as trader:
        intent = trader.approve(("SOL", "0", "10"))
        engine = trader.engine("SOL")
        on_lead(trader, 2, engine.fence)
        assert (await move(trader, intent)).end is MoveEnd.FENCED
        assert (await move(trader, intent)).end is MoveEnd.REACHED
        assert trader.sides("SOL")[1] == -10


@pytest.mark.anyio
async def test_no_price_inside_the_bounds_means_no_order() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "10"))
        trader.rig.exchange.command(Shock({Coin("SOL"): D("1.05")}))
        result = await move(trader, intent)
        assert result.end is MoveEnd.STOPPED
        assert "within the price limits" in result.reason
        assert trader.rig.journal.orders(intent_id=intent.intent_id) == ()


@pytest.mark.anyio
@pytest.mark.parametrize("fault", [RequestFault.LOST_ANSWER, RequestFault.LATE, RequestFault.NOT_SENT])
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_lost_late_or_unsent_order_is_neither_lost_nor_doubled(
    fault: RequestFault, number: int
) -> None:
    settings = Settings(faults=FaultPlan(explicit={number: fault}))
    async with trading(settings, limits=SMALL_SLICES) as trader:
        intent = trader.approve(("SOL", "0", "5"))
        result = await move(trader, intent)
        assert result.end is MoveEnd.REACHED, result
        held, short = trader.sides("SOL")
        assert short == -5
        assert abs(held - 5) < DUST
        placed = trader.rig.exchange.placed
        assert len(placed) == len(set(placed))


@pytest.mark.anyio
async def test_partial_fills_are_hedged_as_they_come() -> None:
    faults = FaultPlan(requests={RequestFault.PARTIAL_FILL: D("0.5")}, seed=3)
    async with trading(Settings(faults=faults)) as trader:
        intent = trader.approve(("SOL", "0", "20"))
        result = await move(trader, intent)
        assert result.end is MoveEnd.REACHED, result
        held, short = trader.sides("SOL")
        assert short == -20
        assert abs(held - 20) < DUST


@pytest.mark.anyio
async def test_a_risk_exit_asks_no_gate() -> None:
    async with trading() as trader:
        await trader.hold("SOL", "10")
        intent = trader.approve(("SOL", "10", "0"), intent_id="i2")
        trader.rig.exchange.command(Shock({Coin("SOL"): D("0.8")}))
        operation = trader.operation(intent, "SOL", MoveMode.URGENT, optional=False)
        result = await trader.engine("SOL").move(replace(operation, bounds=()))
        assert result.end is MoveEnd.REACHED, result
        assert trader.sides("SOL")[1] == 0


@pytest.mark.anyio
async def test_an_engine_moves_its_own_pair_only_and_says_where_it_is() -> None:
    async with trading() as trader:
        engine = trader.engine("SOL")
        with pytest.raises(InputError):
            await engine.move(trader.operation(trader.intent(("ETH", "0", "1")), "ETH"))
        pair_id = engine.pair.pair_id
        assert engine.status(PairLegs(pair_id, D(0), D(0))) is PairStatus.FLAT
        assert engine.status(PairLegs(pair_id, D(1), D(1))) is PairStatus.HELD
        assert engine.freed == 0
        assert engine.wanted() is None
        states: list[tuple[PairStatus, Decimal | None]] = []
        legs = trader.rig.view.legs(pair_id)
        intent = trader.approve(("SOL", "0", "5"))
        on_lead(trader, 1, lambda: states.append((engine.status(legs), engine.wanted())))
        await move(trader, intent)
        assert states == [(PairStatus.ENTERING, D(5))]


@pytest.mark.anyio
async def test_an_outcome_that_nobody_can_prove_stops_the_move_at_last() -> None:
    async with trading(Settings(faults=FaultPlan(explicit={1: RequestFault.LOST_ANSWER}))) as trader:
        intent = trader.approve(("SOL", "0", "10"))
        venue = trader.rig.exchange

        def deaf() -> None:
            venue.faults = replace(venue.faults, reads_failed=D(1))
            venue._listeners.disconnect("for good", trader.rig.clocks.wire_ns())

        on_lead(trader, 1, deaf)
        result = await move(trader, intent)
        assert result.end is MoveEnd.STOPPED
        assert "nobody knows" in result.reason
        assert len(trader.rig.exchange.placed) == 1


@pytest.mark.anyio
async def test_a_resting_lead_is_withdrawn_when_the_guard_takes_the_pair() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "100"))
        engine = trader.engine("SOL")
        on_lead(trader, 1, lambda: trader.word.held.add(engine.pair.pair_id))
        assert (await move(trader, intent, MoveMode.NORMAL)).end is MoveEnd.FENCED
        assert trader.rig.exchange.core.open_orders() == ()


@pytest.mark.anyio
async def test_a_lead_that_cannot_be_taken_back_is_left_to_the_guard_and_said_so() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "10"))
        venue = trader.rig.exchange
        venue.command(RejectNext(spot("SOL"), "170131", "Spot is closed.", 99))
        on_lead(trader, 2, lambda: venue.command(RejectNext(perpetual("SOL"), "110003", "Closed too.", 99)))
        result = await move(trader, intent)
        assert result.end is MoveEnd.STOPPED
        assert "cannot be taken back" in result.reason
        assert (result.lead_done, result.hedge_done) == (D(10), D(0))


@pytest.mark.anyio
async def test_a_lead_that_the_venue_refuses_twice_ends_the_move_flat() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "10"))
        trader.rig.exchange.command(RejectNext(perpetual("SOL"), "110007", "No money.", 99))
        result = await move(trader, intent)
        assert result.end is MoveEnd.STOPPED
        assert "No money" in result.reason
        assert len(trader.sent(intent, OrderClass.ENTRY)) == 2
        assert trader.sides("SOL") == (D(0), D(0))


@pytest.mark.anyio
async def test_the_guards_veto_of_an_entry_ends_the_move_flat() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "10"))
        trader.rig.guard.refused[trader.engine("SOL").pair.pair_id] = "health would be 0.79"
        result = await move(trader, intent)
        assert result.end is MoveEnd.STOPPED
        assert "0.79" in result.reason
        assert trader.rig.exchange.placed == []


@pytest.mark.anyio
async def test_an_entry_that_would_breach_a_limit_is_not_even_sent() -> None:
    async with trading(Settings(usdt=D(1000))) as trader:
        intent = trader.approve(("SOL", "0", "100"))
        result = await move(trader, intent)
        assert result.end is MoveEnd.STOPPED
        assert "margin" in result.reason
        assert trader.rig.exchange.placed == []


@pytest.mark.anyio
async def test_an_account_that_cannot_be_takes_no_entry() -> None:
    async with trading() as trader:
        intent = trader.approve(("SOL", "0", "10"))
        trader.lie()
        result = await move(trader, intent)
        assert result.end is MoveEnd.STOPPED
        assert "the account cannot be valued: balances.BNB.locked: -1 is negative" in result.reason
        assert trader.rig.exchange.placed == []


@pytest.mark.anyio
async def test_an_account_that_becomes_one_that_cannot_be_midway_ends_the_move_hedged() -> None:
    async with trading(limits=SMALL_SLICES) as trader:
        intent = trader.approve(("SOL", "0", "10"))
        on_lead(trader, 2, trader.lie)
        result = await move(trader, intent)
        assert result.end is MoveEnd.STOPPED
        assert "cannot be valued" in result.reason
        held, short = trader.sides("SOL")
        assert 0 < -short < 10
        assert abs(held + short) < DUST
