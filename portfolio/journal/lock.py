"""One desk per journal on one machine: an advisory lock that the kernel drops when the process dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portfolio.core.errors import JournalError


@contextmanager
def lock_file(path: str | Path) -> Iterator[None]:
    """Hold `<path>.lock` (our pid inside) while the block runs; take it before `open_journal`.

    The fence would stop the older of two desks anyway; this stops the second one before it starts.

    Raises:
        JournalError: another desk runs on this journal, or the lock file cannot be written.
    """
    lock = Path(f"{path}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(
            f"The lock file {lock} cannot be written: {error.strerror}.",
            next_step="Check that the folder exists and the desk's user may write it.",
        ) from error
    try:
        _take(descriptor, path)
        yield
    finally:
        os.close(descriptor)  # the file stays: removing it would let two desks lock two files of one name


def _take(descriptor: int, path: str | Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise JournalError(
            f"Another desk (pid {pid}) runs on the journal {path}.",
            next_step="Stop it with `carrydesk stop`, or use another home.",
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
