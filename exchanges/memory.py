"""A paper venue in this process as an `Exchange`: what the simulation and most tests trade on.

The venue's rules are the core's; this adds what lies between a desk and a venue - travel time, deadlines,
rate limits, lost answers, visibility lag, streams that break - on the wire clock. It runs on any anyio
backend and needs `run` as a task; with a latency of 0 no call sleeps.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from heapq import heappop, heappush
from typing import NoReturn

import anyio
from anyio.abc import TaskStatus

from exchanges.paper import domain
from exchanges.paper.commands import CancelOrder, Command, LimitNextFill, PlaceOrder, Repay, Reply
from exchanges.paper.config import SECOND_NS
from exchanges.paper.core import VenueCore
from exchanges.paper.faults import NO_FAULTS, FaultPlan, NoticeFault, RequestFault
from exchanges.paper.listeners import Listeners, Stream
from exchanges.paper.rows import Notice
from exchanges.paper.traits import BYBIT_TRAITS, REPAY_LIMIT
from exchanges.paper.windows import Window
from portfolio.core.account import AccountSnapshot
from portfolio.core.entries import CashBooked
from portfolio.core.errors import Effect, InputError, VenueError
from portfolio.core.events import RateLimitUpdate, Reset, VenueEvent
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.market import Settlement
from portfolio.core.names import ClientOrderId, Coin, InstrumentId, VenueOrderId
from portfolio.core.orders import (
    Absent,
    Accepted,
    CancelRequest,
    Fill,
    FindResult,
    Found,
    NotKnown,
    NotSent,
    OrderRequest,
    Outcome,
    Rejected,
    Unknown,
)
from portfolio.core.risk import RiskTables
from portfolio.core.venue_check import VenueCheck
from portfolio.ports import Clocks, Credentials, MarketSnapshot, VenueTraits

_REMEMBERED_MAX = 4096
_TOO_MANY = Rejected("10006", "Too many visits. Exceeded the API Rate Limit.")
_TOO_LATE = Rejected("10002", "invalid request, please check your server timestamp or recv_window param.")


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """How far away the venue is and how often it speaks. Wire clock, integer ns."""

    #: There and back.
    latency_ns: int = 0
    #: How long an accepted order stays out of `find`; at most what the traits promise.
    visibility_lag_ns: int = 0
    #: How often prices of every instrument are sent, and how often the market is looked at at least.
    quotes_every_ns: int = SECOND_NS
    tick_ns: int = SECOND_NS // 4
    book_depth: int = 5
    #: Market time per wire time: only used to wake up in time for what the venue does by itself.
    market_speed: Decimal = Decimal(1)
    #: Events that one listener may leave unread.
    buffer_max: int = 4096


DEFAULT_OPTIONS = MemoryOptions()


class MemoryExchange:
    """Implements portfolio.ports.Exchange."""

    def __init__(
        self,
        core: VenueCore,
        clocks: Clocks,
        *,
        faults: FaultPlan = NO_FAULTS,
        options: MemoryOptions = DEFAULT_OPTIONS,
        traits: VenueTraits = BYBIT_TRAITS,
    ) -> None:
        self.core = core
        self.faults = faults
        self._clocks = clocks
        self._options = options
        self._traits = traits
        self._listeners = Listeners(buffer_max=options.buffer_max, delay_ns=options.latency_ns // 2)
        self._windows = {key: Window(limit) for key, limit in traits.rate_limits.items()}
        self._repay_window = Window(REPAY_LIMIT)
        self._writes = self._reads = self._notices = 0
        #: Requests that arrive later: (wire time, number, what to do).
        self._late: list[tuple[int, int, Callable[[], None]]] = []
        #: When each order became known, wire clock, while that matters to `find`.
        self._accepted_ns: dict[ClientOrderId, int] = {}
        self._kinds = {row.instrument_id: row.kind for row in core.instruments()}
        self._next_quotes_ns = 0
        self._commands = list(faults.commands)
        self._outages = sorted(faults.disconnects, key=lambda outage: outage.after_ns)
        self._up_again_ns: int | None = None

    # --- the port: reads -------------------------------------------------------------------------------

    @property
    def traits(self) -> VenueTraits:
        """Constant facts."""
        return self._traits

    async def instruments(self) -> tuple[Instrument, ...]:
        """Everything listed."""
        await self._read()
        return self.core.instruments()

    async def risk_tables(self) -> RiskTables:
        """Read now."""
        await self._read()
        return self.core.tables(self._clocks.wire_ns())

    async def snapshot(self) -> AccountSnapshot:
        """Read now."""
        await self._read()
        return domain.account_snapshot(self.core, self._clocks.wire_ns())

    async def market(self) -> MarketSnapshot:
        """Read now."""
        await self._read()
        return domain.market_snapshot(self.core, self._options.book_depth, self._clocks.wire_ns())

    async def fills(self, since_market_ns: int) -> tuple[Fill, ...]:
        """All executions since, ascending."""
        await self._read()
        rows = (domain.fill_of(row) for row in self.core.executions(since_market_ns))
        return tuple(row for row in rows if row is not None)

    async def ledger(self, since_market_ns: int) -> tuple[CashBooked, ...]:
        """Funding, interest and transfers since, ascending."""
        await self._read()
        rows = (domain.cash_of(row) for row in self.core.ledger(since_market_ns))
        return tuple(row for row in rows if row is not None)

    async def settlements(self, instrument_id: InstrumentId, since_market_ns: int) -> tuple[Settlement, ...]:
        """Settled funding since, also from before the run where the replay has it."""
        await self._read()
        return self.core.settlements(instrument_id, since_market_ns)

    async def credentials(self) -> Credentials:
        """A paper key trades and cannot withdraw."""
        await self._read()
        return Credentials(uid=self.core.config.uid, can_trade=True, can_withdraw=False, read_only=False)

    async def check_order(self, order: OrderRequest) -> VenueCheck | None:
        """Perpetuals only."""
        await self._read()
        if self._kinds.get(order.instrument_id) is InstrumentKind.SPOT:
            return None
        found = self.core.pre_check(_command(order))
        refusal = found if isinstance(found, Reply) else found.refusal
        if refusal is not None:
            raise VenueError(refusal.message, effect=Effect.REJECTED, venue_code=refusal.code)
        assert not isinstance(found, Reply), "a reply is a refusal"
        return found.rates

    async def find(self, client_order_id: ClientOrderId, instrument_id: InstrumentId) -> FindResult:
        """An order younger than the visibility lag may look absent: whoever asks allows for it."""
        try:
            await self._read()
        except VenueError as failed:
            return NotKnown(failed.message)
        now = self._clocks.wire_ns()
        order = self.core.order(instrument_id, order_link_id=client_order_id)
        lag = self._options.visibility_lag_ns
        if order is None or now - self._accepted_ns.get(client_order_id, now - lag) < lag:
            return Absent(covered_until_wire_ns=now)
        fills = (
            domain.fill_of(row)
            for row in self.core.executions(order.created_ns)
            if row.order_id == order.order_id
        )
        return Found(domain.order_state(order), tuple(fill for fill in fills if fill is not None))

    @asynccontextmanager
    async def events(self) -> AsyncIterator[Stream]:
        """Everything from now on, after a Reset."""
        await self._travel()
        self.pump()
        listener = self._listeners.add(self._reset())
        try:
            yield listener.receive
        finally:
            self._listeners.remove(listener)

    # --- the port: writes ------------------------------------------------------------------------------

    async def place(self, orders: Sequence[OrderRequest], deadline_wire_ns: int) -> tuple[Outcome, ...]:
        """One batch of one kind; each item has its own outcome."""
        kind = self._check_batch([order.instrument_id for order in orders])
        window = self._windows[("place", kind)]

        def arrive(fault: RequestFault | None) -> tuple[Outcome, ...]:
            fits = window.take(len(orders), self._clocks.wire_ns())
            taken = [self._place_one(order, fault) for order in orders[:fits]]
            return (*taken, *([_TOO_MANY] * (len(orders) - fits)))

        return await self._write(len(orders), deadline_wire_ns, arrive, window)

    async def cancel(self, orders: Sequence[CancelRequest], deadline_wire_ns: int) -> tuple[Outcome, ...]:
        """One batch of one kind; an order that is over is Rejected."""
        kind = self._check_batch([order.instrument_id for order in orders])
        window = self._windows[("cancel", kind)]

        def arrive(fault: RequestFault | None) -> tuple[Outcome, ...]:
            fits = window.take(len(orders), self._clocks.wire_ns())
            taken = [
                self._do(CancelOrder(order.instrument_id, order_link_id=order.client_order_id), fault)
                for order in orders[:fits]
            ]
            return (*taken, *([_TOO_MANY] * (len(orders) - fits)))

        return await self._write(len(orders), deadline_wire_ns, arrive, window)

    async def repay(self, coin: Coin, quantity: Decimal | None, deadline_wire_ns: int) -> Outcome:
        """From the coin's own free balance; refused around the booking of interest."""

        def arrive(fault: RequestFault | None) -> tuple[Outcome, ...]:
            if not self._repay_window.take(1, self._clocks.wire_ns()):
                return (_TOO_MANY,)
            return (self._do(Repay(coin, quantity), fault),)

        return (await self._write(1, deadline_wire_ns, arrive, self._repay_window))[0]

    # --- the venue's own life --------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> NoReturn:
        """Let the market run and events flow until cancelled."""
        self.pump()
        task_status.started()
        while True:
            await anyio.sleep(self._pause_ns() / SECOND_NS)
            self.pump()

    def command(self, command: Command) -> Reply:
        """The operator's hand, at once: shocks, table changes, ADL, transfers."""
        reply = self.core.handle(command, self._clocks.market_ns())
        self.pump()
        return reply

    def pump(self) -> None:
        """Bring the venue to now and put what it says on its way. `run` calls this; tests may."""
        now = self._clocks.wire_ns()
        while self._late and self._late[0][0] <= now:
            heappop(self._late)[2]()
        self._do_planned()
        self._publish(self.core.advance(self._clocks.market_ns()), now)
        self._quote(now)
        self._listeners.deliver(now, self._reset)

    # --- inside ------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Travel, bring the venue to now, and fail when the plan says so."""
        self._reads += 1
        await self._travel()
        if self.faults.read_fails(self._reads):
            raise VenueError("The read failed (planned fault).", effect=Effect.NOT_SENT)
        self.pump()

    async def _travel(self) -> None:
        """Half a round trip."""
        if self._options.latency_ns:
            await anyio.sleep(self._options.latency_ns / 2 / SECOND_NS)

    async def _write(
        self,
        count: int,
        deadline_wire_ns: int,
        arrive: Callable[[RequestFault | None], tuple[Outcome, ...]],
        window: Window,
    ) -> tuple[Outcome, ...]:
        """Carry one write request there and back, with whatever the plan has for it."""
        self._writes += 1
        fault = self.faults.request(self._writes)
        if fault is RequestFault.NOT_SENT:
            return (NotSent("connection refused (planned fault)"),) * count
        if fault is RequestFault.LATE:
            self._arrive_late(deadline_wire_ns, arrive)
            return (Unknown("no answer (planned fault)"),) * count
        await self._travel()
        now = self._clocks.wire_ns()
        if now > deadline_wire_ns:
            outcomes: tuple[Outcome, ...] = (_TOO_LATE,) * count
        else:
            outcomes = (_TOO_MANY,) * count if fault is RequestFault.RATE_LIMIT else arrive(fault)
            self._tell_limit(window, now)
            self.pump()
        await self._travel()
        # The streams are as far away as the answer: what the request did has arrived when its answer has.
        self._listeners.deliver(self._clocks.wire_ns(), self._reset)
        return (
            (Unknown("no answer (planned fault)"),) * count if fault is RequestFault.LOST_ANSWER else outcomes
        )

    def _arrive_late(
        self, deadline_wire_ns: int, arrive: Callable[[RequestFault | None], tuple[Outcome, ...]]
    ) -> None:
        """The request gets there after its sender gave up; past the deadline the venue refuses it."""
        arrives = self._clocks.wire_ns() + self.faults.late_ns

        def deliver() -> None:
            if self._clocks.wire_ns() <= deadline_wire_ns:
                arrive(None)

        heappush(self._late, (arrives, self._writes, deliver))

    def _place_one(self, order: OrderRequest, fault: RequestFault | None) -> Outcome:
        if fault is RequestFault.PARTIAL_FILL:
            limit = LimitNextFill(order.instrument_id, self.faults.partial_share)
            self.core.handle(limit, self._clocks.market_ns())
        outcome = self._do(_command(order), fault)
        if isinstance(outcome, Accepted):
            self._remember(order.client_order_id)
        return outcome

    def _remember(self, client_order_id: ClientOrderId) -> None:
        """When an order became known; old ones have long been visible and are forgotten."""
        if len(self._accepted_ns) >= _REMEMBERED_MAX:
            for key in list(self._accepted_ns)[: _REMEMBERED_MAX // 2]:
                del self._accepted_ns[key]
        self._accepted_ns[client_order_id] = self._clocks.wire_ns()

    def _do(self, command: Command, fault: RequestFault | None) -> Outcome:
        if fault is RequestFault.REJECT:
            return Rejected("110007", "ab not enough for new order (planned fault)")
        reply = self.core.handle(command, self._clocks.market_ns())
        if not reply.ok:
            return Rejected(reply.code, reply.message)
        return Accepted(VenueOrderId(reply.order_id))

    def _check_batch(self, instrument_ids: Sequence[InstrumentId]) -> InstrumentKind:
        unknown = [key for key in instrument_ids if key not in self._kinds]
        if unknown:
            raise InputError(f"{unknown[0]} is not listed here.", field="instrument_id")
        kinds = {self._kinds[key] for key in instrument_ids}
        if len(kinds) != 1:
            raise InputError("A batch holds at least one order, all of one kind.", field="orders")
        kind = kinds.pop()
        if len(instrument_ids) > self._traits.batch_max[kind]:
            raise InputError(
                f"A batch of {len(instrument_ids)} is too large.",
                field="orders",
                allowed=f"at most {self._traits.batch_max[kind]} {kind} orders",
            )
        return kind

    def _tell_limit(self, window: Window, now: int) -> None:
        standing = window.standing(now)
        limit = window.limit
        left, reset = standing.remaining, standing.reset_wire_ns
        self._send(RateLimitUpdate(limit.name, limit.count, left, reset, now), now)

    def _do_planned(self) -> None:
        """The plan's commands and disconnects whose market time has come."""
        now = self._clocks.market_ns()
        start = self.core.config.start_ns
        while self._commands and start + self._commands[0][0] <= now:
            at, command = self._commands.pop(0)
            self.core.handle(command, max(start + at, self.core.now_ns))
        if self._up_again_ns is not None and now >= self._up_again_ns:
            self._up_again_ns = None
            self._listeners.reconnect()
        while self._outages and start + self._outages[0].after_ns <= now:
            outage = self._outages.pop(0)
            self._up_again_ns = max(self._up_again_ns or 0, start + outage.after_ns + outage.duration_ns)
            self._listeners.disconnect("disconnected (planned fault)", self._clocks.wire_ns())

    def _publish(self, notices: Sequence[Notice], now: int) -> None:
        """Private notices as events, doubled or swapped where the plan says so."""
        held: list[VenueEvent] = []
        for notice in notices:
            event = domain.event_of(notice, now)
            if event is None:
                continue
            self._notices += 1
            fault = self.faults.notice(self._notices)
            if fault is NoticeFault.REORDER:
                held.append(event)
                continue
            self._send(event, now)
            if fault is NoticeFault.DUPLICATE:
                self._send(event, now)
            for late in held:
                self._send(late, now)
            held.clear()
        for late in held:
            self._send(late, now)

    def _quote(self, now: int) -> None:
        if now < self._next_quotes_ns or not len(self._listeners) or self.core.ended:
            return
        self._next_quotes_ns = now + self._options.quotes_every_ns
        prices = domain.market_snapshot(self.core, self._options.book_depth, now)
        for group in (prices.quotes, prices.marks, prices.coins, prices.funding):
            for event in group:
                self._send(event, now)

    def _send(self, event: VenueEvent, now: int) -> None:
        if len(self._listeners):
            self._listeners.send(event, now)

    def _reset(self) -> Reset:
        now = self._clocks.wire_ns()
        return Reset(domain.account_snapshot(self.core, now), now)

    def _pause_ns(self) -> int:
        """Until a tick, an event's arrival, a late request, or what the venue does by itself."""
        now = self._clocks.wire_ns()
        waits = [self._options.tick_ns]
        arrival = self._listeners.next_arrival()
        if arrival is not None:
            waits.append(arrival - now)
        if self._late:
            waits.append(self._late[0][0] - now)
        due = self.core.next_due()
        if due is not None and self._options.market_speed:
            waits.append(int((due - self._clocks.market_ns()) / self._options.market_speed))
        return max(1_000_000, min(waits))


def _command(order: OrderRequest) -> PlaceOrder:
    return PlaceOrder(
        order_link_id=order.client_order_id,
        instrument_id=order.instrument_id,
        side=order.side,
        quantity=order.quantity,
        price=order.limit_price,
        time_in_force=order.time_in_force,
        reduce_only=order.reduce_only,
        borrow=order.borrow,
    )
