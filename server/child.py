"""One process that plays a role of the home: started, found again, signalled, stopped."""

import json
import logging
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from server.home import Home
from server.process import read_pid, write_pid

logger = logging.getLogger(__name__)

LOG_BYTES_MAX = 20 << 20
_LOOK_SECONDS = 0.02


class Child:
    """One process that plays a role. It lives in a session of its own and outlives whoever started it."""

    def __init__(self, role: str, home: Home, *, stop_seconds_max: float) -> None:
        self.role = role
        self._home = home
        self._stop_seconds_max = stop_seconds_max
        self._process: subprocess.Popen[bytes] | None = None
        #: When it was started or adopted, seconds of the monotonic clock.
        self.started = 0.0
        #: When it is looked at again after it ended, the same clock; None while it runs.
        self.due: float | None = None
        #: When it ended of itself, lately; the same clock.
        self.restarts: deque[float] = deque()

    @property
    def pid(self) -> int | None:
        """The running process."""
        if self._process is not None:
            return self._process.pid if self._process.poll() is None else None
        return read_pid(self._home.pid_file(self.role))

    @property
    def exit_code(self) -> int | None:
        """How our own child ended; None for one that runs, was adopted, or was never started."""
        return None if self._process is None else self._process.poll()

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it unless it runs already.

        Raises:
            OSError: the system lets no process start, or no file be written.
        """
        self.started = time.monotonic()
        if self.pid is not None:
            self._write_down()
            logger.info("%s runs already (pid %s)", self.role, self.pid)
            return
        log = self._home.log_file(self.role)
        _rotate(log)
        with self._home.ready_file(self.role).open("wb") as said, log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=errors,
                env=dict(environment),
                start_new_session=True,
                close_fds=True,
            )
        self._write_down()
        logger.info("%s started (pid %s)", self.role, self._process.pid)

    def _write_down(self) -> None:
        """So that another command of the home finds it; again where a full disk kept it from that."""
        path, process = self._home.pid_file(self.role), self._process
        if process is not None and read_pid(path) != process.pid:
            write_pid(path, process.pid)

    def said(self) -> dict[str, Any] | None:
        """Its first line: ready, or the error that it ended with; None while it says nothing."""
        first, newline, _ = self._output().partition(b"\n")
        return _object(first) if newline else None

    def error(self) -> dict[str, Any]:
        """The error that it ended with, be it long after it was ready; empty when it named none."""
        found = (_object(self._output().rstrip(b"\n").rpartition(b"\n")[2]) or {}).get("error")
        return found if isinstance(found, dict) else {}

    def _output(self) -> bytes:
        try:
            return self._home.ready_file(self.role).read_bytes()
        except OSError:
            return b""

    def send(self, number: signal.Signals) -> None:
        """Signal the process if it is still the one that we wrote down."""
        pid = self.pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self, *numbers: signal.Signals, seconds_each: float) -> bool:
        """Send one signal after the other until it ends; whether it did."""
        for number in numbers:
            self.send(number)
            deadline = time.monotonic() + seconds_each
            while self.pid is not None and time.monotonic() < deadline:
                time.sleep(_LOOK_SECONDS)
            if self.pid is None:
                self._home.pid_file(self.role).unlink(missing_ok=True)
                return True
        return self.pid is None

    def stop(self) -> None:
        """In good order, then by force."""
        if not self.end(signal.SIGTERM, seconds_each=self._stop_seconds_max):
            logger.warning("%s did not stop in time and is killed", self.role)
            self.end(signal.SIGKILL, seconds_each=5.0)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _rotate(log: Path) -> None:
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_BYTES_MAX:
            log.replace(log.with_suffix(".log.1"))
