from pathlib import Path

import numpy as np
import polars as pl
import pytest

from portfolio.backtest.candles import PROXY_SIGMAS, extremes, read_candles
from portfolio.core.errors import InputError
from portfolio.core.names import PairId
from tests.portfolio.backtest.made import hourly, panel, read, rows

BTC = PairId("BTC@binance")


def test_extremes_are_those_of_the_candles_between_two_settlements(tmp_path: Path) -> None:
    frame = rows("BTC", 5)
    pair = read(tmp_path, frame).pairs[BTC]
    hourly(frame, {"up": 0.02, "down": 0.03}).write_parquet(tmp_path / "hourly.parquet")
    found = extremes(pair, read_candles(tmp_path)[BTC])
    assert found.real[1:].all()
    assert found.high[1:] == pytest.approx(1.02)
    assert found.low[1:] == pytest.approx(0.97)


def test_a_hole_in_the_candles_is_no_calm_market(tmp_path: Path) -> None:
    frame = rows("BTC", 5)
    pair = read(tmp_path, frame).pairs[BTC]
    candles = hourly(frame, {"up": 0.0, "down": 0.0})
    hole = (pl.col("time") >= int(frame["time"][4])) & (pl.col("time") < int(frame["time"][5]) - 3_600_000)
    candles.filter(~hole).write_parquet(tmp_path / "perp.parquet")
    found = extremes(pair, read_candles(tmp_path)[BTC])
    assert not found.real[5]
    assert found.high[5] > 1.0
    assert found.real[6]


def test_without_candles_the_ends_of_an_interval_are_widened_by_typical_moves(tmp_path: Path) -> None:
    pair = read(tmp_path, rows("BTC", 40, move=0.01)).pairs[BTC]
    found = extremes(pair, None)
    assert not found.real.any()
    before = np.concatenate((pair.perpetual[:1], pair.perpetual[:-1]))
    widened = found.high * pair.perpetual / np.maximum(before, pair.perpetual)
    assert widened[60:].mean() == pytest.approx(1 + PROXY_SIGMAS * 0.01, abs=0.003)
    assert (found.low <= 1).all()
    assert (found.high >= 1).all()


def test_a_folder_may_have_no_candles_but_not_half_of_them(tmp_path: Path) -> None:
    assert read_candles(tmp_path) == {}
    hourly(panel(["BTC"], 2), {"up": 0.0, "down": 0.0}).drop("low").write_parquet(tmp_path / "hourly.parquet")
    with pytest.raises(InputError, match="no column 'low'"):
        read_candles(tmp_path)


@pytest.mark.parametrize(
    ("column", "said"), [("high", "holds String, not numbers"), ("time", "not whole milliseconds")]
)
def test_candles_of_another_kind_are_refused_by_file_and_column(
    tmp_path: Path, column: str, said: str
) -> None:
    candles = hourly(panel(["BTC"], 2), {"up": 0.0, "down": 0.0})
    candles.with_columns(pl.col(column).cast(pl.String)).write_parquet(tmp_path / "hourly.parquet")
    with pytest.raises(InputError, match=said) as caught:
        read_candles(tmp_path)
    assert caught.value.field == column


def test_a_candle_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hourly.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"hourly.parquet is not a readable Parquet file"):
        read_candles(tmp_path)
