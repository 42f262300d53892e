from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.errors import MissingDataError
from portfolio.core.margin.bybit_uta import value
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import (
    Scenario,
    exposed_coins,
    haircut_delta,
    liquidation_factors,
    liquidation_prices,
    market_factors,
    owed_coins,
    standard_scenarios,
    stressed,
)
from portfolio.core.names import Coin
from portfolio.core.orders import Side
from tests.portfolio.core.margin.accounts import (
    D,
    account,
    balance,
    both,
    order,
    perp,
    position,
    spot,
    tables,
)

BTC, ETH, METH, USDT = Coin("BTC"), Coin("ETH"), Coin("METH"), Coin("USDT")


def carry_account(*, cash: str = "5000") -> MarginState:
    """Long 10 BTC spot on a loan, short 10 BTCUSDT, at 1000."""
    return account(
        balances=(balance("USDT", "0", cash), balance("BTC", "10")),
        positions=(position(perp("BTC"), "-10", "1000"),),
        usd={"BTC": "1000", "USDT": "1"},
    )


def dead(state: MarginState, coin: Coin, price: Decimal) -> bool:
    moved = stressed(state, Scenario("", {coin: price / state.prices.usd[coin]}))
    figures = value(moved).figures
    return figures.maintenance_margin >= figures.adjusted_equity


def test_the_standard_set_moves_each_coin_alone_the_market_and_the_ratios() -> None:
    found = standard_scenarios((BTC, ETH, USDT), betas={ETH: D("1.5")})
    assert [row.name for row in found] == [
        "BTC -30%",
        "BTC +30%",
        "ETH -30%",
        "ETH +30%",
        "market -20%",
        "market +20%",
        "market -40%",
        "market +40%",
        "collateral ratios -5 points",
    ]
    by_name = {row.name: row for row in found}
    assert by_name["ETH -30%"].factors == {ETH: D("0.7")}
    assert by_name["market -40%"].factors == {BTC: D("0.6"), ETH: D("0.4")}
    assert [row.name for row in found if row.near] == ["market -20%", "market +20%"]


def test_a_staking_token_moves_with_its_coin_and_is_depegged_alone() -> None:
    tokens = {METH: ETH}
    by_name = {
        row.name: row for row in standard_scenarios((ETH, METH), staking=tokens, betas={ETH: D("1.5")})
    }
    assert by_name["ETH -30%"].factors == {ETH: D("0.7"), METH: D("0.7")}
    assert by_name["METH depeg -5%"].factors == {METH: D("0.95")}
    assert by_name["market +20%"].factors == {ETH: D("1.3"), METH: D("1.3")}
    assert "METH -30%" not in by_name
    alone = {row.name: row for row in standard_scenarios((METH,), staking=tokens)}
    assert alone["ETH +30%"].factors == {METH: D("1.3")}


def test_a_large_beta_never_makes_a_price_negative() -> None:
    assert market_factors((BTC, USDT), D("-0.4"), {BTC: D(4)}) == {BTC: D("0.01")}


def test_exposed_coins_are_those_held_owed_or_traded_without_stable_ones() -> None:
    instruments = both("BTC", "ETH", "SOL", "XRP")
    state = account(
        balances=(balance("USDT", "5"), balance("SOL", "0", "1"), balance("DUST", "0")),
        positions=(position(perp("BTC"), "1", "1"),),
        orders=(order(spot("ETH"), Side.BUY, "1", "1"), order(perp("DOGE"), Side.BUY, "1", "1")),
        instruments=instruments,
    )
    assert exposed_coins(state) == ("BTC", "ETH", "SOL")


def test_a_stress_moves_index_and_marks_of_the_coin_and_nothing_else() -> None:
    instruments = both("BTC", "ETH")
    state = account(
        balances=(balance("BTC", "1"),),
        usd={"BTC": "100", "ETH": "10", "USDT": "1"},
        marks={perp("BTC"): "101", perp("DOGE"): "3"},
        instruments=instruments,
    )
    after = stressed(state, Scenario("", {BTC: D("0.5"), Coin("NONE"): D(2)}))
    assert after.prices.usd == {"BTC": D(50), "ETH": D(10), "USDT": D(1)}
    assert after.prices.marks == {perp("BTC"): D("50.5"), perp("ETH"): D(10), perp("DOGE"): D(3)}
    assert after.tables is state.tables
    assert stressed(state, Scenario("", {})) == state


def test_ratios_shift_within_zero_and_one() -> None:
    instruments = both("BTC", "ETH")
    state = account(
        balances=(balance("BTC", "1"), balance("ETH", "1"), balance("USDT", "1")),
        usd={"BTC": "100", "ETH": "100", "USDT": "1"},
        instruments=instruments,
        risk=tables(instruments, collateral={"ETH": "0.02"}),
    )
    down = value(stressed(state, Scenario("", {}, ratio_shift=D("-0.05"))))
    assert [row.collateral_usd for row in down.coins] == [D(90), D(0), D("0.95")]
    up = value(stressed(state, Scenario("", {}, ratio_shift=D("0.1"))))
    assert [row.collateral_usd for row in up.coins] == [D(100), D(12), D(1)]


def test_delta_neutral_is_not_margin_neutral() -> None:
    state = carry_account()
    # +1 %: BTC collateral gains 95, the short loses 100; -1 % the other way round
    assert haircut_delta(value, state) == 5
    assert haircut_delta(value, state, {BTC: D(2)}) == 10
    up = value(stressed(state, Scenario("", {BTC: D("1.3")}))).figures
    down = value(stressed(state, Scenario("", {BTC: D("0.7")}))).figures
    assert up.total_equity == down.total_equity == value(state).figures.total_equity
    assert up.adjusted_equity < down.adjusted_equity


def test_liquidation_prices_are_the_last_ones_that_live() -> None:
    state = account(
        balances=(balance("USDT", "3000"), balance("BTC", "1")),
        positions=(position(perp("BTC"), "-10", "1000"),),
        usd={"BTC": "1000", "USDT": "1"},
    )
    found = liquidation_prices(value, state, BTC)
    assert (found.coin, found.now, found.below) == (BTC, D(1000), None)
    assert found.above is not None
    assert not dead(state, BTC, found.above)
    assert dead(state, BTC, found.above * D("1.000001"))


def test_a_long_position_liquidates_below() -> None:
    state = account(
        balances=(balance("USDT", "1000"),),
        positions=(position(perp("BTC"), "5", "1000"),),
        usd={"BTC": "1000", "USDT": "1"},
    )
    found = liquidation_prices(value, state, BTC)
    assert found.above is None
    assert found.below is not None
    assert not dead(state, BTC, found.below)
    assert dead(state, BTC, found.below * D("0.999999"))


def test_a_hedged_pair_dies_only_of_a_rise_because_its_loss_becomes_a_loan() -> None:
    found = liquidation_prices(value, carry_account(), BTC)
    assert found.below is None
    assert found.above is not None
    assert found.above > 3000


def test_the_joint_move_uses_betas_and_a_liquidated_account_is_at_its_price() -> None:
    state = carry_account()
    single = liquidation_factors(value, state, {BTC: D(1)})[1]
    double = liquidation_factors(value, state, {BTC: D(2)})[1]
    assert single is not None
    assert double is not None
    assert abs((single - 1) - 2 * (double - 1)) < D("1e-5")
    ruined = account(balances=(balance("USDT", "0", "10"),), usd={"USDT": "1", "BTC": "1"})
    assert liquidation_factors(value, ruined, {BTC: D(1)}) == (D(1), D(1))


def test_an_empty_account_never_liquidates() -> None:
    assert liquidation_factors(value, account(), {BTC: D(1)}) == (None, None)


def test_a_coin_without_a_price_has_no_liquidation_price() -> None:
    with pytest.raises(MissingDataError):
        liquidation_prices(value, account(), BTC)


# --- what a caller may add -------------------------------------------------------------------------------


def test_one_coins_ratio_can_be_cut_besides_all_of_them() -> None:
    state = account(
        balances=(balance("BTC", "1"), balance("ETH", "1")),
        usd={"BTC": "1000", "ETH": "100", "USDT": "1"},
        instruments=both("BTC", "ETH"),
        risk=tables(both("BTC", "ETH"), collateral={"BTC": "0.9", "ETH": "0.8"}),
    )

    def counted(**changes: object) -> Decimal:
        return value(stressed(state, Scenario("", {}, **changes))).figures.adjusted_equity  # type: ignore[arg-type]

    assert counted() == D(980)
    assert counted(ratio_shifts={BTC: D("-0.4")}) == D(580)
    assert counted(ratio_shifts={BTC: D("-0.4")}, ratio_shift=D("-0.1")) == D(470)
    assert counted(ratio_shifts={BTC: D(-1)}) == D(80), "a ratio stays within 0..1"
    assert counted(ratio_shifts={Coin("DOGE"): D(-1)}) == D(980), (
        "a coin without a table counts nothing anyway"
    )


def test_a_borrow_rate_is_a_day_of_interest_booked_on_every_debt() -> None:
    state = carry_account(cash="5000")
    owed = replace(state.tables.borrow[USDT], hourly_rate=D("0.00001"))
    state = replace(state, tables=replace(state.tables, borrow={**state.tables.borrow, USDT: owed}))
    before = value(state).figures
    after = value(stressed(state, Scenario("", {}, borrow_multiple=D(3)))).figures
    interest = D(5000) * D("0.00001") * 24 * 3
    assert before.total_equity - after.total_equity == interest
    assert before.adjusted_equity - after.adjusted_equity == interest
    assert after.maintenance_margin > before.maintenance_margin
    assert value(stressed(state, Scenario("", {}, borrow_multiple=D(0)))).figures == before
    negative = replace(state, balances=(balance("USDT", "-5000"), balance("BTC", "10")))
    lost = value(stressed(negative, Scenario("", {}, borrow_multiple=D(3)))).figures.total_equity
    assert value(negative).figures.total_equity - lost == interest, "a wallet below zero is debt"


def test_interest_of_a_debt_without_a_borrow_table_is_unknown_and_not_zero() -> None:
    state = carry_account()
    state = replace(state, tables=replace(state.tables, borrow={}))
    with pytest.raises(MissingDataError, match="USDT has no borrow table"):
        stressed(state, Scenario("", {}, borrow_multiple=D(3)))


def test_borrow_rates_are_stressed_only_where_something_is_owed() -> None:
    assert owed_coins(carry_account()) == {USDT: D(5000)}
    assert owed_coins(carry_account(cash="0")) == {}
    names = [row.name for row in standard_scenarios((BTC,), borrowing=True)]
    assert names[-1] == "borrow rates x3"
    assert "borrow rates x3" not in [row.name for row in standard_scenarios((BTC,))]


def test_a_batch_can_be_asked_for_prices_and_all_ratios_together_and_nothing_else() -> None:
    assert Scenario("", {BTC: D(2)}, ratio_shift=D("-0.1")).prices_alone
    assert not Scenario("", {}, ratio_shifts={BTC: D("-0.1")}).prices_alone
    assert not Scenario("", {}, borrow_multiple=D(1)).prices_alone
