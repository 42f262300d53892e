"""Public feeds: what was last shown of each book and ticker, and the deltas from it."""

from collections.abc import Mapping

from exchanges.paper.bybit import render_market
from exchanges.paper.bybit.wire import MS_NS, Row, kind_of
from exchanges.paper.core import VenueCore
from portfolio.core.errors import UnknownNameError
from portfolio.core.instrument import InstrumentKind, instrument_id
from portfolio.core.market import Level
from portfolio.core.names import Venue

DEPTHS = (1, 50, 200, 1000)
_BYBIT = Venue("bybit")
#: A feed without a change repeats itself after this long (wire), so that clients see that it lives.
QUIET_MAX_S = 1.0


class BookFeed:
    """One book at one depth. Updates are numbered without a hole, as the venue's are."""

    def __init__(self, kind: InstrumentKind, symbol: str, depth: int) -> None:
        self.topic = f"orderbook.{depth}.{symbol}"
        self._symbol = symbol
        self._depth = depth
        self._name = instrument_id(_BYBIT, kind, symbol)
        self._update = 0
        self._sides: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self._told_s = 0.0

    def snapshot(self, core: VenueCore) -> Row:
        """What the last update left; deltas continue from it."""
        if self._update == 0:
            self._sides = self._read(core)
            self._update = 1
        return self._frame(core, "snapshot", [list(map(list, side.items())) for side in self._sides])

    def delta(self, core: VenueCore, now_s: float) -> Row | None:
        """What changed since; None while nothing did. Depth 1 knows snapshots only."""
        sides = self._read(core)
        changes = [_changes(old, new) for old, new in zip(self._sides, sides, strict=True)]
        if not any(changes) and now_s - self._told_s < QUIET_MAX_S:
            return None
        self._told_s = now_s
        self._sides = sides
        self._update += 1
        if self._depth == 1:
            return self._frame(core, "snapshot", [list(map(list, side.items())) for side in sides])
        return self._frame(core, "delta", changes)

    def skip(self) -> None:
        """Operator: lose one update, so that clients see a hole."""
        self._update += 1

    def _read(self, core: VenueCore) -> tuple[dict[str, str], dict[str, str]]:
        book = core.book(self._name, self._depth)
        return _texts(book.bids), _texts(book.asks)

    def _frame(self, core: VenueCore, kind: str, sides: list[list[list[str]]]) -> Row:
        at = core.now_ns // MS_NS
        data = {"s": self._symbol, "b": sides[0], "a": sides[1], "u": self._update, "seq": self._update}
        return {"topic": self.topic, "type": kind, "ts": at, "data": data, "cts": at}


def _texts(side: tuple[Level, ...]) -> dict[str, str]:
    return {level[0]: level[1] for level in render_market.levels(side)}


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[list[str]]:
    gone = [[price, "0"] for price in old if price not in new]
    return gone + [[price, quantity] for price, quantity in new.items() if old.get(price) != quantity]


class TickerFeed:
    """One ticker: linear sends a snapshot and then what changed, spot always the whole row."""

    def __init__(self, kind: InstrumentKind, symbol: str) -> None:
        self.topic = f"tickers.{symbol}"
        self._kind = kind
        self._name = instrument_id(_BYBIT, kind, symbol)
        self._row: Row = {}
        self._told_s = 0.0
        self._count = 0

    def snapshot(self, core: VenueCore) -> Row:
        """The whole row."""
        if not self._row:
            self._row = self._read(core)
        return self._frame(core, "snapshot", self._row)

    def delta(self, core: VenueCore, now_s: float) -> Row | None:
        """What changed since; None while nothing did."""
        row = self._read(core)
        changed = {name: value for name, value in row.items() if self._row.get(name) != value}
        if not changed and now_s - self._told_s < QUIET_MAX_S:
            return None
        self._told_s, self._row = now_s, row
        if self._kind is InstrumentKind.SPOT:
            return self._frame(core, "snapshot", row)
        return self._frame(core, "delta", {"symbol": row["symbol"]} | changed)

    def _read(self, core: VenueCore) -> Row:
        return render_market.pushed_ticker(core.listing(self._name).instrument, core.ticker(self._name))

    def _frame(self, core: VenueCore, kind: str, data: Row) -> Row:
        self._count += 1
        return {
            "topic": self.topic,
            "type": kind,
            "data": data,
            "cs": self._count,
            "ts": core.now_ns // MS_NS,
        }


Feed = BookFeed | TickerFeed


def open_feed(core: VenueCore, category: str, topic: str) -> Feed | None:
    """The feed of a topic; None when there is no such topic here."""
    head, _, symbol = topic.rpartition(".")
    kind = kind_of(category)
    try:
        core.listing(instrument_id(_BYBIT, kind, symbol))
    except UnknownNameError:
        return None
    if head == "tickers":
        return TickerFeed(kind, symbol)
    word, _, depth = head.partition(".")
    if word == "orderbook" and depth in map(str, DEPTHS):
        return BookFeed(kind, symbol, int(depth))
    return None
