"""Bookkeeper: listens to one venue account, keeps the view current and books what happened.

1. Each execution is booked exactly once, whether streamed, repeated, reordered or looked up, and belongs to
   the pair of its order; one without an order of ours is an orphan and freezes entries.
2. An order is closed when it is terminal *and* its booked fills add up to what the venue says it filled.
3. An unknown outcome is asked for by id until it is certain; orders that were planned before a crash are
   unknown. Until all of them are known, the worker lets no ENTRY pass.
4. After a gap the account is read anew, and fills and orders are asked for.
5. While the journal cannot commit, the view stays current and the news waits.
"""

from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal

import anyio
from anyio.abc import TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream

from portfolio.booking import Booked, News, book
from portfolio.core.entries import Entry, Noted
from portfolio.core.errors import Effect, UnknownNameError, VenueError
from portfolio.core.events import (
    BalanceUpdate,
    EndOfData,
    FillUpdate,
    OrderUpdate,
    PositionUpdate,
    RateLimitUpdate,
    Reset,
    VenueEvent,
)
from portfolio.core.limits import MINUTE_NS, SECOND_NS
from portfolio.core.names import ClientOrderId, Coin
from portfolio.core.orders import Fill, OrderState
from portfolio.lookup import Lookup
from portfolio.pollers import Pollers
from portfolio.ports import Clocks, Exchange, Journal, OrderRow
from portfolio.view import AccountView
from portfolio.worker import RebalanceWorker
from portfolio.writer import NotCommitted

#: How long after its terminal state an order's missing fills are asked for.
FILLS_LATE_NS = SECOND_NS // 2
#: An accepted order that the account's read does not show for so long is asked for.
QUIET_NS = 3 * SECOND_NS
SWEEP_EVERY_NS = 2 * SECOND_NS
RETRY_NS = SECOND_NS
#: One audit line per topic in this time: a dead venue must not fill the journal.
NOTE_EVERY_NS = MINUTE_NS
#: Fills may appear late: a read goes back this far behind the newest fill booked, market clock.
FILLS_OVERLAP_NS = MINUTE_NS


class Bookkeeper:
    """See the module. It shares the worker's board and writer."""

    def __init__(
        self, *, exchange: Exchange, worker: RebalanceWorker, view: AccountView, clocks: Clocks
    ) -> None:
        self._exchange = exchange
        self._worker = worker
        self._board = worker.board
        self._writer = worker.writer
        self._view = view
        self._clocks = clocks
        self._lookup = Lookup(
            exchange=exchange,
            writer=self._writer,
            board=self._board,
            clocks=clocks,
            book=self._book,
            note=self._note,
        )
        self._pollers = Pollers(
            exchange=exchange,
            writer=self._writer,
            view=view,
            clocks=clocks,
            account_events=lambda: self._account_events,
            note=self._note,
        )
        self._account_events = 0
        self._fills: list[Fill] = []
        self._states: dict[ClientOrderId, OrderState] = {}
        #: Terminal states that wait for fills.
        self._waiting: dict[ClientOrderId, OrderState] = {}
        self._news = anyio.Event()
        self._reset = anyio.Event()
        #: Market time from which fills are asked for after a gap.
        self._fills_since_ns = 0
        self._noted: dict[str, int] = {}
        self._ended = False

    @property
    def recovered(self) -> bool:
        """Whether every outcome of the time before is known."""
        return self._worker.recovered

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep the books until cancelled; ready once the account was read and the treasury loaded.

        Raises:
            VenueError: the venue's event stream ended.
            JournalError: the journal may not be written by us at all.
        """
        await self._load()
        async with self._exchange.events() as stream, anyio.create_task_group() as group:
            group.start_soon(self._consume, stream)
            group.start_soon(self._keep_books)
            group.start_soon(self._lookup.run)
            await self._reset.wait()
            for task in (self._pollers.tables, self._pollers.ledger, self._pollers.account):
                group.start_soon(task)
            group.start_soon(self._keep_in_step)
            group.start_soon(self._sweep)
            group.start_soon(self._writer.keep_settling)
            task_status.started()

    async def resolve(self, client_order_id: ClientOrderId) -> OrderRow:
        """Ask for an order at once, and return its row when its outcome is known.

        Raises:
            UnknownNameError: no such order was planned.
            JournalError: the journal cannot be read.
        """
        while True:
            news = self._board.watch(client_order_id)
            row = await self._writer.read(lambda journal: journal.order(client_order_id))
            if row is None:
                raise UnknownNameError(f"No order {client_order_id} was planned.", field="client_order_id")
            if row.state not in ("planned", "unknown"):
                return row
            if row.state == "unknown":
                self._lookup.ask(client_order_id)
            await news.wait()

    async def refresh(self) -> bool:
        """Read the account now; False when events overtook every try.

        Raises:
            VenueError: the venue could not be asked.
        """
        return await self._pollers.refresh_account()

    async def refresh_tables(self) -> None:
        """Read the risk tables now, not only in their turn.

        Raises:
            VenueError: the venue could not be asked.
        """
        await self._pollers.refresh_tables()

    def tables_soon(self) -> None:
        """See `Pollers.tables_soon`."""
        self._pollers.tables_soon()

    # --- listening ----------------------------------------------------------------------------------------

    async def _consume(self, stream: MemoryObjectReceiveStream[VenueEvent]) -> None:
        async for event in stream:
            self._take(event)
        if not self._ended:
            raise VenueError("The venue's event stream ended.", effect=Effect.NOT_SENT)

    def _take(self, event: VenueEvent) -> None:
        """Apply one event. Never waits: prices must not queue behind a commit."""
        if isinstance(event, OrderUpdate | FillUpdate | BalanceUpdate | PositionUpdate | Reset):
            self._account_events += 1
        self._view.apply(event)
        match event:
            case FillUpdate():
                self._fills.append(event.fill)
                self._news.set()
            case OrderUpdate():
                self._note_state(event.order)
            case RateLimitUpdate():
                self._worker.rate_limit(event)
            case Reset():
                self._reset.set()
            case EndOfData():
                self._ended = True

    def _note_state(self, order: OrderState) -> None:
        key = order.client_order_id
        if order.status.terminal:
            self._states[key] = order
            self._news.set()
        elif key in self._board.unknown_orders():
            self._states.setdefault(key, order)  # a late report never takes back that it is over
            self._news.set()
        elif order.filled == 0:
            self._board.visible(key)

    # --- booking ------------------------------------------------------------------------------------------

    async def _keep_books(self) -> None:
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            fills, states = tuple(self._fills), dict(self._states)
            self._fills, self._states = [], {}
            try:
                await self._book(News(fills=fills, states=states))
            except NotCommitted:
                self._fills[:0] = fills
                self._states = states | self._states
                self._news.set()
                await anyio.sleep(RETRY_NS / SECOND_NS)

    async def _book(self, news: News) -> Booked:
        """Journal news and tell everybody who waits for it."""
        states = dict(news.states)
        for key in {fill.client_order_id for fill in news.fills} & self._waiting.keys():
            states.setdefault(key, self._waiting[key])
        whole = News(news.fills, states, news.absent)

        def build(journal: Journal) -> tuple[list[Entry], Booked]:
            return book(journal, whole)

        booked = await self._writer.commit(build)
        for key in booked.short_of_fills:
            self._waiting[key] = states[key]
            self._lookup.ask(key, in_ns=FILLS_LATE_NS)
        for key in booked.settled:
            self._waiting.pop(key, None)
            self._lookup.forget(key)
            self._board.visible(key)
        for key in dict.fromkeys([*booked.known, *booked.settled]):
            self._board.resolve(key)
        if news.fills:
            newest = max(fill.event_market_ns for fill in news.fills)
            self._fills_since_ns = max(self._fills_since_ns, newest - FILLS_OVERLAP_NS)
        return booked

    # --- keeping in step ----------------------------------------------------------------------------------

    async def _load(self) -> None:
        """What the journal knows from before."""

        def read(journal: Journal) -> tuple[Mapping[Coin, Decimal], int | None]:
            newest = max((row.fill.event_market_ns for row in journal.fills()), default=None)
            return journal.treasury(), newest

        treasury, newest = await self._writer.read(read)
        self._view.set_treasury(treasury)
        # Whatever happened before a journal's first start is not ours; later, look back a little.
        now = self._clocks.market_ns()
        self._fills_since_ns = now if newest is None else newest - FILLS_OVERLAP_NS

    async def _keep_in_step(self) -> None:
        """Catch up now, which is the recovery, and after every full read that follows a gap."""
        await self._worker.ready.wait()
        while True:
            self._reset = reset = anyio.Event()
            try:
                await self._catch_up()
            except VenueError as error:
                await self._note("catch-up", str(error))
                await anyio.sleep(RETRY_NS / SECOND_NS)
                continue
            except NotCommitted:
                await anyio.sleep(RETRY_NS / SECOND_NS)
                continue
            if not self._worker.recovered:
                await self._all_known()
                self._worker.open_entries()
            await reset.wait()

    async def _catch_up(self) -> None:
        """Prices, fills and unsettled orders as the venue has them now.

        Raises:
            VenueError: the venue could not be asked.
            NotCommitted: the journal cannot take it.
        """
        self._view.load_market(await self._exchange.market())
        fills = await self._exchange.fills(max(0, self._fills_since_ns))
        await self._book(News(fills=fills))
        for row in await self._writer.read(lambda journal: journal.orders(unsettled_only=True)):
            if row.state == "accepted" and not await self._lookup.settle(row):
                self._lookup.ask(row.request.client_order_id, in_ns=FILLS_LATE_NS)

    async def _all_known(self) -> None:
        """Wait until every outcome that is unknown now is known."""
        for client_order_id in self._board.unknown_orders():
            news = self._board.watch(client_order_id)
            while client_order_id in self._board.unknown_orders():
                await news.wait()
                news = self._board.watch(client_order_id)

    async def _sweep(self) -> None:
        """Ask for accepted orders that fell silent: a lost event must not leave one open for ever."""
        while True:
            await anyio.sleep(SWEEP_EVERY_NS / SECOND_NS)
            try:
                rows = await self._writer.read(lambda journal: journal.orders(unsettled_only=True))
            except NotCommitted:
                continue
            snapshot = self._view.snapshot
            working = {order.client_order_id for order in snapshot.orders} if snapshot else set()
            quiet_since = self._clocks.wire_ns() - QUIET_NS
            for row in rows:
                silent = row.state == "accepted" and row.planned_wire_ns < quiet_since
                if silent and row.request.client_order_id not in working:
                    self._lookup.ask(row.request.client_order_id)

    async def _note(self, topic: str, text: str) -> None:
        """An audit line, at most one per topic and minute."""
        now = self._clocks.monotonic_ns()
        if now < self._noted.get(topic, now):
            return
        self._noted[topic] = now + NOTE_EVERY_NS
        with suppress(NotCommitted):
            await self._writer.append([Noted(topic, text)])
