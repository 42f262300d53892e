"""The commands since the last snapshot, one JSON line each, so that kill -9 loses nothing acknowledged.

A line is handed to the operating system before its command is carried out; the core is deterministic, so the
snapshot plus these lines, at their times, is the account. The log is cut into files: a snapshot begins a new
one, and the older files are removed when that snapshot is in place. A crash in between leaves lines that the
snapshot already has; their sequence numbers tell.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from exchanges.paper.commands import Command
from exchanges.paper.storage import decode, encode

PREFIX, SUFFIX = "bybit-commands-", ".jsonl"
_KINDS: dict[str, type[Command]] = {kind.__name__: kind for kind in get_args(Command)}


@dataclass(frozen=True, slots=True)
class LoggedCommand:
    """One line: the `sequence`-th command of the run, at a market time in ns."""

    sequence: int
    at_ns: int
    command: Command


class CommandLog:
    """Appends the commands of one run; the caller is one thread, `forget` may run in another."""

    def __init__(self, folder: Path, sequence: int) -> None:
        self._folder = folder
        #: Number of the last command written.
        self.sequence = sequence
        self._descriptor: int | None = None
        self._before = 0

    def append(self, at_ns: int, command: Command) -> Command:
        """Write a command down and return it as a replay would read it.

        Raises:
            OSError: the disk refused; nothing is left of the line.
        """
        body = _line(LoggedCommand(self.sequence + 1, at_ns, command))
        logged = _read(body)
        descriptor = self._opened()
        self._before = os.fstat(descriptor).st_size
        try:
            _write(descriptor, body)
        except OSError:
            os.ftruncate(descriptor, self._before)
            raise
        self.sequence += 1
        return logged.command

    def take_back(self) -> None:
        """Remove the line just appended: its command failed, and would fail every replay."""
        os.ftruncate(self._opened(), self._before)
        self.sequence -= 1

    def cut(self) -> int:
        """Let the next command begin a new file; the sequence that a snapshot of this moment contains."""
        self.close()
        return self.sequence

    def forget(self, sequence: int) -> None:
        """Remove the files whose commands are in the stored snapshot that was cut at `sequence`."""
        for first, path in _files(self._folder):
            if first <= sequence:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the file back; an append opens the next."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        if self._descriptor is None:
            path = self._folder / f"{PREFIX}{self.sequence + 1:012d}{SUFFIX}"
            self._folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return self._descriptor


def read_commands(folder: Path, after: int) -> Iterator[LoggedCommand]:
    """The logged commands after a sequence, in order; a torn last line was never answered and is cut off.

    Raises:
        KeyError, TypeError, ValueError, ArithmeticError: a line that is not a command of this version, or
            a command that is missing between two others or after the snapshot.
    """
    expected = after + 1
    for _, path in _files(folder):
        for line in _whole_lines(path):
            logged = _read(line)
            if logged.sequence < expected:
                continue
            if logged.sequence > expected:
                raise ValueError(f"command {expected} is missing in {path.name}")
            expected += 1
            yield logged


def clear_commands(folder: Path) -> None:
    """Remove the commands of a run whose snapshot is gone: a new run begins in its folder."""
    for _, path in _files(folder):
        path.unlink(missing_ok=True)


def _line(logged: LoggedCommand) -> bytes:
    row = {
        "sequence": logged.sequence,
        "at_ns": logged.at_ns,
        "kind": type(logged.command).__name__,
        "body": encode(logged.command),
    }
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def _read(line: bytes) -> LoggedCommand:
    row = json.loads(line)
    if type(row["sequence"]) is not int or type(row["at_ns"]) is not int:
        raise TypeError("a logged command's sequence and time are integers")
    kind = _KINDS.get(row["kind"])
    if kind is None:
        raise ValueError(f"the logged command {row['kind']!r} is not known")
    return LoggedCommand(row["sequence"], row["at_ns"], decode(kind, row["body"]))


def _write(descriptor: int, body: bytes) -> None:
    written = os.write(descriptor, body)
    if written != len(body):
        raise OSError(f"only {written} of {len(body)} bytes were taken")


def _whole_lines(path: Path) -> list[bytes]:
    body = path.read_bytes()
    whole = body.rfind(b"\n") + 1
    if whole < len(body):
        # The next command may be appended to this very file.
        os.truncate(path, whole)
    return body[:whole].splitlines()


def _files(folder: Path) -> list[tuple[int, Path]]:
    """The log's files with the sequence of their first command, ascending."""
    found = ((path.name[len(PREFIX) : -len(SUFFIX)], path) for path in folder.glob(f"{PREFIX}*{SUFFIX}"))
    return sorted((int(number), path) for number, path in found if number.isdigit())
