"""All that is particular to SQLite: opening, pragmas, write lock, integrity, backup, its errors.

WAL with synchronous=FULL: a commit is on disk (fsync) before it returns, and readers never block the writer.
"""

import sqlite3
from pathlib import Path

from sqlalchemy import Connection, StaticPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from portfolio.core.errors import JournalCorruptError, JournalError
from portfolio.journal.chain import RESTORE

MEMORY = ":memory:"
#: Longest wait for another process that holds the write lock, in milliseconds. The guard's orders wait for it
#: before they go without the journal.
BUSY_TIMEOUT_MS = 500

_TRIGGERS = tuple(
    f"CREATE TRIGGER IF NOT EXISTS event_no_{verb} BEFORE {verb.upper()} ON event "
    "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
    for verb in ("update", "delete")
)


def connect(path: str) -> Connection:
    """Open the file, created if absent, on one connection that any one thread at a time may use.

    Raises:
        JournalError: it cannot be opened; JournalCorruptError: it is not a database.
    """
    url = "sqlite+pysqlite://" if path == MEMORY else f"sqlite+pysqlite:///{path}"
    engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _configure)
    try:
        return engine.connect()
    except DBAPIError as error:
        engine.dispose()
        raise translated(error, path) from error


def _configure(connection: sqlite3.Connection, _: object) -> None:
    # None: the driver begins nothing by itself, `begin_write` does; reads outside of it see what is
    # committed.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
    finally:
        cursor.close()


def begin_write(connection: Connection) -> None:
    """Take the write lock now, so that what is read next cannot change before the commit."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def protect(connection: Connection) -> None:
    """Let the database itself refuse to change or delete an event."""
    for statement in _TRIGGERS:
        connection.exec_driver_sql(statement)


def check_pages(connection: Connection, path: str) -> None:
    """Read every page.

    Raises:
        JournalCorruptError: a page is missing or damaged.
    """
    try:
        found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA quick_check(1)")]
    except DBAPIError as error:
        raise translated(error, path) from error
    if found != ["ok"]:
        raise JournalCorruptError(f"The journal {path} is damaged: {found[0]}.", next_step=RESTORE)


def backup(connection: Connection, target: Path) -> None:
    """Write a complete copy; `target` must not exist.

    Raises:
        JournalError: it could not be written.
    """
    try:
        connection.exec_driver_sql("VACUUM INTO ?", (str(target),))
    except DBAPIError as error:
        raise translated(error, str(target)) from error


def translated(error: DBAPIError, path: str) -> JournalError:
    """A driver's error as one of ours."""
    return _in_our_words(error.orig, path)


def _in_our_words(error: BaseException | None, path: str) -> JournalError:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return JournalCorruptError(
            f"The journal {path} is damaged or no journal: {error}.", next_step=RESTORE
        )
    for prefix, what, next_step in _KNOWN:
        if name.startswith(prefix):
            return JournalError(f"The journal {path} {what}.", next_step=next_step)
    return JournalError(
        f"The journal {path} failed: {error}.",
        next_step="Nothing of this commit was recorded; check the disk, then start the desk again.",
    )


_KNOWN = (
    (
        "SQLITE_FULL",
        "could not grow: the disk is full",
        "Free space; entries stay frozen until a commit works.",
    ),
    ("SQLITE_READONLY", "is read-only", "Give the desk's user the right to write the file and its folder."),
    ("SQLITE_CANTOPEN", "cannot be opened", "Check that the folder exists and the desk's user may write it."),
    ("SQLITE_PERM", "cannot be opened", "Give the desk's user the right to read and write it."),
    ("SQLITE_BUSY", "is locked by another process", "Stop the other one with `carrydesk stop`."),
    ("SQLITE_LOCKED", "is locked by another process", "Stop the other one with `carrydesk stop`."),
    (
        "SQLITE_IOERR",
        "could not be read or written (I/O error)",
        "Check the disk, then start the desk again.",
    ),
)
