"""Schema versions: in order, after a backup, each step whole or not at all."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect

from portfolio.core.errors import JournalCorruptError
from portfolio.journal import dialect
from portfolio.journal.migrations import MIGRATIONS, migrate
from tests.portfolio.journal.making import opened, planned


def add_column(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE orders ADD COLUMN remark TEXT")


def add_and_fail(connection: Connection) -> None:
    add_column(connection)
    raise JournalCorruptError("half way")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "journal.sqlite"
    journal = opened(made)
    journal.append([planned()], 5)
    journal.close()
    return made


def columns(path: Path, table: str = "orders") -> set[str]:
    connection = dialect.connect(str(path))
    found = {column["name"] for column in inspect(connection).get_columns(table)}
    connection.engine.dispose()
    return found


def test_the_next_version_is_reached_after_a_backup_of_the_one_before(path: Path) -> None:
    connection = dialect.connect(str(path))
    migrate(connection, str(path), 50, {**MIGRATIONS, 2: add_column})
    connection.engine.dispose()
    assert "remark" in columns(path)
    backup = Path(f"{path}.v1.backup")
    assert "remark" not in columns(backup)
    journal = opened(backup)
    assert len(journal.orders()) == 1
    assert journal.verify().ok
    journal.close()


def test_a_step_that_fails_changes_nothing_and_an_earlier_backup_is_kept(path: Path) -> None:
    for _ in range(2):
        connection = dialect.connect(str(path))
        with pytest.raises(JournalCorruptError, match="half way"):
            migrate(connection, str(path), 50, {**MIGRATIONS, 2: add_and_fail})
        connection.engine.dispose()
    assert "remark" not in columns(path)
    assert sorted(one.name for one in path.parent.glob("*.backup*")) == [
        "journal.sqlite.v1.backup",
        "journal.sqlite.v1.backup1",
    ]
    journal = opened(path)
    assert journal.verify().ok
    journal.close()


def test_a_journal_of_the_newest_version_is_left_alone(path: Path) -> None:
    opened(path).close()
    assert list(path.parent.glob("*.backup*")) == []
