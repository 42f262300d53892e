"""The screened search finds what the exact one finds."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.margin.batch import BatchFigures, Moves
from portfolio.core.margin.bybit_batch import BybitBatch
from portfolio.core.margin.bybit_uta import value
from portfolio.core.margin.screened import LiquidationSearch
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import exposed_coins, liquidation_factors, liquidation_prices
from portfolio.core.names import Coin
from tests.portfolio.core.margin.accounts import Asked, account, balance, both, perp, position
from tests.portfolio.core.margin.strategies import COINS, accounts, decimals

D = Decimal
USD = {"BTC": "60000", "ETH": "3000", "USDT": "1"}


class Wrong:
    """A compiled account that calls everything dead, certainly."""

    coins = (Coin("BTC"),)
    gross_usd = 1.0

    def value(self, moves: Moves) -> BatchFigures:
        nothing = np.zeros(len(moves.factors))
        return BatchFigures(nothing, nothing, nothing, nothing + 1e9)


def carry() -> MarginState:
    """Long coins that count 95 %, short as many: what hurts is a rally."""
    return account(
        balances=(balance("BTC", "2"), balance("ETH", "40"), balance("USDT", "0", "150000")),
        positions=(
            position(perp("BTC"), "-2", "60000"),
            position(perp("ETH"), "-40", "3000"),
        ),
        usd=USD,
        instruments=both("BTC", "ETH"),
    )


@settings(max_examples=40, deadline=None)
@given(accounts(), st.sampled_from([D(1), D("1.05")]), st.data())
def test_both_searches_find_the_same_decimals(state: MarginState, line: Decimal, data: st.DataObject) -> None:
    search = LiquidationSearch(value, BybitBatch(state), state, line=line)
    coin = data.draw(st.sampled_from(COINS))
    betas = {name: data.draw(decimals("-1", "2", 1)) for name in COINS[:3]}
    assert search.prices(coin) == liquidation_prices(value, state, coin, line=line)
    assert search.factors(betas) == liquidation_factors(value, state, betas, line=line)


def test_a_carry_book_dies_of_a_rally_and_few_questions_reach_the_exact_rule() -> None:
    state, asked, alone = carry(), Asked(), Asked()
    betas = dict.fromkeys(exposed_coins(state), D(1))
    found = LiquidationSearch(asked, BybitBatch(state), state).factors(betas)
    assert found == liquidation_factors(alone, state, betas)
    assert found[0] is None
    assert found[1] is not None
    assert asked.times <= 5 < 40 < alone.times


def test_an_account_that_is_liquidated_already_needs_no_search() -> None:
    state = account(balances=(balance("USDT", "-5"),), usd=USD)
    search = LiquidationSearch(value, BybitBatch(state), state)
    assert search.factors({Coin("BTC"): D(1)}) == (D(1), D(1))


@pytest.mark.parametrize("coin", ["BTC", "ETH"])
def test_a_compiled_account_that_is_wrong_is_found_out(coin: str) -> None:
    state = carry()
    search = LiquidationSearch(value, Wrong(), state)
    assert search.prices(Coin(coin)) == liquidation_prices(value, state, Coin(coin))
