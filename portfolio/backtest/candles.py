"""Extremes between settlements: from a folder's candles where it has them, else a declared proxy.

Prices are factors of the perpetual's price at the end of each interval, so that both legs can be moved alike.
The account is valued with every coin at its high at once, and with every coin at its low at once: worse than
any moment that was. Where there are no candles the interval's ends are widened by PROXY_SIGMAS typical moves;
over the bundled candles that reaches beyond 98 % of the real highs and 96 % of the real lows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from portfolio.backtest.history import MS_NS, QUOTE, PairHistory
from portfolio.core.carry import HOUR_NS, Floats, Ints
from portfolio.core.errors import InputError
from portfolio.core.names import Coin, PairId, Venue

FILES = ("hourly.parquet", "perp.parquet")
_COLUMNS = ("venue", "symbol", "time", "high", "low")
#: Settlement moves whose deviation is typical, and how many of them an interval is widened by.
PROXY_WINDOW = 90
PROXY_SIGMAS = 1.5


@dataclass(frozen=True, slots=True)
class Extremes:
    """Of one pair, at each of its settlements, over the interval that ends there; shape (n,)."""

    #: Factors of the perpetual's price at the settlement: >= 1 and <= 1.
    high: Floats
    low: Floats
    #: Whether it is from candles.
    real: np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Candles:
    """Highs and lows of one perpetual, ascending by the time at which each candle opens."""

    open_ns: Ints
    high: Floats
    low: Floats


def read_candles(folder: Path) -> Mapping[PairId, Candles]:
    """Highs and lows of perpetuals; empty where the folder has no candles.

    Raises:
        InputError: a candle file that cannot be read, or without its columns or with others in their place.
    """
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        return {}
    frame = pl.scan_parquet(path)
    try:
        schema = frame.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path} is not a readable Parquet file: {error}.", field="data") from error
    _check(path, schema)
    if "kind" in schema.names():
        frame = frame.filter(pl.col("kind").cast(pl.String) == "perp")
    rows = (
        frame.select(
            pl.col("venue", "symbol").cast(pl.String), "time", pl.col("high", "low").cast(pl.Float64)
        )
        .filter(pl.col("high").is_finite() & pl.col("low").is_finite() & (pl.col("low") > 0))
        .sort("venue", "symbol", "time")
        .collect()
    )
    found = {}
    for (venue, symbol), part in rows.group_by("venue", "symbol", maintain_order=True):
        pair_id = PairId(f"{Coin(str(symbol).removesuffix(QUOTE))}@{Venue(str(venue))}")
        found[pair_id] = Candles(
            part["time"].to_numpy().astype(np.int64) * MS_NS, part["high"].to_numpy(), part["low"].to_numpy()
        )
    return found


def _check(path: Path, schema: pl.Schema) -> None:
    """Refuse a file whose columns are absent or of another kind."""
    absent = [name for name in _COLUMNS if name not in schema.names()]
    if absent:
        raise InputError(f"{path} has no column {absent[0]!r}.", field=absent[0], allowed=", ".join(_COLUMNS))
    for name in ("high", "low"):
        if not schema[name].is_numeric():
            raise InputError(f"{path}: column {name!r} holds {schema[name]}, not numbers.", field=name)
    if not schema["time"].is_integer():
        raise InputError(
            f"{path}: column 'time' holds {schema['time']}, not whole milliseconds.", field="time"
        )


def extremes(pair: PairHistory, candles: Candles | None) -> Extremes:
    """Highs and lows between the pair's settlements."""
    price = pair.perpetual
    before = np.concatenate((price[:1], price[:-1]))
    widened = 1.0 + PROXY_SIGMAS * _typical_move(price)
    high = np.maximum(price, before) * widened
    low = np.minimum(price, before) / widened
    real = np.zeros(len(price), dtype=np.bool_)
    if candles is not None and len(candles.open_ns):
        first = np.searchsorted(candles.open_ns, np.concatenate((pair.times_ns[:1], pair.times_ns[:-1])))
        last = np.searchsorted(candles.open_ns, pair.times_ns)
        # Candles must reach from one settlement to the next: a hole is not a calm market.
        spans = np.diff(pair.times_ns, prepend=pair.times_ns[0])
        real = (last > first) & ((last - first) * HOUR_NS >= spans)
        index = np.flatnonzero(real)
        if len(index):
            bounds = np.stack((first[index], last[index]), axis=1).ravel()
            padded_high = np.append(candles.high, -np.inf)
            padded_low = np.append(candles.low, np.inf)
            high[index] = np.maximum.reduceat(padded_high, bounds)[::2]
            low[index] = np.minimum.reduceat(padded_low, bounds)[::2]
    return Extremes(np.maximum(1.0, high / price), np.minimum(1.0, low / price), real)


def _typical_move(price: Floats) -> Floats:
    """Root mean square of the last PROXY_WINDOW settlement moves, each settlement's own among them."""
    squares = np.diff(np.log(price), prepend=np.log(price[0])) ** 2
    sums = np.concatenate(([0.0], np.cumsum(squares)))
    count = np.minimum(np.arange(1, len(price) + 1), PROXY_WINDOW)
    ends = np.arange(1, len(price) + 1)
    found: Floats = np.sqrt((sums[ends] - sums[ends - count]) / count)
    return found
