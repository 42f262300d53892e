"""The guard's shell in parts: what it gathers, how it values cuts, what it survives."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from exchanges.paper.commands import LimitNextFill, RejectNext
from portfolio.clocks import ManualClocks
from portfolio.core.account import AccountSnapshot, Balance, MarginFigures, Position
from portfolio.core.entries import GuardActed, GuardStateSaved, Noted
from portfolio.core.errors import JournalError
from portfolio.core.events import Gap, Reset
from portfolio.core.guard.cuts import Cuts
from portfolio.core.guard.freezes import unexplained
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import GuardInput
from portfolio.core.limits import SECOND_NS, RiskLimits
from portfolio.core.margin.sim import MarginSim
from portfolio.core.market import CoinPrice, Mark
from portfolio.core.names import AccountId, Coin, InstrumentId, PairId
from portfolio.core.orders import Accepted, OrderClass, Side, TimeInForce
from portfolio.core.risk import LeveragePolicy
from portfolio.guard_facts import FactsGatherer, JournalFacts, tolerance_of
from portfolio.guard_margin import AccountMargin
from portfolio.view import AccountView
from tests.portfolio.core.trading import PERPETUAL, SPOT, make_pair, make_quote
from tests.portfolio.guard_rig import guarded, pair
from tests.portfolio.rig import Settings, perpetual, spot
from tests.portfolio.test_guard import THREE, TIGHT, hedged

D = Decimal
NOW = 1_700_000_000 * SECOND_NS
PERP, SPOT_ID = PERPETUAL.instrument_id, SPOT.instrument_id
SOL = make_pair("SOL")


class Kept:
    """An emergency file that lives in memory."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def append(self, record: bytes) -> None:
        self.kept.append(record)

    def records(self) -> tuple[bytes, ...]:
        return tuple(self.kept)

    def clear(self) -> None:
        self.kept.clear()


# --- what is gathered ---------------------------------------------------------------------------------------


def account(*balances: Balance, short: str = "-10") -> AccountSnapshot:
    positions = (Position(PERP, D(short), D(100), D(100), D(10)),) if D(short) else ()
    return AccountSnapshot(
        account=AccountId("bybit:main"),
        uid="1",
        margin_mode="REGULAR_MARGIN",
        balances=balances,
        positions=positions,
        orders=(),
        figures=MarginFigures(D(1000), D(900), D(100), D(50)),
        event_market_ns=5,
        seen_wire_ns=NOW,
    )


def coin(name: str, wallet: str, borrow: str = "0") -> Balance:
    return Balance(Coin(name), D(wallet), D(borrow), D(0), D(0))


class RunningClocks(ManualClocks):
    """Time goes on between any two looks at the clock, as it does in life."""

    def wire_ns(self) -> int:
        self.advance(1000)
        return super().wire_ns()


class Desk:
    """A view and a gatherer on it."""

    def __init__(
        self, snapshot: AccountSnapshot | None, *, priced: bool = True, clocks: ManualClocks | None = None
    ) -> None:
        self.clocks = clocks or ManualClocks(wire_ns=NOW)
        self.view = AccountView(
            account=AccountId("bybit:main"),
            instruments={PERP: PERPETUAL, SPOT_ID: SPOT},
            pairs={SOL.pair_id: SOL},
            clocks=self.clocks,
            policy=LeveragePolicy(),
        )
        if snapshot is not None:
            self.view.apply(Reset(snapshot, NOW))
        if priced:
            self.view.apply(Mark(PERP, D(100), D(100), 1, NOW))
            self.view.apply(CoinPrice(Coin("SOL"), D(100), 1, NOW))
            self.view.apply(CoinPrice(Coin("DOGE"), D("0.1"), 1, NOW))
        self.gatherer = FactsGatherer(
            view=self.view, clocks=self.clocks, limits=RiskLimits(), scores=lambda: {SOL.pair_id: D(2)}
        )

    def facts(self, long: str = "10", short: str = "-10", **changes: object) -> JournalFacts:
        made = JournalFacts(
            seq=1,
            halted=False,
            freezes=(),
            holdings={(SOL.pair_id, SPOT_ID): D(long), (SOL.pair_id, PERP): D(short)},
            unsettled=(),
            wanted={},
            resumed=False,
            transfers=(),
            read_wire_ns=NOW,
            seen=self.gatherer.holdings_now(),
        )
        return replace(made, **changes)  # type: ignore[arg-type]

    def gather(self, facts: JournalFacts | None, *, recovered: bool = True) -> GuardInput:
        return self.gatherer.gather(
            state=GuardState(),
            ours=None,
            facts=facts,
            unknown=frozenset(),
            busy=frozenset(),
            ladder_out=False,
            recovered=recovered,
            transfers=(),
        )


def orphans(inp: GuardInput) -> dict[str, Decimal]:
    return {row.name: row.actual - row.explained for row in inp.holdings if unexplained(row)}


def test_before_the_first_account_read_nothing_is_known_and_nothing_assumed() -> None:
    desk = Desk(None)
    inp = desk.gather(None)
    assert (inp.pairs, inp.holdings, inp.venue, inp.account_age_ns) == ({}, (), None, None)
    assert desk.gatherer.holdings_now() == {}
    assert "account" in inp.stale


def test_holdings_are_explained_by_fills_and_treasury_and_cash_by_itself() -> None:
    desk = Desk(account(coin("SOL", "15"), coin("USDT", "-7")))
    assert orphans(desk.gather(desk.facts())) == {"SOL": 5}
    desk.view.set_treasury({Coin("SOL"): D(5)})
    assert orphans(desk.gather(desk.facts())) == {}


def test_what_changed_since_the_journal_was_read_counts_as_explained() -> None:
    desk = Desk(account(coin("SOL", "10")))
    facts = desk.facts()
    desk.view.apply(Reset(account(coin("SOL", "30"), short="-30"), NOW))
    inp = desk.gather(facts)
    assert orphans(inp) == {}
    expected = inp.pairs[SOL.pair_id].expected
    assert expected is not None
    assert (expected.long_quantity, expected.short_quantity) == (D(30), D(30))
    assert orphans(desk.gather(desk.facts())) == {"SOL": 20, PERP: -20}


def test_the_fills_of_the_reverse_pair_explain_what_the_venue_nets_away() -> None:
    desk = Desk(account(coin("SOL", "6"), short="-6"))
    back = make_pair("SOL", reverse=True).pair_id
    holdings = {
        (SOL.pair_id, SPOT_ID): D(10),
        (SOL.pair_id, PERP): D(-10),
        (back, SPOT_ID): D(-4),
        (back, PERP): D(4),
    }
    expected = desk.gather(desk.facts(holdings=holdings)).pairs[SOL.pair_id].expected
    assert expected is not None
    assert (expected.long_quantity, expected.short_quantity) == (D(6), D(6))


def test_before_recovery_ended_the_journal_explains_nothing() -> None:
    desk = Desk(account(coin("SOL", "15")))
    inp = desk.gather(desk.facts(), recovered=False)
    assert inp.holdings == ()
    assert inp.pairs[SOL.pair_id].expected is None
    assert inp.journal_read_wire_ns is None


def test_what_the_journal_explains_is_as_old_as_its_reading_not_as_the_tick() -> None:
    desk = Desk(account(coin("SOL", "10")))
    facts = desk.facts()
    desk.clocks.advance(5 * SECOND_NS)
    inp = desk.gather(facts)
    assert (inp.now_wire_ns, inp.journal_read_wire_ns) == (NOW + 5 * SECOND_NS, NOW)


def test_a_coin_that_no_pair_trades_is_an_orphan_above_five_dollars_or_without_a_price() -> None:
    desk = Desk(account(coin("SOL", "10"), coin("DOGE", "49"), coin("PEPE", "1")))
    assert orphans(desk.gather(desk.facts())) == {"PEPE": 1}
    desk = Desk(account(coin("SOL", "10"), coin("DOGE", "51")))
    assert orphans(desk.gather(desk.facts())) == {"DOGE": 51}


def test_coins_left_where_a_large_short_was_are_an_orphan_though_small_beside_it() -> None:
    desk = Desk(account(coin("SOL", "0.4"), short="0"))
    assert orphans(desk.gather(desk.facts("-500", "0"))) == {"SOL": D("500.4")}


def test_a_position_in_an_instrument_that_this_desk_does_not_know_is_an_orphan() -> None:
    odd = Position(InstrumentId("bybit:linear:XUSDT"), D(1), D(1), D(1), D(1))
    snapshot = account(coin("SOL", "10"))
    desk = Desk(replace(snapshot, positions=(*snapshot.positions, odd)))
    assert orphans(desk.gather(desk.facts())) == {"bybit:linear:XUSDT": 1}


def test_without_any_price_tolerances_are_lots_and_costs_unknown() -> None:
    desk = Desk(account(coin("SOL", "10")), priced=False)
    facts = desk.gather(desk.facts()).pairs[SOL.pair_id]
    assert (facts.price, facts.long_cost, facts.short_cost, facts.notional) == (None, None, None, None)
    assert facts.tolerance == tolerance_of(SPOT, PERPETUAL, None)
    assert facts.score == 2


def test_the_two_price_sources_are_the_mark_and_the_other_legs_fresh_book() -> None:
    desk = Desk(account(coin("SOL", "10")))
    (check,) = desk.gather(desk.facts()).price_checks
    assert (check.first, check.second, check.age_ns) == (D(100), None, None)
    desk.clocks.advance(SECOND_NS)
    desk.view.apply(
        replace(make_quote(SPOT_ID, (("99", "1"),), (("101", "1"),)), seen_wire_ns=NOW + SECOND_NS)
    )
    (check,) = desk.gather(desk.facts()).price_checks
    assert (check.first, check.second, check.age_ns) == (D(100), D(100), SECOND_NS)
    desk.view.apply(Gap("public", "lost", NOW + SECOND_NS))
    (check,) = desk.gather(desk.facts()).price_checks
    assert (check.second, check.age_ns) == (None, None)


def test_a_flat_pair_needs_no_price_sources() -> None:
    desk = Desk(account(short="0"))
    assert desk.gather(desk.facts("0", "0")).price_checks == ()


def test_each_venue_figure_is_one_sample() -> None:
    desk = Desk(account(coin("SOL", "10")), clocks=RunningClocks(wire_ns=NOW))
    assert desk.gather(desk.facts()).venue_is_new
    assert not desk.gather(desk.facts()).venue_is_new
    desk.view.apply(Reset(replace(account(coin("SOL", "10")), seen_wire_ns=NOW + 1), NOW + 1))
    assert desk.gather(desk.facts()).venue_is_new
    assert not desk.gather(desk.facts()).venue_is_new


# --- how cuts are valued ------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_cutting_step_by_step_gives_what_one_whole_simulation_gives() -> None:
    async with guarded(THREE) as post:
        await anyio.sleep(1)
        view, sim = post.rig.view, MarginSim()
        margin = AccountMargin(view=view, sim=sim, limits=RiskLimits())
        valued = margin.now()
        assert valued is not None
        figures, simulate = valued
        assert simulate({}) == figures
        steps: dict[PairId, Decimal] = {}
        for name, target in (("BTC", "0.15"), ("ETH", "3"), ("BTC", "0"), ("SOL", "60")):
            steps[pair(name)] = D(target)
            stepwise = simulate(dict(steps))
        state = view.margin_state()
        legs = {key: view.legs(key) for key in view.pairs}
        whole = sim.simulate(state, view.pairs, legs, steps, stresses=()).after
        assert stepwise.maintenance_margin == pytest.approx(whole.maintenance_margin, rel=D("0.0001"))
        assert stepwise.adjusted_equity == pytest.approx(whole.adjusted_equity, rel=D("0.0001"))
        # A pair that was cut deeper before, or not at all, is simulated from the start again.
        back = simulate({pair("ETH"): D(3)})
        fresh = Cuts(sim, state, view.pairs, legs, figures)({pair("ETH"): D(3)})
        assert back.maintenance_margin == pytest.approx(fresh.maintenance_margin, rel=D("0.0001"))


def test_an_account_that_cannot_be_valued_has_no_figures() -> None:
    desk = Desk(None)
    assert AccountMargin(view=desk.view, sim=MarginSim(), limits=RiskLimits()).now() is None


@pytest.mark.anyio
async def test_an_account_that_cannot_be_has_no_figures_and_takes_no_entry() -> None:
    async with guarded(THREE) as post:
        await anyio.sleep(1)
        view = post.rig.view
        margin = AccountMargin(view=view, sim=MarginSim(), limits=RiskLimits())
        assert margin.now() is not None
        assert view.snapshot is not None
        first, *rest = view.snapshot.balances
        broken = replace(view.snapshot, balances=(replace(first, locked=D(-1)), *rest))
        view.apply(Reset(broken, view.snapshot.seen_wire_ns + 1))
        assert margin.now() is None
        refusal = margin.entry_refusal([])
        assert refusal is not None
        assert "cannot be valued" in refusal
        assert "locked" in refusal


# --- what it survives ---------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_while_the_journal_cannot_commit_reductions_go_and_are_kept_aside(tmp_path: Path) -> None:
    kept, path = Kept(), str(tmp_path / "journal.db")
    async with guarded(THREE, settings=Settings(emergency=kept), path=path) as post:
        await anyio.sleep(2)
        post.rig.disk(fails=True)
        post.shock("1.7", "SOL", "ETH", "BTC")
        await anyio.sleep(6)
        assert kept.kept
        assert abs(post.sides("BTC")[1]) < D("0.3")
        assert all(hedged(post, name, "0.1") for name in THREE)
        post.rig.disk(fails=False)
        await anyio.sleep(6)
        assert post.entries(GuardActed)
        usage = post.guard.status().usage
        assert usage is not None
        assert usage <= D("0.65")


@pytest.mark.anyio
async def test_a_resting_order_of_a_pair_that_is_cut_is_cancelled() -> None:
    async with guarded(THREE) as post:
        await anyio.sleep(1)
        low = (post.rig.view.reference_price(perpetual("BTC")) * D("0.9")).quantize(D(1))
        resting = post.rig.order(
            "BTC",
            PERPETUAL.kind,
            Side.BUY,
            D("0.1"),
            OrderClass.REDUCE,
            intent="i9",
            price=low,
            time_in_force=TimeInForce.POST_ONLY,
            reduce_only=True,
        )
        await post.rig.send(resting)
        post.shock("1.7", "SOL", "ETH", "BTC")
        await anyio.sleep(5)
        row = post.rig.journal.order(resting.client_order_id)
        assert row is not None
        assert (row.state, row.filled) == ("closed", D(0))
        assert hedged(post, "BTC", "0.001")


@pytest.mark.anyio
async def test_a_small_naked_leg_that_the_venue_refused_often_is_not_cut_into_orders_too_small_to_send() -> (
    None
):
    async with guarded({}) as post:
        price = post.rig.view.reference_price(perpetual("DOGE"))
        small = (D(8) / price).quantize(D(1))
        bought = post.rig.order("DOGE", SPOT.kind, Side.BUY, small, OrderClass.HEDGE, intent="i1")
        (outcome,) = await post.rig.send(bought)
        assert isinstance(outcome, Accepted)
        post.command(RejectNext(perpetual("DOGE"), "110007", "ab not enough for new order"))
        post.command(RejectNext(spot("DOGE"), "170131", "Insufficient balance.", count=3))
        await anyio.sleep(30)
        assert post.sides("DOGE")[0] < D(5) / price, "nothing that could be sold is left"


@pytest.mark.anyio
async def test_half_filled_cuts_go_on_until_the_line_is_reached() -> None:
    async with guarded(THREE, limits=TIGHT) as post:
        for name in THREE:
            post.command(LimitNextFill(spot(name), D("0.4")))
            post.command(LimitNextFill(perpetual(name), D("0.7")))
        await anyio.sleep(20)
        health = post.guard.status().health
        assert health is not None
        assert health >= D("0.91")
        assert all(hedged(post, name, "0.1") for name in THREE)
        assert post.guard.status().held_pairs == ()


@pytest.mark.anyio
async def test_what_did_not_go_as_planned_leaves_an_audit_line() -> None:
    async with guarded(THREE, limits=TIGHT) as post:
        for name in THREE:
            post.command(RejectNext(spot(name), "170131", "Insufficient balance."))
        await anyio.sleep(20)
        assert any("170131" in row.text for row in post.entries(Noted))
        assert all(hedged(post, name, "0.1") for name in THREE)


@pytest.mark.anyio
async def test_a_saved_state_that_cannot_be_read_stops_the_guard() -> None:
    async with guarded({"SOL": "20"}) as post:
        post.rig.journal.append([GuardStateSaved("{}")], post.rig.clocks.wire_ns())
        with pytest.raises(JournalError, match="guard state"):
            await post.guard._memory.load(dict)
