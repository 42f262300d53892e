"""One desk per journal on one machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from portfolio.core.errors import JournalError
from portfolio.journal.lock import lock_file

HOLD = """
import sys
from portfolio.journal.lock import lock_file
with lock_file(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_desk_on_the_journal_is_told_which_process_to_stop(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    refused = pytest.raises(JournalError, match=f"pid {os.getpid()}.*carrydesk stop")
    with lock_file(path), refused, lock_file(path):
        pytest.fail("two desks hold the lock")
    with lock_file(path):
        assert (tmp_path / "journal.sqlite.lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_of_a_killed_desk_is_free_at_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(JournalError, match=f"pid {other.pid}"), lock_file(path):
            pytest.fail("two desks hold the lock")
        other.kill()
        other.wait()
    with lock_file(path):
        pass


def test_a_lock_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="Check that the folder exists"), lock_file(tmp_path / "no" / "j"):
        pytest.fail("there is no such folder")
