"""`SqlJournal`: the `ports.Journal` on SQLAlchemy Core.

1. `append` is one transaction: ownership, events and projections together, or nothing.
2. Whoever took the journal over last owns it: an append under an older fence is refused inside the
   transaction.
3. What is mirrored in memory changes only after the commit.

One caller at a time: in production the runner's thread, in simulation the event loop. Open it with
`portfolio.journal.open.open_journal`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import DBAPIError

from portfolio.core.entries import DeskStarted, Entry
from portfolio.core.errors import InputError, JournalError, JournalFencedError
from portfolio.core.names import ClientOrderId, Coin, InstrumentId, IntentId, PairId
from portfolio.journal import dialect, rows, schema, verify
from portfolio.journal.chain import link, recorded
from portfolio.journal.projections import apply
from portfolio.journal.store import Store
from portfolio.ports import FillRow, Freeze, IntentRow, OrderRow, Recorded, TokenRow, Verification

_INSERT_EVENTS = insert(schema.event)
#: Moves the head and proves ownership in one statement: no row matches for a desk that was replaced.
_OWN = (
    update(schema.owner)
    .where(
        schema.owner.c.stream == bindparam("key_stream"),
        schema.owner.c.fence == bindparam("key_fence"),
        schema.owner.c.head_seq == bindparam("key_seq"),
    )
    .values(fence=bindparam("fence"), head_seq=bindparam("head_seq"), head_hash=bindparam("head_hash"))
)


class SqlJournal:
    """Append-only truth with projections; see `ports.Journal` for what each method promises."""

    def __init__(
        self, connection: Connection, *, path: str, stream: str, fence: int, head: tuple[int, str]
    ) -> None:
        self._connection: Connection | None = connection
        self._path = path
        self._stream = stream
        self._fence = fence
        self._head = head
        with self._translating():
            self._store = Store(connection, stream)

    @property
    def fence(self) -> int:
        """The number under which this desk writes."""
        return self._fence

    @property
    def path(self) -> str:
        """The file, or ":memory:"."""
        return self._path

    def append(self, entries: Sequence[Entry], wire_ns: int) -> tuple[Recorded, ...]:
        """Commit all or nothing; an empty batch commits nothing."""
        return self._commit(entries, wire_ns, fence=self._fence)

    def _commit(self, entries: Sequence[Entry], wire_ns: int, *, fence: int) -> tuple[Recorded, ...]:
        """Write under `fence`; a higher one than the journal's own takes it over."""
        if not entries:
            return ()
        linked = link(entries, stream=self._stream, fence=fence, wire_ns=wire_ns, head=self._head)
        made = tuple(one for one, _ in linked)
        changes = self._store.begin()
        with self._writing() as connection:
            self._own(connection, fence, made[-1])
            for one in made:
                apply(changes, one)
            connection.execute(_INSERT_EVENTS, [row for _, row in linked])
            changes.write()
        self._store.accept(changes)
        self._head = (made[-1].seq, made[-1].hash)
        self._fence = fence
        return made

    def _own(self, connection: Connection, fence: int, last: Recorded) -> None:
        moved = connection.execute(
            _OWN,
            {
                "key_stream": self._stream,
                "key_fence": self._fence,
                "key_seq": self._head[0],
                "fence": fence,
                "head_seq": last.seq,
                "head_hash": last.hash,
            },
        )
        if moved.rowcount != 1:
            raise JournalFencedError(
                f"Another desk took over this journal; fence {self._fence} may no longer write.",
                next_step="Stop this desk: the other one owns the account now.",
            )

    def take_over(self, entries: Sequence[Entry], wire_ns: int, *, version: str) -> None:
        """Become the owner under the next fence, recorded with DeskStarted after `entries`.

        Raises:
            JournalFencedError: another desk took it in the same moment.
        """
        fence = self._fence + 1
        self._commit([*entries, DeskStarted(fence=fence, version=version)], wire_ns, fence=fence)

    def reopen(self, wire_ns: int, *, version: str = "") -> "SqlJournal":
        """A new owner of the same database, as after a crash: this one's next append is refused as fenced."""
        journal = SqlJournal(
            self._open(), path=self._path, stream=self._stream, fence=self._fence, head=self._head
        )
        journal.take_over((), wire_ns, version=version)
        return journal

    def order(self, client_order_id: ClientOrderId) -> OrderRow | None:
        """One order."""
        with self._translating():
            stored = self._store.get(rows.ORDERS, (client_order_id,))
        return None if stored is None else stored.row

    def orders(
        self, *, unsettled_only: bool = False, intent_id: IntentId | None = None
    ) -> tuple[OrderRow, ...]:
        """Orders in the order planned."""
        if unsettled_only:
            found = sorted(self._store.mirrored(rows.ORDERS).values(), key=lambda stored: stored.seq)
            return tuple(one.row for one in found if intent_id in (None, one.row.request.intent_id))
        with self._translating():
            if intent_id is None:
                return tuple(one.row for one in self._store.query(rows.ORDERS).values())
            return tuple(one.row for one in self._store.of_operation(rows.ORDERS, intent_id).values())

    def fills(self, intent_id: IntentId | None = None) -> tuple[FillRow, ...]:
        """Booked fills in the order booked; orphans are not among them."""
        with self._translating():
            if intent_id is not None:
                return tuple(one.row() for one in self._store.of_operation(rows.FILLS, intent_id).values())
            owned = schema.fills.c.intent_id.is_not(None)
            return tuple(one.row() for one in self._store.query(rows.FILLS, owned).values())

    def has_fill(self, fill_id: str) -> bool:
        """Whether this execution is booked already, as a fill or as an orphan."""
        with self._translating():
            return self._store.get(rows.FILLS, (fill_id,)) is not None

    def has_cash(self, kind: str, reference: str) -> bool:
        """Whether this row of the venue's ledger is booked already."""
        with self._translating():
            return self._store.get(rows.CASH, (kind, reference)) is not None

    def holdings(self) -> Mapping[tuple[PairId, InstrumentId], Decimal]:
        """Signed base coins per pair and instrument; what adds up to nothing is absent."""
        found = self._store.mirrored(rows.HOLDINGS)
        return {(PairId(key[0]), InstrumentId(key[1])): quantity for key, quantity in found.items()}

    def treasury(self) -> Mapping[Coin, Decimal]:
        """Coins that belong to no pair."""
        return {Coin(key[0]): quantity for key, quantity in self._store.mirrored(rows.TREASURY).items()}

    def intent(self, intent_id: IntentId) -> IntentRow | None:
        """One intent."""
        with self._translating():
            stored = self._store.get(rows.INTENTS, (intent_id,))
        return None if stored is None else stored.row

    def intent_by_request(self, proposed_by: str, request_id: str) -> IntentRow | None:
        """The intent that this token proposed under this request id."""
        with self._translating():
            intent_id = self._store.get(rows.REQUESTS, (proposed_by, request_id))
        return None if intent_id is None else self.intent(IntentId(intent_id))

    def intents(self, *, open_only: bool = False, limit: int | None = None) -> tuple[IntentRow, ...]:
        """Intents, newest first, at most `limit` of them."""
        if open_only:
            found = sorted(self._store.mirrored(rows.INTENTS).values(), key=lambda stored: -stored.seq)
            return tuple(one.row for one in found[:limit])
        with self._translating():
            return tuple(one.row for one in self._store.newest(rows.INTENTS, limit))

    def freezes(self) -> tuple[Freeze, ...]:
        """Standing freezes, oldest first."""
        return tuple(
            sorted(
                self._store.mirrored(rows.FREEZES).values(), key=lambda one: (one.since_wire_ns, one.source)
            )
        )

    def halted(self) -> bool:
        """Whether the kill switch is on."""
        return bool(self._store.mirrored(rows.HALT))

    def guard_state(self) -> str | None:
        """The last saved guard state."""
        return self._store.mirrored(rows.GUARD_STATE).get(())

    def guard_actions(self, limit: int = 50) -> tuple[Recorded, ...]:
        """The newest GuardActed entries, newest first."""
        table = schema.event
        statement = (
            select(table)
            .where(table.c.stream == self._stream, table.c.kind == "guard.acted")
            .order_by(table.c.seq.desc())
            .limit(_limit(limit))
        )
        return self._recorded(statement)

    def tokens(self) -> tuple[TokenRow, ...]:
        """All tokens by name, revoked ones included."""
        return tuple(sorted(self._store.mirrored(rows.TOKENS).values(), key=lambda token: token.name))

    def cash(self, since_seq: int = 0) -> tuple[Recorded, ...]:
        """CashBooked entries after `since_seq`."""
        table = schema.event
        statement = (
            select(table)
            .where(table.c.stream == self._stream, table.c.kind == "cash.booked", table.c.seq > since_seq)
            .order_by(table.c.seq)
        )
        return self._recorded(statement)

    def read(self, after_seq: int = 0, limit: int = 1000) -> tuple[Recorded, ...]:
        """Entries in order."""
        table = schema.event
        statement = (
            select(table)
            .where(table.c.stream == self._stream, table.c.seq > after_seq)
            .order_by(table.c.seq)
            .limit(_limit(limit))
        )
        return self._recorded(statement)

    def head(self) -> tuple[int, str]:
        """Sequence number and hash of the newest entry that this desk wrote or found."""
        return self._head

    def verify(self) -> Verification:
        """Walk the whole chain and compare every projection with a rebuild."""
        with self._translating():
            return verify.verify(self._open(), self._store, self._stream)

    def backup(self, target: Path) -> None:
        """Write a complete copy of the journal as it is now; `target` must not exist.

        Raises:
            JournalError: it exists, or could not be written.
        """
        if target.exists():
            raise JournalError(f"{target} exists already.", next_step="Name a file that does not exist.")
        with self._translating():
            dialect.backup(self._open(), target)

    def close(self) -> None:
        """Release the file. Closing twice is harmless; using it afterwards is a JournalError."""
        connection, self._connection = self._connection, None
        if connection is not None:
            engine = connection.engine
            connection.close()
            engine.dispose()

    def _open(self) -> Connection:
        if self._connection is None:
            raise JournalError("The journal is closed.", next_step="Open it again with `open_journal`.")
        return self._connection

    def _recorded(self, statement: Any) -> tuple[Recorded, ...]:
        with self._translating():
            return tuple(recorded(row) for row in self._open().execute(statement))

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        connection = self._open()
        with self._translating():
            try:
                dialect.begin_write(connection)
                yield connection
                connection.commit()
            except BaseException:
                connection.rollback()
                raise

    @contextmanager
    def _translating(self) -> Iterator[None]:
        self._open()
        try:
            yield
        except DBAPIError as error:
            raise dialect.translated(error, self._path) from error
        except UnicodeEncodeError as error:
            raise InputError(f"A text is not valid Unicode: {error}.") from None


def _limit(limit: int) -> int:
    if limit < 0:
        raise InputError(f"limit: {limit} must not be negative.", field="limit", allowed=">= 0")
    return limit
