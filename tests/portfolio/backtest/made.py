"""Made market history: seeded, small, written as a folder with a `panel.parquet`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from exchanges.paper.history_tables import VENUES, account_tables
from portfolio.backtest.account import AccountModel, account_model
from portfolio.backtest.history import History, read_history
from portfolio.backtest.market import VenueMarket, borrow_proxy, venue_market
from portfolio.core.margin.modes import BINANCE_PM, BYBIT_UTA, OKX_MULTI_CURRENCY
from portfolio.core.names import Coin, PairId, Venue
from portfolio.core.universe import carry_pairs

START_MS = 1_672_531_200_000  # 2023-01-01
HOUR_MS = 3_600_000
MODES = {"binance": BINANCE_PM, "bybit": BYBIT_UTA, "okx": OKX_MULTI_CURRENCY}
PRICES = {"BTC": 20_000.0, "ETH": 1_500.0, "SOL": 20.0, "XRP": 0.4, "DOGE": 0.08, "AVAX": 12.0}


def rows(
    coin: str,
    days: int,
    *,
    venue: str = "binance",
    hours: int = 8,
    seed: int = 1,
    rate: float = 0.0002,
    noise: float = 0.00005,
    move: float = 0.01,
    basis: float = 0.0003,
    start_ms: int = START_MS,
) -> pl.DataFrame:
    """One symbol's settlements; `move` is the deviation of a settlement's log return."""
    draw = np.random.default_rng([seed, sum(coin.encode())])
    count = days * 24 // hours
    price = PRICES[coin] * np.exp(np.cumsum(draw.normal(0, move, count)))
    perpetual = price * (1 + draw.normal(0, basis, count))
    return pl.DataFrame(
        {
            "venue": [venue] * count,
            "symbol": [f"{coin}USDT"] * count,
            "time": start_ms + np.arange(count, dtype=np.int64) * hours * HOUR_MS,
            "rate": rate + draw.normal(0, noise, count),
            "perp_px": perpetual,
            "mark_px": perpetual,
            "spot_px": price,
        }
    )


def panel(coins: Sequence[str], days: int, **given: Any) -> pl.DataFrame:
    """Several symbols."""
    return pl.concat([rows(coin, days, **given) for coin in coins])


def write(folder: Path, frame: pl.DataFrame) -> Path:
    """The frame as the folder's panel."""
    frame.write_parquet(folder / "panel.parquet")
    return folder


def read(folder: Path, frame: pl.DataFrame) -> History:
    """Written and read."""
    return read_history(write(folder, frame), "made", VENUES)


def market_of(history: History, venue: str = "binance", borrow: float = 1.0) -> VenueMarket:
    """One venue's market without candles."""
    pairs = history.of(Venue(venue)).pairs
    return venue_market(Venue(venue), pairs, {}, borrow_proxy(history.pairs, borrow))


def model_of(venue: Venue, pair_ids: Sequence[PairId], coins: Sequence[Coin]) -> AccountModel:
    """A venue's account."""
    found = account_tables(venue, coins)
    specs = carry_pairs(found.instruments.values())
    return account_model(
        MODES[venue], dict(found.instruments), found.tables, [specs[pair_id] for pair_id in pair_ids]
    )


def model_for(market: VenueMarket) -> AccountModel:
    """The account of a market."""
    return model_of(market.venue, market.pair_ids, market.coins)


def hourly(frame: pl.DataFrame, spread: Mapping[str, float]) -> pl.DataFrame:
    """Candles around a panel of 8-hour settlements: high and low are the settlement's price, spread apart."""
    return pl.concat(
        frame.select(
            pl.lit("perp").alias("kind"),
            "venue",
            "symbol",
            (pl.col("time") - (8 - hour) * HOUR_MS).alias("time"),
            pl.col("perp_px").alias("open"),
            (pl.col("perp_px") * (1 + spread["up"])).alias("high"),
            (pl.col("perp_px") * (1 - spread["down"])).alias("low"),
            pl.col("perp_px").alias("close"),
        )
        for hour in range(8)
    ).sort("symbol", "time")
