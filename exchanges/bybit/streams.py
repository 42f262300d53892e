"""The websockets of one subscription: public linear, public spot, private; frames in, events out.

Each handler tells `link` when it is up, lost or missed something. The subscription (in `subscription`) turns
that into Gap and Reset.
"""

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Protocol

from exchanges.bybit.book import Book, MergedTicker
from exchanges.bybit.client import BybitClient
from exchanges.bybit.parse import Stamp, quote_coin_price, ticker_coin, ticker_funding, ticker_mark
from exchanges.bybit.parse_stream import PRIVATE_TOPICS, accepted, private_events, subscription
from exchanges.bybit.sign import ApiKey, socket_auth
from exchanges.bybit.symbols import to_id
from exchanges.bybit.trade import AUTH_WITHIN_MS
from exchanges.event_buffer import EventBuffer
from exchanges.fields import Row, decimal, integer
from exchanges.stream import Connection
from portfolio.core.decimals import ZERO
from portfolio.core.errors import Effect, VenueError
from portfolio.core.events import EndOfData
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import Coin
from portfolio.ports import Clocks

MS_NS = 1_000_000
#: Spot takes at most ten topics per request; the others are asked the same way.
TOPICS_PER_REQUEST = 10
#: Coin whose spot and perpetual tickers give the USD price of USDT.
REFERENCE = Coin("BTC")


class Link(Protocol):
    """Where a handler reports."""

    def up(self, stream: str) -> None:
        """Logged in and subscribed."""
        ...

    def down(self, stream: str, reason: str) -> None:
        """The connection is lost (also reported for every failed attempt)."""
        ...

    def missed(self, stream: str, topic: str) -> None:
        """An update of one topic was missed: subscribe to it again."""
        ...

    def repaired(self, stream: str) -> None:
        """Every missed topic is whole again."""
        ...


async def subscribe(connection: Connection, topics: Sequence[str], spare: "list[Row]") -> None:
    """Subscribe and wait for every yes; data that comes meanwhile goes to `spare`.

    Raises:
        VenueError: the venue said no, or the connection broke.
    """
    for start in range(0, len(topics), TOPICS_PER_REQUEST):
        name = f"s{start}"
        await connection.send(subscription(name, topics[start : start + TOPICS_PER_REQUEST]))
        while True:
            frame = await connection.receive()
            if frame.get("op") == "subscribe" and frame.get("req_id") == name:
                break
            spare.append(frame)
        if not accepted(frame):
            raise VenueError(
                f'subscribe: the venue answered "{str(frame.get("ret_msg"))[:200]}".',
                effect=Effect.REJECTED,
                venue_code="subscribe",
            )


class CoinRates:
    """USD prices of coins, with USDT worked out from the reference coin's two tickers."""

    def __init__(self, buffer: EventBuffer) -> None:
        self._buffer = buffer
        self._usd = ZERO
        self._index = ZERO

    def spot(self, coin: Coin, row: Row, at: Stamp) -> None:
        """Take in a spot ticker of `coin`."""
        price = ticker_coin(coin, row, at)
        if price is None:
            return
        self._buffer.put_price(("coin", coin), lambda: price)
        if coin == REFERENCE:
            self._usd = price.usd
            self._quote_coin(at)

    def perpetual(self, coin: Coin, row: Row, at: Stamp) -> None:
        """Take in a perpetual's merged ticker of `coin`."""
        if coin == REFERENCE:
            self._index = decimal(row, "indexPrice")
            self._quote_coin(at)

    def _quote_coin(self, at: Stamp) -> None:
        if self._usd and self._index:
            price = quote_coin_price(self._usd, self._index, at)
            self._buffer.put_price(("coin", price.coin), lambda: price)


class MarketHandler:
    """One public socket: books of what is traded, tickers of that and of what only has to be valued."""

    def __init__(
        self,
        kind: InstrumentKind,
        books: Iterable[str],
        tickers: "dict[str, Coin]",
        end_topic: str,
        *,
        buffer: EventBuffer,
        rates: CoinRates,
        link: Link,
        clocks: Clocks,
    ) -> None:
        self.stream = f"public.{kind.value}"
        self._kind = kind
        self._coins = tickers
        self._books = {symbol: Book(to_id(kind.value, symbol)) for symbol in books}
        self._tickers = {symbol: MergedTicker() for symbol in tickers}
        self._end_topic = end_topic
        self._buffer = buffer
        self._rates = rates
        self._link = link
        self._clocks = clocks
        self._connection: Connection | None = None
        self._broken: set[str] = set()
        self._numbers = count(1)

    @property
    def topics(self) -> list[str]:
        """Everything subscribed to."""
        books = [f"orderbook.50.{symbol}" for symbol in self._books]
        return (
            books
            + [f"tickers.{symbol}" for symbol in self._tickers]
            + [self._end_topic] * bool(self._end_topic)
        )

    async def greet(self, connection: Connection) -> None:
        """Subscribe; snapshots may come before the venue's yes."""
        for symbol in self._books:
            self._books[symbol] = Book(self._books[symbol].name)
        self._tickers = {symbol: MergedTicker() for symbol in self._tickers}
        self._broken.clear()
        early: list[Row] = []
        await subscribe(connection, self.topics, early)
        self._connection = connection
        for frame in early:
            self.take(frame)
        self._link.up(self.stream)

    def take(self, frame: Row) -> None:
        """Handle one frame; what is not data (pong, late answers) is skipped."""
        topic = frame.get("topic")
        if not isinstance(topic, str):
            return
        seen = self._clocks.wire_ns()
        at = Stamp(integer(frame, "ts") * MS_NS, seen)
        head, _, symbol = topic.rpartition(".")
        if topic == self._end_topic:
            self._buffer.put_account(EndOfData(at.market_ns, seen))
        elif head == "orderbook.50" and symbol in self._books:
            self._book(symbol, frame, at)
        elif head == "tickers" and symbol in self._tickers:
            self._ticker(symbol, frame, at)

    def lost(self, reason: str) -> None:
        """Report it."""
        self._connection = None
        self._link.down(self.stream, reason)

    async def resubscribe(self, topic: str) -> None:
        """Leave a topic and join it again, which brings a snapshot; a broken connection does the same."""
        connection = self._connection
        if connection is None:
            return
        for op in ("unsubscribe", "subscribe"):
            await connection.send(subscription(f"again{next(self._numbers)}", [topic], op))

    def _book(self, symbol: str, frame: Row, at: Stamp) -> None:
        book = self._books[symbol]
        if not book.apply(frame):
            self._broken.add(symbol)
            self._link.missed(self.stream, f"orderbook.50.{symbol}")
        elif book.complete:
            self._buffer.put_price(("book", book.name), lambda: book.quote(at.market_ns, at.wire_ns))
            if symbol in self._broken:
                self._broken.discard(symbol)
                if not self._broken:
                    self._link.repaired(self.stream)

    def _ticker(self, symbol: str, frame: Row, at: Stamp) -> None:
        ticker = self._tickers[symbol]
        if not ticker.apply(frame):
            return
        row, coin = ticker.row, self._coins[symbol]
        if self._kind is InstrumentKind.SPOT:
            self._rates.spot(coin, row, at)
            return
        name = to_id(self._kind.value, symbol)
        mark = ticker_mark(name, row, at)
        self._buffer.put_price(("mark", name), lambda: mark)
        funding = ticker_funding(name, row, at)
        if funding is not None:
            self._buffer.put_price(("funding", name), lambda: funding)
        self._rates.perpetual(coin, row, at)


class PrivateHandler:
    """The private socket: orders, executions, positions, wallet."""

    stream = "private"

    def __init__(
        self, key: ApiKey, client: BybitClient, *, buffer: EventBuffer, link: Link, clocks: Clocks
    ) -> None:
        self._key = key
        self._client = client
        self._buffer = buffer
        self._link = link
        self._clocks = clocks

    async def greet(self, connection: Connection) -> None:
        """Log in and subscribe."""
        await connection.send(socket_auth(self._key, expires_ms=self._client.stamp_ms() + AUTH_WITHIN_MS))
        while True:
            frame = await connection.receive()
            if frame.get("op") == "auth":
                break
        if not accepted(frame):
            raise VenueError(
                f'private socket login: the venue answered "{str(frame.get("ret_msg"))[:200]}".',
                effect=Effect.REJECTED,
                venue_code="login",
            )
        early: list[Row] = []
        await subscribe(connection, PRIVATE_TOPICS, early)
        for frame in early:
            self.take(frame)
        self._link.up(self.stream)

    def take(self, frame: Row) -> None:
        """Handle one frame; answers and pongs are skipped."""
        if isinstance(frame.get("topic"), str):
            for event in private_events(frame, self._clocks.wire_ns()):
                self._buffer.put_account(event)

    def lost(self, reason: str) -> None:
        """Report it."""
        self._link.down(self.stream, reason)
