"""Asks the venue by id what became of orders, until it is certain.

*Absent* counts only when the venue's answer covers every send up to the order's deadline, plus the clock
difference and the time until an accepted order shows in every query. Anything less is asked again, with
growing pauses. An order that was accepted is believed gone only after it was absent for minutes: venues move
a filled order from one list to another, and forget a cancelled one without fills after a day.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from portfolio.board import OrderBoard
from portfolio.booking import Booked, News
from portfolio.core.errors import VenueError
from portfolio.core.limits import MINUTE_NS, SECOND_NS
from portfolio.core.names import ClientOrderId
from portfolio.core.orders import Absent, Found
from portfolio.ports import Clocks, Exchange, OrderRow, VenueTraits
from portfolio.writer import JournalWriter, NotCommitted

PAUSE_MIN_NS = SECOND_NS // 10
PAUSE_MAX_NS = 2 * SECOND_NS
#: How long an accepted order must stay absent before it counts as cancelled without a further fill.
GONE_AFTER_NS = 5 * MINUTE_NS
#: Requests at once: half of the tightest query limit of the venues known.
_AT_ONCE = 10

Note = Callable[[str, str], Awaitable[None]]


@dataclass(slots=True)
class _Ask:
    due_ns: int
    pause_ns: int


def certain_after_ns(row: OrderRow, traits: VenueTraits) -> int:
    """Wire time from which an answer must cover sends for *absent* to be certain."""
    return row.deadline_wire_ns + traits.clock_skew_ns + traits.visibility_lag_ns


class Lookup:
    """The queue of orders to ask for, and the loop that asks."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        writer: JournalWriter,
        board: OrderBoard,
        clocks: Clocks,
        book: Callable[[News], Awaitable[Booked]],
        note: Note,
    ) -> None:
        self._exchange = exchange
        self._writer = writer
        self._board = board
        self._clocks = clocks
        self._book = book
        self._note = note
        self._asks: dict[ClientOrderId, _Ask] = {}
        #: Accepted orders that the venue does not show: since when, wire clock.
        self._gone_since: dict[ClientOrderId, int] = {}

    def ask(self, client_order_id: ClientOrderId, *, in_ns: int = 0) -> None:
        """Ask for this order soon; an earlier appointment stays."""
        due = self._clocks.monotonic_ns() + in_ns
        known = self._asks.get(client_order_id)
        if known is None:
            self._asks[client_order_id] = _Ask(due, PAUSE_MIN_NS)
        else:
            known.due_ns = min(known.due_ns, due)
        self._board.wake()

    def forget(self, client_order_id: ClientOrderId) -> None:
        """Nothing more is to be learned of it."""
        self._asks.pop(client_order_id, None)
        self._gone_since.pop(client_order_id, None)

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            news = self._board.woken()
            for client_order_id in self._board.unknown_orders():
                if client_order_id not in self._asks:
                    self._asks[client_order_id] = _Ask(self._clocks.monotonic_ns(), PAUSE_MIN_NS)
            now = self._clocks.monotonic_ns()
            due = [key for key, ask in self._asks.items() if ask.due_ns <= now][:_AT_ONCE]
            if due:
                async with anyio.create_task_group() as group:
                    for client_order_id in due:
                        group.start_soon(self._ask_now, client_order_id)
                continue
            next_ns = min((ask.due_ns for ask in self._asks.values()), default=None)
            if next_ns is None:
                await news.wait()
            else:
                with anyio.move_on_after((next_ns - now) / SECOND_NS + 0.001):
                    await news.wait()

    async def _ask_now(self, client_order_id: ClientOrderId) -> None:
        ask = self._asks.get(client_order_id)
        if ask is None:  # settled while another one was asked for
            return
        ask.due_ns = self._clocks.monotonic_ns() + ask.pause_ns
        ask.pause_ns = min(2 * ask.pause_ns, PAUSE_MAX_NS)
        try:
            row = await self._writer.read(lambda journal: journal.order(client_order_id))
            if row is None or await self.settle(row):
                self.forget(client_order_id)
        except VenueError as error:
            await self._note("lookup", f"{client_order_id}: {error}")
        except NotCommitted:
            return  # asked again after the pause; the writer says why

    async def settle(self, row: OrderRow) -> bool:
        """Ask once for an order and book the answer; whether all is known of it that needs asking.

        Raises:
            VenueError: the venue could not be asked.
            NotCommitted: the journal cannot take the answer.
        """
        key = row.request.client_order_id
        found = await self._exchange.find(key, row.request.instrument_id)
        if isinstance(found, Found):
            self._gone_since.pop(key, None)
            booked = await self._book(News(fills=found.fills, states={key: found.order}))
            return key not in booked.short_of_fills
        if isinstance(found, Absent):
            if not self._is_gone(row, found.covered_until_wire_ns):
                return False
            await self._book(News(absent=(key,)))
            return True
        await self._note("lookup", f"{key}: {found.reason}")
        return False

    def _is_gone(self, row: OrderRow, covered_until_wire_ns: int) -> bool:
        """Whether an absence up to that time is certain."""
        if covered_until_wire_ns < certain_after_ns(row, self._exchange.traits):
            return False
        if row.state != "accepted":
            return True
        since = self._gone_since.setdefault(row.request.client_order_id, covered_until_wire_ns)
        return covered_until_wire_ns - since >= GONE_AFTER_NS
