"""What a folder may hold, and what is said when it holds something else."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from exchanges.paper.history_tables import VENUES
from portfolio.backtest.history import COLUMNS, read_history
from portfolio.core.errors import InputError, MissingDataError, UnknownNameError
from portfolio.core.names import PairId, Venue
from tests.portfolio.backtest.made import HOUR_MS, START_MS, panel, read, rows, write

BTC = PairId("BTC@binance")


def changed(row: int, column: str, value: object) -> pl.DataFrame:
    """A small panel with one cell replaced."""
    frame = panel(["BTC", "ETH"], 3)
    values = frame[column].to_list()
    values[row] = value
    return frame.with_columns(pl.Series(column, values, strict=False))


def test_pairs_are_read_with_their_own_times_and_prices(tmp_path: Path) -> None:
    frame = panel(["BTC", "ETH"], 4)
    history = read(tmp_path, frame)
    assert list(history.pairs) == [BTC, PairId("ETH@binance")]
    pair = history.pairs[BTC]
    assert pair.rate.tolist() == frame.filter(pl.col("symbol") == "BTCUSDT")["rate"].to_list()
    assert pair.times_ns[0] == START_MS * 1_000_000
    assert history.venues == ("binance",)
    assert history.notes == ()
    series = pair.series()
    assert series.returns[1] == pytest.approx(pair.rate[1] - (series.basis[1] - series.basis[0]))


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_that_is_absent_is_named(tmp_path: Path, column: str) -> None:
    with pytest.raises(InputError, match=f"no column '{column}'") as caught:
        read(tmp_path, panel(["BTC"], 2).drop(column))
    assert "panel.parquet" in caught.value.message


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("venue", None),
        ("symbol", None),
        ("time", 1_700_000_000),
        ("rate", 3.0),
        ("rate", float("nan")),
        ("rate", None),
        ("perp_px", 0.0),
        ("mark_px", -5.0),
        ("spot_px", float("inf")),
    ],
)
def test_a_cell_that_cannot_be_is_named_by_file_row_and_column(
    tmp_path: Path, column: str, value: object
) -> None:
    with pytest.raises(InputError, match=rf"panel.parquet, row 4, column '{column}'") as caught:
        read(tmp_path, changed(4, column, value))
    assert caught.value.field == column


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [("venue", "nowhere", "no margin rule stands for it"), ("symbol", "BTCUSDC", "it is not in USDT")],
)
def test_rows_that_no_account_can_trade_are_left_out_and_named(
    tmp_path: Path, column: str, value: str, why: str
) -> None:
    ours = panel(["BTC", "ETH"], 3)
    others = rows("BTC", 3).with_columns(pl.lit(value).alias(column), rate=pl.lit(9.0))
    history = read(tmp_path, pl.concat([others, ours]))
    assert history.notes == (f"{column} {value}: 9 rows are left out, {why}.",)
    assert list(history.pairs) == [BTC, PairId("ETH@binance")]
    with pytest.raises(InputError, match=rf"row 0, column '{column}': '{value}' cannot be used") as caught:
        read(tmp_path, others)
    assert caught.value.field == column


def test_columns_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not numbers"):
        read(tmp_path, panel(["BTC"], 2).with_columns(pl.col("rate").cast(pl.String)))
    with pytest.raises(InputError, match="not whole milliseconds"):
        read(tmp_path, panel(["BTC"], 2).with_columns(pl.col("time").cast(pl.Float64)))


def test_no_file_or_another_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="does not exist"):
        read_history(tmp_path, "made", VENUES)
    (tmp_path / "panel.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_history(tmp_path, "made", VENUES)


def test_rows_in_any_order_are_the_same_history(tmp_path: Path) -> None:
    frame = panel(["BTC", "ETH"], 5)
    shuffled = read(tmp_path, frame.sample(fraction=1.0, shuffle=True, seed=3))
    ordered = read(tmp_path, frame)
    assert np.array_equal(shuffled.pairs[BTC].times_ns, ordered.pairs[BTC].times_ns)
    assert np.array_equal(shuffled.pairs[BTC].spot, ordered.pairs[BTC].spot)
    assert shuffled.notes == ("Rows are not in order of time and were sorted.",)
    grouped = pl.concat(
        [frame.filter(pl.col("symbol") == "ETHUSDT"), frame.filter(pl.col("symbol") == "BTCUSDT")]
    )
    assert read(tmp_path, grouped).notes == ()


def test_a_repeated_row_counts_once_and_two_that_differ_are_an_error(tmp_path: Path) -> None:
    frame = rows("BTC", 3)
    twice = read(tmp_path, pl.concat([frame, frame.slice(2, 1)]))
    assert len(twice.pairs[BTC].times_ns) == len(frame)
    assert twice.notes == ("1 rows are repeated and count once.",)
    other = frame.slice(2, 1).with_columns(rate=pl.lit(0.001))
    with pytest.raises(InputError, match=r"row 9, column 'time'.*two different settlements"):
        read(tmp_path, pl.concat([frame, other]))


def test_a_missing_price_keeps_the_last_one_for_a_day_and_no_longer(tmp_path: Path) -> None:
    frame = rows("BTC", 10).with_row_index("n")
    gone = frame.with_columns(
        spot_px=pl.when(pl.col("n").is_between(6, 7) | pl.col("n").is_between(15, 20))
        .then(None)
        .otherwise("spot_px")
    ).drop("n")
    history = read(tmp_path, gone)
    pair = history.pairs[BTC]
    spot = dict(zip(pair.times_ns.tolist(), pair.spot.tolist(), strict=True))
    at = [(START_MS + n * 8 * HOUR_MS) * 1_000_000 for n in range(30)]
    assert spot[at[6]] == spot[at[5]] == spot[at[7]]
    assert at[17] in spot
    assert at[18] not in spot
    assert at[21] in spot
    assert "3 settlements lack a price for over a day" in history.notes[0]


def test_a_missing_mark_is_the_perpetuals_price_and_nan_is_no_price(tmp_path: Path) -> None:
    frame = rows("BTC", 4).with_columns(mark_px=pl.lit(float("nan")))
    pair = read(tmp_path, frame).pairs[BTC]
    assert np.array_equal(pair.mark, pair.perpetual)


def test_a_pair_starts_with_its_first_prices_and_needs_two_settlements(tmp_path: Path) -> None:
    frame = pl.concat([rows("BTC", 4), rows("ETH", 4), rows("SOL", 4)]).with_columns(
        spot_px=pl.when((pl.col("symbol") == "ETHUSDT") & (pl.col("time") < START_MS + 48 * HOUR_MS))
        .then(None)
        .when(pl.col("symbol") == "SOLUSDT")
        .then(None)
        .otherwise("spot_px")
    )
    history = read(tmp_path, frame)
    assert PairId("SOL@binance") not in history.pairs
    assert len(history.pairs[PairId("ETH@binance")].times_ns) == 6
    assert history.notes == ("SOL@binance has no two settlements with both prices and is left out.",)
    with pytest.raises(MissingDataError, match="no pair with rates and both prices"):
        read(tmp_path, frame.filter(pl.col("symbol") == "SOLUSDT"))


def test_a_venue_without_pairs_is_named_with_those_that_have_some(tmp_path: Path) -> None:
    history = read(tmp_path, panel(["BTC"], 2))
    with pytest.raises(UnknownNameError, match="no pair of 'okx'") as caught:
        history.of(Venue("okx"))
    assert caught.value.allowed == "binance"


def test_other_columns_are_not_looked_at(tmp_path: Path) -> None:
    frame = panel(["BTC"], 2).with_columns(source=pl.lit("somewhere"))
    assert read_history(write(tmp_path, frame), "made", VENUES).pairs
