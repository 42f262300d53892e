"""`carrydesk backtest` as scripts call it."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from portfolio.core.errors import InputError
from server.backtest import request_of
from tests.portfolio.backtest.made import panel, rows, write


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "server.cli", "backtest", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frame = pl.concat([panel(["BTC", "ETH", "SOL"], 70, rate=0.0003), panel(["BTC"], 70, venue="okx")])
    return write(tmp_path, frame)


def test_the_last_line_is_the_result_and_the_rest_is_for_people(folder: Path) -> None:
    page = folder / "report.html"
    done = command("--data", str(folder), "--json", "--report", str(page))
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    for name in ("portfolio", "single_pair", "btc_static"):
        assert {
            "sharpe", "apr", "volatility", "max_drawdown", "utilisation_mean", "utilisation_paying",
            "liquidations", "turnover", "costs",
        } <= set(found[name])  # fmt: skip
    assert found["ablation"]
    assert found["seconds"] > 0
    assert "read" in found["seconds_by_part"]
    assert found["settings"]["venues"] == ["binance", "okx"]
    assert "portfolio" in done.stderr
    html = page.read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>") or html.startswith("<!DOCTYPE html>")


def test_one_venue_and_a_period_can_be_asked_for(folder: Path) -> None:
    done = command(
        "--data", str(folder), "--json", "--venue", "okx", "--from", "2023-01-20", "--to", "2023-02-20"
    )
    assert done.returncode == 0, done.stderr
    settings = json.loads(done.stdout)["settings"]
    assert settings["venues"] == ["okx"]
    assert (settings["from"][:10], settings["to"][:10]) == ("2023-01-20", "2023-02-21"), (
        "to the midnight of the last day"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--venue", "bybit"), "no pair of 'bybit'"),
        (("--from", "2023-03-01", "--to", "2023-01-05"), "ends before it begins"),
        (("--from", "soon"), "not a date"),
        (("--to", "later"), "not a date"),
        (("--from", "2030-01-01"), "no two settlements"),
    ],
)
def test_what_cannot_be_run_is_said_and_fails(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = command("--data", str(folder), "--json", *arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert json.loads(done.stdout)["error"]["message"]


def test_a_coin_or_a_venue_that_nobody_knew_is_named_in_the_notice(tmp_path: Path) -> None:
    known = panel(["BTC", "ETH"], 60, rate=0.0003)
    coin = rows("SOL", 60, rate=0.0003).with_columns(symbol=pl.lit("NEWCOINUSDT"))
    venue = rows("BTC", 60).with_columns(venue=pl.lit("elsewhere"))
    done = command("--data", str(write(tmp_path, pl.concat([known, coin, venue]))), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["data"]
    assert "NEWCOIN@binance" in found["pairs"]
    assert found["notes"] == [
        "venue elsewhere: 180 rows are left out, no margin rule stands for it.",
        "No risk table is on record for NEWCOIN@binance: those of other coins stand for them.",
    ]


def test_the_last_day_is_part_of_the_period_and_a_moment_is_a_moment() -> None:
    day = request_of("2023-01-20", "2023-01-20")
    assert day.to_ns == request_of(None, "2023-01-21T00:00").to_ns
    assert request_of(None, "2023-01-20T12:00").to_ns == request_of("2023-01-20T12:00", None).from_ns
    with pytest.raises(InputError, match="ends before it begins"):
        request_of("2023-01-21", "2023-01-20")
    with pytest.raises(InputError, match="not a date") as caught:
        request_of(None, "tomorrow")
    assert caught.value.field == "to"


def test_a_folder_with_a_bad_row_names_file_row_and_column(tmp_path: Path) -> None:
    frame = rows("BTC", 5).with_columns(rate=pl.lit(7.0))
    done = command("--data", str(write(tmp_path, frame)))
    assert done.returncode != 0
    assert "panel.parquet, row 0, column 'rate'" in done.stderr
