"""What no OKX account should be: a typed error or a defined answer, never a default."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from portfolio.core.errors import InputError, MissingDataError, NumberError, RefusedError, SettingsError
from portfolio.core.margin import okx_multi_currency, okx_portfolio_margin
from portfolio.core.margin.okx_multi_currency import margin_ratio
from portfolio.core.margin.okx_tables import OkxTables
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.valuation import MarginRule
from portfolio.core.market import Prices
from portfolio.core.names import Coin
from portfolio.core.orders import Side
from portfolio.core.risk import LeveragePolicy
from tests.portfolio.core.margin.accounts import balance, order, position
from tests.portfolio.core.margin.okx_accounts import coin_tiers, okx, spot, swap

D = Decimal
NAN = D("NaN")
BTC, USDT = Coin("BTC"), Coin("USDT")
MULTI: MarginRule = okx_multi_currency.value
PORTFOLIO: MarginRule = okx_portfolio_margin.value
both_modes = pytest.mark.parametrize("rule", [MULTI, PORTFOLIO], ids=["multi", "portfolio"])


def account(*, quantity: str | Decimal = "-1", wallet: str = "1000") -> MarginState:
    return okx(
        coins={"BTC": "0.95"},
        usd={"BTC": "100", "USDT": "1"},
        balances=(balance("USDT", wallet),),
        positions=(position(swap("BTC"), quantity, "100"),),
        tiers=coin_tiers(("1000", "0.01", "0.004", "100")),
    )


HUNDRED = D(100)


def priced(
    state: MarginState, *, btc: Decimal | None = HUNDRED, mark: Decimal | None = HUNDRED
) -> MarginState:
    usd = {USDT: D(1)} | ({} if btc is None else {BTC: btc})
    marks = {} if mark is None else {swap("BTC"): mark}
    return replace(state, prices=Prices(marks=marks, usd=usd))


def changed(row: Any, column: str, amount: Decimal) -> Any:
    return replace(row, **{column: amount})


@both_modes
def test_an_empty_account_needs_nothing_and_has_nothing(rule: MarginRule) -> None:
    empty = okx(coins={}, usd={}, balances=(balance("BTC", "0"),))
    valuation = rule(empty)
    assert valuation.coins == ()
    assert valuation.legs == ()
    assert (valuation.figures.adjusted_equity, valuation.figures.maintenance_margin) == (D(0), D(0))
    assert margin_ratio(valuation) is None


@both_modes
def test_an_account_of_debt_alone_has_a_negative_ratio_and_no_health(rule: MarginRule) -> None:
    valuation = rule(okx(coins={}, usd={"USDT": "1"}, balances=(balance("USDT", "-100"),)))
    assert valuation.figures.adjusted_equity == -100
    assert valuation.figures.health_score == 0
    assert valuation.figures.margin_usage is None
    ratio = margin_ratio(valuation)
    assert ratio is not None
    assert ratio < 0


@both_modes
def test_a_position_of_zero_is_none(rule: MarginRule) -> None:
    assert rule(account(quantity="0")).legs == ()


@both_modes
def test_dust_is_valued_exactly(rule: MarginRule) -> None:
    valuation = rule(account(quantity="1e-18", wallet="1e-18"))
    assert valuation.figures.adjusted_equity == D("1e-18")
    assert valuation.figures.maintenance_margin > 0


@both_modes
@pytest.mark.parametrize("price", [None, D(0), D(-5), NAN, D("Infinity")])
def test_a_price_that_is_none_is_missing_data(rule: MarginRule, price: Decimal | None) -> None:
    with pytest.raises(MissingDataError, match="BTC"):
        rule(priced(account(), mark=price))
    held = replace(account(), balances=(balance("BTC", "1"),), positions=())
    with pytest.raises(MissingDataError, match="BTC"):
        rule(priced(held, btc=price))


@both_modes
@pytest.mark.parametrize("amount", [NAN, D("Infinity")])
@pytest.mark.parametrize("column", ["wallet", "spot_borrow", "accrued_interest", "locked"])
def test_a_balance_that_is_no_number_is_refused(rule: MarginRule, column: str, amount: Decimal) -> None:
    row = changed(balance("USDT", "1"), column, amount)
    with pytest.raises(NumberError, match=column):
        rule(replace(account(), balances=(row,)))


@both_modes
@pytest.mark.parametrize("column", ["quantity", "entry_price", "leverage"])
def test_a_position_that_is_no_number_is_refused(rule: MarginRule, column: str) -> None:
    row = changed(position(swap("BTC"), "1", "100"), column, NAN)
    with pytest.raises(NumberError, match=column):
        rule(replace(account(), positions=(row,)))


@both_modes
def test_rows_that_are_there_twice_are_refused(rule: MarginRule) -> None:
    state = account()
    with pytest.raises(InputError, match="twice"):
        rule(replace(state, balances=state.balances * 2))
    with pytest.raises(InputError, match="twice"):
        rule(replace(state, positions=state.positions * 2))


@both_modes
def test_a_position_in_spot_is_refused(rule: MarginRule) -> None:
    with pytest.raises(InputError, match="no perpetual"):
        rule(replace(account(), positions=(position(spot("BTC"), "1", "100"),)))


@both_modes
def test_unknown_instruments_and_absent_tables_are_missing_data(rule: MarginRule) -> None:
    state = account()
    held = replace(state, balances=(balance("BTC", "1"),), positions=())
    owing = replace(state, balances=(balance("BTC", "-1"),), positions=())
    ordering = replace(state, orders=(order(swap("BTC"), Side.BUY, "1", "1"),), positions=())
    for broken, name in (
        (replace(state, instruments={}), "instruments"),
        (replace(state, tables=replace(state.tables, venue=None)), "venue"),
        (replace(held, tables=replace(held.tables, collateral={})), "collateral"),
        (replace(owing, tables=replace(owing.tables, borrow={})), "borrow"),
        (replace(ordering, tables=replace(ordering.tables, fees={})), "fees"),
    ):
        with pytest.raises(MissingDataError) as caught:
            rule(broken)
        assert name in str(caught.value.field)


@both_modes
def test_a_debt_beyond_the_last_borrow_tier_is_refused_unless_a_price_brought_it_there(
    rule: MarginRule,
) -> None:
    state = account(wallet="-500")
    table = state.tables.borrow[USDT]
    short = replace(table, tiers=(replace(table.tiers[0], quantity_to=D(100)),))
    state = replace(state, tables=replace(state.tables, borrow={USDT: short}))
    with pytest.raises(RefusedError):
        rule(state)
    assert rule(state, extrapolate=True).figures.maintenance_margin > 0


@both_modes
@pytest.mark.parametrize("leverage", [D(0), D(-1), NAN])
def test_a_borrow_leverage_that_is_none_is_a_setting_to_correct(rule: MarginRule, leverage: Decimal) -> None:
    state = replace(account(wallet="-500"), policy=LeveragePolicy(D(10), leverage))
    with pytest.raises(SettingsError, match="leverage"):
        rule(state)


def test_a_position_beyond_the_last_tier_is_refused_unless_a_price_brought_it_there() -> None:
    for quantity in ("1000.1", "-1e12"):
        state = account(quantity=quantity)
        with pytest.raises(RefusedError, match="last risk tier"):
            MULTI(state)
        worth = abs(D(quantity)) * 100
        valuation = MULTI(state, extrapolate=True)
        assert okx_multi_currency.venue_mmr(valuation) >= worth * D("0.004")


def test_positions_without_leverage_or_tiers_in_coins_are_missing_data() -> None:
    state = account()
    with pytest.raises(MissingDataError, match="leverage"):
        MULTI(replace(state, positions=(position(swap("BTC"), "1", "100", "0"),)))
    tiers = tuple(replace(row, quantity_to=None) for row in state.tables.positions[swap("BTC")])
    with pytest.raises(MissingDataError, match="size in coins"):
        MULTI(replace(state, tables=replace(state.tables, positions={swap("BTC"): tiers})))
    with pytest.raises(MissingDataError, match="tiers"):
        MULTI(replace(state, tables=replace(state.tables, positions={})))


def with_venue(state: MarginState, venue: OkxTables) -> MarginState:
    return replace(state, tables=replace(state.tables, venue=venue))


def test_a_unit_without_parameters_or_hedge_tiers_is_missing_data() -> None:
    with pytest.raises(MissingDataError, match="BTC has no portfolio-margin parameters"):
        PORTFOLIO(with_venue(account(), OkxTables(D(0))))
    both = okx(
        coins={"BTC": "0.95"},
        quotes=("USDT", "USDC"),
        usd={"BTC": "100", "USDT": "1", "USDC": "1"},
        positions=(position(swap("BTC"), "1", "100"), position(swap("BTC", "USDC"), "-1", "100")),
    )
    with pytest.raises(MissingDataError, match="size tiers"):
        PORTFOLIO(both)


def test_a_position_beyond_the_venues_largest_is_refused_unless_a_price_brought_it_there() -> None:
    state = account(quantity="-1e12", wallet="1e12")
    free = PORTFOLIO(state).figures
    assert free.maintenance_margin > 0
    venue = state.tables.venue
    assert venue is not None
    capped = with_venue(state, replace(venue, position_max={swap("BTC"): D(1000)}))
    with pytest.raises(RefusedError, match="largest position"):
        PORTFOLIO(capped)
    assert PORTFOLIO(capped, extrapolate=True).figures == free
