"""One batch from its queue to its journalled answers: look, write ahead, send, record.

Everything here runs in the worker's own tasks under a shield; each wait has a limit.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Protocol

import anyio

from portfolio.board import OrderBoard
from portfolio.core.bucket import Grant, RateBucket
from portfolio.core.decimals import ZERO
from portfolio.core.entries import Entry, OrderAnswered, OrderPlanned, RepaymentMoved
from portfolio.core.entry_rules import takes_off_only
from portfolio.core.errors import Effect, VenueError
from portfolio.core.limits import HOUR_NS, SECOND_NS, Freshness
from portfolio.core.names import ClientOrderId, Coin, InstrumentId, PairId
from portfolio.core.orders import (
    Accepted,
    CancelRequest,
    NotSent,
    OrderRequest,
    Outcome,
    Rejected,
    Unknown,
)
from portfolio.lanes import Batch, Job, Lane, Rank
from portfolio.ports import Clocks, Exchange, Journal
from portfolio.preflight import Circumstances, Preflight
from portfolio.view import AccountView
from portfolio.writer import JournalWriter, NotCommitted

#: How much longer than until the venue's deadline an answer is waited for.
ANSWER_MARGIN_NS = SECOND_NS
_TURN_MARGIN_NS = 1_000_000


class EntryVeto(Protocol):
    """The guard's last word on an order: whether it may add risk, and whether its pair is the guard's."""

    def veto(self, orders: Sequence[OrderRequest]) -> str | None:
        """Why these may not go; None: they may. Synchronous, fast, changes nothing."""
        ...

    def holds(self, pair_id: PairId) -> bool:
        """Whether the guard has taken this pair: then nobody else trades it. As fast."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """When a batch may be looked at and written ahead.

    So that batches reach the wire by urgency however tasks are scheduled, and the guard sees, with each ENTRY
    batch, those that went just before it.
    """

    after: list[anyio.Event]
    over: anyio.Event = field(default_factory=anyio.Event)


class Sender:
    """Sends batches for one account."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        writer: JournalWriter,
        board: OrderBoard,
        clocks: Clocks,
        view: AccountView,
        preflight: Preflight,
        freshness: Freshness,
    ) -> None:
        #: Without a guard no ENTRY passes: adding risk fails closed.
        self.veto: EntryVeto | None = None
        #: The bookkeeper knows every outcome of the time before.
        self.recovered = False
        self._exchange = exchange
        self._traits = exchange.traits
        self._writer = writer
        self._board = board
        self._clocks = clocks
        self._view = view
        self._preflight = preflight
        self._freshness = freshness
        self._repaying = anyio.Lock()
        #: When the last repayment was answered, monotonic; the desk before may have sent one just now.
        self._repaid_ns = clocks.monotonic_ns()
        #: Orders that went while the journal could not commit: it cannot tell that they were sent.
        self._aside: set[ClientOrderId] = set()
        self._last_turns: dict[Rank, anyio.Event] = {}

    # --- orders -------------------------------------------------------------------------------------------

    def turn(self, rank: Rank) -> Turn:
        """A place in the order of write-aheads: behind everything as urgent, before what is less."""
        mine = Turn([last for urgency, last in self._last_turns.items() if urgency <= rank])
        self._last_turns[rank] = mine.over
        return mine

    async def orders(self, lane: Lane[OrderRequest], batch: Batch[OrderRequest], turn: Turn) -> None:
        """Carry one batch of orders through and answer its jobs."""
        try:
            with anyio.CancelScope(shield=True):
                for earlier in turn.after:
                    await earlier.wait()
                await self._carry(lane, batch, turn)
        finally:
            turn.over.set()
            # Only a failure of ours leaves one without an answer: nobody may wait for it for ever.
            for job in batch.jobs:
                job.finish(Unknown("the worker failed"))

    async def _carry(self, lane: Lane[OrderRequest], batch: Batch[OrderRequest], turn: Turn) -> None:
        deadline = self._clocks.wire_ns() + self._traits.send_deadline_ns
        jobs = batch.jobs if batch.rank is not Rank.ENTRY else self._passed_by_guard(batch.jobs)
        jobs, deadline = await self._write_ahead(jobs, batch.rank, deadline)
        turn.over.set()
        lane.bucket.refund(batch.grant, len(batch.jobs) - len(jobs))
        if not jobs:
            return
        requests = [job.request for job in jobs]
        outcomes = await self._on_wire(lambda: self._exchange.place(requests, deadline), len(jobs), deadline)
        outcomes = self._answered(lane.bucket, batch.grant, outcomes)
        await self._record(jobs, outcomes)

    def _passed_by_guard(self, jobs: Sequence[Job[OrderRequest]]) -> list[Job[OrderRequest]]:
        """The jobs that the guard lets pass beside every entry whose effect it cannot see yet."""
        if self.veto is None:
            _refuse(jobs, "no guard is watching")
            return []
        before = self._board.entries_unseen()
        reason = self.veto.veto([*before, *(job.request for job in jobs)])
        if reason is None:
            return list(jobs)
        if len(jobs) == 1:
            _refuse(jobs, reason)
            return []
        # One pair's refusal must not stop the others that happen to share the batch.
        passed: list[Job[OrderRequest]] = []
        for job in jobs:
            reason = self.veto.veto([*before, *(one.request for one in passed), job.request])
            if reason is None:
                passed.append(job)
            else:
                job.finish(NotSent(reason))
        return passed

    async def _write_ahead(
        self, jobs: Sequence[Job[OrderRequest]], rank: Rank, deadline_wire_ns: int
    ) -> tuple[list[Job[OrderRequest]], int]:
        """Journal what may go and answer the rest; the deadline of what goes, wire ns."""
        if not jobs:
            return [], deadline_wire_ns
        orders = [job.request for job in jobs]
        # The guard reads what is in flight after it took a pair, in the order of these calls: it counts
        # whatever is looked at here before, and the look refuses whatever comes here later.
        at = Circumstances(
            now_wire_ns=self._clocks.wire_ns(),
            unknown_pairs=self._board.unknown_pairs(),
            recovered=self.recovered,
            from_guard=rank is Rank.GUARD,
            held_pairs=self._held(orders),
            asked_wire_ns={job.request.client_order_id: job.asked_wire_ns for job in jobs},
        )

        def look(journal: Journal) -> tuple[Sequence[Entry], tuple[Outcome | None, ...]]:
            answers = self._preflight.look(journal, orders, at)
            planned = [
                OrderPlanned(order, deadline_wire_ns)
                for order, answer in zip(orders, answers, strict=True)
                if answer is None
            ]
            return planned, answers

        try:
            answers = await self._writer.commit(look)
        except NotCommitted as error:
            # A write that failed slowly must not have used up the time of what the guard sends without it.
            deadline_wire_ns = self._clocks.wire_ns() + self._traits.send_deadline_ns
            return await self._without_journal(jobs, rank, deadline_wire_ns, str(error)), deadline_wire_ns
        going = []
        for job, answer in zip(jobs, answers, strict=True):
            if answer is None:
                going.append(job)
            else:
                job.finish(answer)
        if rank is Rank.ENTRY:
            for job in going:
                self._board.entry_sent(job.request)
        return going, deadline_wire_ns

    def _held(self, orders: Sequence[OrderRequest]) -> frozenset[PairId]:
        guard = self.veto
        if guard is None:
            return frozenset()
        return frozenset(order.pair_id for order in orders if guard.holds(order.pair_id))

    async def _without_journal(
        self, jobs: Sequence[Job[OrderRequest]], rank: Rank, deadline_wire_ns: int, reason: str
    ) -> list[Job[OrderRequest]]:
        """The journal cannot commit: only the guard's bounded orders go, recorded in the emergency file."""
        going = self._bounded(jobs) if rank is Rank.GUARD else []
        if going:
            try:
                await self._writer.keep_aside([OrderPlanned(job.request, deadline_wire_ns) for job in going])
            except NotCommitted as error:
                reason, going = f"{reason}; {error}", []
        _refuse([job for job in jobs if job not in going], f"the journal cannot commit: {reason}")
        return going

    def _bounded(self, jobs: Sequence[Job[OrderRequest]]) -> list[Job[OrderRequest]]:
        """Those that are reduce-only at the venue, or together within holdings that were read moments ago."""
        passed: list[Job[OrderRequest]] = []
        left: dict[InstrumentId, Decimal] = {}
        for job in jobs:
            order = job.request
            leg = order.instrument_id
            kind = self._view.instrument(leg).kind
            reduces = order.reduce_only and kind in self._traits.reduce_only
            holding = left.setdefault(leg, self._fresh_holding(leg))
            if order.client_order_id not in self._aside and takes_off_only(order, kind, reduces, holding):
                left[leg] += order.side.sign * order.quantity
                self._aside.add(order.client_order_id)
                passed.append(job)
        return passed

    def _fresh_holding(self, instrument_id: InstrumentId) -> Decimal:
        """Signed base coins; 0, of which nothing can be taken, when the last read is too old."""
        age = self._view.ages().account_ns
        if age is None or age > self._freshness.account_ns:
            return ZERO
        return self._view.signed_holding(instrument_id)

    async def _on_wire(
        self, send: Callable[[], Awaitable[Sequence[Outcome]]], count: int, deadline_wire_ns: int
    ) -> Sequence[Outcome]:
        """One outcome per item, whatever the venue does; Unknown once the answer is overdue."""
        now = self._clocks.wire_ns()
        if now >= deadline_wire_ns:
            return [NotSent("the journal took longer than the send deadline")] * count
        limit = deadline_wire_ns - now + self._traits.clock_skew_ns + ANSWER_MARGIN_NS
        outcomes: Sequence[Outcome] = ()
        reason = f"no answer within {limit // 1_000_000} ms"
        with anyio.move_on_after(limit / SECOND_NS):
            try:
                outcomes = await send()
                reason = f"{len(outcomes)} answers for {count} orders"
            except VenueError as error:
                outcomes = [outcome_of(error)] * count
        return outcomes if len(outcomes) == count else [Unknown(reason)] * count

    def _answered(self, bucket: RateBucket, grant: Grant, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """The outcomes for callers: a refusal for the rate is none of the order, and closes the limit."""
        now = self._clocks.monotonic_ns()
        bucket.answered(grant, now)
        told = [self._unlimited(outcome) for outcome in outcomes]
        if any(one is not other for one, other in zip(told, outcomes, strict=True)):
            bucket.exceeded(now)
        return told

    def _unlimited(self, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Rejected) and outcome.venue_code in self._traits.limit_codes:
            return NotSent(f"{outcome.venue_code}: {outcome.message}")
        return outcome

    async def _record(self, jobs: Sequence[Job[OrderRequest]], outcomes: Sequence[Outcome]) -> None:
        """Journal every answer in one commit, then give them to the callers."""
        entries = []
        for job, outcome in zip(jobs, outcomes, strict=True):
            order = job.request
            entries.append(answered(order, outcome))
            if isinstance(outcome, Unknown):
                self._board.mark_unknown(order.client_order_id, order.pair_id)
            elif not isinstance(outcome, Accepted):
                self._board.visible(order.client_order_id)
        try:
            await self._writer.append(entries)
        except NotCommitted:
            # The outcomes are certain and the callers act on them; `failure` of the writer tells the rest.
            self._writer.owe(entries)
        for job, outcome in zip(jobs, outcomes, strict=True):
            job.finish(outcome)
            self._board.touch(job.request.client_order_id)

    # --- cancels ------------------------------------------------------------------------------------------

    async def cancels(self, lane: Lane[CancelRequest], batch: Batch[CancelRequest]) -> None:
        """Carry one batch of cancels through. Not journalled: repeating one harms nothing."""
        with anyio.CancelScope(shield=True):
            deadline = self._clocks.wire_ns() + self._traits.send_deadline_ns
            requests = [job.request for job in batch.jobs]
            outcomes = await self._on_wire(
                lambda: self._exchange.cancel(requests, deadline), len(requests), deadline
            )
            outcomes = self._answered(lane.bucket, batch.grant, outcomes)
            for job, outcome in zip(batch.jobs, outcomes, strict=True):
                job.finish(outcome)

    # --- repayments ---------------------------------------------------------------------------------------

    async def repay(
        self, operation_id: str, coin: Coin, quantity: Decimal | None, recorded: Decimal
    ) -> Outcome:
        """Repay once, journalled before and after; `recorded` is the quantity that the journal names."""
        outcome: Outcome = NotSent("the worker stopped")
        with anyio.CancelScope(shield=True):
            async with self._repaying:
                outcome = await self._repay(operation_id, coin, quantity, recorded)
        return outcome

    async def _repay(
        self, operation_id: str, coin: Coin, quantity: Decimal | None, recorded: Decimal
    ) -> Outcome:
        blocked = self._blackout()
        if blocked is not None:
            return NotSent(blocked)
        await self._wait_for_turn()
        planned = RepaymentMoved(operation_id, coin, recorded, "planned", "")
        try:
            await self._writer.append([planned])
        except NotCommitted as error:
            return NotSent(f"the journal cannot commit: {error}")
        deadline = self._clocks.wire_ns() + self._traits.send_deadline_ns

        async def pay() -> Sequence[Outcome]:
            return [await self._exchange.repay(coin, quantity, deadline)]

        outcome = self._unlimited((await self._on_wire(pay, 1, deadline))[0])
        self._repaid_ns = self._clocks.monotonic_ns()
        moved = replace(planned, status=_REPAYMENT[type(outcome)], detail=_detail(outcome))
        try:
            await self._writer.append([moved])
        except NotCommitted:
            self._writer.owe([moved])
        return outcome

    async def _wait_for_turn(self) -> None:
        """Until the venue takes the next repayment; the last one counts from its answer."""
        left = self._repaid_ns + self._traits.repay_every_ns - self._clocks.monotonic_ns()
        if left > 0:
            # A little more than the rest: float seconds must not end a nanosecond early.
            await anyio.sleep((left + _TURN_MARGIN_NS) / SECOND_NS)

    def _blackout(self) -> str | None:
        """Why the venue takes no repayment at this moment of the market's hour."""
        window = self._traits.repay_blackout_seconds
        if window is None:
            return None
        second = self._clocks.market_ns() % HOUR_NS // SECOND_NS
        if not window[0] <= second <= window[1]:
            return None
        return f"the venue takes no repayment from second {window[0]} to {window[1]} of each hour"


_REPAYMENT: dict[type, str] = {Accepted: "done", Rejected: "refused", NotSent: "refused", Unknown: "unknown"}
_ANSWER: dict[type, str] = {
    Accepted: "accepted",
    Rejected: "rejected",
    NotSent: "not_sent",
    Unknown: "unknown",
}


def answered(order: OrderRequest, outcome: Outcome) -> OrderAnswered:
    """The journal's entry for what the venue answered."""
    venue_order_id = outcome.venue_order_id if isinstance(outcome, Accepted) else None
    return OrderAnswered(order.client_order_id, _ANSWER[type(outcome)], venue_order_id, _detail(outcome))


def outcome_of(error: VenueError) -> Outcome:
    """What an error of a write says about its effect."""
    if error.effect is Effect.NOT_SENT:
        return NotSent(error.message)
    if error.effect is Effect.REJECTED:
        return Rejected(error.venue_code or "", error.message)
    return Unknown(error.message)


def _detail(outcome: Outcome) -> str:
    if isinstance(outcome, Accepted):
        return ""
    if isinstance(outcome, Rejected):
        return f"{outcome.venue_code}: {outcome.message}"
    return outcome.reason


def _refuse(jobs: Sequence[Job[OrderRequest]], reason: str) -> None:
    for job in jobs:
        job.finish(NotSent(reason))
