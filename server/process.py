"""What every process of ours does to itself, and how one recognises another's."""

import ctypes
import faulthandler
import os
import sys
from dataclasses import dataclass
from pathlib import Path

_PR_SET_DUMPABLE = 4


def harden() -> None:
    """No core dumps and no reading of our memory by other processes of the user (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def begin() -> None:
    """First thing in a process: private files by default, stacks on SIGABRT, narrow rights, and streams.

    One that was started with closed streams writes to nowhere: it must not end when it says something.
    """
    os.umask(0o077)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    faulthandler.enable(all_threads=True)
    harden()


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process and when it started, so that a reused number is not mistaken for it."""

    pid: int
    #: Clock ticks after boot; None where the system does not say.
    started: int | None


def identify(pid: int) -> ProcessId | None:
    """The running process of this number; None when there is none, or it has ended."""
    if sys.platform != "linux":
        try:
            os.kill(pid, 0)
        except OSError:
            return None
        return ProcessId(pid, None)
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    state, started = fields[0], int(fields[19])
    return None if state in ("Z", "X") else ProcessId(pid, started)


def write_pid(path: Path, pid: int) -> None:
    """Remember a process, and in which folder this was written down."""
    found = identify(pid)
    started = "-" if found is None or found.started is None else str(found.started)
    path.write_text(f"{pid} {started} {_folder(path)}\n", encoding="ascii")


def read_pid(path: Path) -> int | None:
    """The remembered process if it is still the same one and ours.

    A file that was copied with its home names a process of the other home: it is nobody here.
    """
    try:
        number, started, folder = path.read_text(encoding="ascii").split()
        pid = int(number)
        if folder != _folder(path):
            return None
    except (OSError, ValueError):
        return None
    found = identify(pid)
    if found is None or started != ("-" if found.started is None else str(found.started)):
        return None
    return pid


def _folder(path: Path) -> str:
    """The folder that holds `path`, by device and inode: the same after a move, another one in a copy."""
    found = path.parent.stat()
    return f"{found.st_dev}:{found.st_ino}"
