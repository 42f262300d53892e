"""Daily carry returns of the bundled history, aligned: what the risk model is measured and tested on."""

from pathlib import Path

import numpy as np
import polars as pl

import exchanges.data
from portfolio.core.carry import Floats

#: The ten with the longest common history, on Binance.
TEN = tuple(
    f"binance {coin}USDT"
    for coin in ("ADA", "ATOM", "BNB", "BTC", "DOGE", "DOT", "ETH", "LINK", "LTC", "XRP")
)


def daily_carry() -> tuple[tuple[str, ...], Floats]:
    """Names and returns of all pairs; shape (days, pairs), newest last, NaN on days without data.

    Sum over the day's settlements of the funding received by a short perpetual less the change of its basis
    since the settlement before, as fractions of one leg's notional, before fees and borrowing.
    """
    panel = pl.read_parquet(Path(exchanges.data.__file__).with_name("panel.parquet"))
    rows = (
        panel.drop_nulls(["rate", "basis_bps"])
        .sort("time")
        .with_columns(
            (pl.col("venue").cast(pl.String) + " " + pl.col("symbol").cast(pl.String)).alias("pair"),
            (pl.col("time") // 86_400_000).alias("day"),
        )
        .with_columns(
            (pl.col("rate") - pl.col("basis_bps").diff().over("pair").fill_null(0.0) / 1e4).alias("return")
        )
        .group_by("pair", "day")
        .agg(pl.col("return").sum())
    )
    names = tuple(sorted(rows["pair"].unique()))
    first, last = int(rows["day"].min()), int(rows["day"].max())  # type: ignore[arg-type]
    table = np.full((last - first + 1, len(names)), np.nan)
    column = {name: number for number, name in enumerate(names)}
    where = [column[name] for name in rows["pair"]]
    table[rows["day"].to_numpy() - first, where] = rows["return"].to_numpy()
    return names, table


def ten_pairs(days: int = 1500) -> Floats:
    """The last so many days of `TEN`; shape (days, 10), complete."""
    names, table = daily_carry()
    return table[-days:, [names.index(name) for name in TEN]]


def thirty_pairs(days: int = 1500) -> Floats:
    """The last so many days of 28 perpetuals over spot and two of perpetual over perpetual; shape (days, 30).

    Some start mid-way. The two are Binance's short against OKX's long perpetual of BTC and ETH.
    """
    names, table = daily_carry()
    kept = [number for number, name in enumerate(names) if name != "binance POLUSDT"]
    between = [
        table[:, names.index(f"binance {coin}")] - table[:, names.index(f"okx {coin}")]
        for coin in ("BTCUSDT", "ETHUSDT")
    ]
    return np.column_stack([table[:, kept], *between])[-days:]
