"""The Binance rule: its terms one by one, open orders, what is missing and what cannot be."""

from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.errors import CarrydeskError, InputError, MissingDataError, RefusedError, SettingsError
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.binance_pm import ASSUMPTIONS, value
from portfolio.core.margin.binance_status import LIQUIDATION_AT
from portfolio.core.margin.modes import BINANCE_PM
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.margin.stress import Scenario, haircut_delta, liquidation_prices, stressed
from portfolio.core.names import Coin, Narrative, PairId
from portfolio.core.orders import Side
from portfolio.core.pairs import PairLegs, PairSpec
from portfolio.core.risk import BorrowTier, CollateralTable, LeveragePolicy, RiskTables
from tests.portfolio.core.margin.accounts import balance, flat_ratio, lending, order, position, ratios, tier
from tests.portfolio.core.margin.binance_accounts import margin, pm, printed_carry, upm
from tests.portfolio.core.margin.golden_binance import (
    MON_AFTER,
    MON_BEFORE,
    collateral_cut,
    harsher_tiers,
)

D = Decimal
BTC, ETH, USDT = Coin("BTC"), Coin("ETH"), Coin("USDT")


def test_the_printed_carry_on_a_loan_shows_where_every_number_comes_from() -> None:
    valuation = value(printed_carry("60000"))
    usdt, eth = valuation.coin(USDT), valuation.coin(ETH)
    assert usdt is not None
    assert eth is not None
    # a negative net counts in full, the loan is charged whole although the wallet covers a part of it
    assert (usdt.equity, usdt.collateral_usd, usdt.haircut_usd) == (D(-41500), D(-41500), D(0))
    assert (usdt.borrowed, usdt.borrow_mm) == (D(60000), D(6000))
    assert (eth.collateral_usd, eth.haircut_usd) == (D(142500), D(7500))
    (leg,) = valuation.legs
    assert (leg.mark_value, leg.leverage) == (D(150000), D(10))
    assert (leg.initial_margin, leg.maintenance_margin, leg.unrealised_pnl) == (D(15000), D(600), D(-1500))
    assert valuation.perpetual_pnl == -1500
    assert valuation.margin_balance == valuation.figures.adjusted_equity == 101000


def test_spot_and_perpetual_are_not_offset_and_a_rally_is_what_hurts() -> None:
    carry = printed_carry()
    assert haircut_delta(value, carry) == D("75")
    up, down = (
        value(stressed(carry, Scenario("", {ETH: D(factor)}))).figures.adjusted_equity
        for factor in ("1.4", "0.6")
    )
    assert up == 161000 - 3000
    assert down == 161000 + 3000


def test_futures_losses_without_a_loan_count_in_full_and_need_initial_margin_only() -> None:
    state = pm(
        "BTC",
        balances=(balance("BTC", "1"), balance("USDT", "-5000")),
        positions=(position(upm("BTC"), "-1", "50000"),),
        usd={"BTC": "60000"},
    )
    valuation = value(state)
    row = valuation.coin(USDT)
    assert row is not None
    assert (row.equity, row.collateral_usd, row.borrowed) == (D(-15000), D(-15000), D(15000))
    assert (row.borrow_im, row.borrow_mm) == (D(15000) / 9, D(0))
    assert valuation.figures.maintenance_margin == 60000 * D("0.004")


def test_interest_is_part_of_the_debt_and_locked_coins_part_of_the_wallet() -> None:
    plain = balance("USDT", "1000", "100")
    shown = replace(plain, accrued_interest=D(7), locked=D(300))
    assert value(pm("BTC", balances=(plain,))) == value(pm("BTC", balances=(shown,)))


def test_a_loans_initial_margin_takes_the_smaller_leverage_or_the_tables_rate() -> None:
    def borrow_im(leverage: str, table_rate: str, table_leverage: str) -> Decimal:
        tiers = (BorrowTier(None, D(table_rate), D("0.1"), D(table_leverage)),)
        state = pm(
            "BTC",
            balances=(balance("USDT", "0", "900"),),
            loans={"USDT": lending("USDT", tiers=tiers)},
            policy=LeveragePolicy(borrow=D(leverage)),
        )
        return value(state).coins[0].borrow_im

    assert borrow_im("10", "0", "10") == 100
    assert borrow_im("4", "0", "10") == 300
    assert borrow_im("10", "0", "3") == 450
    assert borrow_im("10", "0.6", "3") == 540


def test_a_debt_beyond_its_last_tier_is_refused_unless_extrapolated() -> None:
    tiers = (BorrowTier(D(50), D(0), D("0.05"), D(10)), BorrowTier(D(100), D(0), D("0.1"), D(10)))
    table = {"USDT": lending("USDT", tiers=tiers)}
    small, large, beyond = (
        pm("BTC", balances=(balance("USDT", "0", debt),), loans=table) for debt in ("50", "100", "101")
    )
    assert value(small).figures.maintenance_margin == D("2.5")
    assert value(large).figures.maintenance_margin == 10
    with pytest.raises(RefusedError) as refused:
        value(beyond)
    assert refused.value.field == "borrow_quota:USDT"
    assert value(beyond, extrapolate=True).figures.maintenance_margin == D("10.1")


def test_a_cap_belongs_to_its_bracket_and_beyond_the_last_is_refused_unless_extrapolated() -> None:
    rows = (tier("1000", "0.01", "50"), tier("2000", "0.05", "20", "40"))

    def held(quantity: str) -> MarginState:
        return pm(
            "BTC",
            balances=(balance("USDT", "1e6"),),
            positions=(position(upm("BTC"), quantity, "1", "50"),),
            usd={"BTC": "1"},
            tiers={"BTC": rows},
        )

    at, over = value(held("-1000")).legs[0], value(held("-1000.01")).legs[0]
    assert (at.maintenance_margin, at.leverage) == (D(10), D(50))
    assert (over.maintenance_margin, over.leverage) == (D("10.0005"), D(20))
    with pytest.raises(RefusedError) as refused:
        value(held("2000.01"))
    assert refused.value.field == "position_tier:binance:linear:BTCUSDT"
    assert value(held("2001"), extrapolate=True).legs[0].maintenance_margin == D("60.05")


def test_leverage_is_the_symbols_or_the_policys() -> None:
    state = replace(printed_carry(), policy=LeveragePolicy(perpetual=D(5)))
    assert value(state).legs[0].leverage == 10
    assert value(state, reference=True).legs[0].leverage == 5
    assert value(state, reference=True).figures.maintenance_margin == 600


def test_open_futures_orders_need_initial_margin_one_by_one_and_never_maintenance() -> None:
    key = upm("ETH")
    orders = (
        order(key, Side.SELL, "10", "3100"),
        order(key, Side.BUY, "10", "2900"),
        order(key, Side.BUY, "40", "2900", reduce_only=True),
    )
    plain, ordered = value(printed_carry()), value(replace(printed_carry(), orders=orders))
    # the larger of limit price and mark, at the position's leverage
    assert ordered.figures.initial_margin - plain.figures.initial_margin == 3100 + 3000
    assert ordered.figures.maintenance_margin == plain.figures.maintenance_margin
    assert ordered.figures.adjusted_equity == plain.figures.adjusted_equity
    assert ordered.available == plain.available - 6100


def test_open_orders_lower_the_leverage_of_the_bracket_that_they_reach() -> None:
    rows = (tier("200000", "0.01", "8"), tier("1000000", "0.05", "4", "8000"))
    state = pm(
        "ETH",
        balances=(balance("USDT", "1e6"),),
        positions=(position(upm("ETH"), "50", "3000"),),
        orders=(order(upm("ETH"), Side.BUY, "50", "3000"),),
        usd={"ETH": "3000"},
        tiers={"ETH": rows},
    )
    valuation = value(state)
    assert valuation.figures.initial_margin == 300000 / D(4)
    assert valuation.figures.maintenance_margin == 1500


def test_orders_without_a_position_use_the_policys_leverage_and_settle_in_their_quote() -> None:
    state = pm(
        "ETH",
        orders=(order(upm("ETH"), Side.BUY, "1", "3000"),),
        usd={"ETH": "3000"},
        policy=LeveragePolicy(perpetual=D(2)),
    )
    valuation = value(state)
    assert valuation.figures.initial_margin == 1500
    assert [row.coin for row in valuation.coins] == [USDT]
    assert valuation.legs == ()


@pytest.mark.parametrize(
    ("side", "price", "loss"),
    [
        (Side.BUY, "100", "5"),  # into a coin of rate 0.95
        (Side.BUY, "90", "0"),  # gains 10 and loses 5
        (Side.BUY, "110", "15"),
        (Side.SELL, "100", "0"),
        (Side.SELL, "97", "3"),  # given away, although the collateral counts for more afterwards
        (Side.SELL, "120", "0"),
    ],
)
def test_an_open_cross_margin_order_costs_what_it_gives_away_or_loses_as_collateral(
    side: Side, price: str, loss: str
) -> None:
    state = pm(
        "BTC",
        balances=(balance("USDT", "1000"), balance("BTC", "5")),
        orders=(order(margin("BTC"), side, "1", price),),
        usd={"BTC": "100"},
    )
    valuation = value(state)
    assert valuation.haircut_loss == D(loss)
    assert valuation.figures.adjusted_equity == 1475 - D(loss)
    assert valuation.figures.total_equity == 1500


def test_a_cross_margin_purchase_on_an_empty_account_loses_the_haircut() -> None:
    state = pm("BTC", orders=(order(margin("BTC"), Side.BUY, "1", "100"),), usd={"BTC": "100"})
    assert value(state).figures.adjusted_equity == -5


def test_collateral_tiers_in_usd_move_with_the_price() -> None:
    table = replace(ratios("BTC", ("0", "1000", "1"), ("1000", "2000", "0.5")), in_usd=True)
    state = pm("BTC", balances=(balance("BTC", "10"),), usd={"BTC": "100"}, rates={"BTC": table})
    counted = [
        value(stressed(state, Scenario("", {BTC: D(factor)}))).figures.adjusted_equity
        for factor in ("0.5", "1", "1.5", "2", "4")
    ]
    assert counted == [500, 1000, 1250, 1500, 1500]
    # the other stress keeps what bounds the tiers
    worse = value(stressed(state, Scenario("", {BTC: D("1.5")}, ratio_shift=D("-0.1")))).figures
    assert worse.adjusted_equity == 900 + 200


def test_a_rate_above_one_counts_as_one_and_a_switched_off_coin_counts_nothing() -> None:
    def counted(table: CollateralTable) -> Decimal:
        state = pm("BTC", balances=(balance("BTC", "1"),), usd={"BTC": "100"}, rates={"BTC": table})
        return value(state).figures.adjusted_equity

    assert counted(flat_ratio("BTC", "1.2")) == 100
    assert counted(ratios("BTC", ("0", None, "1"), enabled=False)) == 0


def test_a_staked_coin_counts_at_the_venues_index_and_the_depeg_stress_takes_its_share() -> None:
    state = pm(
        "ETH",
        "WBETH",
        balances=(balance("WBETH", "10"),),
        usd={"ETH": "3000", "WBETH": "3270"},
        # where WBETH itself trades is no input of the rule
        marks={upm("WBETH"): "2800"},
    )
    assert value(state).figures.adjusted_equity == 32700 * D("0.95")
    depeg = stressed(state, Scenario("", {Coin("WBETH"): D("0.95")}))
    assert value(depeg).figures.adjusted_equity == 32700 * D("0.95") * D("0.95")


def test_an_announced_cut_of_a_ratio_costs_equity_and_leaves_the_margins() -> None:
    before, after = value(collateral_cut("0.4")).figures, value(collateral_cut("0.25")).figures
    assert before.adjusted_equity - after.adjusted_equity == 15000
    assert before.maintenance_margin == after.maintenance_margin == 8000
    assert before.health_score > D("0.6") > after.health_score


def test_announced_harsher_tiers_cost_margin_and_leave_the_equity() -> None:
    before, after = value(harsher_tiers(MON_BEFORE)).figures, value(harsher_tiers(MON_AFTER)).figures
    assert before.adjusted_equity == after.adjusted_equity == 500000
    assert after.maintenance_margin > 4 * before.maintenance_margin
    assert (before.margin_usage, after.margin_usage) == (D("0.2"), D("0.5"))


def test_the_venue_liquidates_before_maintenance_margin_has_eaten_everything() -> None:
    state = collateral_cut("0.25")
    at = liquidation_prices(value, state, Coin("LRC"), line=LIQUIDATION_AT)
    # 15 000 - 75 000 x = 1.05 (8 000 + 5 000 x), where 1 in place of 1.05 gives 7 000 / 80 000
    assert at.below is None
    assert at.above == pytest.approx(D("0.1") * (1 + D(6600) / D(80250)), rel=D("1e-6"))
    late = liquidation_prices(value, state, Coin("LRC"))
    assert late.above == pytest.approx(D("0.1") * (1 + D(7000) / D(80000)), rel=D("1e-6"))


# --- bad input -------------------------------------------------------------------------------------------


def test_an_empty_account_has_zero_figures_and_health_zero() -> None:
    valuation = value(pm("BTC"))
    figures = valuation.figures
    assert (figures.total_equity, figures.adjusted_equity) == (D(0), D(0))
    assert (figures.initial_margin, figures.maintenance_margin) == (D(0), D(0))
    assert (figures.health_score, figures.margin_usage) == (D(0), None)
    assert valuation.coins == ()


def test_an_account_of_only_debt_has_negative_ecv_and_health_zero() -> None:
    figures = value(pm("BTC", balances=(balance("USDT", "0", "100"),))).figures
    assert (figures.adjusted_equity, figures.maintenance_margin) == (D(-100), D(10))
    assert (figures.health_score, figures.margin_usage) == (D(0), None)


def test_a_coin_row_of_zeros_needs_nothing_and_a_debt_needs_no_collateral_table() -> None:
    assert value(pm("BTC", balances=(balance("DUST", "0"),))).coins == ()
    state = pm("BTC", balances=(balance("BTC", "0", "1"),), usd={"BTC": "100"})
    bare = replace(state, tables=replace(state.tables, collateral={}))
    assert value(bare).figures.adjusted_equity == -100


def test_dust_and_a_million_million_keep_every_digit_that_matters() -> None:
    dust = pm("BTC", balances=(balance("BTC", "1e-18"),), usd={"BTC": "60000"})
    assert value(dust).figures.adjusted_equity == D("5.7e-14")
    state = pm(
        "BTC",
        balances=(balance("USDT", "1e12"), balance("BTC", "1e12")),
        positions=(position(upm("BTC"), "-1e12", "1.000001"),),
        usd={"BTC": "1.000003"},
        tiers={"BTC": (tier("1e13", "0.01", "50"),)},
    )
    assert value(state).figures.total_equity == D("2000001000000")
    assert value(state).figures.maintenance_margin == D("10000030000")


EMPTY = RiskTables(0, {}, {}, {}, {})
HELD = pm("BTC", positions=(position(upm("BTC"), "1", "100"),), usd={"BTC": "100"})


@pytest.mark.parametrize(
    ("state", "field"),
    [
        (pm("BTC", balances=(balance("BTC", "1"),)), "prices.usd.BTC"),
        (pm("BTC", balances=(balance("BTC", "1"),), usd={"BTC": "-1"}), "prices.usd.BTC"),
        (pm("BTC", balances=(balance("BTC", "1"),), usd={"BTC": "NaN"}), "prices.usd.BTC"),
        (pm("BTC", positions=(position(upm("BTC"), "1", "100"),)), "prices.marks.binance:linear:BTCUSDT"),
        (
            pm("BTC", positions=HELD.positions, marks={upm("BTC"): "0"}),
            "prices.marks.binance:linear:BTCUSDT",
        ),
        (pm("BTC", orders=(order(upm("SOL"), Side.BUY, "1", "1"),)), "instruments.binance:linear:SOLUSDT"),
        (pm("BTC", positions=(position(upm("SOL"), "1", "1"),)), "instruments.binance:linear:SOLUSDT"),
        (replace(HELD, tables=EMPTY), "tables.positions.binance:linear:BTCUSDT"),
        (
            replace(HELD, positions=(position(upm("BTC"), "1", "100", "0"),)),
            "leverage.binance:linear:BTCUSDT",
        ),
        (
            replace(pm("BTC", balances=(balance("BTC", "1"),), usd={"BTC": "1"}), tables=EMPTY),
            "tables.collateral.BTC",
        ),
        (
            replace(pm("BTC", balances=(balance("BTC", "0", "1"),), usd={"BTC": "1"}), tables=EMPTY),
            "tables.borrow.BTC",
        ),
        (
            pm(
                "BTC",
                balances=(balance("USDT", "0", "1"),),
                loans={"USDT": lending("USDT", tiers=(BorrowTier(None, D(0), D("0.1"), D(1)),))},
            ),
            "tables.borrow.USDT",
        ),
    ],
)
def test_a_missing_or_unusable_input_is_an_error_that_names_it(state: MarginState, field: str) -> None:
    with pytest.raises(MissingDataError) as missing:
        value(state)
    assert missing.value.field == field
    assert missing.value.next_step


@pytest.mark.parametrize("leverage", ["1", "0", "-3"])
def test_a_borrow_leverage_that_leaves_no_margin_is_refused(leverage: str) -> None:
    with pytest.raises(SettingsError):
        value(pm("BTC", policy=LeveragePolicy(borrow=D(leverage))))


@pytest.mark.parametrize(
    "state",
    [
        pm("BTC", balances=(balance("USDT", "NaN"),)),
        pm("BTC", balances=(balance("USDT", "1"), balance("USDT", "2"))),
        replace(HELD, positions=HELD.positions * 2),
        replace(HELD, orders=(RestingOrder(upm("BTC"), Side.BUY, D("Infinity"), D(1), False),)),
    ],
)
def test_what_no_account_can_be_is_a_typed_error(state: MarginState) -> None:
    with pytest.raises(InputError):
        value(state)
    with pytest.raises(CarrydeskError):
        value(state, reference=True, extrapolate=True)


def test_the_assumptions_are_sentences() -> None:
    assert len(ASSUMPTIONS) == len(set(ASSUMPTIONS)) == 10
    assert all(text.endswith(".") for text in ASSUMPTIONS)


# --- what-ifs over the rule ------------------------------------------------------------------------------

PAIR = PairSpec(PairId("ETH@binance"), ETH, Narrative("eth"), margin("ETH"), upm("ETH"), upm("ETH"))


def test_a_what_if_up_to_the_headroom_is_allowed_and_one_lot_more_refused() -> None:
    state = pm("ETH", balances=(balance("USDT", "100000"),), usd={"ETH": "3000"})
    sim = MarginSim(BINANCE_PM)
    pairs = {PAIR.pair_id: PAIR}
    legs = {PAIR.pair_id: PairLegs(PAIR.pair_id, D(0), D(0))}
    limits = RiskLimits()
    room = sim.headroom(state, pairs, legs, PAIR.pair_id, limits)
    assert room.quantity > 0
    fits, over = (
        sim.simulate(state, pairs, legs, {PAIR.pair_id: target}, limits=limits)
        for target in (room.target, room.target + D("0.001"))
    )
    assert fits.allowed
    assert room.binding in over.blocked_by
    assert fits.after.adjusted_equity < fits.before.adjusted_equity
