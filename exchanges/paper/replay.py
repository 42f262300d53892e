"""What prices a paper venue replays, and the bundled hourly history as such a replay.

A replay is a pure function of (coin, market time). What the archive does not have is made, and named so here:

- the path inside an hour: straight lines open -> first extreme -> second extreme -> close, with the order of
  the two extremes and their times drawn from the seed (real: open, high, low, close of the perpetual);
- spot and mark inside an hour: the perpetual's path times a premium that moves in a straight line between the
  real premiums at the hourly closes (real: the closes);
- the predicted funding rate: the last settled rate blended into the coming settled one as the interval
  passes (real: the settled rates and their times).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import polars as pl

from exchanges.paper.config import HOUR_NS, MINUTE_NS
from exchanges.paper.seeded import fraction
from portfolio.core.decimals import ONE
from portfolio.core.errors import InputError, MissingDataError
from portfolio.core.names import Coin, Venue

_MS_NS = 1_000_000
#: Intervals that venues use; a longer distance between two rows is a hole in the archive.
_INTERVALS_MINUTES = (60, 120, 240, 480)
_RATE_STEP = Decimal("0.00000001")
#: Hours whose path is kept at hand.
_HOURS_CACHED = 4096


@dataclass(frozen=True, slots=True)
class FundingPoint:
    """One settlement of a perpetual: real rate at the symbol's own time. Positive: longs pay."""

    market_ns: int
    rate: Decimal
    interval_minutes: int


class Replay(Protocol):
    """Prices in quote per coin, unrounded, and settlements, as functions of market time."""

    @property
    def coins(self) -> tuple[Coin, ...]:
        """Coins that have a perpetual and a spot price."""
        ...

    @property
    def start_ns(self) -> int:
        """First moment with data."""
        ...

    @property
    def end_ns(self) -> int:
        """First moment without data."""
        ...

    def last(self, coin: Coin, at_ns: int) -> Decimal:
        """Last price of the perpetual."""
        ...

    def mark(self, coin: Coin, at_ns: int) -> Decimal:
        """Mark price of the perpetual."""
        ...

    def spot(self, coin: Coin, at_ns: int) -> Decimal:
        """Spot price, which is the index too."""
        ...

    def funding(self, coin: Coin) -> Sequence[FundingPoint]:
        """Settlements, ascending; those outside [start, end) too where known."""
        ...


def settlement_after(replay: Replay, coin: Coin, at_ns: int) -> FundingPoint | None:
    """The first settlement strictly after a moment; None when the data has no more."""
    points = replay.funding(coin)
    index = bisect_right(points, at_ns, key=lambda point: point.market_ns)
    return points[index] if index < len(points) else None


def predicted_rate(replay: Replay, coin: Coin, at_ns: int) -> Decimal | None:
    """MADE: the running estimate, from the last settled rate to the coming one; None without a coming one."""
    points = replay.funding(coin)
    index = bisect_right(points, at_ns, key=lambda point: point.market_ns)
    if index >= len(points):
        return None
    coming = points[index]
    if index == 0:
        return coming.rate
    settled = points[index - 1]
    passed = Decimal(at_ns - settled.market_ns) / (coming.market_ns - settled.market_ns)
    return (settled.rate + (coming.rate - settled.rate) * passed).quantize(_RATE_STEP)


def funding_between(replay: Replay, coin: Coin, since_ns: int, until_ns: int) -> Sequence[FundingPoint]:
    """Settlements with since <= time <= until."""
    points = replay.funding(coin)
    first = bisect_left(points, since_ns, key=lambda point: point.market_ns)
    last = bisect_right(points, until_ns, key=lambda point: point.market_ns)
    return points[first:last]


def parse_date(text: str, field: str = "from") -> int:
    """`2024-08-05` or `2024-08-05T12:00` (UTC) as market ns; `field` is the option that an error names.

    Raises:
        InputError: not such a text.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{text!r} is not a date.",
            field=field,
            allowed="YYYY-MM-DD or YYYY-MM-DDTHH:MM, UTC",
            next_step="Write it like 2024-03-01.",
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Series:
    """Hourly closes and candles of one coin as read: index 0 is the hour that opens at `first_ns`."""

    first_ns: int
    candles: tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]]
    mark_close: Sequence[float]
    spot_close: Sequence[float]
    funding: tuple[FundingPoint, ...]


@dataclass(frozen=True, slots=True)
class _Hour:
    """One hour of a coin: corner points of the perpetual's path and the premiums at both ends."""

    corners: tuple[tuple[int, Decimal], ...]
    mark_premium: tuple[Decimal, Decimal]
    spot_premium: tuple[Decimal, Decimal]


class ParquetReplay:
    """The bundled archive (or a folder with the same two files) for one venue.

    Args:
        venue: `bybit`, `binance` or `okx`.
        seed: draws what the archive does not have.
        folder: where `hourly.parquet` and `panel.parquet` are; None is the bundle.

    Raises:
        MissingDataError: the folder has no file, or no hour, for the venue.
    """

    def __init__(self, venue: Venue, *, seed: int, folder: Path | None = None) -> None:
        self._series = _load(venue, None if folder is None else str(folder))
        self._seed = seed
        self._hours: dict[tuple[Coin, int], _Hour] = {}
        self._start_ns = max(row.first_ns for row in self._series.values())
        self._end_ns = min(row.first_ns + len(row.mark_close) * HOUR_NS for row in self._series.values())

    @property
    def coins(self) -> tuple[Coin, ...]:
        """Coins with perpetual, spot and mark history."""
        return tuple(self._series)

    @property
    def start_ns(self) -> int:
        """Open of the first hour that every coin has."""
        return self._start_ns

    @property
    def end_ns(self) -> int:
        """End of the last hour that every coin has."""
        return self._end_ns

    def last(self, coin: Coin, at_ns: int) -> Decimal:
        """Real at the corners of an hour, made between them."""
        hour, offset = self._at(coin, at_ns)
        return _on_path(hour.corners, offset)

    def mark(self, coin: Coin, at_ns: int) -> Decimal:
        """Real at hourly closes, made between them."""
        hour, offset = self._at(coin, at_ns)
        return _on_path(hour.corners, offset) * (ONE + _between(hour.mark_premium, offset))

    def spot(self, coin: Coin, at_ns: int) -> Decimal:
        """Real at hourly closes, made between them."""
        hour, offset = self._at(coin, at_ns)
        return _on_path(hour.corners, offset) * (ONE + _between(hour.spot_premium, offset))

    def funding(self, coin: Coin) -> Sequence[FundingPoint]:
        """Real."""
        return self._series[coin].funding

    def _at(self, coin: Coin, at_ns: int) -> tuple[_Hour, int]:
        series = self._series.get(coin)
        if series is None:
            raise MissingDataError(f"The archive has no {coin}.", field="coin", allowed=", ".join(self.coins))
        index, offset = divmod(at_ns - series.first_ns, HOUR_NS)
        count = len(series.mark_close)
        if index == count and offset == 0:
            index, offset = count - 1, HOUR_NS
        if not 0 <= index < count:
            raise MissingDataError(f"The archive has no {coin} price at {at_ns} ns.", field="at_ns")
        hour = self._hours.get((coin, index))
        if hour is None:
            if len(self._hours) >= _HOURS_CACHED:
                self._hours.clear()
            hour = self._hours[(coin, index)] = _build_hour(series, coin, index, self._seed)
        return hour, offset


def _build_hour(series: _Series, coin: Coin, index: int, seed: int) -> _Hour:
    opened, high, low, close = (_number(column[index]) for column in series.candles)
    first_at = int((fraction(seed, "first", coin, index) * 35 + 10) * HOUR_NS / 100)
    second_at = int((fraction(seed, "second", coin, index) * 35 + 55) * HOUR_NS / 100)
    high_first = fraction(seed, "order", coin, index) < Decimal("0.5")
    first, second = (high, low) if high_first else (low, high)
    corners = ((0, opened), (first_at, first), (second_at, second), (HOUR_NS, close))
    before = max(index - 1, 0)
    close_before = _number(series.candles[3][before])
    return _Hour(
        corners,
        (
            _number(series.mark_close[before]) / close_before - ONE,
            _number(series.mark_close[index]) / close - ONE,
        ),
        (
            _number(series.spot_close[before]) / close_before - ONE,
            _number(series.spot_close[index]) / close - ONE,
        ),
    )


def _number(value: float) -> Decimal:
    """What the archive's source printed: ten significant digits drop the noise of binary fractions."""
    return Decimal(f"{value:.10g}")


def _on_path(corners: tuple[tuple[int, Decimal], ...], offset: int) -> Decimal:
    for (from_at, from_price), (to_at, to_price) in pairwise(corners):
        if offset <= to_at:
            return from_price + (to_price - from_price) * (offset - from_at) / (to_at - from_at)
    return corners[-1][1]


def _between(ends: tuple[Decimal, Decimal], offset: int) -> Decimal:
    return ends[0] + (ends[1] - ends[0]) * offset / HOUR_NS


@lru_cache(maxsize=4)
def _load(venue: Venue, folder: str | None) -> Mapping[Coin, _Series]:
    """Read both files once per process: reading takes tenths of a second, a simulation opens many venues."""
    root = Path(str(files("exchanges.data"))) if folder is None else Path(folder)
    for name in ("hourly.parquet", "panel.parquet"):
        if not (root / name).is_file():
            raise MissingDataError(
                f"{root / name} does not exist.",
                field="data",
                next_step="Give a folder with hourly.parquet and panel.parquet.",
            )
    try:
        series = _read_all(venue, root)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise MissingDataError(
            f"The market files in {root} cannot be read: {str(error).splitlines()[0]}.",
            field="data",
            next_step="Give Parquet files with the columns of the bundled ones.",
        ) from None
    if not series:
        raise MissingDataError(f"{root} has no hourly history of {venue}.", field="venue")
    return series


def _read_all(venue: Venue, root: Path) -> dict[Coin, _Series]:
    hourly = pl.read_parquet(root / "hourly.parquet").filter(pl.col("venue").cast(pl.String) == venue)
    panel = pl.read_parquet(root / "panel.parquet").filter(pl.col("venue").cast(pl.String) == venue)
    symbols = sorted(hourly["symbol"].cast(pl.String).unique().to_list())
    return {Coin(symbol.removesuffix("USDT")): _read_symbol(hourly, panel, symbol) for symbol in symbols}


def _read_symbol(hourly: pl.DataFrame, panel: pl.DataFrame, symbol: str) -> _Series:
    rows = hourly.filter(pl.col("symbol").cast(pl.String) == symbol).sort("time")
    perp, mark, spot = (
        rows.filter(pl.col("kind").cast(pl.String) == kind) for kind in ("perp", "mark", "spot")
    )
    joined = perp.join(mark.select("time", pl.col("close").alias("mark_close")), on="time").join(
        spot.select("time", pl.col("close").alias("spot_close")), on="time"
    )
    times = joined["time"].to_list()
    if not times or any(b - a != HOUR_NS // _MS_NS for a, b in pairwise(times)):
        raise MissingDataError(f"The hourly history of {symbol} is empty or has a hole.", field="data")
    funding = panel.filter(pl.col("symbol").cast(pl.String) == symbol).sort("time")
    return _Series(
        times[0] * _MS_NS,
        (
            joined["open"].to_list(),
            joined["high"].to_list(),
            joined["low"].to_list(),
            joined["close"].to_list(),
        ),
        joined["mark_close"].to_list(),
        joined["spot_close"].to_list(),
        _points(funding["time"].to_list(), funding["rate"].to_list()),
    )


def _points(times_ms: Sequence[int], rates: Sequence[float]) -> tuple[FundingPoint, ...]:
    """Each settlement's interval is its distance to the one before, or the last known one across a hole."""
    points: list[FundingPoint] = []
    interval = _INTERVALS_MINUTES[-1]
    for index, (time_ms, rate) in enumerate(zip(times_ms, rates, strict=True)):
        if index:
            distance = (time_ms - times_ms[index - 1]) * _MS_NS // MINUTE_NS
            interval = distance if distance in _INTERVALS_MINUTES else interval
        points.append(FundingPoint(time_ms * _MS_NS, _number(rate), interval))
    return tuple(points)
