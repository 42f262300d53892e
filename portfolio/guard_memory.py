"""What the guard knows from the journal and writes to it, away from its loop.

1. `state` is the truth while the guard runs; a restart continues from what was saved with the last action.
2. Entries are written in the order in which they were decided. While the journal cannot commit they wait, the
   newest state replaces older ones, and `failure` says why; nothing that reduces risk waits for them.
3. A journal that is foreign, fenced or corrupt is never survived.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import anyio

from portfolio.core.entries import (
    UNKNOWN_CASH,
    CashBooked,
    EntriesFrozen,
    EntriesThawed,
    Entry,
    GuardActed,
    GuardStateSaved,
)
from portfolio.core.errors import JOURNAL_FATAL, JournalError, MissingDataError
from portfolio.core.guard.arbiter import acknowledged
from portfolio.core.guard.state import GuardState, from_text, needs_saving, to_text
from portfolio.core.guard.values import FreezeWanted, Rule, Transfer, Uncounted
from portfolio.core.limits import SECOND_NS
from portfolio.core.names import InstrumentId, PairId
from portfolio.guard_facts import JournalFacts, read_journal
from portfolio.ports import Clocks, Freeze, Journal, OrderRow, Runner
from portfolio.view import AccountView

#: The journal is read at least this often, and at most this often when something asks for it.
READ_EVERY_NS = SECOND_NS
READ_GAP_NS = SECOND_NS // 20
#: Longest wait of somebody who needs an entry to have been read.
_READ_THROUGH_SECONDS = 5.0
#: Pause before a failed commit is tried again.
_RETRY_SECONDS = 1.0
#: Entries kept while the journal cannot commit; older ones give way.
_WAITING_MAX = 1000


class GuardMemory:
    """See the module. Used by one guard."""

    def __init__(self, *, journal: Journal, runner: Runner, clocks: Clocks, view: AccountView) -> None:
        self.state = GuardState()
        #: None before the first read.
        self.facts: JournalFacts | None = None
        self._unread: str | None = None
        self._unwritten: str | None = None
        self._journal = journal
        self._runner = runner
        self._clocks = clocks
        self._view = view
        self._saved = GuardState()
        self._waiting: list[Entry] = []
        self._writing = anyio.Lock()
        self._write = anyio.Event()
        self._read = anyio.Event()
        self._taken = anyio.Event()
        self._uncounted: tuple[CashBooked, ...] = ()

    @property
    def failure(self) -> str | None:
        """Why the journal could not be read or written when it was last tried; None: it could."""
        return self._unwritten or self._unread

    async def load(self, seen: Callable[[], Mapping[InstrumentId, Decimal]]) -> None:
        """Continue from the last saved state.

        Raises:
            JournalError: the journal or the saved state cannot be read.
        """
        text = await self._runner.run(self._journal.guard_state)
        if text is not None:
            self._saved = from_text(text)
            # Equity may have been above the line in between: a drawdown is timed by one run alone.
            self.state = replace(self._saved, drawdown_since=None)
        await self._take_in(seen, first=True)
        facts = self.facts
        if facts is not None and Rule.DRAWDOWN in self.state.frozen:
            # The operator may have lifted it in the instant before the desk went down.
            standing = {row.source for row in facts.freezes}
            if Rule.DRAWDOWN not in standing:
                self.state = acknowledged(self.state)

    # --- reading ------------------------------------------------------------------------------------------

    def read_soon(self) -> None:
        """Something changed that the journal explains: read it now instead of at its next turn."""
        self._read.set()

    async def read_through(self, seq: int) -> None:
        """Wait until this entry of the journal has been read, 5 s at most: then it cannot be read now."""
        with anyio.move_on_after(_READ_THROUGH_SECONDS):
            while self.facts is None or self.facts.seq < seq:
                self.read_soon()
                await self._taken.wait()

    async def keep_reading(self, seen: Callable[[], Mapping[InstrumentId, Decimal]]) -> None:
        """Read the journal every second, and at once when asked, until cancelled.

        Args:
            seen: What the view shows of every leg, signed coins.

        Raises:
            JournalError: the journal may not be used by us at all.
        """
        while True:
            with anyio.move_on_after(READ_EVERY_NS / SECOND_NS):
                await self._read.wait()
            self._read = anyio.Event()
            try:
                await self._take_in(seen)
                self._unread = None
            except JOURNAL_FATAL:
                raise
            except JournalError as error:
                self._unread = str(error)
            await anyio.sleep(READ_GAP_NS / SECOND_NS)

    async def _take_in(
        self, seen: Callable[[], Mapping[InstrumentId, Decimal]], *, first: bool = False
    ) -> None:
        after = None if first or self.facts is None else self.facts.seq
        counted = self.state.transfers_seq
        before = dict(seen())
        ledger = self._view.ledger_read_wire_ns
        now = self._clocks.wire_ns()
        facts = await self._runner.run(lambda: read_journal(self._journal, after, counted, now))
        self.facts = replace(facts, seen=before, ledger_read_wire_ns=ledger)
        self._uncounted += facts.transfers
        if facts.resumed:
            self.state = acknowledged(self.state)
        self._taken.set()
        self._taken = anyio.Event()

    def transfers(self) -> tuple[Transfer, ...]:
        """Transfers that the state has not counted, in USD of now, as far as they can be priced."""
        found = ((row, self._usd(row)) for row in self._uncounted)
        return tuple(Transfer(usd, row.event_market_ns) for row, usd in found if usd is not None)

    def uncounted(self) -> tuple[Uncounted, ...]:
        """Rows that may be withdrawals and whose worth is not known. A restart forgets those counted past."""
        return tuple(
            Uncounted(f"{row.amount:f} {row.coin} ({row.kind} {row.reference})", row.event_market_ns)
            for row in self._uncounted
            if row.amount < 0 and self._usd(row) is None
        )

    def _usd(self, row: CashBooked) -> Decimal | None:
        if row.kind == UNKNOWN_CASH:
            return None
        try:
            return row.amount * self._view.coin_price(row.coin).usd
        except MissingDataError:
            return None

    def decided(self, state: GuardState, counted: tuple[Transfer, ...]) -> None:
        """Take over the state after a tick that counted these transfers, in the instant of `transfers`."""
        if counted and self.facts is not None:
            self._uncounted = tuple(row for row in self._uncounted if self._usd(row) is None)
            state = replace(state, transfers_seq=self.facts.seq)
        # What the peak has in it explains no fall from it.
        self._uncounted = tuple(row for row in self._uncounted if row.event_market_ns > state.peak_market_ns)
        self.state = state
        if needs_saving(self._saved, state, self._clocks.wire_ns()):
            self._write.set()

    # --- freezes ------------------------------------------------------------------------------------------

    def freezes(self) -> tuple[Freeze, ...]:
        """Standing freezes: the journal's, and ours that are not written yet."""
        known = () if self.facts is None else self.facts.freezes
        ours = self.state.frozen
        mine = set(Rule)
        rows = [row for row in known if row.source not in mine or row.source in ours]
        named = {row.source for row in rows}
        now = self._clocks.wire_ns()
        rows += [
            Freeze(source, reason, lifted_by(source), now)
            for source, reason in ours.items()
            if source not in named
        ]
        return tuple(rows)

    def froze(self, started: Sequence[FreezeWanted], ended: Sequence[str]) -> None:
        """Write down freezes that start and end."""
        entries: list[Entry] = [EntriesFrozen(row.source, row.reason, row.lifted_by) for row in started]
        entries += [EntriesThawed(source, "guard") for source in ended]
        if entries:
            self._waiting += entries
            self._write.set()

    # --- writing ------------------------------------------------------------------------------------------

    def unwritten(self, pair_id: PairId) -> bool:
        """Whether something that was done to this pair is not in the journal yet."""
        return any(isinstance(entry, GuardActed) and pair_id in entry.pairs for entry in self._waiting)

    async def keep_writing(self) -> None:
        """Write what waits, as soon as it can be written, until cancelled.

        Raises:
            JournalError: the journal may not be written by us at all.
        """
        while True:
            await self._write.wait()
            self._write = anyio.Event()
            if not await self.commit(()):
                await anyio.sleep(_RETRY_SECONDS)

    async def commit(self, entries: Sequence[Entry]) -> bool:
        """Write these after everything that waits, with the state of this moment; whether that succeeded.

        Raises:
            JournalError: the journal may not be written by us at all.
        """
        self._waiting += entries
        async with self._writing:
            batch, state = list(self._waiting), self.state
            taken = len(batch)
            if needs_saving(self._saved, state, self._clocks.wire_ns()):
                batch.append(GuardStateSaved(to_text(state)))
            if not batch:
                return True
            now = self._clocks.wire_ns()
            try:
                await self._runner.run(lambda: self._journal.append(batch, now))
            except JOURNAL_FATAL:
                raise
            except JournalError as error:
                self._unwritten = str(error)
                del self._waiting[:-_WAITING_MAX]
                # Tried again though nothing new comes: until then no entry passes.
                self._write.set()
                return False
            del self._waiting[:taken]
            self._saved = state
            self._unwritten = None
        return True

    async def flying(self) -> tuple[OrderRow, ...]:
        """Orders in flight as the journal has them now, or as last read while it cannot be asked."""
        try:
            return await self._runner.run(lambda: self._journal.orders(unsettled_only=True))
        except JOURNAL_FATAL:
            raise
        except JournalError as error:
            self._unread = str(error)
            return () if self.facts is None else self.facts.unsettled


def lifted_by(source: str) -> str:
    """Who lifts a freeze of the guard."""
    return "operator" if source == Rule.DRAWDOWN else "self"
