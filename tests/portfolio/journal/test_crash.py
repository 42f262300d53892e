"""kill -9 at any moment: what was acknowledged is there, what was not is there whole or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from portfolio.core.names import ClientOrderId
from tests.portfolio.journal.making import booked, fill, opened, planned

WRITER = """
import sys
from tests.portfolio.journal.making import booked, fill, opened, planned
journal = opened(sys.argv[1])
number = 0
while True:
    number += 1
    made = journal.append([planned(f"c{number}"), booked(fill(f"e{number}", f"c{number}"))], number)
    print(made[-1].seq, made[-1].hash, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 40, 300])
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "journal.sqlite"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline().split() for _ in range(acknowledged)]
        writer.kill()
        rest = writer.stdout.read().splitlines(keepends=True)
        lines += [line.split() for line in rest if line.endswith("\n")]
    journal = opened(path)
    stored = {one.seq: one.hash for one in journal.read(limit=100_000)}
    assert all(stored[int(seq)] == sealed for seq, sealed in lines)
    assert journal.verify().ok
    orders, fills = journal.orders(), journal.fills()
    assert len(orders) == len(fills) >= acknowledged
    assert journal.fence == 2
    journal.close()


def killed_at_statement(path: Path, number: int) -> bool:
    """Append in a child that kills itself after so many statements; whether it got that far."""
    child = os.fork()
    if child == 0:
        journal = opened(path)
        left = [number]

        def count(*_: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(Engine, "after_cursor_execute", count)
        journal.append([planned("c2"), booked(fill("e2", "c2"))], 9)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_a_crash_between_any_two_statements_of_an_append_leaves_all_or_nothing(tmp_path: Path) -> None:
    number, died = 0, True
    while died:
        number += 1
        path = tmp_path / f"{number}.sqlite"
        journal = opened(path)
        journal.append([planned(), booked(fill())], 5)
        journal.close()
        died = killed_at_statement(path, number)
        journal = opened(path)
        assert (journal.order(ClientOrderId("c2")) is None) == died
        assert journal.has_fill("e2") != died
        assert journal.verify().ok
        journal.close()
    assert number > 5
