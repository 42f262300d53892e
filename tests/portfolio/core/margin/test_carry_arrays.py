from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.paper.history_tables import BINANCE, BYBIT, OKX, account_tables
from portfolio.backtest.account import AccountModel, Book, account_model, at_prices, legs_of, margin_state
from portfolio.core.carry import Floats
from portfolio.core.margin.caps import without
from portfolio.core.margin.carry_arrays import CarryRows, array_rule
from portfolio.core.margin.modes import BINANCE_PM, BYBIT_UTA, OKX_MULTI_CURRENCY, AccountMode
from portfolio.core.margin.okx_portfolio_margin import value as okx_portfolio_margin
from portfolio.core.margin.stress import Scenario, stressed
from portfolio.core.names import Coin, Venue
from portfolio.core.universe import carry_pairs

COINS = tuple(Coin(name) for name in ("BTC", "ETH", "SOL", "AVAX", "DOGE"))
MODES = {BINANCE: BINANCE_PM, BYBIT: BYBIT_UTA, OKX: OKX_MULTI_CURRENCY}
PRICES = np.array([40_000.0, 2_500.0, 60.0, 25.0, 0.08])


def model_of(venue: Venue, mode: AccountMode) -> AccountModel:
    found = account_tables(venue, COINS)
    pairs = carry_pairs(found.instruments.values())
    ordered = [next(pair for pair in pairs.values() if pair.coin == coin) for coin in COINS]
    return account_model(mode, dict(found.instruments), found.tables, ordered)


MODELS = {venue: model_of(venue, mode) for venue, mode in MODES.items()}

sizes = st.lists(st.sampled_from([0.0, 300.0, 9_000.0, 260_000.0, 2.4e6, 3e7]), min_size=5, max_size=5)
moves = st.lists(st.floats(0.3, 3.0), min_size=5, max_size=5)
bases = st.lists(st.floats(0.97, 1.03), min_size=5, max_size=5)


def book_of(usd: list[float], entries: list[float], cash: float) -> Book:
    coins = np.array(usd) / PRICES
    return Book(coins, np.where(coins > 0, PRICES * np.array(entries), 0.0), cash)


def close(found: float, exact: Decimal, gross: float) -> None:
    assert found == pytest.approx(float(exact), rel=1e-9, abs=1e-11 * gross + 1e-9)


@pytest.mark.parametrize("venue", list(MODELS))
@settings(max_examples=80)
@given(usd=sizes, entries=moves, basis=bases, cash=st.floats(-4e6, 4e6))
def test_arrays_agree_with_the_exact_rule(
    venue: Venue, usd: list[float], entries: list[float], basis: list[float], cash: float
) -> None:
    model, book = MODELS[venue], book_of(usd, entries, cash)
    mark: Floats = PRICES * np.array(basis)
    found = at_prices(model, book, PRICES[None, :], mark[None, :])
    state = margin_state(model, book, PRICES, mark)
    exact = model.mode.rule(state, extrapolate=True)
    assert found.borrow_line == float(model.mode.borrow_line(state.policy))
    gross = 2 * sum(usd) + abs(cash)
    close(float(found.totals.total_equity[0]), exact.figures.total_equity, gross)
    close(float(found.totals.adjusted_equity[0]), exact.figures.adjusted_equity, gross)
    close(float(found.totals.initial_margin[0]), exact.figures.initial_margin, gross)
    close(float(found.totals.maintenance_margin[0]), exact.figures.maintenance_margin, gross)
    close(float(found.consumed[0]), exact.consumed_usd, gross)


@pytest.mark.parametrize("venue", list(MODELS))
@settings(max_examples=40)
@given(usd=sizes, factors=moves, shift=st.sampled_from([0.0, -0.05]), cash=st.floats(-4e6, 4e6))
def test_arrays_agree_under_stress(
    venue: Venue, usd: list[float], factors: list[float], shift: float, cash: float
) -> None:
    model, book = MODELS[venue], book_of(usd, [1.0] * 5, cash)
    rows = rows_of(book, PRICES, PRICES).stressed(np.array([factors]), np.array([shift]))
    found = model.rule(rows, model.arrays)
    scenario = Scenario(
        "any",
        {coin: Decimal(repr(factor)) for coin, factor in zip(COINS, factors, strict=True)},
        Decimal(repr(shift)),
    )
    exact = model.mode.rule(
        stressed(margin_state(model, book, PRICES, PRICES), scenario), extrapolate=True
    ).figures
    gross = 2 * sum(usd) * 3 + abs(cash)
    close(float(found.totals.adjusted_equity[0]), exact.adjusted_equity, gross)
    close(float(found.totals.initial_margin[0]), exact.initial_margin, gross)
    close(float(found.totals.maintenance_margin[0]), exact.maintenance_margin, gross)


def rows_of(book: Book, spot: Floats, mark: Floats) -> CarryRows:
    return CarryRows(
        spot=book.coins[None, :],
        short=book.coins[None, :],
        entry=book.entry[None, :],
        spot_price=spot[None, :],
        mark=mark[None, :],
        cash=np.array([book.cash]),
        ratio_shift=np.zeros(1),
    )


@pytest.mark.parametrize("venue", list(MODELS))
def test_an_account_without_a_narrative_is_the_account_with_its_pairs_closed(venue: Venue) -> None:
    model, book = MODELS[venue], book_of([9_000.0, 40_000.0, 0.0, 5_000.0, 300.0], [1.1] * 5, 3_000.0)
    members = np.array([[False, True, True, False, False]])
    found = model.rule(rows_of(book, PRICES, PRICES).without(members), model.arrays)
    pairs = [model.pairs[1], model.pairs[2]]
    state = without(margin_state(model, book, PRICES, PRICES), pairs, legs_of(model, book))
    exact = model.mode.rule(state, extrapolate=True)
    close(float(found.consumed[0]), exact.consumed_usd, 1e5)


def test_rows_can_be_taken_and_their_gross_value_is_both_legs() -> None:
    rows = rows_of(book_of([9_000.0] * 5, [1.0] * 5, 100.0), PRICES, PRICES * 1.01)
    assert rows.gross_usd == pytest.approx([5 * 9_000.0 * 2.01])
    assert rows.take(np.array([0, 0])).cash.tolist() == [100.0, 100.0]


def test_a_rule_without_arrays_has_none() -> None:
    assert array_rule(okx_portfolio_margin) is None
