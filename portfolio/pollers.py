"""What is read again and again although the venue also streams: account, ledger, risk tables.

A read that fails is tried again at its next turn; ages in the account view tell everybody else.
"""

from collections.abc import Callable

import anyio

from portfolio.core.entries import UNKNOWN_CASH, CashBooked, Entry, Noted, TablesChanged
from portfolio.core.errors import VenueError
from portfolio.core.events import Reset
from portfolio.core.limits import HOUR_NS, MINUTE_NS, SECOND_NS
from portfolio.core.risk import RiskTables
from portfolio.core.table_changes import TableChange, table_changes
from portfolio.lookup import Note
from portfolio.ports import Clocks, Exchange, Journal
from portfolio.view import AccountView
from portfolio.writer import JournalWriter, NotCommitted

ACCOUNT_EVERY_NS = SECOND_NS
LEDGER_EVERY_NS = MINUTE_NS
#: A venue's notice takes effect at an instant: this bounds how long a change that moves our figures too
#: little to be noticed stays unseen. One read is some forty requests, a thousandth of what an address may do.
TABLES_EVERY_NS = 5 * MINUTE_NS
#: A change that moves them more is asked for when the venue's figures leave ours, at most this often.
TABLES_SOON_NS = 10 * SECOND_NS
RETRY_NS = 5 * SECOND_NS
#: Ledger rows may appear late: each read goes back this far behind the newest row known, market clock.
LEDGER_OVERLAP_NS = HOUR_NS
_TRIES = 3


class Pollers:
    """The repeated reads of one account."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        writer: JournalWriter,
        view: AccountView,
        clocks: Clocks,
        account_events: Callable[[], int],
        note: Note,
    ) -> None:
        self._exchange = exchange
        self._writer = writer
        self._view = view
        self._clocks = clocks
        #: Counts account events applied so far.
        self._account_events = account_events
        self._note = note
        self._cash: set[tuple[str, str]] = set()
        self._cash_since_ns: int | None = None
        #: The tables that changes are told against: those of the last change.
        self._told: RiskTables | None = None
        self._tables_wanted = anyio.Event()

    async def refresh_account(self) -> bool:
        """Read the account and replace what is known of it; whether that succeeded.

        A read that was overtaken by an event is worthless: which of the two is newer cannot be told.

        Raises:
            VenueError: the venue could not be asked.
        """
        for _ in range(_TRIES):
            before = self._account_events()
            snapshot = await self._exchange.snapshot()
            if self._account_events() == before:
                self._view.apply(Reset(snapshot, snapshot.seen_wire_ns))
                return True
        return False

    async def account(self) -> None:
        """Refresh the account every second until cancelled."""
        while True:
            try:
                await self.refresh_account()
            except VenueError as error:
                await self._note("account", str(error))
            await anyio.sleep(ACCOUNT_EVERY_NS / SECOND_NS)

    async def ledger(self) -> None:
        """Book the venue's cash rows every minute until cancelled."""
        while True:
            pause = LEDGER_EVERY_NS
            try:
                await self.book_ledger()
            except VenueError as error:
                await self._note("ledger", str(error))
                pause = RETRY_NS
            except NotCommitted:
                pause = RETRY_NS
            await anyio.sleep(pause / SECOND_NS)

    async def book_ledger(self) -> int:
        """Book the rows that are new, each once; how many.

        Raises:
            VenueError: the venue could not be asked.
            NotCommitted: the journal cannot take them.
        """
        began_wire_ns = self._clocks.wire_ns()
        since = self._cash_since_ns
        if since is None:
            since = await self._load_cash()
        rows = await self._exchange.ledger(max(0, since - LEDGER_OVERLAP_NS))
        fresh = {(row.kind, row.reference): row for row in rows}
        for key in fresh.keys() & self._cash:
            del fresh[key]
        unknown = [row for row in fresh.values() if row.kind == UNKNOWN_CASH]
        notes = [Noted("ledger", _named(row)) for row in unknown]
        await self._writer.append([*fresh.values(), *notes])
        self._cash |= fresh.keys()
        self._cash_since_ns = max([since, *(row.event_market_ns for row in rows)])
        self._view.ledger_read_wire_ns = began_wire_ns
        return len(fresh)

    async def _load_cash(self) -> int:
        """Learn what is booked; market time of the newest row, or of now for a journal without any."""
        now = self._clocks.market_ns()

        def booked(journal: Journal) -> list[CashBooked]:
            return [one.entry for one in journal.cash() if isinstance(one.entry, CashBooked)]

        rows = await self._writer.read(booked)
        self._cash = {(row.kind, row.reference) for row in rows}
        # Without rows there is nothing of ours before the overlap that the first read covers anyway.
        self._cash_since_ns = max((row.event_market_ns for row in rows), default=now)
        return self._cash_since_ns

    async def tables(self) -> None:
        """Read the risk tables now, every few minutes and soon after they were asked for, until cancelled."""
        soonest_ns = self._clocks.monotonic_ns()
        while True:
            pause = TABLES_EVERY_NS
            self._tables_wanted = anyio.Event()
            try:
                await self.refresh_tables()
            except VenueError as error:
                await self._note("tables", str(error))
                pause = RETRY_NS
            with anyio.move_on_after(pause / SECOND_NS):
                await self._tables_wanted.wait()
                asked_ns = self._clocks.monotonic_ns()
                await anyio.sleep(max(0, soonest_ns - asked_ns) / SECOND_NS)
                soonest_ns = self._clocks.monotonic_ns() + TABLES_SOON_NS

    def tables_soon(self) -> None:
        """Read the risk tables before their time: they may be why our figures left the venue's."""
        self._tables_wanted.set()

    async def refresh_tables(self) -> None:
        """Read the risk tables and journal what changed in them.

        Raises:
            VenueError: the venue could not be asked.
        """
        tables = await self._exchange.risk_tables()
        changes = None if self._told is None else table_changes(self._told, tables)
        if changes is None:
            self._view.set_tables(tables)
            self._told = self._told or tables
        else:
            # First of all the view, which wakes the guard: the journal may be slow.
            self._view.set_tables(tables, TableChange(tables.seen_wire_ns, changes))
            self._told = tables
            entry: Entry = TablesChanged(changes)
            try:
                await self._writer.append([entry])
            except NotCommitted:
                self._writer.owe([entry])


def _named(row: CashBooked) -> str:
    return f"{row.amount:f} {row.coin} moved, of a type that is not known here: {row.reference}"
