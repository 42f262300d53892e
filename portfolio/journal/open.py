"""Open a journal: find out whether it can be trusted and is ours, then take ownership."""

import os
from importlib.metadata import version as installed_version
from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select
from sqlalchemy.exc import DBAPIError

from portfolio.core.entries import Entry, JournalOpened
from portfolio.core.errors import JournalCorruptError, JournalError, JournalForeignError
from portfolio.core.names import AccountId
from portfolio.journal import dialect, schema
from portfolio.journal.chain import GENESIS, RESTORE, broken, recorded
from portfolio.journal.migrations import migrate
from portfolio.journal.sql import SqlJournal
from portfolio.journal.verify import check_tail

#: The desk group's name within the database. A file holds one.
STREAM = "desk"
#: Up to this many entries a start checks everything (about 50 us an entry); beyond, only the tail.
WHOLE_ENTRIES_MAX = 20_000


def open_journal(
    path: str | Path,
    *,
    account: AccountId,
    uid: str,
    mode: str,
    wire_ns: int,
    version: str | None = None,
    whole_max: int = WHOLE_ENTRIES_MAX,
) -> SqlJournal:
    """Open (or create) the journal at `path` and own it under the next fence; ":memory:" is one of its own.

    The desk that owned it before is fenced: its next append raises JournalFencedError. `version` is the
    program's, recorded with the start; None reads it from the installed package. A journal of at most
    `whole_max` entries is checked whole, its projections included; a longer one at its last 1000 entries.

    Raises:
        JournalCorruptError: not a database, truncated, damaged, or what was checked was altered.
        JournalForeignError: the journal of another account, uid or mode, or no journal at all.
        JournalError: the folder is missing, the file cannot be read or written, or a newer program wrote it.
    """
    place = str(path)
    if place != dialect.MEMORY:
        _check_place(Path(place))
    is_new = place == dialect.MEMORY or not Path(place).exists()
    if is_new and place != dialect.MEMORY:
        _create(Path(place))
    connection = dialect.connect(place)
    try:
        dialect.check_pages(connection, place)
        _check_content(connection, place, is_new=is_new)
        migrate(connection, place, wire_ns)
        journal, first = _as_left(connection, place, JournalOpened(account, uid, mode))
        if journal.head()[0] <= whole_max:
            _check_whole(journal)
        running = installed_version("carrydesk") if version is None else version
        return _taken(journal, first, wire_ns, running)
    except DBAPIError as error:
        _release(connection)
        raise dialect.translated(error, place) from error
    except BaseException:
        _release(connection)
        raise


def _release(connection: Connection) -> None:
    engine = connection.engine
    connection.close()
    engine.dispose()


def _as_left(connection: Connection, path: str, identity: JournalOpened) -> tuple[SqlJournal, list[Entry]]:
    """The journal as it was left, and what a new one has to say first."""
    first: list[Entry] = []
    if _is_new(connection):
        first.append(identity)
        fence, head = 0, (0, GENESIS)
    else:
        _check_identity(connection, path, identity)
        fence, head = check_tail(connection, STREAM)
    return SqlJournal(connection, path=path, stream=STREAM, fence=fence, head=head), first


def _check_whole(journal: SqlJournal) -> None:
    """The tables are what the desk acts on: a holding or a nonce that no entry explains must not be used.

    Raises:
        JournalCorruptError: an entry or a row of a table was altered.
    """
    found = journal.verify()
    if found.ok:
        return
    if found.first_bad is not None:
        raise JournalCorruptError(found.detail, field=f"seq {found.first_bad}")
    raise JournalCorruptError(
        f"The tables of the journal {journal.path} are not what its entries say: {found.detail}.",
        field=found.detail.partition(" ")[0],
        next_step=RESTORE,
    )


def _taken(journal: SqlJournal, first: list[Entry], wire_ns: int, version: str) -> SqlJournal:
    journal.take_over(first, wire_ns, version=version)
    return journal


def _is_new(connection: Connection) -> bool:
    """Whether nothing was ever written; then the row that every desk competes for is laid down."""
    if connection.execute(select(schema.event.c.seq).limit(1)).first() is not None:
        return False
    owner = connection.execute(select(schema.owner)).first()
    if owner is None:
        dialect.begin_write(connection)
        row = {"stream": STREAM, "fence": 0, "head_seq": 0, "head_hash": GENESIS}
        connection.execute(insert(schema.owner), row)
        connection.commit()
    elif owner.head_seq != 0:
        raise broken(1, f"it is missing, and {owner.head_seq} entries were committed")
    return True


def _check_content(connection: Connection, path: str, *, is_new: bool) -> None:
    """Refuse a file that was there and holds nothing: starting anew would hide that a journal was lost."""
    if not is_new and not inspect(connection).get_table_names():
        raise JournalCorruptError(
            f"The journal {path} is empty: it was truncated, or its creation was interrupted.",
            next_step="Put the last copy that you have of it in its place; without one, remove the file.",
        )


def _check_identity(connection: Connection, path: str, identity: JournalOpened) -> None:
    table = schema.event
    row = connection.execute(
        select(table).where(table.c.stream == STREAM).order_by(table.c.seq).limit(1)
    ).one()
    found = recorded(row).entry
    if not isinstance(found, JournalOpened):
        raise broken(1, "the first entry must say whose journal it is")
    for name in ("account", "uid", "mode"):
        theirs, ours = getattr(found, name), getattr(identity, name)
        if theirs != ours:
            raise JournalForeignError(
                f"The journal {path} belongs to {name} {theirs!r}, this desk runs {name} {ours!r}.",
                field=name,
                next_step="Use the home that this journal came from, or move the file away to start anew.",
            )


def _create(path: Path) -> None:
    """Make the file for its owner's eyes only; SQLite gives the files beside it the same rights."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise JournalError(
            f"The journal {path} cannot be created: {error.strerror}.",
            next_step="Check that the desk's user may write the folder.",
        ) from error


def _check_place(path: Path) -> None:
    if not path.parent.is_dir():
        raise JournalError(
            f"The folder {path.parent} for the journal does not exist.",
            next_step="Create it, or run `carrydesk init`.",
        )
    if path.is_dir():
        raise JournalError(f"{path} is a folder, not a journal.", next_step="Name a file in carrydesk.toml.")
    writable = path if path.exists() else path.parent
    if not os.access(writable, os.R_OK | os.W_OK):
        raise JournalError(
            f"The journal {path} cannot be read and written by this user.",
            next_step="Give the desk's user the right to read and write the file and its folder.",
        )
    if path.exists() and not os.access(path.parent, os.W_OK):
        raise JournalError(
            f"The folder {path.parent} is read-only: the journal needs its WAL file there.",
            next_step="Give the desk's user the right to write the folder.",
        )
