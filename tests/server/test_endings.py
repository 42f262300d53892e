"""With which code a process of ours ends: whether its supervisor starts it again."""

import json

import pytest

from portfolio.core.errors import (
    CarrydeskError,
    Effect,
    JournalCorruptError,
    JournalError,
    JournalFencedError,
    JournalForeignError,
    MissingDataError,
    RefusedError,
    SettingsError,
    VenueError,
)
from portfolio.writer import NotCommitted
from server.endings import ended
from server.supervisor import EX_CONFIG

AWAY = VenueError("The venue is away.", effect=Effect.NOT_SENT)


@pytest.mark.parametrize(
    "error",
    [
        JournalError("The disk is full."),
        NotCommitted("The disk is full."),
        AWAY,
        MissingDataError("No price."),
        ExceptionGroup("tasks", [JournalError("The disk is full."), AWAY]),
        ValueError("a mistake of ours"),
    ],
)
def test_after_what_may_pass_the_desk_is_started_again(error: Exception) -> None:
    assert ended(error) == 1


@pytest.mark.parametrize(
    "error",
    [
        JournalCorruptError("An entry was altered."),
        JournalForeignError("The journal of another account."),
        JournalFencedError("Another desk owns it."),
        SettingsError("Not a number."),
        RefusedError("Gone."),
        VenueError("The key is not valid.", effect=Effect.REJECTED),
    ],
)
def test_after_what_would_end_the_same_way_nothing_is_started_again(error: CarrydeskError) -> None:
    assert ended(error) == EX_CONFIG


@pytest.mark.parametrize("turn", [1, -1])
def test_a_journal_that_another_desk_owns_counts_beside_every_other_error(
    turn: int, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = [AWAY, ExceptionGroup("inner", [JournalFencedError("Another desk owns it.")])][::turn]
    assert ended(ExceptionGroup("tasks", errors)) == EX_CONFIG
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "journal_fenced"
