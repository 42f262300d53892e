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
    """First thing in a process: private files by default, stacks on SIGABRT, narrow rights."""
    os.umask(0o077)
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
    """Remember a process."""
    found = identify(pid)
    started = "" if found is None or found.started is None else str(found.started)
    path.write_text(f"{pid} {started}\n", encoding="ascii")


def read_pid(path: Path) -> int | None:
    """The remembered process if it is still the same one and ours."""
    try:
        parts = path.read_text(encoding="ascii").split()
        pid, started = int(parts[0]), int(parts[1]) if len(parts) > 1 else None
    except (OSError, ValueError, IndexError):
        return None
    found = identify(pid)
    if found is None or found.started != started:
        return None
    return pid
