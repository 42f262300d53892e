"""Sending the orders of one operation: made from a slice, sent once, watched until they are closed."""

from dataclasses import dataclass
from decimal import Decimal

import anyio

from portfolio.core.client_ids import client_order_id
from portfolio.core.decimals import ZERO
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.limits import SECOND_NS, RiskLimits
from portfolio.core.names import IntentId, PairId
from portfolio.core.orders import (
    Accepted,
    CancelRequest,
    OrderClass,
    OrderRequest,
    OrderStatus,
    Priority,
    Rejected,
    Side,
    TimeInForce,
    Unknown,
)
from portfolio.core.pricing import depth_within, taker_price
from portfolio.gatekeeper import Gatekeeper
from portfolio.journal_retry import JournalRetry
from portfolio.operations import GuardGate, Sender
from portfolio.ports import Clocks, Journal, OrderRow, Runner
from portfolio.progress import OPEN_STATES
from portfolio.repayment import Repayer
from portfolio.view import AccountView
from portfolio.writer import NotCommitted

#: An accepted order that takes at once is closed within this, or looked at again.
SETTLE_NS = 10 * SECOND_NS
#: A resting order is looked at this often.
REST_NS = SECOND_NS // 4
PAUSE_SECONDS = 0.25
#: After an order that took nothing. Five of these stay inside the guard's naked-leg limit.
EMPTY_SECONDS = 0.5
#: After a refusal: venues count their limits by the second, and a limit is not a refusal of the order.
REJECTED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Kit:
    """What every engine of an account shares."""

    view: AccountView
    worker: Sender
    journal: Journal
    runner: Runner
    clocks: Clocks
    gates: Gatekeeper
    guard: GuardGate
    limits: RiskLimits
    repayer: Repayer
    retry: JournalRetry


@dataclass(slots=True)
class Failures:
    """Consecutive orders of one kind that moved nothing."""

    rejected: int = 0
    unsent: int = 0
    empty: int = 0
    detail: str = ""

    def clear(self) -> None:
        """One of them moved something."""
        self.rejected = self.unsent = self.empty = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.rejected + self.unsent + self.empty

    def hopeless(self) -> bool:
        """Refused twice by the venue, or five times without any effect."""
        return self.rejected >= 2 or self.total >= 5

    def judge(self, row: OrderRow) -> None:
        """Count what became of an order that takes at once."""
        if row.filled > 0:
            self.clear()
            return
        self.detail = row.detail or f"{row.request.instrument_id}: nothing filled"
        if row.state == "rejected" or row.status is OrderStatus.REJECTED:
            self.rejected += 1
        elif row.state == "closed":
            self.empty += 1
        else:
            self.unsent += 1


@dataclass(frozen=True, slots=True)
class Draft:
    """One order before it has an id."""

    instrument: Instrument
    side: Side
    quantity: Decimal
    #: Slice and attempt, from the journal.
    number: tuple[int, int]
    price: Decimal
    order_class: OrderClass
    #: It closes: the venue may neither open nor lend for it.
    closes: bool
    rests: bool = False
    #: The lead of an exit that nothing presses: hedges and the guard go first.
    can_wait: bool = False

    @property
    def priority(self) -> Priority:
        """Its queue at the worker."""
        if self.order_class is OrderClass.ENTRY:
            return Priority.ENTRY
        return Priority.EXIT if self.can_wait else Priority.DERISK

    @property
    def reduce_only(self) -> bool:
        """Where the venue has it."""
        return self.closes and self.instrument.kind is InstrumentKind.PERPETUAL

    @property
    def borrow(self) -> bool:
        """A sale of what is owned needs no loan; any other order on a marginable spot instrument may."""
        if self.instrument.kind is not InstrumentKind.SPOT or not self.instrument.marginable:
            return False
        return not (self.closes and self.side is Side.SELL)


class LegSender:
    """Sends for one operation on one pair."""

    def __init__(self, kit: Kit, operation_id: IntentId, pair_id: PairId) -> None:
        self._kit = kit
        self._operation_id = operation_id
        self._pair_id = pair_id
        #: What was last sent to rest or seen resting.
        self._resting: OrderRequest | None = None

    def price(self, instrument: Instrument, side: Side, bound: Decimal | None, failed: int = 0) -> Decimal:
        """Worst price to take. The cap widens with every attempt that found nothing; the bound never does.

        Raises:
            MissingDataError: the instrument has no reference price.
        """
        reference = self._kit.view.reference_price(instrument.instrument_id)
        slippage = self._kit.limits.trade.urgent_slippage_max * (1 + failed)
        return taker_price(reference, side, slippage, instrument.tick_size, bound)

    def depth(self, instrument: Instrument, side: Side, bound: Decimal | None) -> Decimal:
        """Coins the book holds at the taker price or better.

        Raises:
            MissingDataError: the instrument has no price or no book.
        """
        limit = self.price(instrument, side, bound)
        return depth_within(self._kit.view.quote(instrument.instrument_id), side, limit)

    async def take(self, draft: Draft, failures: Failures) -> None:
        """Send an order that takes at once and wait until its fills are booked."""
        request = self._request(draft)
        if not await self._submit(request, draft.priority, failures):
            return
        row = await self._kit.worker.settled(request.client_order_id, timeout_ns=SETTLE_NS)
        if row.state in OPEN_STATES:
            return
        failures.judge(row)
        if row.filled == 0:
            # Our price was probably old: give the market a moment to be seen as it is.
            await self.pause(EMPTY_SECONDS)

    async def rest(self, draft: Draft, failures: Failures) -> None:
        """Send an order that rests; it is attended afterwards."""
        request = self._request(draft)
        if not await self._submit(request, draft.priority, failures):
            return
        self._resting = request
        row = await self._kit.worker.settled(request.client_order_id, timeout_ns=REST_NS)
        if row.filled > 0:
            failures.clear()
        elif row.state == "closed":
            # It would have taken: the book moved under it. Try again at the new price, but not in a spin.
            await self.pause()

    async def watch(self, row: OrderRow, timeout_ns: int) -> OrderRow:
        """The order's row once it is settled, or as it is after the limit."""
        if row.request.time_in_force is TimeInForce.POST_ONLY:
            self._resting = row.request
        return await self._kit.worker.settled(row.request.client_order_id, timeout_ns=timeout_ns)

    async def withdraw(self, row: OrderRow, timeout_ns: int = SETTLE_NS) -> OrderRow:
        """Cancel an order and wait until its last fills are booked."""
        await self.cancel(row)
        return await self.watch(row, timeout_ns)

    async def cancel(self, row: OrderRow) -> None:
        """Cancel an order; what it filled is learned from its row."""
        await self._kit.worker.cancel([CancelRequest(row.request.client_order_id, row.request.instrument_id)])

    async def withdraw_unseen(self) -> None:
        """Cancel what may rest, for a journal that cannot be read: what fills now cannot be hedged."""
        order = self._resting
        if order is not None:
            request = CancelRequest(order.client_order_id, order.instrument_id)
            (outcome,) = await self._kit.worker.cancel([request])
            if isinstance(outcome, Accepted | Rejected):
                self._resting = None

    async def settle(self, row: OrderRow, failures: Failures) -> bool:
        """Wait for an order that takes at once, cancel it when it stays open; False when hopeless.

        Raises:
            NotCommitted: it may be over, but the journal cannot be told.
        """
        settled = await self.watch(row, SETTLE_NS)
        if settled.state not in OPEN_STATES:
            failures.judge(settled)
            return True
        self._blame_the_journal()
        failures.unsent += 1
        failures.detail = f"{row.request.client_order_id} neither fills nor closes"
        await self.cancel(row)
        return failures.total < 10

    async def pause(self, seconds: float = PAUSE_SECONDS) -> None:
        """A moment, so that a retry is no spin."""
        await anyio.sleep(seconds)

    def _request(self, draft: Draft) -> OrderRequest:
        instrument_id = draft.instrument.instrument_id
        return OrderRequest(
            client_order_id=client_order_id(self._operation_id, instrument_id, *draft.number),
            instrument_id=instrument_id,
            side=draft.side,
            quantity=draft.quantity,
            limit_price=draft.price,
            time_in_force=TimeInForce.POST_ONLY if draft.rests else TimeInForce.IOC,
            reduce_only=draft.reduce_only,
            borrow=draft.borrow,
            order_class=draft.order_class,
            pair_id=self._pair_id,
            intent_id=self._operation_id,
        )

    async def _submit(self, request: OrderRequest, priority: Priority, failures: Failures) -> bool:
        """Send one order; False when it certainly had no effect.

        Raises:
            NotCommitted: so it was, because the journal could not record it first.
        """
        (result,) = await self._kit.worker.submit([request], priority)
        match result.outcome:
            case Accepted() | Unknown():
                return True
            case Rejected() as rejected:
                failures.rejected += 1
                failures.detail = f"{rejected.venue_code} {rejected.message}".strip()
                await self.pause(REJECTED_SECONDS)
            case not_sent:
                self._blame_the_journal()
                failures.unsent += 1
                failures.detail = not_sent.reason
                await self.pause()
        return False

    def _blame_the_journal(self) -> None:
        """What a journal that cannot commit holds up says nothing against the order: no failure of its own.

        Raises:
            NotCommitted: it cannot.
        """
        if self._kit.worker.journal_failure is not None:
            raise NotCommitted(self._kit.worker.journal_failure)


def fee_rate(view: AccountView, instrument: Instrument) -> Decimal:
    """The share of the coins bought that the venue keeps as its fee; 0 where fees are paid in quote."""
    fees = None if view.tables is None else view.tables.fees.get(instrument.instrument_id)
    if fees is None or instrument.kind is not InstrumentKind.SPOT:
        return ZERO
    return max(ZERO, fees.taker)
