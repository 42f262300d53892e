"""The guard on a desk: what it does by itself, in order, and what it writes down before."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from exchanges.memory import MemoryOptions
from exchanges.paper.commands import AutoDeleverage, PlaceOrder, RejectNext, ShiftFigures, Shock, Transfer
from exchanges.paper.faults import Disconnect, FaultPlan
from portfolio.core.entries import (
    EntriesFrozen,
    EntriesThawed,
    Entry,
    GuardActed,
    GuardStateSaved,
    Halted,
    OrderPlanned,
    RepaymentMoved,
    Resumed,
)
from portfolio.core.guard.state import from_text
from portfolio.core.limits import MINUTE_NS, SECOND_NS, GuardLimits, RiskLimits
from portfolio.core.names import Coin
from portfolio.core.orders import Accepted, NotSent, OrderClass, Side, TimeInForce
from portfolio.core.pairs import PairLegs
from tests.portfolio.guard_rig import Post, guarded, hold, on_guard, pair
from tests.portfolio.rig import Settings, perpetual, spot, world

pytestmark = pytest.mark.anyio
D = Decimal
THREE = {"SOL": "120", "ETH": "6", "BTC": "0.3"}
SCORES = {pair("SOL"): D(3), pair("ETH"): D(2), pair("BTC"): D(1)}


def lines(**changes: Decimal | int) -> RiskLimits:
    """Limits whose guard lines are moved to where a small account crosses them."""
    return replace(RiskLimits(), guard=replace(GuardLimits(), **changes))  # type: ignore[arg-type]


TIGHT = lines(reduce_below_health=D("0.91"), reduce_to_health=D("0.93"))
TIGHTER = lines(reduce_below_health=D("0.995"), reduce_to_health=D("0.996"))


def hedged(post: Post, coin: str, lot: str) -> bool:
    long, short = post.sides(coin)
    return abs(long + short) <= D(lot)


# --- reductions ---------------------------------------------------------------------------------------


async def test_a_breached_line_is_mended_by_one_batch_of_both_legs_lowest_score_first() -> None:
    async with guarded(THREE, limits=TIGHT, scores=SCORES) as post:
        await anyio.sleep(3)
        (action,) = post.entries(GuardActed)
        assert action.rule == "ranking_reduction"
        assert action.pairs == (pair("BTC"), pair("ETH"))
        assert action.health_before is not None
        assert action.health_planned is not None
        assert action.health_before < D("0.91") <= D("0.93") <= action.health_planned
        assert {row.request.intent_id for row in post.orders()} == {action.action_id}
        assert hedged(post, "BTC", "0.001")
        assert hedged(post, "ETH", "0.01")
        assert post.sides("SOL")[1] == -120
        status = post.guard.status()
        assert status.health is not None
        assert status.health >= D("0.93")
        assert (status.state, status.basis) == ("ok", "ours")
        assert "reduce BTC@bybit" in status.last_actions[0]


async def test_cuts_are_reduce_only_taker_orders_that_borrow_nothing() -> None:
    async with guarded(THREE, limits=TIGHT) as post:
        await anyio.sleep(3)
        made = [row.request for row in post.orders()]
        assert made
        assert {(one.order_class, one.time_in_force) for one in made} == {
            (OrderClass.REDUCE, TimeInForce.IOC)
        }
        assert all(one.reduce_only != one.instrument_id.startswith("bybit:spot") for one in made)
        assert not any(one.borrow for one in made)


async def test_action_and_state_are_in_the_journal_before_the_first_order() -> None:
    async with guarded(THREE, limits=TIGHT) as post:
        await anyio.sleep(3)
        kinds = [type(row.entry) for row in post.rig.journal.read(0, 10_000)]
        acted = kinds.index(GuardActed)
        assert GuardStateSaved in kinds[acted : acted + 2]
        own = {row.request.client_order_id for row in post.orders()}
        planned = [
            number
            for number, row in enumerate(post.rig.journal.read(0, 10_000))
            if isinstance(row.entry, OrderPlanned) and row.entry.request.client_order_id in own
        ]
        assert acted + 1 < planned[0]


async def test_debts_are_repaid_from_what_the_cuts_brought() -> None:
    async with guarded(THREE, limits=TIGHT) as post:
        before = post.rig.view.debt(Coin("USDT"))
        await anyio.sleep(10)
        assert before > 0
        assert {row.status for row in post.entries(RepaymentMoved)} == {"planned", "done"}
        assert post.rig.view.debt(Coin("USDT")) < before


async def test_usage_over_its_line_is_brought_back() -> None:
    async with guarded(THREE) as post:
        post.shock("1.6", "SOL", "ETH", "BTC")
        await anyio.sleep(4)
        assert {row.rule for row in post.entries(GuardActed)} == {"usage_reduction"}
        usage = post.guard.status().usage
        assert usage is not None
        assert usage <= D("0.65")
        assert all(hedged(post, coin, "0.1") for coin in THREE)


async def test_below_the_last_line_everything_exits() -> None:
    limits = lines(flatten_below_health=D("0.91"), reduce_below_health=D("0.92"), reduce_to_health=D("0.93"))
    async with guarded(THREE, limits=limits) as post:
        await post.until(lambda: post.guard.status().state == "flattening")
        await anyio.sleep(5)
        assert all(post.sides(coin)[1] == 0 for coin in THREE)
        assert post.entries(GuardActed)[0].rule == "flatten"


async def test_a_healthy_book_is_never_touched() -> None:
    async with guarded({"SOL": "20"}) as post:
        await anyio.sleep(60)
        assert post.orders() == ()
        assert post.entries(GuardActed) == []
        assert post.guard.status().state == "ok"


async def test_a_coin_that_was_reduced_takes_no_entry_for_an_hour() -> None:
    async with guarded(THREE, limits=TIGHT, scores=SCORES) as post:
        await anyio.sleep(3)
        post.rig.approve(("BTC", "1"), ("SOL", "200"))
        (refused,) = await post.rig.send(post.rig.entry("BTC", "0.001"))
        assert isinstance(refused, NotSent)
        assert "the guard reduced BTC" in refused.reason


async def test_a_pair_reduced_twice_waits_for_the_operator() -> None:
    async with guarded({"SOL": "120"}, limits=TIGHTER) as post:
        await anyio.sleep(3)
        state = from_text(post.entries(GuardStateSaved)[-1].state)
        assert state.reductions == {pair("SOL"): 1}
        twice = replace(post.guard._memory.state, reductions={pair("SOL"): 2}, cooldown_until={})
        post.guard._memory.state = twice
        order = post.rig.entry("SOL", "1")
        answer = post.guard.veto([order])
        assert answer is not None
        assert "operator must acknowledge" in answer
        await post.guard.acknowledge([pair("SOL")])
        assert post.guard.veto([order]) is None


# --- naked legs ---------------------------------------------------------------------------------------


async def lone_lead(post: Post, *, intent_open: bool) -> None:
    intent = post.rig.approve(("SOL", "20"))
    (outcome,) = await post.rig.send(post.rig.entry("SOL", "20"))
    assert isinstance(outcome, Accepted)
    if not intent_open:
        post.rig.finish(intent)


async def test_a_lead_left_naked_by_an_operation_at_work_is_hedged_after_five_seconds() -> None:
    async with guarded({}) as post:
        await lone_lead(post, intent_open=True)
        await anyio.sleep(4)
        assert post.orders() == ()
        assert not post.guard.holds(pair("SOL"))
        await post.until(lambda: post.guard.holds(pair("SOL")))
        await anyio.sleep(4)
        (order,) = post.orders()
        assert (order.request.order_class, order.request.side) == (OrderClass.HEDGE, Side.BUY)
        assert hedged(post, "SOL", "0.1")
        assert not post.guard.holds(pair("SOL"))


async def test_a_naked_lead_that_nobody_works_on_is_unwound_where_that_is_cheaper() -> None:
    async with guarded({}) as post:
        await lone_lead(post, intent_open=False)
        await anyio.sleep(10)
        (order,) = post.orders()
        assert (order.request.order_class, order.request.reduce_only) == (OrderClass.REDUCE, True)
        assert post.sides("SOL") == (D(0), D(0))


async def test_in_a_market_that_runs_away_each_try_that_meets_nothing_reaches_further() -> None:
    """The shown prices are up to a second old, and each second the market rises by 6 % of its start."""
    late = Settings(options=MemoryOptions(latency_ns=SECOND_NS // 5, quotes_every_ns=SECOND_NS))
    async with guarded({}, settings=late) as post:
        await lone_lead(post, intent_open=False)
        post.command(Shock({Coin("SOL"): D("2.2")}, ramp_ns=20 * SECOND_NS))
        await anyio.sleep(14)
        assert post.sides("SOL") == (D(0), D(0))
        first, *others = post.orders()
        assert first.filled == 0, "half a percent was too near"
        assert sum(row.filled for row in others) == 20


async def test_a_lead_whose_hedge_the_venue_refuses_is_unwound() -> None:
    async with guarded({}) as post:
        await lone_lead(post, intent_open=True)
        post.command(RejectNext(spot("SOL"), "170131", "Insufficient balance.", count=99))
        await anyio.sleep(12)
        assert post.sides("SOL") == (D(0), D(0))
        assert [row.detail.split()[0] for row in post.entries(GuardActed)] == ["hedge", "reduce"]


async def test_a_leg_that_the_venue_refuses_as_a_whole_goes_in_smaller_orders() -> None:
    async with guarded({}) as post:
        await lone_lead(post, intent_open=False)
        post.command(RejectNext(perpetual("SOL"), "110007", "ab not enough for new order", count=1))
        await anyio.sleep(12)
        assert post.sides("SOL") == (D(0), D(0))
        refused, *pieces = post.orders()
        assert refused.state == "rejected"
        assert [row.filled for row in pieces] == [10, 10]
        assert all(row.request.limit_price is None for row in pieces), "the limit may be what was refused"


async def test_a_leg_that_the_venue_cut_takes_the_other_one_with_it() -> None:
    async with guarded({"SOL": "80"}) as post:
        await anyio.sleep(1)
        post.command(AutoDeleverage(perpetual("SOL"), D("0.5")))
        await anyio.sleep(4)
        assert post.entries(GuardActed)[0].rule == "forced_reduction"
        assert post.sides("SOL")[1] == -40
        assert hedged(post, "SOL", "0.1")


# --- freezes ------------------------------------------------------------------------------------------


def foreign(post: Post) -> None:
    """Somebody else trades on the account."""
    price = post.rig.price(perpetual("XRP"), Side.BUY)
    post.command(PlaceOrder("foreign", perpetual("XRP"), Side.BUY, D(500), price, TimeInForce.IOC))


async def test_a_position_that_nobody_explains_freezes_entries_and_is_left_alone() -> None:
    async with guarded({"SOL": "20"}) as post:
        foreign(post)
        await anyio.sleep(6)
        assert any(row.source == "orphan" for row in post.entries(EntriesFrozen))
        reason = post.guard.frozen_reason()
        assert reason is not None
        assert "bybit:linear:XRPUSDT" in "".join(row.reason for row in post.guard.frozen())
        post.rig.approve(("SOL", "50"))
        (refused,) = await post.rig.send(post.rig.entry("SOL", "1"))
        assert isinstance(refused, NotSent)
        assert post.rig.venue_position("XRP") == 500


async def test_no_orphan_and_no_forced_cut_is_seen_in_ordinary_trading() -> None:
    async with guarded({}) as post:
        for number, coin in enumerate(("SOL", "ETH", "SOL")):
            quantity = {"SOL": "20", "ETH": "1"}[coin]
            intent = post.rig.approve((coin, "100"), intent_id=f"i{number}")
            for order in (
                post.rig.entry(coin, quantity, intent=intent.intent_id),
                post.rig.hedge(coin, quantity, intent=intent.intent_id, borrow=True),
            ):
                (outcome,) = await post.rig.send(order)
                assert isinstance(outcome, Accepted)
                await post.rig.settle(order)
            post.rig.finish(intent)
            await anyio.sleep(7)
        assert post.entries(EntriesFrozen) == []
        assert post.entries(GuardActed) == []


async def test_three_samples_over_one_percent_freeze_entries_until_three_agree() -> None:
    async with guarded({"SOL": "80"}) as post:
        post.command(ShiftFigures(maintenance_factor=D("1.02")))
        await anyio.sleep(6)
        assert [row.source for row in post.entries(EntriesFrozen)] == ["margin_gap"]
        assert post.guard.status().state == "frozen"
        post.command(ShiftFigures())
        await anyio.sleep(6)
        assert [row.source for row in post.entries(EntriesThawed)] == ["margin_gap"]
        assert post.guard.frozen() == ()


async def test_beyond_five_percent_the_venue_decides_and_our_figure_sells_nothing() -> None:
    shifted = FaultPlan(commands=((0, ShiftFigures(maintenance_factor=D("0.5"))),))
    async with guarded(THREE, limits=TIGHT, settings=Settings(faults=shifted)) as post:
        await anyio.sleep(5)
        assert post.guard.status().basis == "venue"
        assert post.orders() == ()


async def test_silence_of_the_venue_freezes_entries_and_ends_with_it() -> None:
    outage = FaultPlan(disconnects=(Disconnect(20 * SECOND_NS, 12 * SECOND_NS),), reads_failed=D(0))
    async with guarded({"SOL": "20"}, settings=Settings(faults=outage)) as post:
        post.rig.approve(("SOL", "50"))
        await post.until(lambda: bool(post.rig.view.stale(RiskLimits().freshness)), seconds=60)
        answer = post.guard.veto([post.rig.entry("SOL", "1")])
        assert answer is not None
        assert "too old" in answer
        await anyio.sleep(6)
        assert "staleness" in [row.source for row in post.entries(EntriesFrozen)]
        await anyio.sleep(30)
        assert "staleness" in [row.source for row in post.entries(EntriesThawed)]
        assert post.guard.veto([post.rig.entry("SOL", "1")]) is None


async def test_a_halt_cancels_resting_entries_and_refuses_new_ones() -> None:
    async with guarded({}) as post:
        post.rig.approve(("SOL", "50"))
        far = (post.rig.view.reference_price(perpetual("SOL")) * D("1.02")).quantize(D(1))
        resting = post.rig.entry("SOL", "5", price=far, time_in_force=TimeInForce.POST_ONLY)
        (outcome,) = await post.rig.send(resting)
        assert isinstance(outcome, Accepted)
        post.rig.journal.append([Halted("operator", "")], post.rig.clocks.wire_ns())
        await anyio.sleep(4)
        row = post.rig.journal.order(resting.client_order_id)
        assert row is not None
        assert (row.state, row.filled) == ("closed", D(0))
        assert post.guard.status().state == "halted"
        assert post.guard.frozen_reason() == "halted by the operator"
        (refused,) = await post.rig.send(post.rig.entry("SOL", "1"))
        assert isinstance(refused, NotSent)


async def test_a_drawdown_freezes_winds_down_and_ends_with_the_operators_resume() -> None:
    limits = lines(drawdown_max=D("0.0001"))
    async with guarded({"SOL": "80", "ETH": "2"}, limits=limits, scores=SCORES) as post:
        await anyio.sleep(2)
        # Paying 50 USD in fees is a drawdown at this limit; so is half a percent of basis.
        state = post.guard._memory.state
        assert state.peak_equity is not None
        post.guard._memory.state = replace(state, peak_equity=state.peak_equity * D("1.01"))
        await anyio.sleep(2 * MINUTE_NS / SECOND_NS + 20)
        assert [row.source for row in post.entries(EntriesFrozen)] == ["drawdown"]
        assert [row.pairs for row in post.entries(GuardActed)] == [(pair("ETH"),), (pair("SOL"),)]
        assert post.sides("SOL")[1] == post.sides("ETH")[1] == 0
        approval = post.rig.sign(post.rig.intent(("SOL", "1")))
        thaw: list[Entry] = [Resumed(approval), EntriesThawed("drawdown", "operator")]
        post.rig.journal.append(thaw, post.rig.clocks.wire_ns())
        await anyio.sleep(3)
        assert post.guard.frozen() == ()
        assert post.guard._memory.state.reductions == {}


async def test_a_deposit_is_no_profit_and_a_withdrawal_no_drawdown() -> None:
    async with guarded({"SOL": "20"}) as post:
        await anyio.sleep(5)
        post.command(Transfer(Coin("USDT"), D(50_000)))
        await anyio.sleep(90)
        post.command(Transfer(Coin("USDT"), D(-40_000)))
        await anyio.sleep(300)
        assert post.entries(EntriesFrozen) == []
        assert post.guard._memory.state.transfers_usd == pytest.approx(D(10_000), rel=D("0.01"))


# --- the veto -----------------------------------------------------------------------------------------


async def test_an_entry_within_every_line_passes_and_one_beyond_them_names_the_line() -> None:
    async with guarded({"SOL": "20"}) as post:
        await anyio.sleep(1)
        assert post.guard.veto([post.rig.entry("SOL", "10")]) is None
        answer = post.guard.veto([post.rig.entry("SOL", "2000")])
        assert answer is not None
        assert answer.startswith("after the order")
        hedges = [post.rig.hedge("SOL", "2000"), post.rig.reduction("SOL", "5")]
        assert post.guard.veto(hedges) is None


async def test_what_does_not_fit_together_is_refused_together() -> None:
    async with guarded({}) as post:
        await anyio.sleep(1)
        orders = [post.rig.entry(coin, quantity) for coin, quantity in (("SOL", "350"), ("ETH", "17"))]
        assert [post.guard.veto([one]) for one in orders] == [None, None]
        assert post.guard.veto(orders) is not None


async def test_an_instrument_nobody_knows_and_a_sleeping_guard_refuse() -> None:
    async with guarded({"SOL": "20"}) as post:
        order = post.rig.entry("SOL", "1")
        odd = replace(order, pair_id=pair("PEPE"))
        answer = post.guard.veto([odd])
        assert answer is not None
        assert "PEPE" in answer
        post.guard._looked_ns = post.rig.clocks.wire_ns() - 4 * SECOND_NS
        assert post.guard.veto([order]) == "the guard is not awake"


async def test_before_recovery_ended_no_entry_passes() -> None:
    async with guarded({"SOL": "20"}) as post:
        post.guard._recovered = lambda: False
        answer = post.guard.veto([post.rig.entry("SOL", "1")])
        assert answer is not None
        assert "recovery" in answer


# --- the journal, restarts, slowness ------------------------------------------------------------------


async def test_a_restart_continues_with_cooldowns_counters_and_peaks(tmp_path: Path) -> None:
    async with world(str(tmp_path / "journal.db"), Settings(usdt=D(20_000))) as made:
        async with made.desk() as rig:
            await hold(rig, "SOL", "120")
            async with on_guard(rig, TIGHTER) as post:
                await anyio.sleep(3)
                before = post.guard._memory.state
                assert before.cooldown_until
        async with made.desk() as rig, on_guard(rig, TIGHTER) as post:
            after = post.guard._memory.state
            assert (after.cooldown_until, after.reductions, after.operations) == (
                before.cooldown_until,
                before.reductions,
                before.operations,
            )
            assert after.peak_equity is not None
            answer = post.guard.veto([post.rig.entry("SOL", "1")])
            assert answer is not None
            assert "the guard reduced SOL" in answer


async def test_while_the_journal_fails_entries_are_refused_and_the_guard_keeps_looking() -> None:
    async with guarded({"SOL": "20"}) as post:
        post.rig.rails.broken = "disk full"
        beats = len(post.beats)
        await anyio.sleep(5)
        assert len(post.beats) >= beats + 5
        answer = post.guard.veto([post.rig.entry("SOL", "1")])
        assert answer == "the journal cannot be used: disk full"
        post.rig.rails.broken = None
        await anyio.sleep(3)
        assert post.guard.veto([post.rig.entry("SOL", "1")]) is None


async def test_a_venue_that_does_not_answer_stops_neither_the_loop_nor_the_next_try() -> None:
    async with guarded(THREE, limits=TIGHT) as post:
        post.rig.exchange.silent = True
        await anyio.sleep(20)
        gaps = [later - earlier for earlier, later in zip(post.beats, post.beats[1:], strict=False)]
        assert max(gaps) <= 2 * SECOND_NS
        post.rig.exchange.silent = False
        await anyio.sleep(20)
        health = post.guard.status().health
        assert health is not None
        assert health >= D("0.91")
        assert all(hedged(post, coin, "0.1") for coin in THREE)
        assert all(post.sides(coin)[1] <= 0 <= post.sides(coin)[0] for coin in THREE)


async def test_an_approved_book_that_the_guard_cut_still_adds_up_in_the_journal() -> None:
    async with guarded(THREE, limits=TIGHT) as post:
        await anyio.sleep(5)
        holdings = post.rig.journal.holdings()
        for coin in THREE:
            legs = post.rig.view.legs(pair(coin))
            assert legs == PairLegs(
                pair(coin),
                holdings[(pair(coin), spot(coin))],
                -holdings[(pair(coin), perpetual(coin))],
            )


async def test_a_gap_asks_for_the_tables_which_a_venue_may_have_changed() -> None:
    async with guarded({"SOL": "80"}) as post:
        before = len(post.doubts)
        post.command(ShiftFigures(maintenance_factor=D("1.02")))
        await anyio.sleep(3)
        assert len(post.doubts) > before
        post.command(ShiftFigures())
        await anyio.sleep(3)
        settled = len(post.doubts)
        await anyio.sleep(5)
        assert len(post.doubts) == settled
