"""The facade's middle: one core, its clock, limits and clients. Sockets and endpoints go through it.

Commands are handled at the market time of their arrival, after they are in the run's log. What follows from
them is pushed by `run` right after their answer was queued, in the core's order: order, execution, position,
wallet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio

from exchanges.bybit.urls import PAPER_END_TOPIC
from exchanges.paper.admission import refuse
from exchanges.paper.bybit import render_account
from exchanges.paper.bybit.clock import VenueClock
from exchanges.paper.bybit.command_log import CommandLog
from exchanges.paper.bybit.faults import FaultPlan
from exchanges.paper.bybit.feeds import BookFeed, Feed, open_feed
from exchanges.paper.bybit.limits import Limits
from exchanges.paper.bybit.session import Session
from exchanges.paper.bybit.wire import MS_NS, Row
from exchanges.paper.commands import Command, Reply
from exchanges.paper.core import VenueCore
from exchanges.paper.rows import (
    EndOfDataNotice,
    ExecutionNotice,
    Notice,
    OrderNotice,
    PositionNotice,
    WalletNotice,
)


@dataclass(frozen=True, slots=True)
class VenueKey:
    """The one API key of a paper venue."""

    api_key: str
    api_secret: str = field(repr=False)


class PaperVenue:
    """See the module."""

    def __init__(
        self,
        core: VenueCore,
        clock: VenueClock,
        key: VenueKey,
        *,
        latency_s: float = 0.0,
        push_every_s: float = 0.2,
        faults: FaultPlan | None = None,
        log: CommandLog | None = None,
    ) -> None:
        self.core = core
        self.clock = clock
        self.key = key
        self.latency_s = latency_s
        self.limits = Limits()
        self.faults = faults or FaultPlan()
        #: Where commands are kept before they are answered; None: nowhere.
        self.log = log
        self.public: set[Session] = set()
        self.private: set[Session] = set()
        self.trade: set[Session] = set()
        #: Counts changes of the account, for whoever stores them.
        self.version = 0
        self._push_every_s = push_every_s
        self._feeds: dict[tuple[str, str], Feed] = {}
        self._wake = anyio.Event()
        self._count = 0

    # --- for endpoints ------------------------------------------------------------------------------------

    def handle(self, command: Command) -> Reply:
        """Carry out one command now; its answer is good after a crash of the process, too."""
        # The machine's clock may step back, the core's does not: the log has the time that counts.
        at_ns = max(self.clock.market_ns(), self.core.now_ns)
        if self.log is None:
            reply = self.core.handle(command, at_ns)
        else:
            try:
                command = self.log.append(at_ns, command)
            except OSError as error:
                return refuse("10016", f"The paper venue cannot write its log: {error}")
            reply = self._logged(self.log, command, at_ns)
        self.version += 1
        self._wake.set()
        return reply

    def _logged(self, log: CommandLog, command: Command, at_ns: int) -> Reply:
        try:
            return self.core.handle(command, at_ns)
        except BaseException:
            log.take_back()
            raise

    def now(self) -> VenueCore:
        """The core, advanced to this moment."""
        self._tell(self.core.advance(self.clock.market_ns()))
        return self.core

    # --- feeds --------------------------------------------------------------------------------------------

    def subscribe(self, session: Session, topic: str) -> Row | None:
        """Join a public topic; its snapshot, or None when there is no such topic."""
        if topic == PAPER_END_TOPIC:
            session.topics.add(topic)
            return self._end_frame() if self.core.ended else {}
        key = (session.category, topic)
        feed = self._feeds.get(key) or open_feed(self.core, session.category, topic)
        if feed is None:
            return None
        self._feeds[key] = feed
        session.topics.add(topic)
        return feed.snapshot(self.core)

    def tear_book(self, category: str, symbol: str) -> None:
        """Operator: lose one update of a book."""
        for (found, topic), feed in self._feeds.items():
            if found == category and topic.endswith(f".{symbol}") and isinstance(feed, BookFeed):
                feed.skip()

    def _publish(self) -> None:
        wanted = {(session.category, topic) for session in self.public for topic in session.topics}
        now_s = anyio.current_time()
        for key, feed in list(self._feeds.items()):
            if key not in wanted:
                del self._feeds[key]
                continue
            frame = feed.delta(self.core, now_s)
            if frame is not None:
                self._broadcast(key, frame)

    def _broadcast(self, key: tuple[str, str], frame: Row) -> None:
        for session in self.public:
            if session.category == key[0] and key[1] in session.topics:
                session.push(frame)

    # --- notices ------------------------------------------------------------------------------------------

    def _tell(self, notices: tuple[Notice, ...]) -> None:
        for notice in notices:
            self.version += 1
            match notice:
                case OrderNotice():
                    self._push("order", notice.at_ns, render_account.order(notice.order, pushed=True))
                case ExecutionNotice():
                    row = render_account.execution(notice.execution, pushed=True)
                    self._push("execution", notice.at_ns, row)
                case PositionNotice():
                    row = render_account.position(self.core, notice.row, pushed=True)
                    self._push("position", notice.at_ns, row)
                case WalletNotice():
                    row = render_account.wallet(self.core, notice.coins, notice.figures)
                    self._push("wallet", notice.at_ns, row)
                case EndOfDataNotice():
                    for session in self.public:
                        if PAPER_END_TOPIC in session.topics:
                            session.push(self._end_frame())

    def _push(self, topic: str, at_ns: int, row: Row) -> None:
        self._count += 1
        frame: Row = {
            "id": f"{self.core.config.uid}_{topic}_{self._count}",
            "topic": topic,
            "creationTime": at_ns // MS_NS,
            "data": [row],
        }
        narrow = f"{topic}.{row.get('category', '')}"
        for session in self.private:
            if topic in session.topics:
                session.push(frame)
            elif narrow in session.topics:
                session.push(frame | {"topic": narrow})

    def _end_frame(self) -> Row:
        at = self.core.now_ns // MS_NS
        return {"topic": PAPER_END_TOPIC, "type": "snapshot", "ts": at, "data": {}}

    # --- running ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Let the market run and tell everybody, until cancelled."""
        published = 0.0
        while True:
            self._wake = anyio.Event()
            self.now()
            now_s = anyio.current_time()
            if now_s - published >= self._push_every_s:
                published = now_s
                self._publish()
            due = self.core.next_due()
            pause = published + self._push_every_s - now_s
            if due is not None:
                pause = min(pause, self.clock.wire_seconds_until(due))
            with anyio.move_on_after(max(pause, 0.001)):
                await self._wake.wait()

    def drop(self, which: str) -> int:
        """Operator: cut off every client of one kind of socket."""
        sessions: Mapping[str, set[Session]] = {
            "public": self.public,
            "private": self.private,
            "trade": self.trade,
        }
        dropped = list(sessions[which])
        for session in dropped:
            session.drop()
        return len(dropped)
