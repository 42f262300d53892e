"""The whole backtest on a small made folder: every run is there, and says what the contract asks for."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from portfolio.backtest.candles import read_candles
from portfolio.backtest.result import BacktestResult, Figures, ratio, to_json
from portfolio.backtest.study import Request, Timer, run_backtest
from portfolio.core.errors import InputError
from tests.portfolio.backtest.made import START_MS, hourly, model_of, panel, read, rows

KEYS = {
    "sharpe", "apr", "volatility", "max_drawdown", "utilisation_mean", "utilisation_paying", "liquidations",
    "turnover", "costs",
}  # fmt: skip


def ticking() -> Timer:
    seconds = iter(range(1_000))
    return Timer(lambda: float(next(seconds)))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> BacktestResult:
    folder = tmp_path_factory.mktemp("history")
    frame = pl.concat(
        [
            panel(["BTC", "ETH", "SOL", "XRP", "DOGE"], 90, rate=0.0003),
            panel(["BTC", "ETH"], 60, venue="okx", rate=0.0003, start_ms=START_MS + 30 * 86_400_000),
        ]
    )
    history = read(folder, frame)
    hourly(frame, {"up": 0.01, "down": 0.01}).write_parquet(folder / "hourly.parquet")
    seen: list[tuple[str, int, int]] = []
    found = run_backtest(
        history, read_candles(folder), model_of, Request(), ticking(), lambda *step: seen.append(step)
    )
    assert seen[0][1:] == (0, 14)
    assert seen[-1][1:] == (14, 14)
    return found


def test_every_run_has_the_keys_of_the_contract(result: BacktestResult) -> None:
    found = json.loads(json.dumps(to_json(result), allow_nan=False))
    for name in ("portfolio", "single_pair", "btc_static", "equal_weight"):
        assert set(found[name]) >= KEYS
        assert set(found[name]["costs"]) == {"fees", "slippage", "adverse_selection", "borrow", "total"}
    assert set(found["ablation"]) == {
        "softmax_off", "stability_off", "dcc_penalty_off", "dcc_garch_off", "band_off", "cost_gate_off",
        "pace_off", "volatility_budget_off",
    }  # fmt: skip
    assert set(found["sensitivity"]) == {"borrow_x0.5", "borrow_x2"}
    assert found["seconds"] > 0
    assert set(found["seconds_by_part"]) == {
        "markets", "portfolio", "baselines", "ablation", "peers", "sensitivity",
    }  # fmt: skip
    assert found["data"]["source"] == "made"
    assert len(found["honesty"]) >= 5


def test_series_have_a_point_a_day_and_agree_with_each_other(result: BacktestResult) -> None:
    run = result.portfolio
    count = len(run.times_ns)
    assert count == 91
    for column in (run.equity, run.drawdown, run.utilisation, run.health, run.paying, *run.weights.values()):
        assert column.shape == (count,)
    assert run.utilisation[-1] == pytest.approx(2 * sum(row[-1] for row in run.weights.values()), rel=0.01)
    for kind, column in run.costs_over_time.items():
        assert column[-1] == pytest.approx(getattr(run.costs, kind))
    assert run.equity[-1] == pytest.approx(sum(run.equity_by_venue.values()))
    assert run.equity[-1] - run.equity[0] == pytest.approx(sum(row.net for row in run.attribution))
    assert np.all(run.health <= 1)
    assert sum(run.binding.values()) == pytest.approx(1)


def test_accounts_share_the_equity_evenly_and_one_that_starts_later_waits_in_cash(
    result: BacktestResult,
) -> None:
    assert result.settings.equity_shares == {"binance": 0.5, "okx": 0.5}
    assert result.portfolio.equity[0] == pytest.approx(200_000)
    assert not any(row[:30].any() for key, row in result.portfolio.weights.items() if key.endswith("@okx"))


def test_a_single_pair_holds_one_pair_at_a_time_on_one_account(result: BacktestResult) -> None:
    held = np.array([row > 0.01 for row in result.single_pair.weights.values()])
    assert held.sum(axis=0).max() <= 2  # the old one on its way out
    assert set(result.single_pair.equity_by_venue) == {"binance"}
    assert result.btc_static.turnover < result.portfolio.turnover


def test_candles_are_used_where_they_are(result: BacktestResult) -> None:
    assert result.data.hourly_share > 0.9
    assert result.data.settlements == 5 * 270 + 2 * 180


def test_one_symbol_alone_and_a_folder_without_btc_have_defined_answers(tmp_path: Path) -> None:
    history = read(tmp_path, rows("ETH", 60, rate=0.0004))
    found = run_backtest(history, {}, model_of, Request(), ticking(), lambda *_: None)
    assert found.portfolio.liquidations == 0
    assert "ETH carry" in found.btc_static.description
    assert found.portfolio.equity[-1] > 0


def test_a_period_cuts_the_history_and_an_empty_one_is_an_error(tmp_path: Path) -> None:
    history = read(tmp_path, panel(["BTC", "ETH"], 40))
    start = (START_MS + 10 * 86_400_000) * 1_000_000
    cut = Request(from_ns=start, to_ns=start + 20 * 86_400_000_000_000)
    found = run_backtest(history, {}, model_of, cut, ticking(), lambda *_: None)
    assert (found.settings.from_ns, found.settings.to_ns) == (start, start + 20 * 86_400_000_000_000)
    assert len(found.portfolio.times_ns) == 21
    with pytest.raises(InputError, match="no two settlements"):
        run_backtest(history, {}, model_of, Request(from_ns=2**62), ticking(), lambda *_: None)


def test_constant_prices_have_no_volatility_and_no_invented_ratio(tmp_path: Path) -> None:
    frame = panel(["BTC", "ETH"], 60, noise=0.0, move=0.0, basis=0.0, rate=0.0003)
    found = run_backtest(read(tmp_path, frame), {}, model_of, Request(), ticking(), lambda *_: None)
    json.dumps(to_json(found), allow_nan=False)
    assert found.portfolio.figures.max_drawdown < 0.01


def test_a_ratio_needs_two_ratios() -> None:
    good, none = Figures(2.0, 0.1, 0.1, 0.0), Figures(None, 0.0, 0.0, 0.0)
    assert ratio(good, good) == 1.0
    assert ratio(good, none) is None
    assert ratio(none, good) is None
    assert ratio(good, Figures(-1.0, 0.1, 0.1, 0.0)) is None


def test_days_before_the_archive_begins_are_not_days_in_cash(tmp_path: Path) -> None:
    history = read(tmp_path, panel(["BTC", "ETH"], 40, rate=0.0003))
    early = run_backtest(history, {}, model_of, Request(from_ns=10**18), ticking(), lambda *_: None)
    plain = run_backtest(history, {}, model_of, Request(), ticking(), lambda *_: None)
    assert early.settings.from_ns == START_MS * 1_000_000
    assert early.portfolio.figures == plain.portfolio.figures
