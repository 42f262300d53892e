"""What is found out before a journal is trusted."""

import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from portfolio.core.entries import Noted
from portfolio.core.errors import (
    JournalCorruptError,
    JournalError,
    JournalFencedError,
    JournalForeignError,
)
from portfolio.core.names import AccountId
from portfolio.journal import open_journal
from tests.portfolio.journal.making import approved, booked, fill, opened, planned, proposed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of 102 entries, closed in good order."""
    made = tmp_path / "journal.sqlite"
    journal = opened(made)
    for number in range(50):
        journal.append([planned(f"c{number}"), booked(fill(f"e{number}", f"c{number}"))], 10 + number)
    journal.close()
    return made


def change(path: Path, *statements: str) -> None:
    """Edit the file as somebody with a database tool would."""
    with closing(sqlite3.connect(path)) as connection:
        for trigger in ("event_no_update", "event_no_delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_journal_opened_again_is_the_same_under_the_next_fence(path: Path) -> None:
    journal = opened(path)
    assert (journal.fence, journal.head()[0]) == (2, 103)
    assert len(journal.orders(unsettled_only=True)) == 50
    assert journal.verify().ok
    journal.close()


def test_a_second_desk_takes_over_and_the_first_is_fenced(path: Path) -> None:
    first, second = opened(path), opened(path)
    with pytest.raises(JournalFencedError):
        first.append([Noted("a", "b")], 90)
    second.append([Noted("a", "b")], 91)
    assert second.verify().ok
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"uid": "u2"}, "uid"), ({"mode": "live"}, "mode"), ({"account": "bybit:b"}, "account")],
)
def test_the_journal_of_another_account_uid_or_mode_is_refused(
    path: Path, changed: dict[str, str], field: str
) -> None:
    identity = {"account": "bybit:main", "uid": "u1", "mode": "paper", **changed}
    account = AccountId(identity["account"])
    with pytest.raises(JournalForeignError, match=f"belongs to {field}") as caught:
        open_journal(path, account=account, uid=identity["uid"], mode=identity["mode"], wire_ns=1)
    assert caught.value.field == field
    assert "move the file away" in caught.value.next_step
    reopened = opened(path)
    assert reopened.fence == 2
    reopened.close()


def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    change(other, "CREATE TABLE cats (name TEXT)")
    with pytest.raises(JournalForeignError, match=r"not a journal.*Move this file away"):
        opened(other)


@pytest.mark.parametrize(
    "content", [b"not a database, just text" * 400, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.sqlite"
    bad.write_bytes(content)
    with pytest.raises(JournalCorruptError, match="last copy"):
        opened(bad)
    assert bad.read_bytes() == content


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(JournalCorruptError):
        opened(path)


def test_an_emptied_file_is_not_taken_for_a_new_journal(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(JournalCorruptError, match="is empty"):
        opened(path)


def test_a_flipped_byte_never_changes_what_the_journal_says(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    copy = tmp_path / "copy.sqlite"
    reference = opened(path)
    truth = reference.read(limit=102)
    reference.close()
    detected = 0
    for offset in range(100, len(content), 1_483):
        copy.write_bytes(content[:offset] + bytes([content[offset] ^ 0x21]) + content[offset + 1 :])
        try:
            journal = opened(copy)
        except JournalError:
            detected += 1
        else:
            if journal.verify().ok:
                assert journal.read(limit=102) == truth
            else:
                detected += 1
            journal.close()
        for left in tmp_path.glob("copy.sqlite*"):
            left.unlink()
    assert detected > 10


def test_an_altered_entry_is_named(path: Path) -> None:
    change(path, "UPDATE event SET body = replace(body, '64000', '64001') WHERE seq = 40")
    with pytest.raises(JournalCorruptError, match=r"entry 40 .* altered") as caught:
        opened(path)
    assert caught.value.field == "seq 40"


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("DELETE FROM event WHERE seq = 40", "entry 40 .* missing"),
        ("DELETE FROM event WHERE seq > 90", "entry 91 .* ends at 90 but 102 was committed"),
        ("DELETE FROM event", "entry 1 .* missing, and 102"),
        ("DELETE FROM event WHERE seq = 1", "entry 1 "),
        ("UPDATE event SET wire_ns = 1 WHERE seq = 7", "entry 7 "),
        ("UPDATE event SET prev = hash WHERE seq = 7", "entry 7 .* does not follow"),
        ("UPDATE event SET kind = 'odd' WHERE seq = 7", "entry 7 "),
        ("UPDATE owner SET head_seq = 200", "ends at 102 but 200"),
        ("DELETE FROM owner", "nobody ever owned"),
    ],
)
def test_a_chain_that_was_cut_or_edited_is_refused(path: Path, statement: str, match: str) -> None:
    change(path, statement)
    with pytest.raises(JournalCorruptError, match=match):
        opened(path)


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE holdings SET quantity = '7' WHERE instrument_id = 'bybit:spot:BTCUSDT'", "holdings"),
        ("UPDATE holdings SET quantity = 'seven'", "holdings"),
        ("DELETE FROM nonces", "nonces"),
        ("UPDATE intents SET status = 'done', unfinished = 0", "intents"),
    ],
)
def test_a_table_that_its_entries_do_not_explain_is_refused_and_named(
    path: Path, statement: str, table: str
) -> None:
    journal = opened(path)
    journal.append([proposed(), approved()], 90)
    journal.close()
    change(path, statement)
    with pytest.raises(JournalCorruptError, match="put the last copy") as caught:
        opened(path)
    assert table in caught.value.message


def test_an_altered_entry_long_ago_is_found_while_the_journal_is_short_enough(path: Path) -> None:
    journal = opened(path)
    journal.append([Noted("many", str(number)) for number in range(1_100)], 90)
    journal.close()
    change(path, "UPDATE event SET body = replace(body, '64000', '64001') WHERE seq = 40")
    with pytest.raises(JournalCorruptError, match=r"entry 40 .* altered") as caught:
        opened(path)
    assert caught.value.field == "seq 40"
    opened(path, whole_max=1_000).close()


def test_the_database_itself_refuses_to_change_or_delete_an_entry(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in ("UPDATE event SET body = '{}'", "DELETE FROM event"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"does not exist.*carrydesk init"):
        opened(tmp_path / "nowhere" / "journal.sqlite")


def test_a_folder_in_its_place_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="is a folder"):
        opened(tmp_path)


def test_a_file_that_cannot_be_opened_says_what_to_do(path: Path) -> None:
    Path(f"{path}-wal").mkdir()
    with pytest.raises(JournalError, match=r"Check that|Give the desk's user"):
        opened(path)


def test_a_journal_without_rights_says_what_to_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda place, _: Path(place) != path)
    with pytest.raises(JournalError, match="cannot be read and written"):
        opened(path)
    monkeypatch.setattr("os.access", lambda place, _: Path(place) == path)
    with pytest.raises(JournalError, match=r"folder .* is read-only"):
        opened(path)


def test_a_journal_of_a_newer_program_is_refused(path: Path) -> None:
    change(path, "INSERT INTO schema_version VALUES (99, 1)")
    with pytest.raises(JournalError, match="schema version 99"):
        opened(path)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Databases opened meanwhile cannot grow beyond 60 pages."""

    def cap(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA max_page_count = 60")

    event.listen(Engine, "connect", cap)
    yield
    event.remove(Engine, "connect", cap)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_records_nothing_and_the_journal_stays_whole(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.sqlite")
    journal.append([planned()], 5)
    with pytest.raises(JournalError, match="disk is full"):
        journal.append([Noted("long", "x" * 400_000), planned("c2")], 6)
    assert journal.head()[0] == 3
    assert len(journal.orders()) == len(journal.orders(unsettled_only=True)) == 1
    journal.append([booked(fill())], 7)
    assert journal.verify().ok
    journal.close()


def test_a_locked_journal_is_an_error_not_a_hang(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portfolio.journal.dialect.BUSY_TIMEOUT_MS", 1)
    journal = opened(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="locked by another process"):
            journal.append([Noted("a", "b")], 90)
        other.rollback()
    journal.append([Noted("a", "b")], 91)
    assert journal.verify().ok
    journal.close()


def test_a_start_while_another_process_writes_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portfolio.journal.dialect.BUSY_TIMEOUT_MS", 1)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="locked by another process"):
            opened(path)


def test_the_files_of_a_journal_are_its_owner_s_alone(path: Path) -> None:
    journal = opened(path)
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.glob("journal.sqlite*")} == {0o600}
    journal.close()


def test_a_journal_that_cannot_be_created_says_what_to_do(tmp_path: Path) -> None:
    dangling = tmp_path / "journal.sqlite"
    dangling.symlink_to(tmp_path / "nowhere" / "journal.sqlite")
    with pytest.raises(JournalError, match="may write the folder"):
        opened(dangling)


def test_a_backup_is_a_journal_of_its_own_and_overwrites_nothing(path: Path) -> None:
    journal, target = opened(path), path.with_name("copy.sqlite")
    journal.backup(target)
    with pytest.raises(JournalError, match="exists already"):
        journal.backup(target)
    with pytest.raises(JournalError, match="Check that the folder exists"):
        journal.backup(path.parent / "nowhere" / "copy.sqlite")
    copy = opened(target)
    assert copy.read(limit=103) == journal.read()
    assert copy.verify().ok
    copy.close()
    journal.close()


def test_what_append_returned_is_in_the_files_at_that_moment(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal.sqlite")
    journal.append([planned(), booked(fill())], 5)
    copied = tmp_path / "copied"
    copied.mkdir()
    for file in tmp_path.glob("journal.sqlite*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, copied)
    copy = opened(copied / "journal.sqlite")
    assert copy.read(limit=4) == journal.read()
    assert copy.holdings() == journal.holdings()
    copy.close()
    journal.close()
