"""The journal as the worker and the bookkeeper write it: read, decide and append in one step.

1. What is decided from the journal and what is appended for it happen in one call of the runner, so that no
   other write comes between.
2. What happened while the journal could not commit is owed, and is written before anything newer.
3. A commit that fails raises NotCommitted; a journal that is foreign, fenced or corrupt is never survived.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import anyio

from portfolio.codec import canonical, read_json, tagged_from_data, tagged_to_data
from portfolio.core.entries import Entry, GuardActed, OrderAnswered, OrderPlanned
from portfolio.core.errors import JOURNAL_FATAL, JournalError
from portfolio.core.names import ClientOrderId
from portfolio.ports import Clocks, EmergencyLog, Journal, Runner

T = TypeVar("T")

#: Between two tries to write what is owed.
_SETTLE_SECONDS = 1.0
#: Builds entries from what the journal says, beside whatever the caller wants to know.
Build = Callable[[Journal], tuple[Sequence[Entry], T]]


class NotCommitted(JournalError):
    """The journal could not commit; nothing of the call is recorded."""


class JournalWriter:
    """See the module. `failure` says why the last commit failed, None once one succeeded again."""

    def __init__(
        self, *, journal: Journal, runner: Runner, clocks: Clocks, emergency: EmergencyLog | None
    ) -> None:
        self.failure: str | None = None
        self._journal = journal
        self._runner = runner
        self._clocks = clocks
        self._emergency = emergency
        #: Appended to in the event loop and in the runner, taken from in the runner: a deque needs no lock.
        self._owed: deque[Entry] = deque()

    async def commit(self, build: Build[T]) -> T:
        """Run `build` on the journal and append what it made, in one step.

        Raises:
            NotCommitted: the journal could not be read or written.
            JournalError: it may not be written by us at all.
        """
        now = self._clocks.wire_ns()

        def call() -> T:
            self._settle_debts(now)
            entries, result = build(self._journal)
            if entries:
                self._journal.append(entries, now)
            return result

        result = await self._run(call)
        self.failure = None
        return result

    async def append(self, entries: Sequence[Entry]) -> None:
        """Append what needs no decision.

        Raises:
            NotCommitted: the journal could not be written.
        """
        await self.commit(lambda journal: (entries, None))

    async def read(self, query: Callable[[Journal], T]) -> T:
        """Ask the journal.

        Raises:
            NotCommitted: it cannot be read now.
            JournalError: it may not be used by us at all.
        """
        return await self._run(lambda: query(self._journal))

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await self._runner.run(call)
        except JOURNAL_FATAL:
            raise
        except JournalError as error:
            self.failure = str(error)
            raise NotCommitted(str(error)) from error

    def owes(self, kind: type[Entry]) -> bool:
        """Whether an entry of this kind happened that the journal does not have yet."""
        return any(isinstance(entry, kind) for entry in tuple(self._owed))

    def owe(self, entries: Sequence[Entry]) -> None:
        """These happened; write them before anything newer, once the journal commits again."""
        self._owed.extend(entries)

    async def keep_aside(self, entries: Sequence[Entry]) -> None:
        """Record in the emergency file what the journal cannot commit, and owe it to the journal.

        Raises:
            NotCommitted: there is no such file, it is full, or it cannot be written.
        """
        emergency = self._emergency
        if emergency is None:
            raise NotCommitted("there is no emergency file")
        records = [canonical(tagged_to_data(entry)).encode() for entry in entries]

        def call() -> None:
            for record in records:
                emergency.append(record)
            # Owed in the same call: a commit that comes next must not clear what the journal lacks. That the
            # guard acted comes with its orders: a desk that dies in between must not act on these alone.
            self._owed.extend([*entries, *_actions_of(entries)])

        try:
            await self._runner.run(call)
        except JournalError as error:
            raise NotCommitted(str(error)) from error

    async def keep_settling(self) -> None:
        """Write what is owed soon after the journal is back, though nobody else writes; until cancelled.

        Raises:
            JournalError: the journal may not be written by us at all.
        """
        while True:
            await anyio.sleep(_SETTLE_SECONDS)
            if self._owed:
                with suppress(NotCommitted):
                    await self.append(())

    async def take_back(self) -> None:
        """At the start: what an earlier desk kept aside is owed to the journal.

        These are orders of its guard, whose memory of why it acted is lost: that it did must not be, because
        engines leave alone what the guard has traded since they began.

        Raises:
            InputError: a record is not an entry of this version.
        """
        if self._emergency is not None:
            records = await self._runner.run(self._emergency.records)
            entries = [tagged_from_data(Entry, read_json(record)) for record in records]
            self.owe([*entries, *_actions_of(entries)])

    def _settle_debts(self, now_wire_ns: int) -> None:
        owed = list(self._owed)
        if not owed:
            return
        known = {entry.request.client_order_id for entry in owed if isinstance(entry, OrderPlanned)}
        fresh = [entry for entry in owed if self._news(entry, known)]
        if fresh:
            self._journal.append(fresh, now_wire_ns)
        for _ in owed:
            self._owed.popleft()
        if self._emergency is not None:
            self._emergency.clear()

    def _news(self, entry: Entry, planned: set[ClientOrderId]) -> bool:
        """Whether the journal lacks it and can take it: a crash may have come between append and clear."""
        if isinstance(entry, OrderPlanned):
            return self._journal.order(entry.request.client_order_id) is None
        if isinstance(entry, OrderAnswered):
            row = self._journal.order(entry.client_order_id)
            return entry.client_order_id in planned if row is None else row.state in ("planned", "unknown")
        return True


def _actions_of(entries: Sequence[Entry]) -> list[GuardActed]:
    """What the guard did, as far as its orders tell: one action for each operation."""
    orders = [entry.request for entry in entries if isinstance(entry, OrderPlanned)]
    detail = "sent while the journal could not commit"
    return [
        GuardActed(
            action_id=operation_id,
            rule="emergency",
            pairs=tuple(dict.fromkeys(order.pair_id for order in orders if order.intent_id == operation_id)),
            detail=detail,
            health_before=None,
            health_planned=None,
        )
        for operation_id in dict.fromkeys(order.intent_id for order in orders)
    ]
