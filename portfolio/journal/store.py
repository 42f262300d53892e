"""Rows between memory and SQL: what one append changes, in few statements, mirrored after the commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Insert,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from portfolio.core.errors import ConflictError, InputError, JournalCorruptError
from portfolio.journal.chain import RESTORE
from portfolio.journal.rows import PROJECTIONS, Columns, Key, Projection

V = TypeVar("V")
#: Operations whose orders and fills stay in memory.
_OPERATIONS_MAX = 64


@dataclass(frozen=True)
class _Statements:
    insert: Insert
    delete: Delete
    select: Select[Any]


@cache
def _statements(table: Table) -> _Statements:
    """Prepared once per table; keys are bound as `key_<name>` so that an update can name both."""
    where = _one(table)
    return _Statements(
        insert=insert(table), delete=delete(table).where(where), select=select(table).where(where)
    )


@cache
def _update(table: Table, names: tuple[str, ...]) -> Update:
    values: dict[Any, Any] = {name: bindparam(name) for name in names}
    return update(table).where(_one(table)).values(values)


def _one(table: Table) -> ColumnElement[bool]:
    return and_(*(column == bindparam(f"key_{column.name}") for column in table.primary_key.columns))


class MemoryRows:
    """Projections in plain dictionaries: the rebuild that verification compares with."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Key, Any]] = {one.table.name: {} for one in PROJECTIONS}

    def get(self, projection: Projection[V], key: Key) -> V | None:
        """The value now, or None."""
        return self.tables[projection.table.name].get(key)

    def create(self, projection: Projection[V], key: Key, value: V, conflict: str) -> None:
        """Add a row.

        Raises:
            ConflictError: the key exists.
        """
        if key in self.tables[projection.table.name]:
            raise ConflictError(conflict)
        self.tables[projection.table.name][key] = value

    def put(self, projection: Projection[V], key: Key, value: V) -> None:
        """Add or replace a row."""
        self.tables[projection.table.name][key] = value

    def drop(self, projection: Projection[V], key: Key) -> None:
        """Remove a row if it is there."""
        self.tables[projection.table.name].pop(key, None)


class Store:
    """Projections on tables, with those rows mirrored in memory that are asked for all the time."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._stream = stream
        self._mirror: dict[str, dict[Key, Any]] = {}
        #: Rows by (table, operation), for the operations asked for last: an engine asks after each slice.
        self._operations: dict[tuple[str, str], dict[Key, Any]] = {}
        for projection in PROJECTIONS:
            self._mirror[projection.table.name] = self._load(projection)

    def _load(self, projection: Projection[Any]) -> dict[Key, Any]:
        where: list[Any] = []
        if not projection.whole:
            flag = next((name for name in ("unsettled", "unfinished") if name in projection.table.c), None)
            if flag is None:
                return {}
            where = [projection.table.c[flag] == 1]
        return self.query(projection, *where)

    def mirrored(self, projection: Projection[V]) -> Mapping[Key, V]:
        """Rows of this projection that are in memory; all of them where it is kept whole."""
        return self._mirror[projection.table.name]

    def get(self, projection: Projection[V], key: Key) -> V | None:
        """The committed value, or None."""
        value: V | None = self._mirror[projection.table.name].get(key)
        if value is not None or projection.whole:
            return value
        statement = _statements(projection.table).select
        row = self._connection.execute(statement, self._key_parameters(projection, key)).mappings().first()
        return None if row is None else _decoded(projection, row)

    def query(self, projection: Projection[V], *where: Any) -> dict[Key, V]:
        """Committed rows under these conditions, in the order of their entries where they have one."""
        table = projection.table
        statement = select(table).where(table.c.stream == self._stream, *where)
        if "seq" in table.c:
            statement = statement.order_by(table.c.seq)
        rows: Sequence[Any] = self._connection.execute(statement).mappings().all()
        return {projection.key_of(row): _decoded(projection, row) for row in rows}

    def newest(self, projection: Projection[V], limit: int | None) -> list[V]:
        """Committed rows, the newest first, at most `limit` of them."""
        table = projection.table
        statement = select(table).where(table.c.stream == self._stream).order_by(table.c.seq.desc())
        found = self._connection.execute(statement.limit(limit)).mappings().all()
        return [_decoded(projection, row) for row in found]

    def of_operation(self, projection: Projection[V], intent_id: str) -> Mapping[Key, V]:
        """Rows of one intent or guard operation, in the order of their entries."""
        where = (projection.table.name, intent_id)
        found = self._operations.pop(where, None)
        if found is None:
            found = self.query(projection, projection.table.c.intent_id == intent_id)
            if len(self._operations) >= _OPERATIONS_MAX:
                del self._operations[next(iter(self._operations))]
        self._operations[where] = found
        return found

    def raw(self, projection: Projection[Any]) -> dict[Key, Columns]:
        """All committed rows as stored, without the stream."""
        table = projection.table
        columns = [column for column in table.columns if column.name != "stream"]
        if not columns:
            return {}
        rows = self._connection.execute(select(*columns).where(table.c.stream == self._stream)).mappings()
        return {projection.key_of(dict(row)): dict(row) for row in rows}

    def begin(self) -> "Changes":
        """Collect the changes of one append."""
        return Changes(self, self._connection, self._stream)

    def accept(self, changes: "Changes") -> None:
        """Mirror what was committed."""
        for change in changes.pending.values():
            mirror = self._mirror[change.projection.table.name]
            if change.value is not None and change.projection.mirrored(change.value):
                mirror[change.key] = change.value
            else:
                mirror.pop(change.key, None)
            intent_id = None if change.value is None else change.projection.intent_id(change.value)
            if intent_id is not None:
                operation = self._operations.get((change.projection.table.name, intent_id))
                if operation is not None:
                    operation[change.key] = change.value

    def _key_parameters(self, projection: Projection[Any], key: Key) -> dict[str, Any]:
        return key_parameters(projection, key, self._stream)


def _decoded(projection: Projection[V], row: Any) -> V:
    try:
        return projection.decode(row)
    except (InputError, ValueError, ArithmeticError) as error:
        raise JournalCorruptError(
            f"A row of the journal's table {projection.table.name} is damaged: {error}.", next_step=RESTORE
        ) from error


def key_parameters(projection: Projection[Any], key: Key, stream: str) -> dict[str, Any]:
    """The bound key of a row."""
    named = {f"key_{name}": part for name, part in zip(projection.keys, key, strict=True)}
    return {"key_stream": stream, **named}


@dataclass(slots=True)
class _Change:
    projection: Projection[Any]
    key: Key
    #: None: the row goes.
    value: Any
    #: A row is in the table.
    existed: bool
    #: What to say when the key turns out to exist; None where that was checked.
    conflict: str | None


class Changes:
    """The rows that one append changes, over what is committed. Nothing is written before `write`."""

    def __init__(self, store: Store, connection: Connection, stream: str) -> None:
        self._store = store
        self._connection = connection
        self._stream = stream
        self.pending: dict[tuple[str, Key], _Change] = {}

    def get(self, projection: Projection[V], key: Key) -> V | None:
        """The value now, this append's own changes included."""
        change = self.pending.get((projection.table.name, key))
        if change is not None:
            value: V | None = change.value
            return value
        return self._store.get(projection, key)

    def create(self, projection: Projection[V], key: Key, value: V, conflict: str) -> None:
        """Add a row. A key that is only in the table is found out by its primary key, in `write`.

        Raises:
            ConflictError: the key exists in memory or in this append.
        """
        change = self.pending.get((projection.table.name, key))
        known = (
            self._store.mirrored(projection).get(key) is not None
            if change is None
            else change.value is not None
        )
        if known:
            raise ConflictError(conflict, next_step="Read it again before deciding.")
        existed = change is not None and change.existed
        self._set(projection, key, value, existed=existed, conflict=None if existed else conflict)

    def put(self, projection: Projection[V], key: Key, value: V) -> None:
        """Add or replace a row."""
        change = self.pending.get((projection.table.name, key))
        if change is not None:
            change.value = value
            return
        self._set(projection, key, value, existed=self._store.get(projection, key) is not None, conflict=None)

    def drop(self, projection: Projection[V], key: Key) -> None:
        """Remove a row if it is there."""
        change = self.pending.get((projection.table.name, key))
        if change is not None:
            change.value = None
        elif self._store.get(projection, key) is not None:
            self._set(projection, key, None, existed=True, conflict=None)

    def _set(
        self, projection: Projection[Any], key: Key, value: Any, *, existed: bool, conflict: str | None
    ) -> None:
        self.pending[(projection.table.name, key)] = _Change(projection, key, value, existed, conflict)

    def write(self) -> None:
        """Execute it: one statement per table and kind of change.

        Raises:
            ConflictError: a created key exists in its table.
        """
        groups: dict[tuple[str, str], list[_Change]] = {}
        for change in self.pending.values():
            kind = "delete" if change.value is None else ("update" if change.existed else "insert")
            if kind != "delete" or change.existed:
                groups.setdefault((change.projection.table.name, kind), []).append(change)
        for (_, kind), changes in groups.items():
            statements = _statements(changes[0].projection.table)
            if kind == "insert":
                self._insert(statements, changes)
            elif kind == "update":
                rows = [{**one.projection.moving(one.value), **self._bound(one)} for one in changes]
                names = tuple(name for name in rows[0] if not name.startswith("key_"))
                self._connection.execute(_update(changes[0].projection.table, names), rows)
            else:
                self._connection.execute(statements.delete, [self._bound(change) for change in changes])

    def _insert(self, statements: _Statements, changes: list[_Change]) -> None:
        rows = [{"stream": self._stream, **one.projection.columns(one.key, one.value)} for one in changes]
        try:
            self._connection.execute(statements.insert, rows)
        except IntegrityError:
            # Read which key it was. The transaction is lost either way, so the rows of this batch are too.
            self._connection.rollback()
            for change in changes:
                if change.conflict is not None and self._store.get(change.projection, change.key) is not None:
                    raise ConflictError(change.conflict, next_step="Read it again before deciding.") from None
            raise

    def _bound(self, change: _Change) -> dict[str, Any]:
        return key_parameters(change.projection, change.key, self._stream)
