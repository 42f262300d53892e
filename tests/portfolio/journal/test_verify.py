"""The whole journal checked: the chain, and every projection against a rebuild."""

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from portfolio.core.entries import (
    CashBooked,
    EntriesFrozen,
    GuardStateSaved,
    Halted,
    Noted,
    TokenAdded,
    TreasuryAdopted,
)
from portfolio.core.names import Coin
from portfolio.journal.chain import entry_hash
from tests.portfolio.journal.making import approved, booked, fill, opened, planned, proposed
from tests.portfolio.journal.test_open import change


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal in which every projection has a row, and more entries than are checked at a start."""
    made = tmp_path / "journal.sqlite"
    journal = opened(made)
    journal.append([planned(), booked(fill()), proposed(request_id="r1"), approved()], 5)
    journal.append([TreasuryAdopted(Coin("USDT"), Decimal(100), ""), TokenAdded("t", "h", ("read",))], 6)
    journal.append(
        [EntriesFrozen("gap", "5 %", "operator"), Halted("operator", ""), GuardStateSaved("{}")], 7
    )
    journal.append([CashBooked("funding", "r1", None, Coin("USDT"), Decimal(1), 1)], 8)
    journal.append([Noted("many", str(number)) for number in range(1_100)], 9)
    journal.close()
    return made


def verified(path: Path) -> tuple[bool, int | None, str]:
    journal = opened(path, whole_max=0)  # as a long journal is opened: at its tail
    found = journal.verify()
    journal.close()
    return found.ok, found.first_bad, found.detail


def test_an_untouched_journal_is_good(path: Path) -> None:
    assert verified(path) == (True, None, "chain and projections agree")


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE orders SET filled = '0.2'", "orders"),
        ("UPDATE orders SET state = 'closed', unsettled = 0", "orders"),
        ("DELETE FROM fills", "fills"),
        ("UPDATE holdings SET quantity = '7'", "holdings"),
        ("INSERT INTO holdings VALUES ('desk', 'X@bybit', 'bybit:spot:X', '1')", "holdings"),
        ("UPDATE intents SET status = 'done', unfinished = 0", "intents"),
        ("DELETE FROM requests", "requests"),
        ("DELETE FROM executing", "executing"),
        ("DELETE FROM nonces", "nonces"),
        ("UPDATE treasury SET quantity = '1'", "treasury"),
        ("DELETE FROM freezes", "freezes"),
        ("DELETE FROM halt", "halt"),
        ("UPDATE tokens SET token_hash = 'mine'", "tokens"),
        ('UPDATE guard_state SET state = \'{"peak":"0"}\'', "guard_state"),
        ("UPDATE cash SET amount = '9'", "cash"),
    ],
)
def test_a_projection_that_was_edited_is_found_and_named(path: Path, statement: str, table: str) -> None:
    change(path, statement)
    good, first_bad, detail = verified(path)
    assert (good, first_bad) == (False, None)
    assert detail.startswith(table + " ")


def test_an_altered_entry_older_than_the_start_checks_is_found_and_named(path: Path) -> None:
    change(path, "UPDATE event SET body = replace(body, '64000', '64001') WHERE seq = 4")
    good, first_bad, detail = verified(path)
    assert (good, first_bad) == (False, 4)
    assert "altered" in detail


def test_an_entry_that_contradicts_the_ones_before_it_is_found_even_with_a_good_hash(tmp_path: Path) -> None:
    made = tmp_path / "journal.sqlite"
    journal = opened(made)
    journal.append([planned()], 5)
    journal.close()
    with closing(sqlite3.connect(made)) as connection:
        body, prev = connection.execute("SELECT body, hash FROM event WHERE seq = 3").fetchone()
        sealed = entry_hash("desk", 4, 1, 6, "order.planned", body, prev)
        row = ("desk", 4, 1, 6, "order.planned", body, prev, sealed)
        connection.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        connection.execute("UPDATE owner SET head_seq = 4, head_hash = ?", (sealed,))
        connection.commit()
    good, first_bad, detail = verified(made)
    assert (good, first_bad) == (False, 4)
    assert "used before" in detail


@pytest.mark.parametrize(
    ("fence", "body", "match"),
    [(0, '{"text":"b","topic":"a"}', "fence 0 is lower"), (1, '{"text":"b"}', "'topic' is missing")],
)
def test_an_entry_that_no_desk_could_have_written_is_found(
    tmp_path: Path, fence: int, body: str, match: str
) -> None:
    made = tmp_path / "journal.sqlite"
    journal = opened(made)
    _, prev = journal.head()
    sealed = entry_hash("desk", 3, fence, 6, "note", body, prev)
    with closing(sqlite3.connect(made)) as connection:
        row = ("desk", 3, fence, 6, "note", body, prev, sealed)
        connection.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        connection.execute("UPDATE owner SET head_seq = 3, head_hash = ?", (sealed,))
        connection.commit()
    found = journal.verify()
    assert (found.ok, found.first_bad) == (False, 3)
    assert match in found.detail
    journal.close()
