from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.account import Balance, Position
from portfolio.core.errors import MissingDataError
from portfolio.core.margin.apply import Fee, spot_price, trade
from portfolio.core.margin.bybit_uta import value
from portfolio.core.margin.state import MarginState
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.risk import LeveragePolicy, RiskTables
from tests.portfolio.core.margin.accounts import (
    FEES,
    D,
    account,
    balance,
    both,
    perp,
    position,
    spot,
    tables,
)

BTC, USDT = Coin("BTC"), Coin("USDT")


def of(state: MarginState, coin: Coin) -> Balance:
    return next(row for row in state.balances if row.coin == coin)


def held(state: MarginState, key: InstrumentId) -> Position:
    return next(row for row in state.positions if row.instrument_id == key)


def test_the_printed_example_is_reached_by_trading() -> None:
    start = account(balances=(balance("USDT", "20000"),), usd={"BTC": "60000", "USDT": "1"})
    after = trade(start, {spot("BTC"): D("0.5"), perp("BTC"): D("-0.5")}, fee=Fee.NONE)
    assert of(after, USDT) == balance("USDT", "0", "10000")
    assert of(after, BTC) == balance("BTC", "0.5")
    assert after.positions == (position(perp("BTC"), "-0.5", "60000"),)
    assert value(after).figures.total_equity == 20000


def test_a_purchase_borrows_only_what_is_free_and_missing() -> None:
    usd = {"BTC": "100", "USDT": "1"}
    for row, lent in (
        (balance("USDT", "1000"), "0"),
        (balance("USDT", "1000", "0", "950"), "50"),
        (balance("USDT", "-30"), "100"),
    ):
        after = of(trade(account(balances=(row,), usd=usd), {spot("BTC"): D(1)}, fee=Fee.NONE), USDT)
        assert after.spot_borrow == D(lent)
        assert after.wallet - after.spot_borrow == row.wallet - 100


def test_fees_are_taken_in_the_coin_bought_and_from_the_settlement_coin() -> None:
    start = account(balances=(balance("USDT", "1000"), balance("BTC", "5")), usd={"BTC": "100", "USDT": "1"})
    bought = trade(start, {spot("BTC"): D(1)})
    assert of(bought, BTC).wallet == 6 - FEES.taker
    assert of(bought, USDT).wallet == 900
    sold = trade(start, {spot("BTC"): D(-1)}, fee=Fee.MAKER)
    assert of(sold, BTC).wallet == 4
    assert of(sold, USDT).wallet == 1100 - 100 * FEES.maker
    short = trade(start, {perp("BTC"): D(-2)})
    assert of(short, USDT).wallet == 1000 - 200 * FEES.taker


def test_selling_what_is_not_owned_borrows_it_and_buying_back_repays_only_when_asked() -> None:
    start = account(balances=(balance("USDT", "1000"), balance("BTC", "1")), usd={"BTC": "100", "USDT": "1"})
    short = trade(start, {spot("BTC"): D(-3)}, fee=Fee.NONE)
    assert of(short, BTC) == balance("BTC", "0", "2")
    assert of(short, USDT).wallet == 1300
    kept = trade(short, {spot("BTC"): D(2)}, fee=Fee.NONE)
    assert of(kept, BTC) == balance("BTC", "2", "2")
    repaid = trade(short, {spot("BTC"): D(2)}, fee=Fee.NONE, repay=True)
    assert of(repaid, BTC) == balance("BTC", "0", "0")


def test_proceeds_of_a_sale_stay_in_the_wallet_until_the_debt_is_repaid() -> None:
    start = account(
        balances=(balance("USDT", "0", "100"), balance("BTC", "2")), usd={"BTC": "100", "USDT": "1"}
    )
    sold = trade(start, {spot("BTC"): D(-2)}, fee=Fee.NONE)
    assert of(sold, USDT) == balance("USDT", "200", "100")
    assert value(sold).figures.maintenance_margin == 4
    repaid = trade(start, {spot("BTC"): D(-2)}, fee=Fee.NONE, repay=True)
    assert of(repaid, USDT) == balance("USDT", "100", "0")
    assert value(repaid).figures.maintenance_margin == 0


def test_a_closing_sale_uses_coins_that_open_orders_reserve() -> None:
    start = account(balances=(balance("BTC", "5", "0", "4"),), usd={"BTC": "100", "USDT": "1"})
    assert of(trade(start, {spot("BTC"): D(-3)}, fee=Fee.NONE), BTC) == balance("BTC", "4", "2", "4")
    assert of(trade(start, {spot("BTC"): D(-3)}, repay=True), BTC) == balance("BTC", "2", "0", "2")


def test_what_only_rounding_left_over_is_not_borrowed() -> None:
    start = account(
        balances=(balance("BTC", "0.3333333333333333333333333333"),), usd={"BTC": "100", "USDT": "1"}
    )
    after = trade(start, {spot("BTC"): D("-0.33333333333333333333333333331")})
    assert of(after, BTC) == balance("BTC", "0")


def test_sales_come_before_purchases_so_that_a_swap_borrows_nothing_on_the_way() -> None:
    instruments = both("BTC", "SOL")
    start = account(
        balances=(balance("BTC", "1"),),
        usd={"BTC": "100", "SOL": "1", "USDT": "1"},
        instruments=instruments,
    )
    after = trade(start, {spot("SOL"): D(100), spot("BTC"): D(-1)}, fee=Fee.NONE)
    assert of(after, USDT) == balance("USDT", "0", "0")
    assert of(after, Coin("SOL")).wallet == 100


@pytest.mark.parametrize(
    ("quantity", "delta", "left", "entry", "cash"),
    [
        ("2", "2", "4", "105", "0"),
        ("2", "-1", "1", "100", "10"),
        ("2", "-2", None, None, "20"),
        ("2", "-3", "-1", "110", "20"),
        ("-2", "-2", "-4", "105", "0"),
        ("-2", "1", "-1", "100", "-10"),
        ("-2", "5", "3", "110", "-20"),
    ],
)
def test_a_perpetual_averages_its_entry_when_it_grows_and_books_pnl_when_it_shrinks(
    quantity: str, delta: str, left: str | None, entry: str | None, cash: str
) -> None:
    key = perp("BTC")
    start = account(
        positions=(position(key, quantity, "100", leverage="7"),), usd={"BTC": "110", "USDT": "1"}
    )
    after = trade(start, {key: D(delta)}, fee=Fee.NONE)
    assert of(after, USDT).wallet == D(cash)
    if left is None or entry is None:
        assert after.positions == ()
    else:
        row = held(after, key)
        assert (row.quantity, row.entry_price, row.leverage) == (D(left), D(entry), D(7))
    assert value(after).figures.total_equity == value(start).figures.total_equity


def test_a_new_position_gets_the_policys_leverage_within_the_instruments() -> None:
    key = perp("BTC")
    usd = {"BTC": "100", "USDT": "1"}
    for policy, most, expected in (("10", "100", 10), ("10", "5", 5), ("10", None, 10)):
        instruments = both("BTC")
        instruments[key] = replace(instruments[key], leverage_max=None if most is None else D(most))
        start = account(usd=usd, instruments=instruments, policy=LeveragePolicy(perpetual=D(policy)))
        assert held(trade(start, {key: D(1)}), key).leverage == expected


def test_nothing_traded_changes_nothing() -> None:
    start = account(
        balances=(balance("USDT", "5"),),
        positions=(position(perp("BTC"), "1", "1"),),
        usd={"BTC": "1", "USDT": "1"},
    )
    assert trade(start, {perp("BTC"): D(0), spot("BTC"): D(0)}) == start
    assert trade(start, {}) == start


def test_accrued_interest_and_locked_coins_are_carried_over() -> None:
    row = Balance(USDT, D(1000), D(0), D(3), D(10))
    after = trade(account(balances=(row,), usd={"BTC": "100", "USDT": "1"}), {spot("BTC"): D(1)})
    assert of(after, USDT) == Balance(USDT, D(900), D(0), D(3), D(10))


@pytest.mark.parametrize(
    ("usd", "deltas", "field"),
    [
        ({"BTC": "1"}, {spot("BTC"): D(1)}, "prices.usd.USDT"),
        ({"BTC": "1", "USDT": "0"}, {spot("BTC"): D(1)}, "prices.usd.USDT"),
        ({"USDT": "1"}, {spot("BTC"): D(1)}, "prices.usd.BTC"),
        ({"USDT": "1"}, {perp("BTC"): D(1)}, "prices.marks.bybit:linear:BTCUSDT"),
        ({"USDT": "1"}, {perp("DOGE"): D(1)}, "instruments.bybit:linear:DOGEUSDT"),
    ],
)
def test_a_missing_input_is_an_error_that_names_it(
    usd: dict[str, str], deltas: dict[InstrumentId, Decimal], field: str
) -> None:
    with pytest.raises(MissingDataError) as missing:
        trade(account(usd=usd), deltas)
    assert missing.value.field == field


def test_a_missing_fee_is_an_error_unless_no_fee_is_paid() -> None:
    instruments = both("BTC")
    full = tables(instruments)
    bare = RiskTables(0, full.collateral, full.borrow, full.positions, {})
    start = account(usd={"BTC": "100", "USDT": "1"}, risk=bare)
    trade(start, {spot("BTC"): D(1)}, fee=Fee.NONE)
    with pytest.raises(MissingDataError, match="no fee rate"):
        trade(start, {spot("BTC"): D(1)})


def test_a_spot_price_is_the_ratio_of_two_index_prices() -> None:
    state = account(usd={"BTC": "100", "USDT": "0.5"})
    assert spot_price(state, state.instruments[spot("BTC")]) == 200
