"""Who may run beside whom on one machine: advisory locks that the kernel drops when the process dies."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portfolio.core.errors import RefusedError, SettingsError
from server.home import Home

#: Not TMPDIR or XDG_RUNTIME_DIR: they differ between logins, and two desks must meet in one place.
SHARED = Path("/tmp")  # noqa: S108 - the folder in it is ours alone, which is checked
_NOTE_BYTES_MAX = 4096


class _HeldError(Exception):
    """Another process has it; what it noted is the message."""


@contextmanager
def account_lock(home: Path, *, venue: str, mode: str, uid: str, shared: Path = SHARED) -> Iterator[None]:
    """Be the only desk of this OS user on the venue's account `uid`, whatever the home, while the block runs.

    A copied home has a journal and a lock of its own there: only the account itself is common to both.

    Raises:
        RefusedError: another desk runs on the account.
        SettingsError: the folder of the locks is not ours, or cannot be made.
    """
    folder = shared / f"carrydesk-{os.getuid()}"
    _make_private(folder)
    try:
        with _held(folder / f"{venue}-{mode}-{uid}.lock", f"pid {os.getpid()}, home {home}"):
            yield
    except _HeldError as held:
        raise RefusedError(
            f"Another desk ({held}) runs on the {mode} account uid {uid} of {venue}.",
            field="uid",
            next_step="Stop it (`carrydesk stop` with CARRYDESK_HOME set to its home), or use another key.",
        ) from None


@contextmanager
def front_lock(home: Home) -> Iterator[None]:
    """Be the only front of the home while the block runs: the second one would take over agent.sock.

    Raises:
        RefusedError: another front runs.
        SettingsError: the lock file cannot be written.
    """
    try:
        with _held(home.run_dir / "front.lock", f"pid {os.getpid()}"):
            yield
    except _HeldError as held:
        raise RefusedError(
            f"Another front ({held}) serves {home.agent_socket}.",
            next_step="Use that one, or stop everything with `carrydesk stop`.",
        ) from None


@contextmanager
def _held(path: Path, note: str) -> Iterator[None]:
    """Hold `path` with `note` in it. The file stays: removing it would let two lock two files of one name."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SettingsError(
            f"The lock file {path} cannot be written: {error.strerror}.",
            next_step="Check that its folder exists and that this user may write it.",
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = os.pread(handle, _NOTE_BYTES_MAX, 0).decode("utf-8", "replace").strip()
            raise _HeldError(found or "pid unknown") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{note}\n".encode("utf-8", "surrogateescape"), 0)
        yield
    finally:
        os.close(handle)


def _make_private(folder: Path) -> None:
    """Anybody may write the folder above: one that somebody else laid there must not be trusted."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if ours:
            folder.chmod(0o700)
    except OSError as error:
        raise SettingsError(
            f"{folder} cannot be made: {error.strerror}.", next_step="Check that this user may write /tmp."
        ) from None
    if not ours:
        raise SettingsError(
            f"{folder} is not a folder of this user's.",
            next_step="Have it removed: the desk keeps its locks there, one per venue account.",
        )
