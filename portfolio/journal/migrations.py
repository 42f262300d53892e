"""Schema versions: numbered functions, each in a transaction with its version; a backup comes first."""

from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select

from portfolio.core.errors import JournalError, JournalForeignError
from portfolio.journal import dialect, schema

Migration = Callable[[Connection], None]


def _version_1(connection: Connection) -> None:
    """All tables."""
    schema.metadata.create_all(connection, checkfirst=True)
    dialect.protect(connection)


#: Never change one that was released; add the next number.
MIGRATIONS: Mapping[int, Migration] = {1: _version_1}


def migrate(
    connection: Connection, path: str, wire_ns: int, migrations: Mapping[int, Migration] = MIGRATIONS
) -> None:
    """Bring the schema to the newest version; an existing journal is copied to `<path>.v<N>.backup` first.

    Raises:
        JournalForeignError: the file is a database, but not a journal.
        JournalError: it was written by a newer version, or a step failed (then nothing changed).
    """
    current, newest = _current(connection, path), max(migrations)
    if current > newest:
        raise JournalError(
            f"The journal {path} has schema version {current}, this program knows {newest}.",
            next_step="Start the newer version of carrydesk, or restore the backup made before the upgrade.",
        )
    if current == newest:
        return
    if current > 0 and path != dialect.MEMORY:
        dialect.backup(connection, _backup_path(path, current))
    for version in range(current + 1, newest + 1):
        dialect.begin_write(connection)
        try:
            migrations[version](connection)
            row = {"version": version, "applied_wire_ns": wire_ns}
            connection.execute(insert(schema.schema_version), row)
            connection.commit()
        except BaseException:
            connection.rollback()
            raise


def _current(connection: Connection, path: str) -> int:
    names = set(inspect(connection).get_table_names())
    if not names:
        return 0
    if schema.schema_version.name not in names:
        raise JournalForeignError(
            f"{path} is a database, but not a journal of carrydesk.",
            next_step="Move this file away and put the desk's own journal in its place; "
            "without one the desk begins a new one.",
        )
    versions = connection.execute(select(schema.schema_version.c.version)).scalars().all()
    return max(versions, default=0)


def _backup_path(path: str, version: int) -> Path:
    """A name that is still free, so that no earlier copy is lost."""
    number = 0
    while True:
        suffix = f".v{version}.backup" if number == 0 else f".v{version}.backup{number}"
        target = Path(path + suffix)
        if not target.exists():
            return target
        number += 1
