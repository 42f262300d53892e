"""Selections over history: risk by each method is walked on its own, and none is told as the other."""

from pathlib import Path

import numpy as np

from portfolio.backtest.ranking import Ranker, Variant
from tests.portfolio.backtest.made import market_of, model_for, panel, read

COINS = ["BTC", "ETH", "SOL", "XRP"]


def test_methods_of_risk_share_a_ranker_and_never_a_forecast(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, panel(COINS, 400, rate=0.0003)))
    ranker, held = Ranker(market, model_for(market), 1e5), np.zeros(len(COINS))
    step = len(market.times_ns) - 1
    fitted = ranker.select(step, held, 1.0, Variant())
    plain = ranker.select(step, held, 1.0, Variant(risk="ewma"))
    assert (fitted.risk_method, plain.risk_method) == ("dcc-garch", "ewma")
    assert plain.risk_reason == "EWMA was asked for"
    assert {row.sharpe for row in fitted.scores}.isdisjoint(row.sharpe for row in plain.scores)
    assert ranker.select(step, held, 1.0, Variant()) is fitted


def test_markets_that_differ_in_borrowing_alone_share_their_walks(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, panel(COINS, 60, rate=0.0003)))
    first = Ranker(market, model_for(market), 1e5)
    second = Ranker(market, model_for(market), 1e5, first.walks)
    assert first.risk(90) is second.risk(90)
    assert first.risk(90, "ewma") is second.risk(90, "ewma")
    assert first.risk(90, "ewma") is not first.risk(90)
