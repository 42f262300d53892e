"""Market history of a folder as arrays: settlements and prices of every pair.

A folder holds `panel.parquet`: one row per funding settlement with `venue, symbol, time` (ms, UTC), `rate`
(a fraction of notional, positive: longs pay) and `perp_px, mark_px, spot_px` in quote. Rows may come in any
order. Intervals are never assumed: they follow from the times. What is not there is never made 0:

- a mark price that is missing is the perpetual's price, and the other way round;
- a settlement without a price keeps the last known one for at most a day;
- a pair starts at its first settlement with both prices, and ends at its last one.

Rows of a venue without a margin rule, or of a symbol in another quote, are left out and a note says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from portfolio.core.carry import DAY_NS, CarrySeries, Floats, Ints, series_of
from portfolio.core.errors import InputError, MissingDataError, UnknownNameError
from portfolio.core.names import Coin, PairId, Venue

PANEL = "panel.parquet"
COLUMNS = ("venue", "symbol", "time", "rate", "perp_px", "mark_px", "spot_px")
_PRICES = ("perp_px", "mark_px", "spot_px")
QUOTE = "USDT"
MS_NS = 1_000_000
#: Milliseconds of 2010 and 2100: anything else is another unit.
_TIME_MIN, _TIME_MAX = 1_262_304_000_000, 4_102_444_800_000
#: No venue's funding was ever near it: a larger rate is in percent or bps.
_RATE_MAX = 0.5
#: A price is carried over settlements that lack one for at most this long.
PRICE_AGE_MAX_NS = DAY_NS


@dataclass(frozen=True, slots=True)
class PairHistory:
    """One pair: long spot, short the perpetual; arrays of its own settlements, shape (n,), n >= 2."""

    pair_id: PairId
    venue: Venue
    coin: Coin
    times_ns: Ints
    #: Fraction of notional, positive: the pair receives.
    rate: Floats
    perpetual: Floats
    mark: Floats
    spot: Floats

    def series(self) -> CarrySeries:
        """The carry series that scores read, over the whole history."""
        return series_of(self.times_ns, self.rate, self.perpetual, self.spot, short_perpetual=True)


@dataclass(frozen=True, slots=True)
class History:
    """Every pair of a folder, by pair id in order, and what had to be said while reading it."""

    source: str
    pairs: Mapping[PairId, PairHistory]
    notes: tuple[str, ...]

    @property
    def venues(self) -> tuple[Venue, ...]:
        """In alphabetical order."""
        return tuple(sorted({row.venue for row in self.pairs.values()}))

    def of(self, venue: Venue) -> "History":
        """The pairs of one venue.

        Raises:
            UnknownNameError: it has none.
        """
        pairs = {key: row for key, row in self.pairs.items() if row.venue == venue}
        if not pairs:
            raise UnknownNameError(
                f"{self.source} has no pair of {venue!r}.", field="venue", allowed=", ".join(self.venues)
            )
        return History(self.source, pairs, self.notes)


def read_history(folder: Path, source: str, venues: Sequence[Venue]) -> History:
    """Read and check a folder.

    Args:
        folder: Where `panel.parquet` is.
        source: How notices name it.
        venues: Venues that an account rule stands for; rows of others are left out, with a note.

    Raises:
        MissingDataError: no such file, or no pair with prices in it.
        InputError: a column is absent or of another kind, or a row holds what it cannot.
    """
    path = folder / PANEL
    if not path.is_file():
        raise MissingDataError(
            f"{path} does not exist.", field="data", next_step="Give a folder with a panel.parquet."
        )
    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path} is not a readable Parquet file: {error}.", field="data") from error
    frame = _typed(frame, path)
    notes: list[str] = []
    frame = _ours(frame, path, venues, notes)
    _check(frame, path)
    frame = _unique(frame, path, notes)
    pairs: dict[PairId, PairHistory] = {}
    for (venue, symbol), rows in sorted(frame.group_by("venue", "symbol"), key=lambda item: str(item[0])):
        pair = _pair(Venue(str(venue)), str(symbol), rows, notes)
        if pair is not None:
            pairs[pair.pair_id] = pair
    if not pairs:
        raise MissingDataError(f"{path} has no pair with rates and both prices.", field="data")
    return History(source, dict(sorted(pairs.items())), tuple(notes))


def _typed(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """The columns that are read, of one kind each, with the row numbers of the file."""
    absent = [name for name in COLUMNS if name not in frame.columns]
    if absent:
        raise InputError(f"{path} has no column {absent[0]!r}.", field=absent[0], allowed=", ".join(COLUMNS))
    found = frame.select(COLUMNS).with_row_index("row")
    for name in ("rate", *_PRICES):
        if not found.schema[name].is_numeric():
            raise InputError(f"{path}: column {name!r} holds {found.schema[name]}, not numbers.", field=name)
    if not found.schema["time"].is_integer():
        raise InputError(
            f"{path}: column 'time' holds {found.schema['time']}, not whole milliseconds.", field="time"
        )
    return found.with_columns(
        pl.col("venue", "symbol").cast(pl.String),
        pl.col("rate", *_PRICES).cast(pl.Float64),
    ).with_columns(pl.col(_PRICES).fill_nan(None))


def _ours(frame: pl.DataFrame, path: Path, venues: Sequence[Venue], notes: list[str]) -> pl.DataFrame:
    """The rows that an account can trade; what is left out is told.

    Raises:
        InputError: a row without a venue or a symbol, or none that an account can trade.
    """
    for name in ("venue", "symbol"):
        rows = frame.filter(pl.col(name).is_null())
        if not rows.is_empty():
            raise InputError(f"{path}, row {rows['row'][0]}, column {name!r} is empty.", field=name)
    wanted = {
        "venue": (pl.col("venue").is_in(list(venues)), ", ".join(venues), "no margin rule stands for it"),
        "symbol": (pl.col("symbol").str.ends_with(QUOTE), f"a symbol in {QUOTE}", f"it is not in {QUOTE}"),
    }
    found = frame
    for name, (good, allowed, why) in wanted.items():
        out = found.filter(~good)
        found = found.filter(good)
        if found.is_empty() and not out.is_empty():
            first = out.row(0, named=True)
            raise InputError(
                f"{path}, row {first['row']}, column {name!r}: {first[name]!r} cannot be used ({why}), "
                "nor any other row.",
                field=name,
                allowed=allowed,
            )
        for value, count in sorted(out.group_by(name).len().rows()):
            notes.append(f"{name} {value}: {count} rows are left out, {why}.")
    return found


def _check(frame: pl.DataFrame, path: Path) -> None:
    """Refuse the first row that holds what it cannot, by file, row and column."""
    wrong = {
        "time": ~pl.col("time").is_between(_TIME_MIN, _TIME_MAX) | pl.col("time").is_null(),
        "rate": ~pl.col("rate").is_between(-_RATE_MAX, _RATE_MAX)
        | pl.col("rate").is_null()
        | pl.col("rate").is_nan(),
        **{name: ~((pl.col(name) > 0) & pl.col(name).is_finite()) for name in _PRICES},
    }
    allowed = {
        "time": "milliseconds since 1970, UTC",
        "rate": f"a fraction of notional within +-{_RATE_MAX:g}",
        **dict.fromkeys(_PRICES, "a finite price above zero, or none"),
    }
    for name, expression in wrong.items():
        rows = frame.filter(expression.fill_null(value=False))
        if not rows.is_empty():
            first = rows.row(0, named=True)
            raise InputError(
                f"{path}, row {first['row']}, column {name!r}: {first[name]!r} cannot be.",
                field=name,
                allowed=allowed[name],
            )


def _unique(frame: pl.DataFrame, path: Path, notes: list[str]) -> pl.DataFrame:
    """Sorted rows, each settlement once: equal rows are one, rows that differ are an error."""
    keys = ["venue", "symbol", "time"]
    plain = frame.unique(subset=[*keys, "rate", *_PRICES], keep="first", maintain_order=True)
    if len(plain) < len(frame):
        notes.append(f"{len(frame) - len(plain)} rows are repeated and count once.")
    twice = plain.filter(pl.struct(keys).is_duplicated()).sort(*keys, "row")
    if not twice.is_empty():
        first = twice.row(1, named=True)
        raise InputError(
            f"{path}, row {first['row']}, column 'time': {first['symbol']} of {first['venue']} has two "
            f"different settlements at {first['time']}.",
            field="time",
        )
    ordered = plain.sort(*keys)
    if not ordered["row"].equals(plain["row"]) and not _grouped(plain):
        notes.append("Rows are not in order of time and were sorted.")
    return ordered


def _grouped(frame: pl.DataFrame) -> bool:
    """Whether times ascend within each symbol already."""
    steps = frame.select((pl.col("time").diff().over("venue", "symbol") < 0).any())
    return not bool(steps.item())


def _pair(venue: Venue, symbol: str, rows: pl.DataFrame, notes: list[str]) -> PairHistory | None:
    """One symbol from its sorted rows; None when it has no two settlements with both prices."""
    coin = Coin(symbol.removesuffix(QUOTE))
    pair_id = PairId(f"{coin}@{venue}")
    times = rows["time"].to_numpy().astype(np.int64) * MS_NS
    spot = _carried(rows["spot_px"].to_numpy(), times)
    perpetual = _carried(_either(rows, "perp_px", "mark_px"), times)
    mark = _carried(_either(rows, "mark_px", "perp_px"), times)
    known = np.isfinite(spot) & np.isfinite(perpetual) & np.isfinite(mark)
    lacking = int(np.count_nonzero(rows["spot_px"].is_null().to_numpy() | ~np.isfinite(perpetual)))
    if np.count_nonzero(known) < 2:
        notes.append(f"{pair_id} has no two settlements with both prices and is left out.")
        return None
    first = int(np.argmax(known))
    kept = known[first:]
    if not kept.all():
        dropped = int(np.count_nonzero(~kept))
        notes.append(f"{pair_id}: {dropped} settlements lack a price for over a day and are left out.")
    elif lacking > first:
        notes.append(f"{pair_id}: {lacking - first} settlements without a price keep the last one.")
    chosen = np.flatnonzero(known)
    return PairHistory(
        pair_id=pair_id,
        venue=venue,
        coin=coin,
        times_ns=times[chosen],
        rate=rows["rate"].to_numpy()[chosen],
        perpetual=perpetual[chosen],
        mark=mark[chosen],
        spot=spot[chosen],
    )


def _either(rows: pl.DataFrame, first: str, second: str) -> Floats:
    """One price, or the other where it is missing; NaN where both are."""
    found: Floats = rows.select(pl.coalesce(first, second)).to_series().cast(pl.Float64).to_numpy()
    return found


def _carried(prices: Floats, times_ns: Ints) -> Floats:
    """The last known price, at most a day old; NaN before the first one and when it is older."""
    values = np.asarray(prices, dtype=np.float64)
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(values), np.nan)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    found = values[np.maximum(last, 0)]
    age = times_ns - times_ns[np.maximum(last, 0)]
    return np.where((last >= 0) & (age <= PRICE_AGE_MAX_NS), found, np.nan)
