"""Selections over history: risk by each method is walked on its own, and none is told as the other."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from portfolio.backtest.ranking import Ranker, Variant
from portfolio.core.limits import BookLimits
from tests.portfolio.backtest.made import market_of, model_for, panel, read

COINS = ["BTC", "ETH", "SOL", "XRP"]


def test_methods_of_risk_share_a_ranker_and_never_a_forecast(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, panel(COINS, 400, rate=0.0003)))
    ranker, held = Ranker(market, model_for(market), 1e5), np.zeros(len(COINS))
    step = len(market.times_ns) - 1
    fitted = ranker.select(step, held, 1e5, 1e5, Variant())
    plain = ranker.select(step, held, 1e5, 1e5, Variant(risk="ewma"))
    assert (fitted.risk_method, plain.risk_method) == ("dcc-garch", "ewma")
    assert plain.risk_reason == "EWMA was asked for"
    assert {row.sharpe for row in fitted.scores}.isdisjoint(row.sharpe for row in plain.scores)
    again = ranker.select(step, held, 1e5, 1e5, Variant())
    assert (again.fixed_point, again.weights) == (fitted.fixed_point, fitted.weights)


def test_caps_grow_with_the_account(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, panel(COINS, 120, rate=0.0003)))
    ranker, held, step = (
        Ranker(market, model_for(market), 1e5),
        np.zeros(len(COINS)),
        len(market.times_ns) - 1,
    )
    small = ranker.select(step, held, 1e4, 3e4, Variant())
    large = ranker.select(step, held, 2e4, 6e4, Variant())
    assert small.unplaced > 0
    assert large.weights == pytest.approx(small.weights)
    assert ranker.select(step, held, 1e4, 6e4, Variant()).unplaced > small.unplaced


def test_markets_that_differ_in_borrowing_alone_share_their_walks(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, panel(COINS, 60, rate=0.0003)))
    first = Ranker(market, model_for(market), 1e5)
    second = Ranker(market, model_for(market), 1e5, first.walks)
    assert first.risk(90) is second.risk(90)
    assert first.risk(90, "ewma") is second.risk(90, "ewma")
    assert first.risk(90, "ewma") is not first.risk(90)


def test_a_thin_market_binds_by_the_limits_of_the_request(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, panel(COINS, 120, rate=0.0003)))
    tight = replace(BookLimits(), depth_share_max=Decimal("0.0001"))
    ranker = Ranker(market, model_for(market), 1e5, None, tight)
    found = ranker.select(len(market.times_ns) - 1, np.zeros(len(COINS)), 1e6, 1e6, Variant())
    assert set(found.bound_by.values()) == {"liquidity"}
