"""An order book and a ticker put together from a snapshot and deltas. Pure state, no I/O.

Invariants: a book is either complete or says that it is not; after a missed update it stays incomplete until
the next snapshot; deleting a level that is not there is nothing (the venue does that at the edge of depth).
"""

from collections.abc import Iterable
from decimal import Decimal

from exchanges.errors import unreadable
from exchanges.fields import Row, integer, mapping, table, text
from portfolio.core.decimals import parse
from portfolio.core.errors import NumberError
from portfolio.core.market import Level, Quote
from portfolio.core.names import InstrumentId


class Book:
    """One instrument's book of `orderbook.50`."""

    def __init__(self, name: InstrumentId) -> None:
        self.name = name
        self.complete = False
        self._update = 0
        self._bids: dict[Decimal, Level] = {}
        self._asks: dict[Decimal, Level] = {}

    def apply(self, frame: Row) -> bool:
        """Take in one frame; False when an update before it was missed (the book is then incomplete)."""
        data = mapping(frame, "data")
        update = integer(data, "u")
        if text(frame, "type") == "snapshot":
            self._bids.clear()
            self._asks.clear()
            self.complete = True
        elif not self.complete or update != self._update + 1:
            missed = self.complete
            self.complete = False
            return not missed
        _merge(self._bids, table(data, "b"))
        _merge(self._asks, table(data, "a"))
        self._update = update
        return True

    def quote(self, market_ns: int, wire_ns: int) -> Quote:
        """The book as a value, best first."""
        return Quote(
            self.name,
            bids=tuple(self._bids[price] for price in sorted(self._bids, reverse=True)),
            asks=tuple(self._asks[price] for price in sorted(self._asks)),
            event_market_ns=market_ns,
            seen_wire_ns=wire_ns,
        )


def _merge(side: dict[Decimal, Level], changes: Iterable[tuple[str, ...]]) -> None:
    for change in changes:
        try:
            price, quantity = (parse(part, "level") for part in change)
        except (ValueError, NumberError):
            raise unreadable("orderbook", "level", change) from None
        if quantity == 0:
            side.pop(price, None)
        else:
            side[price] = Level(price, quantity)


class MergedTicker:
    """One instrument's ticker: deltas carry only what changed and lie on the last snapshot."""

    def __init__(self) -> None:
        self.row: dict[str, object] = {}

    def apply(self, frame: Row) -> bool:
        """Take in one frame; False for a delta without a snapshot below it."""
        if text(frame, "type") == "snapshot":
            self.row = dict(mapping(frame, "data"))
            return True
        if not self.row:
            return False
        self.row.update(mapping(frame, "data"))
        return True
