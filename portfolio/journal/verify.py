"""Trust in the journal: the tail at each start, everything on demand."""

from typing import Any

from sqlalchemy import Connection, select

from portfolio.core.errors import CarrydeskError, JournalCorruptError
from portfolio.journal import schema
from portfolio.journal.chain import GENESIS, broken, follow, recorded
from portfolio.journal.projections import apply
from portfolio.journal.rows import PROJECTIONS, Columns, Key, Projection
from portfolio.journal.store import MemoryRows, Store
from portfolio.ports import Verification

#: Entries read at once.
_PAGE = 1000


def verify(connection: Connection, store: Store, stream: str) -> Verification:
    """Walk the whole chain, rebuild every projection from it, and compare row by row."""
    rebuilt = MemoryRows()
    head, fence = (0, GENESIS), 0
    try:
        while page := _page(connection, stream, head[0]):
            for row in page:
                follow(row, stream=stream, head=head, fence=fence)
                _replay(rebuilt, row)
                head, fence = (row.seq, row.hash), row.fence
        check_owner(connection, stream, head, fence)
    except JournalCorruptError as error:
        return Verification(entries=head[0], ok=False, first_bad=head[0] + 1, detail=str(error))
    difference = next(filter(None, (_difference(store, rebuilt, one) for one in PROJECTIONS)), None)
    if difference is not None:
        return Verification(entries=head[0], ok=False, first_bad=None, detail=difference)
    return Verification(entries=head[0], ok=True, first_bad=None, detail="chain and projections agree")


def check_tail(connection: Connection, stream: str, count: int = _PAGE) -> tuple[int, tuple[int, str]]:
    """Check the newest `count` entries and return (fence, head).

    Raises:
        JournalCorruptError: one is missing, altered, or does not follow from the one before it.
    """
    table = schema.event
    newest = connection.execute(
        select(table).where(table.c.stream == stream).order_by(table.c.seq.desc()).limit(count + 1)
    ).all()
    tail = list(reversed(newest))
    if len(tail) <= count:
        head, fence = (0, GENESIS), 0
    else:
        before = tail.pop(0)
        head, fence = (before.seq, before.hash), before.fence
    for row in tail:
        follow(row, stream=stream, head=head, fence=fence)
        recorded(row)
        head, fence = (row.seq, row.hash), row.fence
    check_owner(connection, stream, head, fence)
    return fence, head


def check_owner(connection: Connection, stream: str, head: tuple[int, str], fence: int) -> None:
    """Check that the newest entry is the one that was committed last.

    Raises:
        JournalCorruptError: entries are missing at the end, or were added behind the owner's back.
    """
    row = connection.execute(select(schema.owner).where(schema.owner.c.stream == stream)).first()
    if row is None:
        raise broken(head[0] + 1, "nobody ever owned this journal")
    if (row.head_seq, row.head_hash, row.fence) != (*head, fence):
        seq = min(row.head_seq, head[0]) + 1
        raise broken(seq, f"the journal ends at {head[0]} but {row.head_seq} was committed last")


def _page(connection: Connection, stream: str, after: int) -> list[Any]:
    table = schema.event
    statement = (
        select(table).where(table.c.stream == stream, table.c.seq > after).order_by(table.c.seq).limit(_PAGE)
    )
    return list(connection.execute(statement).all())


def _replay(rebuilt: MemoryRows, row: Any) -> None:
    try:
        apply(rebuilt, recorded(row))
    except JournalCorruptError:
        raise
    except CarrydeskError as error:
        raise broken(row.seq, f"it contradicts the entries before it: {error}") from error


def _difference(store: Store, rebuilt: MemoryRows, projection: Projection[Any]) -> str | None:
    """The first row in which the table and the rebuild differ, in words."""
    name = projection.table.name
    stored: dict[Key, Columns] = store.raw(projection)
    expected = {key: projection.columns(key, value) for key, value in rebuilt.tables[name].items()}
    for key in sorted(stored.keys() | expected.keys()):
        found, wanted = stored.get(key), expected.get(key)
        if found is None or wanted is None:
            return f"{name} {key}: the row is {'missing' if found is None else 'not explained by any entry'}"
        for column in wanted:
            if found[column] != wanted[column]:
                return f"{name} {key}: {column} is {found[column]!r}, the entries say {wanted[column]!r}"
    return None
