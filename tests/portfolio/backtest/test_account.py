"""The account's books: funding, interest, prices and trades, to the cent."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from portfolio.backtest.account import Book, at_prices, legs_of, margin_state, project
from portfolio.backtest.market import HOLE_HOURS, borrow_proxy
from portfolio.core.decimals import ZERO
from tests.portfolio.backtest.made import market_of, model_for, panel, read, rows


def test_funding_interest_and_prices_are_booked_as_an_account_books_them(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, panel(["BTC", "ETH"], 5)))
    model = model_for(market)
    book = Book(np.array([1.0, 0.0]), np.array([market.mark[0, 0], 0.0]), -5_000.0)
    ahead = project(market, model, book, 0, 6)
    cash, owed = -5_000.0, 5_000.0
    for step in range(1, 7):
        interest = owed * market.borrow_apr[step - 1] / 8_760 * 8
        cash += market.funding[step, 0] - interest
        loss = market.mark[0, 0] - market.mark[step, 0]
        owed = max(0.0, -(cash + loss))
        assert ahead.cash[step - 1] == pytest.approx(cash)
        assert ahead.interest[step - 1] == pytest.approx(interest)
        assert ahead.owed[step - 1] == pytest.approx(owed)
        assert ahead.equity[step - 1] == pytest.approx(cash + loss + market.spot[step, 0])
        assert ahead.gross[step - 1] == pytest.approx(market.spot[step, 0] + market.mark[step, 0])


def test_health_is_the_exact_rules_at_the_worst_of_settlement_and_extremes(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, panel(["BTC", "ETH"], 5, move=0.05)))
    model = model_for(market)
    book = Book(np.array([3.0, 10.0]), market.mark[0].copy(), -40_000.0)
    ahead = project(market, model, book, 0, 4)
    for step in range(1, 5):
        book.cash = float(ahead.cash[step - 1])
        found = []
        for factor in (np.ones(2), market.high[step], market.low[step]):
            state = margin_state(model, book, market.spot[step] * factor, market.mark[step] * factor)
            found.append(float(model.mode.rule(state, extrapolate=True).figures.health_score))
        assert ahead.health[step - 1] == pytest.approx(min(found), abs=1e-9)


def test_an_empty_account_keeps_its_cash(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, panel(["BTC"], 3)))
    ahead = project(market, model_for(market), Book(np.zeros(1), np.zeros(1), 100.0), 0, 5)
    assert ahead.equity.tolist() == [100.0] * 5
    assert ahead.health.tolist() == [1.0] * 5


def test_trading_moves_value_between_coins_and_cash_and_costs_what_it_costs() -> None:
    book = Book(np.zeros(1), np.zeros(1), 10_000.0)
    spot, mark = np.array([100.0]), np.array([101.0])
    book.trade(0, 20.0, 100.0, 101.0, 7.0)
    assert book.equity(spot, mark) == pytest.approx(10_000 - 7)
    book.trade(0, 40.0, 100.0, 103.0, 0.0)
    assert book.entry[0] == pytest.approx(102.0)
    later = book.equity(np.array([110.0]), np.array([111.0]))
    book.trade(0, 10.0, 110.0, 111.0, 3.0)
    assert book.equity(np.array([110.0]), np.array([111.0])) == pytest.approx(later - 3)
    assert book.entry[0] == pytest.approx(102.0)
    book.trade(0, 0.0, 110.0, 111.0, 0.0)
    assert (book.entry[0], len(book.held())) == (0.0, 0)
    assert book.cash == pytest.approx(later - 3)
    assert book.copy().cash == book.cash


def test_the_exact_rule_reads_debt_as_a_loan_and_only_what_is_held(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, panel(["BTC", "ETH"], 3)))
    model = model_for(market)
    state = margin_state(
        model, Book(np.array([0.0, 2.0]), np.array([0.0, 1_500.0]), -50.0), market.spot[0], market.mark[0]
    )
    assert [row.coin for row in state.balances] == ["USDT", "ETH"]
    assert (state.balances[0].wallet, state.balances[0].spot_borrow) == (ZERO, Decimal(50))
    assert len(state.positions) == 1
    assert legs_of(model, Book(np.zeros(2), np.zeros(2), 0.0))[market.pair_ids[0]].hedged == 0
    found = at_prices(
        model, Book(np.array([0.0, 2.0]), np.array([0.0, 1_500.0]), -50.0), market.spot[:2], market.mark[:2]
    )
    assert found.borrowed.shape == (2,)


def test_intervals_follow_from_the_times_and_a_hole_counts_no_endless_interest(tmp_path: Path) -> None:
    frame = rows("BTC", 10, hours=4)
    market = market_of(
        read(tmp_path, frame.filter(~frame["time"].is_between(frame["time"][20], frame["time"][40])))
    )
    assert market.hours[1] == 4.0
    assert market.hours.max() == HOLE_HOURS


def test_borrowing_follows_btc_funding_and_never_costs_less_than_its_floor(tmp_path: Path) -> None:
    cheap = read(tmp_path, panel(["BTC", "ETH"], 60, rate=0.00001, noise=0.0))
    assert borrow_proxy(cheap.pairs, 1.0)[1].tolist() == pytest.approx([0.06] * 180)
    dear = read(tmp_path, panel(["ETH", "BTC"], 60, rate=0.0004, noise=0.0))
    assert borrow_proxy(dear.pairs, 2.0)[1][-1] == pytest.approx(2 * 0.7 * 0.0004 * 3 * 365)
    without = read(tmp_path, panel(["ETH"], 60, rate=0.0004, noise=0.0))
    assert borrow_proxy(without.pairs, 1.0)[1][-1] == pytest.approx(0.7 * 0.0004 * 3 * 365)
