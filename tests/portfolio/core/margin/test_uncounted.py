"""What an account holds that nobody can value."""

from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.errors import MissingDataError
from portfolio.core.margin import bybit_uta
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.uncounted import uncounted_coins, without_uncounted
from portfolio.core.names import Coin
from tests.portfolio.core.margin.accounts import account, balance

DUST = Coin("DUST")


def airdropped(borrow: str = "0", price: str | None = None) -> MarginState:
    usd = {"USDT": "1", "BTC": "60000"} | ({} if price is None else {"DUST": price})
    return account(balances=(balance("USDT", "1000"), balance("DUST", "5000000", borrow)), usd=usd)


def found(state: MarginState, *needed: Coin) -> tuple[Coin, ...]:
    return uncounted_coins(state.balances, state.tables, needed)


def test_a_coin_without_price_and_table_that_is_only_held_counts_nothing() -> None:
    state = airdropped()
    with pytest.raises(MissingDataError):
        bybit_uta.value(state)
    assert found(state) == (DUST,)
    clean = account(balances=(balance("USDT", "1000"),), usd={"USDT": "1"})
    assert bybit_uta.value(without_uncounted(state, found(state))).figures == bybit_uta.value(clean).figures


def test_with_a_price_it_is_equity_but_no_margin() -> None:
    state = airdropped(price="0.001")
    figures = bybit_uta.value(without_uncounted(state, found(state))).figures
    assert figures.total_equity == 6000
    assert figures.adjusted_equity == 1000


@pytest.mark.parametrize("price", ["0", "-1"])
def test_what_is_no_price_is_none(price: str) -> None:
    state = airdropped(price=price)
    assert bybit_uta.value(without_uncounted(state, found(state))).figures.total_equity == 1000


def test_a_debt_without_a_price_stays_an_error() -> None:
    state = airdropped(borrow="1")
    assert found(state) == ()
    with pytest.raises(MissingDataError, match="DUST"):
        bybit_uta.value(without_uncounted(state, found(state)))
    short = replace(state, balances=(balance("DUST", "-1"),))
    assert found(short) == ()


def test_a_coin_that_is_traded_needs_its_table() -> None:
    assert found(airdropped(), DUST) == ()


def test_a_coin_with_a_table_waits_for_its_price() -> None:
    state = account(balances=(balance("BTC", "1"),), usd={"USDT": "1"})
    assert found(state) == ()
    with pytest.raises(MissingDataError, match="BTC"):
        bybit_uta.value(state)


def test_nothing_to_leave_out_leaves_the_account_as_it_is() -> None:
    state = account(balances=(balance("USDT", Decimal(1)),), usd={"USDT": "1"})
    assert without_uncounted(state, ()) is state
