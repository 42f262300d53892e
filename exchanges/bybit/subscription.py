"""One subscriber's events: sockets kept open, Gap when one is lost, Reset when all are whole again.

Rules: nothing but a Reset comes first; a Reset is a full read that began while every socket was up and ended
with none lost in between; fills that a private gap may have hidden are read again before its Reset (the
reader drops repeated ones by id).
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream

from exchanges.bybit.streams import MarketHandler
from exchanges.event_buffer import EventBuffer
from exchanges.stream import Handler, StreamOptions, keep_open
from portfolio.core.account import AccountSnapshot
from portfolio.core.errors import Effect, VenueError
from portfolio.core.events import BalanceUpdate, FillUpdate, Gap, Reset, VenueEvent
from portfolio.core.orders import Fill
from portfolio.ports import Clocks

_LOG = logging.getLogger("carrydesk.bybit")
#: Pause before a failed full read is tried again.
RESYNC_PAUSE_S = 0.5
#: Fills are read from this long before the gap began (market clock).
FILL_MARGIN_NS = 60 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Reads:
    """The REST reads that a subscription needs."""

    snapshot: Callable[[], Awaitable[AccountSnapshot]]
    fills: Callable[[int], Awaitable[tuple[Fill, ...]]]
    figures: Callable[[], Awaitable[BalanceUpdate]]


class Subscription:
    """The link that handlers report to, and the tasks that serve one reader."""

    def __init__(
        self, reads: Reads, clocks: Clocks, *, figures_every_s: float, options: StreamOptions | None = None
    ) -> None:
        self.buffer = EventBuffer(self._overflowed)
        self._reads = reads
        self._clocks = clocks
        self._figures_every_s = figures_every_s
        self._options = options
        self._handlers: dict[str, Handler] = {}
        self._urls: Mapping[str, str] = {}
        self._down: dict[str, str] = {}
        self._losses = 0
        self._wanted = anyio.Event()
        self._changed = anyio.Event()
        self._tasks: TaskGroup | None = None
        #: Market time at which the oldest unread private gap began; None when nothing can have been missed.
        self._hidden_since: int | None = None
        self._started = False

    # --- what handlers report -----------------------------------------------------------------------------

    def up(self, stream: str) -> None:
        """A socket is whole: read everything again."""
        self._down.pop(stream, None)
        self._wanted.set()
        self._wake()

    def down(self, stream: str, reason: str) -> None:
        """A socket is lost; only the first loss of a row is a Gap."""
        fresh = stream not in self._down
        self._down[stream] = reason
        self._wake()
        if not fresh:
            return
        self._losses += 1
        _LOG.warning("%s lost: %s", stream, reason)
        if stream == "private" and self._hidden_since is None:
            self._hidden_since = self._clocks.market_ns()
        self._gap(stream, reason)

    def missed(self, stream: str, topic: str) -> None:
        """One topic broke: subscribe again; its snapshot ends the gap."""
        self._losses += 1
        self._gap(stream, f"{topic} missed an update")
        handler = self._handlers[stream]
        if self._tasks is not None and isinstance(handler, MarketHandler):
            self._tasks.start_soon(self._resubscribe, handler, topic)

    def repaired(self, stream: str) -> None:
        """Every broken topic is whole: read everything again."""
        self._wanted.set()

    def _overflowed(self) -> None:
        self._hidden_since = self._hidden_since or self._clocks.market_ns()
        self._losses += 1
        self._wanted.set()
        self.buffer.put_account(Gap("private", "the reader is too slow", self._clocks.wire_ns()))

    def _gap(self, stream: str, reason: str) -> None:
        if self._started:
            self.buffer.put_account(Gap(stream, reason, self._clocks.wire_ns()))

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    # --- tasks --------------------------------------------------------------------------------------------

    async def start(
        self,
        tasks: TaskGroup,
        handlers: Mapping[str, Handler],
        urls: Mapping[str, str],
        out: MemoryObjectSendStream[VenueEvent],
        within_s: float,
    ) -> None:
        """Open every socket, read everything once, then serve `out` from `tasks`.

        Raises:
            VenueError: a socket could not be opened, or the account could not be read, in time.
        """
        self._tasks, self._handlers, self._urls = tasks, dict(handlers), urls
        self._down = dict.fromkeys(handlers, "not opened yet")
        for stream, handler in handlers.items():
            tasks.start_soon(self._keep, stream, handler)
        with anyio.move_on_after(within_s):
            while self._down:
                await self._changed.wait()
        if self._down:
            raise VenueError(
                f"Could not subscribe: {'; '.join(f'{name}: {why}' for name, why in self._down.items())}.",
                effect=Effect.NOT_SENT,
                venue_code="subscribe",
                next_step="Check the venue's address and the key.",
            )
        first = await self._reads.snapshot()
        self._wanted = anyio.Event()
        # What was pushed meanwhile follows it: at worst that repeats for a moment what the read has already.
        self.buffer.put_first(Reset(first, self._clocks.wire_ns()))
        self._started = True
        for stream, reason in self._down.items():
            self._gap(stream, reason)
        tasks.start_soon(self.buffer.pump, out)
        tasks.start_soon(self._resync)
        tasks.start_soon(self._poll)

    async def _keep(self, stream: str, handler: Handler) -> None:
        await keep_open(self._urls[stream], handler, what=f"{stream} socket", options=self._options)

    async def _resubscribe(self, handler: MarketHandler, topic: str) -> None:
        try:
            await handler.resubscribe(topic)
        except VenueError as error:
            _LOG.info("%s: %s", topic, error.message)  # the reconnect that follows repairs it

    async def _resync(self) -> None:
        while True:
            await self._wanted.wait()
            while self._down:
                await self._changed.wait()
            self._wanted = anyio.Event()
            losses, since = self._losses, self._hidden_since
            try:
                hidden = () if since is None else await self._reads.fills(since - FILL_MARGIN_NS)
                snapshot = await self._reads.snapshot()
            except VenueError as error:
                _LOG.warning("reading the account again failed: %s", error.message)
                self._wanted.set()
                await anyio.sleep(RESYNC_PAUSE_S)
                continue
            if self._losses != losses:
                self._wanted.set()
                continue
            self._hidden_since = None
            seen = self._clocks.wire_ns()
            for fill in hidden:
                self.buffer.put_account(FillUpdate(fill, seen))
            self.buffer.put_account(Reset(snapshot, seen))

    async def _poll(self) -> None:
        """Read balances and the venue's own figures: they move with prices, which no push tells."""
        while True:
            await anyio.sleep(self._figures_every_s)
            if "private" in self._down:
                continue
            try:
                update = await self._reads.figures()
            except VenueError as error:
                _LOG.info("reading figures failed: %s", error.message)
                continue
            self.buffer.put_account(update)
