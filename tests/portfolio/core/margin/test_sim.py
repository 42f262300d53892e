from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.errors import InputError, MissingDataError, UnknownNameError
from portfolio.core.instrument import Instrument
from portfolio.core.limits import BookLimits, GuardLimits, RiskLimits
from portfolio.core.margin.apply import Fee
from portfolio.core.margin.bybit_uta import value
from portfolio.core.margin.caps import Legs, Pairs
from portfolio.core.margin.results import Lines
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario
from portfolio.core.names import Coin, InstrumentId, PairId
from portfolio.core.orders import Side
from portfolio.core.pairs import PairLegs, PairSpec
from portfolio.core.risk import BorrowTier, LeveragePolicy, RiskTables
from tests.portfolio.core.margin.accounts import (
    FEES,
    TIERS,
    D,
    account,
    balance,
    both,
    carry_pair,
    chain,
    flat,
    lending,
    order,
    perp,
    position,
    spot,
    tables,
)

SIM = MarginSim()
NAMES = ("BTC", "ETH", "SOL")
PRICES = {"BTC": "60000", "ETH": "3000", "SOL": "150", "USDT": "1"}
#: No line at all, to be tightened one at a time.
NO_BOOK = BookLimits(
    health_min=D(0),
    usage_max=D(1000),
    market_stress_health_min=D(0),
    market_stress_usage_max=D(1000),
    stress_health_min=D(0),
    stress_usage_max=D(1000),
    pair_book_share_max=D(1000),
    narrative_equity_share_max=D(1000),
)
NO_GUARD = GuardLimits(entry_health_min=D(0), entry_usage_max=D(1000))
NOTHING = RiskLimits(guard=NO_GUARD, book=NO_BOOK)
#: One scenario, so that a test of something else does not pay for the standard set.
CALM = (Scenario("calm", {}),)

pairs: Pairs = {row.pair_id: row for row in map(carry_pair, NAMES)}
BTC, ETH, SOL = pairs


def desk(equity: str = "100000", held: dict[PairId, str] | None = None) -> tuple[MarginState, Legs]:
    """An account with `equity` USDT before it entered pairs of these sizes (coins of one leg, no fees)."""
    start = account(balances=(balance("USDT", equity),), usd=PRICES, instruments=both(*NAMES))
    legs = {key: flat(row) for key, row in pairs.items()}
    targets = {key: D(size) for key, size in (held or {}).items()}
    done = SIM.simulate(start, pairs, legs, targets, fee=Fee.NONE, stresses=CALM, limits=NOTHING)
    return done.state, done.legs


def book_line(line: dict[str, Decimal]) -> BookLimits:
    """No line at all but these."""
    return replace(NO_BOOK, **line)  # type: ignore[arg-type]


def with_tables(
    state: MarginState,
    *,
    borrow: dict[str, object] | None = None,
    positions: object = None,
    instruments: dict[InstrumentId, Instrument] | None = None,
) -> MarginState:
    old = state.tables
    lent = {**old.borrow, **{Coin(coin): row for coin, row in (borrow or {}).items()}}
    tiers = old.positions if positions is None else dict.fromkeys(old.positions, positions)
    return replace(
        state,
        tables=RiskTables(0, old.collateral, lent, tiers, old.fees),  # type: ignore[arg-type]
        instruments=instruments or state.instruments,
    )


def test_entering_a_pair_costs_margin_and_fees_and_reports_its_share() -> None:
    state, legs = desk()
    done = SIM.simulate(state, pairs, legs, {SOL: D(100)})
    fees = 15000 * FEES.taker * 2
    assert done.before.total_equity == 100000
    assert done.after.total_equity == 100000 - fees
    assert done.allowed
    assert done.blocked_by == ()
    assert done.breaches == ()
    assert done.legs[SOL] == PairLegs(SOL, 100 * (1 - FEES.taker), D(100))
    flat_btc, flat_eth, sol = done.pairs
    assert flat_btc.quantity == flat_eth.total_usd == 0
    assert (sol.quantity, sol.notional_usd) == (D(100), D(15000))
    assert sol.initial_margin == done.after.initial_margin
    assert sol.maintenance_margin == done.after.maintenance_margin
    assert sol.haircut_usd == done.legs[SOL].long_quantity * 150 * D("0.05")
    assert sol.total_usd == sol.initial_margin + sol.maintenance_margin + sol.haircut_usd
    assert done.state.positions[0].quantity == -100


def test_the_worst_stress_comes_first_and_no_stress_gives_none() -> None:
    state, legs = desk(held={SOL: "400"})
    done = SIM.simulate(state, pairs, legs, {SOL: D(410)})
    assert {row.scenario for row in done.stresses} == {row.name for row in SIM.scenarios(done.state)}
    worst = done.worst_stress
    assert worst is not None
    assert worst.figures.health_score == min(row.figures.health_score for row in done.stresses)
    assert SIM.simulate(state, pairs, legs, {}, stresses=()).worst_stress is None


def test_without_targets_the_account_is_valued_as_it_is() -> None:
    state, legs = desk(held={SOL: "400"})
    done = SIM.simulate(state, pairs, legs, {})
    assert done.before == done.after == value(state).figures
    assert done.legs == legs


def test_leaving_a_pair_repays_what_it_borrowed() -> None:
    state, legs = desk(held={SOL: "400", ETH: "20", BTC: "1"})
    usdt = next(row for row in state.balances if row.coin == "USDT")
    assert usdt.spot_borrow == 80000
    done = SIM.simulate(state, pairs, legs, {SOL: D(0), ETH: D(0), BTC: D(0)}, fee=Fee.NONE)
    assert value(done.state).figures.initial_margin == 0
    assert all(row.spot_borrow == 0 for row in done.state.balances)
    assert [row.quantity for row in done.pairs] == [0, 0, 0]


def test_a_reverse_pair_borrows_the_coin_and_shares_its_instruments() -> None:
    reverse = carry_pair("SOL", reverse=True)
    both_ways: Pairs = {SOL: pairs[SOL], reverse.pair_id: reverse}
    state, _ = desk()
    legs = {key: flat(row) for key, row in both_ways.items()}
    done = SIM.simulate(state, both_ways, legs, {reverse.pair_id: D(100)}, fee=Fee.NONE)
    sol = next(row for row in done.state.balances if row.coin == "SOL")
    assert (sol.wallet, sol.spot_borrow) == (D(0), D(100))
    assert done.state.positions[0].quantity == 100
    assert done.pairs[1].maintenance_margin == done.after.maintenance_margin > 0
    netted = SIM.simulate(state, both_ways, legs, {reverse.pair_id: D(100), SOL: D(100)}, fee=Fee.NONE)
    assert netted.state.positions == ()


def test_a_missing_pair_or_leg_and_a_negative_target_are_refused() -> None:
    state, legs = desk()
    with pytest.raises(UnknownNameError):
        SIM.simulate(state, pairs, legs, {PairId("DOGE@bybit"): D(1)})
    with pytest.raises(MissingDataError):
        SIM.simulate(state, pairs, {}, {})
    with pytest.raises(InputError):
        SIM.simulate(state, pairs, legs, {SOL: D(-1)})
    with pytest.raises(InputError):
        SIM.cut(state, pairs[SOL], legs[SOL], D(-1))
    with pytest.raises(UnknownNameError):
        SIM.headroom(state, pairs, legs, PairId("DOGE@bybit"))


def test_an_absurd_target_is_blocked_by_name_and_raises_nothing() -> None:
    state, legs = desk()
    done = SIM.simulate(state, pairs, legs, {SOL: D("1e12")})
    assert not done.allowed
    assert "position_tier:bybit:linear:SOLUSDT" in done.blocked_by
    assert {"health", "usage", "borrow_rate"} <= set(done.blocked_by)


def test_an_empty_account_may_add_nothing() -> None:
    state, legs = desk("0")
    done = SIM.simulate(state, pairs, legs, {SOL: D(1)})
    assert {"health", "usage", "narrative:sol", f"pair_share:{SOL}"} <= set(done.blocked_by)
    assert [row.value for row in done.breaches if row.limit == "usage"] == [None]
    room = SIM.headroom(state, pairs, legs, SOL)
    assert (room.quantity, room.binding) == (D(0), "health")


def test_reducing_is_never_refused_whatever_it_leaves_breached() -> None:
    state, legs = desk(held={BTC: "3", ETH: "50", SOL: "1000"})
    done = SIM.simulate(state, pairs, legs, {BTC: D("2.9")})
    assert done.breaches
    assert done.allowed
    grown = SIM.simulate(state, pairs, legs, {BTC: D("2.9"), SOL: D(1001)})
    assert not grown.allowed


def test_a_cap_that_another_pair_exceeds_blocks_nothing() -> None:
    state, legs = desk(held={BTC: "1"})
    limits = replace(NOTHING, book=replace(NO_BOOK, pair_book_share_max=D("0.25")))
    done = SIM.simulate(state, pairs, legs, {SOL: D(10)}, limits=limits, stresses=CALM)
    assert [row.limit for row in done.breaches] == [f"pair_share:{BTC}"]
    assert done.allowed
    more = SIM.simulate(state, pairs, legs, {BTC: D("1.001")}, limits=limits, stresses=CALM)
    assert more.blocked_by == (f"pair_share:{BTC}",)


def test_the_share_of_a_pair_is_measured_against_the_largest_of_book_plan_and_equity() -> None:
    state, legs = desk()
    limits = replace(NOTHING, book=replace(NO_BOOK, pair_book_share_max=D("0.25")))

    def blocked(coins: int, plan: int = 0) -> bool:
        return not SIM.simulate(
            state, pairs, legs, {SOL: D(coins)}, limits=limits, stresses=CALM, book_notional_usd=D(plan)
        ).allowed

    assert not blocked(166)
    assert blocked(167)
    assert not blocked(332, plan=200_000)
    assert blocked(334, plan=200_000)
    # a book of 180 000 beside it: a quarter of 240 000 is 60 000
    state, legs = desk(held={BTC: "2", ETH: "20"})
    assert not blocked(399)
    assert blocked(401)


def test_a_narrative_is_capped_over_all_its_pairs() -> None:
    story = {key: replace(row, narrative=pairs[ETH].narrative) for key, row in pairs.items()}
    state, legs = desk(held={BTC: "0.3", SOL: "120"})
    limits = replace(NOTHING, book=replace(NO_BOOK, narrative_equity_share_max=D("0.055")))
    apart = SIM.simulate(state, pairs, legs, {ETH: D(1)}, limits=limits, stresses=CALM)
    together = SIM.simulate(state, story, legs, {ETH: D(1)}, limits=limits, stresses=CALM)
    assert apart.allowed
    assert together.blocked_by == ("narrative:eth",)
    (breach,) = together.breaches
    # 10 % IM and 5 % haircut of 39 000, and fees to close
    assert breach.value == pytest.approx(D("0.0585"), abs=D("0.002"))


def test_narratives_are_measured_at_the_policys_leverage_not_the_venues() -> None:
    state, legs = desk(held={BTC: "1"})
    limits = replace(NOTHING, book=replace(NO_BOOK, narrative_equity_share_max=D("0.10")))
    venue = replace(state, positions=tuple(replace(row, leverage=D(100)) for row in state.positions))
    assert SIM.simulate(state, pairs, legs, {BTC: D("1.2")}, limits=limits, stresses=CALM).blocked_by
    assert SIM.simulate(venue, pairs, legs, {BTC: D("1.2")}, limits=limits, stresses=CALM).blocked_by
    # neither does the leverage of the rest of the book show up in a narrative
    tight = replace(NOTHING, book=replace(NO_BOOK, narrative_equity_share_max=D("0.05")))
    assert SIM.simulate(venue, pairs, legs, {SOL: D(10)}, limits=tight, stresses=CALM).allowed


def test_entry_lines_are_looser_than_book_lines_and_know_no_caps() -> None:
    state, legs = desk()
    targets = {BTC: D("0.8"), ETH: D(10)}
    book = SIM.simulate(state, pairs, legs, targets)
    entry = SIM.simulate(state, pairs, legs, targets, lines=Lines.ENTRY)
    assert set(book.blocked_by) == {f"pair_share:{BTC}", f"pair_share:{ETH}"}
    assert entry.allowed


@pytest.mark.parametrize("near", [True, False])
def test_stress_lines_hold_market_moves_of_twenty_percent_tighter_for_the_book_only(near: bool) -> None:
    state, legs = desk(held={BTC: "1"})
    stress = (Scenario("it", {}, near=near),)
    health = value(state).figures.health_score
    usage = value(state).figures.margin_usage
    assert usage is not None
    for near_line, far_line in (
        ({"market_stress_health_min": health + D("0.001")}, {"stress_health_min": health + D("0.001")}),
        ({"market_stress_usage_max": usage - D("0.001")}, {"stress_usage_max": usage}),
    ):
        for lines in Lines:
            line = near_line if near and lines is Lines.BOOK else far_line
            limits = RiskLimits(guard=NO_GUARD, book=book_line(line))
            found = SIM.breaches(state, {}, limits=limits, lines=lines, stresses=stress)
            assert [row.limit for row in found] == ["stress:it"]
    exact = RiskLimits(
        guard=NO_GUARD, book=replace(NO_BOOK, market_stress_usage_max=usage, stress_health_min=health)
    )
    assert SIM.breaches(state, {}, limits=exact, lines=Lines.BOOK, stresses=stress) == ()
    assert legs


def test_the_veto_sees_the_account_after_the_orders_and_every_stress() -> None:
    state, _ = desk()
    small = {spot("SOL"): D(10), perp("SOL"): D(-10)}
    assert SIM.breaches(state, small) == ()
    large = {spot("SOL"): D(6000), perp("SOL"): D(-6000)}
    names = {row.limit for row in SIM.breaches(state, large)}
    assert {"usage", "stress:market +40%"} <= names


def test_open_orders_count_towards_the_tier_unless_they_only_reduce() -> None:
    state, _ = desk()
    state = with_tables(state, positions=chain(("30000", "0.005", "75")))
    orders = (
        order(perp("SOL"), Side.SELL, "150", "150"),
        order(perp("ETH"), Side.SELL, "100", "3000", reduce_only=True),
        order(spot("BTC"), Side.BUY, "0.001", "60000"),
    )
    state = replace(state, orders=orders, positions=(position(perp("SOL"), "-50", "150"),))
    assert SIM.breaches(state, {}, limits=NOTHING, stresses=CALM) == ()
    (breach,) = SIM.breaches(state, {perp("SOL"): D(-1)}, limits=NOTHING, stresses=CALM)
    assert breach.limit == "position_tier:bybit:linear:SOLUSDT"
    assert (breach.value, breach.bound) == (D(30150), D(30000))


def test_a_loan_is_refused_where_nothing_is_lent_beyond_the_quota_and_at_a_high_im_rate() -> None:
    state, _ = desk("1000")
    deltas = {spot("SOL"): D(10)}  # 1500 USD: borrows 500

    def found(subject: MarginState, wanted: dict[InstrumentId, Decimal] = deltas) -> list[str]:
        return [row.limit for row in SIM.breaches(subject, wanted, limits=NOTHING, stresses=CALM)]

    assert found(state) == []
    assert found(with_tables(state, borrow={"USDT": lending("USDT", most="499")})) == ["borrow_quota:USDT"]
    assert found(with_tables(state, borrow={"USDT": lending("USDT", most="501")})) == []
    off = with_tables(state, borrow={"USDT": lending("USDT", borrowable=False)})
    assert found(off) == ["borrow_quota:USDT"]
    assert found(off, {spot("SOL"): D(6)}) == []
    last = lending("USDT", tiers=(BorrowTier(D(400), D("0.1"), D("0.04"), D(10)),))
    assert found(with_tables(state, borrow={"USDT": last})) == ["borrow_quota:USDT"]
    unlent = dict(state.instruments)
    unlent[spot("SOL")] = replace(unlent[spot("SOL")], marginable=False)
    bare = with_tables(state, instruments=unlent)
    assert found(bare) == ["borrow_quota:USDT"]
    assert found(bare, {spot("ETH"): D("0.5"), spot("SOL"): D("0"), perp("SOL"): D(-1)}) == []
    assert found(bare, {spot("SOL"): D(-1)}) == ["borrow_quota:SOL"]
    high = replace(state, policy=LeveragePolicy(borrow=D("1.02")))
    assert found(high) == ["borrow_rate"]
    assert found(high, {perp("SOL"): D(-10)}) == []
    with pytest.raises(MissingDataError):
        found(replace(state, tables=replace(state.tables, borrow={})))


LIMITS = [
    ("health", {"health_min": D("0.97")}),
    ("usage", {"usage_max": D("0.2")}),
    ("stress:market +20%", {"market_stress_usage_max": D("0.3")}),
    ("stress:market +40%", {"stress_health_min": D("0.95")}),
    ("narrative:sol", {"narrative_equity_share_max": D("0.06")}),
    (f"pair_share:{SOL}", {"pair_book_share_max": D("0.3")}),
    ("position_tier:bybit:linear:SOLUSDT", {}),
]


def agrees(state: MarginState, book: Pairs, legs: Legs, pair: PairId, limits: RiskLimits) -> str:
    """Headroom is allowed, one lot more is refused by the limit that it names; its name."""
    room = SIM.headroom(state, book, legs, pair, limits)
    start = max(legs[pair].long_quantity, legs[pair].short_quantity)
    lot = D("0.001")
    assert room.target == start + room.quantity
    assert room.quantity % lot == 0
    if room.quantity > 0:
        assert SIM.simulate(state, book, legs, {pair: room.target}, limits=limits).allowed
    refused = SIM.simulate(state, book, legs, {pair: room.target + lot}, limits=limits)
    assert room.binding in refused.blocked_by
    return room.binding


@pytest.mark.parametrize(("binding", "line"), LIMITS)
def test_headroom_agrees_with_buying_until_refused_whatever_binds(
    binding: str, line: dict[str, Decimal]
) -> None:
    state, legs = desk(held={SOL: "10", ETH: "1"})
    state = with_tables(state, positions=chain(("90000", "0.005", "75"), ("250000", "0.01", "50")))
    limits = RiskLimits(guard=NO_GUARD, book=book_line(line))
    assert agrees(state, pairs, legs, SOL, limits) == binding


def test_headroom_names_the_borrow_quota() -> None:
    state, legs = desk()
    state = with_tables(state, borrow={"USDT": lending("USDT", most="1000")})
    room = SIM.headroom(state, pairs, legs, SOL, NOTHING)
    assert room.binding == "borrow_quota:USDT"
    assert room.quantity == D("672.963")  # 101 000 USD pay for it and the perpetual's fee
    assert room.notional_usd == room.quantity * 150


def test_headroom_under_entry_lines_looks_at_no_caps() -> None:
    state, legs = desk()
    entry = SIM.headroom(state, pairs, legs, SOL, lines=Lines.ENTRY)
    book = SIM.headroom(state, pairs, legs, SOL)
    assert book.binding == f"pair_share:{SOL}"
    assert entry.quantity > book.quantity
    planned = SIM.headroom(state, pairs, legs, SOL, book_notional_usd=D(200_000))
    assert planned.quantity > book.quantity


def test_headroom_evens_out_legs_that_differ() -> None:
    state, legs = desk(held={SOL: "100"})
    uneven = {**legs, SOL: PairLegs(SOL, D(100), D(90))}
    room = SIM.headroom(state, pairs, uneven, SOL)
    assert room.target == 100 + room.quantity


def test_a_pair_without_a_perpetual_has_no_headroom() -> None:
    state, _ = desk()
    odd = PairSpec(PairId("odd"), Coin("SOL"), pairs[SOL].narrative, spot("SOL"), spot("ETH"), spot("SOL"))
    with pytest.raises(InputError):
        SIM.headroom(state, {odd.pair_id: odd}, {odd.pair_id: flat(odd)}, odd.pair_id)


def test_a_pair_led_by_spot_is_priced_by_the_index() -> None:
    state, legs = desk()
    led = replace(pairs[SOL], lead_leg=spot("SOL"))
    state = replace(state, prices=replace(state.prices, marks={**state.prices.marks, perp("SOL"): D(151)}))
    room = SIM.headroom(state, {SOL: led}, legs, SOL)
    assert room.notional_usd == room.quantity * 150
    done = SIM.simulate(state, {SOL: led}, legs, {SOL: D(2)}, fee=Fee.MAKER)
    assert done.pairs[0].notional_usd == 300
    assert done.legs[SOL].long_quantity == 2 * (1 - FEES.maker)


sizes = st.fixed_dictionaries(
    {key: st.decimals(0, most, places=3) for key, most in ((BTC, 1), (ETH, 20), (SOL, 400))}
)


@settings(max_examples=25, deadline=None)
@given(sizes, st.sampled_from([BTC, ETH, SOL]), st.sampled_from([RiskLimits(), NOTHING]))
def test_headroom_is_allowed_and_one_lot_more_is_refused(
    held: dict[PairId, Decimal], pair: PairId, limits: RiskLimits
) -> None:
    state, legs = desk(held={key: str(size) for key, size in held.items()})
    agrees(state, pairs, legs, pair, limits)


def test_a_cut_takes_both_legs_down_repays_and_raises_health() -> None:
    state, legs = desk(held={SOL: "1000", BTC: "1"})
    cut = SIM.cut(state, pairs[SOL], legs[SOL], D(400))
    assert (cut.pair_id, cut.quantity) == (SOL, D(400))
    assert cut.legs == PairLegs(SOL, D(600), D(600))
    assert cut.figures == value(cut.state).figures
    assert cut.figures.health_score > value(state).figures.health_score
    was, now = (next(row for row in one.balances if row.coin == "USDT") for one in (state, cut.state))
    # all proceeds but the sale's fee and the perpetual's; the latter leaves the wallet below zero
    assert was.spot_borrow - now.spot_borrow == 60000 - 60000 * FEES.taker * 2


def test_a_cut_closes_at_most_what_is_held_and_first_what_is_uneven() -> None:
    state, legs = desk(held={SOL: "100"})
    gone = SIM.cut(state, pairs[SOL], legs[SOL], D(1000))
    assert gone.quantity == 100
    assert gone.legs == PairLegs(SOL, D(0), D(0))
    assert gone.state.positions == ()
    uneven = SIM.cut(state, pairs[SOL], PairLegs(SOL, D(100), D(90)), D(5))
    assert uneven.legs == PairLegs(SOL, D(95), D(90))


def test_cuts_chain_into_a_ladder() -> None:
    state, legs = desk(held={SOL: "1000", ETH: "30", BTC: "2"})
    healths = [value(state).figures.health_score]
    held = dict(legs)
    for pair in (SOL, ETH, BTC):
        cut = SIM.cut(state, pairs[pair], held[pair], held[pair].hedged / 2)
        state, held[pair] = cut.state, cut.legs
        healths.append(cut.figures.health_score)
    assert healths == sorted(healths)
    assert [held[pair].hedged for pair in pairs] == [1, 15, 500]


def test_a_pair_is_measured_without_selling_more_than_the_wallet_has() -> None:
    state, legs = desk(held={SOL: "10"})
    claimed = {**legs, SOL: PairLegs(SOL, D(11), D(10))}
    nothing_lent = replace(state, tables=replace(state.tables, borrow={}))
    done = SIM.simulate(nothing_lent, pairs, claimed, {}, stresses=CALM)
    assert done.pairs[2].quantity == 11


def test_betas_and_staking_tokens_reach_the_standard_set() -> None:
    sim = MarginSim(betas={Coin("SOL"): D(2)}, staking={Coin("ETH"): Coin("SOL")})
    state, _ = desk(held={SOL: "10", ETH: "1"})
    by_name = {row.name: row for row in sim.scenarios(state)}
    assert by_name["market +20%"].factors == {"ETH": D("1.4"), "SOL": D("1.4")}
    assert "ETH depeg -5%" in by_name


def test_prices_of_symbols_that_play_no_part_are_left_out() -> None:
    state, legs = desk()
    crowd = {perp(f"X{index}"): D(1) for index in range(500)}
    crowded = replace(state, prices=replace(state.prices, marks={**state.prices.marks, **crowd}))
    done = SIM.simulate(crowded, pairs, legs, {SOL: D(1)}, stresses=CALM)
    assert len(done.state.prices.marks) == 3


def test_tables_of_the_tests_hold_what_they_promise() -> None:
    assert [row.deduction for row in TIERS] == [0, 510, 30510]
    names: Iterable[str] = tables(both("BTC")).collateral
    assert sorted(names) == ["BTC", "USDT"]


def test_scenarios_of_ones_own_are_answered_beside_the_standard_set_and_block_nothing() -> None:
    end = Scenario("the end", {Coin("ETH"): D(1000)}, binding=False)
    state, legs = desk()
    target = {ETH: D(4)}
    alone = SIM.simulate(state, pairs, legs, target)
    told = SIM.simulate(state, pairs, legs, target, also=(end,))
    assert told.allowed
    assert told.breaches == alone.breaches
    assert {row.scenario for row in told.stresses} == {row.scenario for row in alone.stresses} | {"the end"}
    held = SIM.simulate(state, pairs, legs, target, also=(replace(end, binding=True),))
    assert held.blocked_by == ("stress:the end",)


def test_headroom_sees_the_debt_that_only_more_lots_would_make() -> None:
    # A tenth an hour: a day of it at three times the rate is 7.2 times the debt.
    state, legs = desk()
    usdt = replace(state.tables.borrow[Coin("USDT")], hourly_rate=D("0.1"))
    state = replace(state, tables=replace(state.tables, borrow={**state.tables.borrow, Coin("USDT"): usdt}))
    limits = replace(NOTHING, book=replace(NO_BOOK, stress_health_min=D("0.5")))
    found = SIM.headroom(state, pairs, legs, ETH, limits)
    assert found.binding == "stress:borrow rates x3"
    assert SIM.simulate(state, pairs, legs, {ETH: D("0.001")}, limits=limits).state.balances
    assert SIM.simulate(state, pairs, legs, {ETH: found.target}, limits=limits).allowed
    more = SIM.simulate(state, pairs, legs, {ETH: found.target + D("0.001")}, limits=limits)
    assert more.blocked_by == ("stress:borrow rates x3",)


def test_headroom_counts_the_caps_of_pairs_that_grow_in_the_same_change() -> None:
    state, legs = desk()
    first = SIM.simulate(state, pairs, legs, {ETH: D(4)}, limits=NOTHING, stresses=CALM)
    notional = next(row.notional_usd for row in first.pairs if row.pair_id == ETH)
    # So near to the pair's cap that any fee of another pair breaks it.
    share = notional / first.after.total_equity + D("1e-9")
    limits = replace(NOTHING, book=replace(NO_BOOK, pair_book_share_max=share))
    alone = SIM.headroom(first.state, pairs, first.legs, SOL, limits)
    assert alone.quantity > 0
    together = SIM.headroom(first.state, pairs, first.legs, SOL, limits, growing=(ETH, SOL))
    assert together.quantity < alone.quantity
    assert together.binding == f"pair_share:{ETH}"
    more = SIM.simulate(state, pairs, legs, {ETH: D(4), SOL: D(1)}, limits=limits, stresses=CALM)
    assert f"pair_share:{ETH}" in more.blocked_by
