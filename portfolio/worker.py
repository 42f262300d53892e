"""RebalanceWorker: the only writer to a venue.

1. Journal first: an order is on disk, with its deadline, before the wire sees it; one commit per batch.
2. An id is sent at most once, whatever crashes, repeats or times out; what may have happened is Unknown.
3. Cancel > Guard > De-risk > Exit > Entry. Entries, and exits that can wait, never draw the reserve of a
   limit. At the last moment before the write-ahead entries are looked at by the guard's veto and by
   `Preflight`, and whatever is not the guard's own is refused on a pair that the guard took meanwhile.
4. From the moment a batch leaves its queue this worker's own task finishes it: a caller that stops waiting,
   or a stop of the worker itself, loses no outcome. Every wait in there has a limit.
5. While the journal cannot commit, nothing goes but what the guard asks for and cannot add risk, recorded
   in the emergency file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup, TaskStatus

from portfolio.board import OrderBoard
from portfolio.core.digest import intent_digest
from portfolio.core.entries import OrderPlanned
from portfolio.core.errors import InputError, UnknownNameError
from portfolio.core.events import RateLimitUpdate
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.limits import SECOND_NS, Freshness, TradeLimits
from portfolio.core.names import AccountId, ClientOrderId, Coin, InstrumentId, PairId
from portfolio.core.orders import CancelRequest, NotSent, OrderRequest, Outcome, Priority
from portfolio.core.pairs import PairSpec
from portfolio.lanes import Batch, Job, Lane, Lanes, R, Rank, rank_of
from portfolio.ports import ApprovalVerifier, Clocks, EmergencyLog, Exchange, Journal, OrderRow, Runner
from portfolio.preflight import Preflight
from portfolio.sender import EntryVeto, Sender, Turn
from portfolio.view import AccountView
from portfolio.writer import JournalWriter

__all__ = ["SETTLED_STATES", "EntryVeto", "OrderResult", "RebalanceWorker"]

#: Journal states in which nothing more can happen to an order.
SETTLED_STATES = frozenset({"rejected", "not_sent", "absent", "closed"})
#: Shortest sleep for a limit: smaller steps would vanish in the float seconds of the event loop.
_SLEEP_MIN_NS = 1_000_000
#: Orders planned so long before a start may still count in a window of the venue: a deadline, then a window.
_RECENT_NS = 3 * SECOND_NS
_RECENT_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class OrderResult:
    """What became of one request."""

    request: OrderRequest
    outcome: Outcome


class RebalanceWorker:
    """See the module."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        journal: Journal,
        runner: Runner,
        clocks: Clocks,
        instruments: Mapping[InstrumentId, Instrument],
        view: AccountView,
        veto: EntryVeto | None,
        verifier: ApprovalVerifier,
        account: AccountId,
        mode: str,
        pairs: Mapping[PairId, PairSpec],
        limits: TradeLimits,
        emergency: EmergencyLog | None = None,
        freshness: Freshness | None = None,
    ) -> None:
        self.board = OrderBoard()
        self.writer = JournalWriter(journal=journal, runner=runner, clocks=clocks, emergency=emergency)
        self._clocks = clocks
        self._instruments = instruments
        self._view = view
        self._lanes = Lanes(exchange.traits, limits.bucket_reserve)
        preflight = Preflight(
            account=account,
            mode=mode,
            instruments=instruments,
            pairs=pairs,
            traits=exchange.traits,
            verifier=verifier,
            digest_of=intent_digest,
        )
        self._sender = Sender(
            exchange=exchange,
            writer=self.writer,
            board=self.board,
            clocks=clocks,
            view=view,
            preflight=preflight,
            freshness=freshness or Freshness(),
        )
        self._sender.veto = veto
        #: Set once orders of the time before are known to be unknown.
        self.ready = anyio.Event()
        self._opened = anyio.Event()
        self._wake = anyio.Event()
        self._group: TaskGroup | None = None

    # --- for callers --------------------------------------------------------------------------------------

    async def submit(self, orders: Sequence[OrderRequest], priority: Priority) -> tuple[OrderResult, ...]:
        """Send each order once and return when each has an answer, in the order given.

        A caller that is cancelled here withdraws what is still queued; what left the queue is finished.

        Raises:
            InputError: an order that no venue could take; then none was sent.
        """
        lanes = [self._lanes.place[self._checked(order)] for order in orders]
        now = self._clocks.wire_ns()
        jobs = [Job(order, rank_of(order, priority), anyio.Event(), now) for order in orders]
        outcomes = await self._serve(jobs, lanes)
        return tuple(OrderResult(order, one) for order, one in zip(orders, outcomes, strict=True))

    async def cancel(self, orders: Sequence[CancelRequest]) -> tuple[Outcome, ...]:
        """Cancel working orders by our ids; one that is terminal already is Rejected.

        Raises:
            UnknownNameError: an instrument this desk does not trade; then nothing was sent.
        """
        lanes = [self._lanes.cancel[self._instrument(order.instrument_id).kind] for order in orders]
        now = self._clocks.wire_ns()
        return await self._serve([Job(order, Rank.CANCEL, anyio.Event(), now) for order in orders], lanes)

    async def repay(self, operation_id: str, coin: Coin, quantity: Decimal | None) -> Outcome:
        """Repay debt in `coin` (None: all of it) from its own balance, journalled before and after.

        Raises:
            MissingDataError: None was asked for and the debt is not known.
        """
        recorded = self._view.debt(coin) if quantity is None else quantity
        if self._group is None:
            return NotSent("the worker is not running")
        done = anyio.Event()
        outcome: Outcome = NotSent("the worker stopped")

        async def pay() -> None:
            nonlocal outcome
            outcome = await self._sender.repay(operation_id, coin, quantity, recorded)
            done.set()

        self._group.start_soon(pay)
        await done.wait()
        return outcome

    async def settled(self, client_order_id: ClientOrderId, *, timeout_ns: int) -> OrderRow:
        """The order's row once nothing more can happen to it and its fills are booked, or after the limit.

        Raises:
            UnknownNameError: no such order was planned.
        """
        with anyio.move_on_after(timeout_ns / SECOND_NS):
            while True:
                news = self.board.watch(client_order_id)
                row = await self._row(client_order_id)
                if row.state in SETTLED_STATES:
                    return row
                await news.wait()
        return await self._row(client_order_id)

    def unknown_pairs(self) -> frozenset[PairId]:
        """Pairs with an order whose outcome is not known."""
        return self.board.unknown_pairs()

    @property
    def veto(self) -> EntryVeto | None:
        """The guard's last word; it is built after the worker that it sends through."""
        return self._sender.veto

    @veto.setter
    def veto(self, veto: EntryVeto) -> None:
        self._sender.veto = veto

    @property
    def journal_failure(self) -> str | None:
        """Why the journal could not commit when it was last tried; None: it could."""
        return self.writer.failure

    @property
    def recovered(self) -> bool:
        """Whether every outcome of the time before is known, so that ENTRY may go."""
        return self._sender.recovered

    async def until_recovered(self) -> None:
        """Wait for that."""
        await self._opened.wait()

    # --- for the bookkeeper -------------------------------------------------------------------------------

    def open_entries(self) -> None:
        """The bookkeeper knows every outcome of the time before."""
        self._sender.recovered = True
        self._opened.set()

    def rate_limit(self, event: RateLimitUpdate) -> None:
        """Take in what the venue said of one of its limits."""
        bucket = self._lanes.buckets.get(event.limit_name)
        if bucket is not None:
            resets_in = event.reset_wire_ns - self._clocks.wire_ns()
            bucket.correct(event.limit, event.remaining, resets_in, self._clocks.monotonic_ns())
            self._wake.set()

    # --- the loop -----------------------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled.

        Raises:
            JournalError: the journal is foreign, fenced or corrupt, or cannot be read at the start.
        """
        await self.writer.take_back()
        await self.writer.append(())
        await self._count_last_life()
        for row in await self.writer.read(lambda journal: journal.orders(unsettled_only=True)):
            if row.state in ("planned", "unknown"):
                self.board.mark_unknown(row.request.client_order_id, row.request.pair_id)
        self.ready.set()
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                try:
                    task_status.started()
                    await self._pump(group)
                finally:
                    # Before the group closes: what began is finished, and nothing new may begin.
                    self._group = None
        finally:
            self._lanes.abandon("the worker stopped")

    async def _count_last_life(self) -> None:
        """What the desk before sent moments ago counts at the venue, so it counts here."""
        now = self._clocks.wire_ns()

        def recent(journal: Journal) -> list[OrderRequest]:
            newest = journal.read(max(0, journal.head()[0] - _RECENT_ENTRIES), _RECENT_ENTRIES)
            planned = [
                (row.wire_ns, row.entry.request) for row in newest if isinstance(row.entry, OrderPlanned)
            ]
            return [order for at, order in planned if now - at <= _RECENT_NS]

        for order in await self.writer.read(recent):
            lane = self._lanes.place[self._instrument(order.instrument_id).kind]
            lane.bucket.spent(1, self._clocks.monotonic_ns())

    async def _pump(self, group: TaskGroup) -> None:
        while True:
            self._wake = wake = anyio.Event()
            # Callers that became ready in the same instant queue first: their orders share a batch.
            await anyio.lowlevel.checkpoint()
            self._dispatch(group)
            wait = self._lanes.wait_ns(self._clocks.monotonic_ns())
            if wait is None:
                await wake.wait()
            else:
                with anyio.move_on_after(max(wait, _SLEEP_MIN_NS) / SECOND_NS):
                    await wake.wait()

    def _dispatch(self, group: TaskGroup) -> None:
        """Start every batch that may go now, the most urgent first where lanes share a limit."""
        now = self._clocks.monotonic_ns()
        for cancels in self._lanes.cancel.values():
            while (cancel := cancels.take(now)) is not None:
                group.start_soon(self._cancels, cancels, cancel)
        for place in sorted(self._lanes.place.values(), key=_urgency):
            while (batch := place.take(now)) is not None:
                group.start_soon(self._orders, place, batch, self._sender.turn(batch.rank))

    async def _orders(self, lane: Lane[OrderRequest], batch: Batch[OrderRequest], turn: Turn) -> None:
        await self._sender.orders(lane, batch, turn)
        self._wake.set()  # a refused order gave its place in the limit back

    async def _cancels(self, lane: Lane[CancelRequest], batch: Batch[CancelRequest]) -> None:
        await self._sender.cancels(lane, batch)
        self._wake.set()

    async def _serve(self, jobs: Sequence[Job[R]], lanes: Sequence[Lane[R]]) -> tuple[Outcome, ...]:
        """Queue each job in its lane and wait for every answer."""
        pairs = list(zip(jobs, lanes, strict=True))
        for job, lane in pairs:
            lane.put(job)
        self._wake.set()
        try:
            for job in jobs:
                await job.done.wait()
        finally:
            for job, lane in pairs:
                lane.withdraw(job)
        return tuple(job.answer() for job in jobs)

    # --- small things -------------------------------------------------------------------------------------

    async def _row(self, client_order_id: ClientOrderId) -> OrderRow:
        row = await self.writer.read(lambda journal: journal.order(client_order_id))
        if row is None:
            raise UnknownNameError(f"No order {client_order_id} was planned.", field="client_order_id")
        return row

    def _instrument(self, instrument_id: InstrumentId) -> Instrument:
        found = self._instruments.get(instrument_id)
        if found is None:
            raise UnknownNameError(f"{instrument_id} is not traded by this desk.", field="instrument_id")
        return found

    def _checked(self, order: OrderRequest) -> InstrumentKind:
        kind = self._instrument(order.instrument_id).kind
        if order.quantity <= 0:
            raise InputError(f"quantity {order.quantity} must be greater than zero.", field="quantity")
        if order.reduce_only and kind is not InstrumentKind.PERPETUAL:
            raise InputError("reduce_only is for perpetuals only.", field="reduce_only")
        if order.borrow and kind is not InstrumentKind.SPOT:
            raise InputError("borrow is for spot only.", field="borrow")
        return kind


def _urgency(lane: Lane[OrderRequest]) -> int:
    head = lane.head()
    return len(Rank) if head is None else head
