"""`carrydesk serve`: starts the paper venue, the desk and the front, watches them, and starts them again.

1. Children live in sessions of their own and write to files: the supervisor's death leaves the desk running,
   and the next `serve` adopts what runs.
2. A desk whose guard is silent for 5 s dumps its stacks, is killed and started again. Five restarts in ten
   minutes freeze entries; only the operator lifts that.
3. A child that ends with EX_CONFIG said that starting it again is pointless; then everything stops.
4. Only processes whose number and start time we wrote down are ever signalled.
"""

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portfolio.core.errors import CarrydeskError, RefusedError
from server.heartbeat import heartbeat_age_ns
from server.home import Home
from server.process import read_pid, write_pid
from server.settings import Settings

logger = logging.getLogger(__name__)

EX_CONFIG = 78
LOG_BYTES_MAX = 20 << 20
_LOOK_SECONDS = 0.1
_SECRET_NAMES = ("CARRYDESK_BYBIT_KEY", "CARRYDESK_BYBIT_SECRET")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a supervisor waits, seconds of the wire clock, and how often it tries again."""

    silence_max: float = 5.0
    ready_max: float = 90.0
    restarts_max: int = 5
    restarts_window: float = 600.0
    #: Before the n-th restart within the window.
    pauses: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
    #: What a desk gets to finish its hedges, and every other process to end.
    stop_desk: float = 30.0
    stop_other: float = 5.0
    #: What a silent process gets to write its stacks.
    stacks: float = 2.0


class ChildFailedError(CarrydeskError):
    """A process did not start, and starting it again is pointless."""

    code = "not_started"


class Child:
    """One process that plays a role."""

    def __init__(
        self,
        role: str,
        home: Home,
        command: Callable[[], list[str]],
        environment: Mapping[str, str],
        *,
        stop_seconds_max: float,
    ) -> None:
        self.role = role
        self._home = home
        self._command = command
        self._environment = environment
        self._stop_seconds_max = stop_seconds_max
        self._process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
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

    def start(self) -> None:
        """Start it unless it runs already."""
        if self.pid is not None:
            logger.info("%s runs already (pid %s)", self.role, self.pid)
            self.started = time.monotonic()
            return
        log = self._home.log_file(self.role)
        _rotate(log)
        with self._home.ready_file(self.role).open("wb") as said, log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=errors,
                env=dict(self._environment),
                start_new_session=True,
                close_fds=True,
            )
        write_pid(self._home.pid_file(self.role), self._process.pid)
        self.started = time.monotonic()
        logger.info("%s started (pid %s)", self.role, self._process.pid)

    def said(self) -> dict[str, Any] | None:
        """Its ready line, or the error that it ended with; None while it says nothing."""
        try:
            first, newline, _ = self._home.ready_file(self.role).read_bytes().partition(b"\n")
            found = json.loads(first) if newline else None
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

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
                time.sleep(0.02)
            if self.pid is None:
                self._home.pid_file(self.role).unlink(missing_ok=True)
                return True
        return self.pid is None

    def stop(self) -> None:
        """In good order, then by force."""
        if not self.end(signal.SIGTERM, seconds_each=self._stop_seconds_max):
            logger.warning("%s did not stop in time and is killed", self.role)
            self.end(signal.SIGKILL, seconds_each=5.0)


def _rotate(log: Path) -> None:
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_BYTES_MAX:
            log.replace(log.with_suffix(".log.1"))


def commands(settings: Settings) -> Mapping[str, list[str]]:
    """How each role is started, in the order of starting."""
    python = [sys.executable, "-P", "-m", "server.cli"]
    found: dict[str, list[str]] = {}
    if settings.mode == "paper":
        paper = settings.paper
        found["paper"] = [
            *python,
            "paper",
            "--json",  # with it the venue says on stdout why it ended
            *("--venue", settings.venue, "--port", str(paper.port), "--from", paper.start.isoformat()),
            *("--speed", str(paper.speed), "--equity", str(paper.equity)),
            *("--data", str(Home(settings.home).paper_dir)),
            *("--latency-ms", str(paper.latency_ms), "--seed", str(paper.seed)),
            *(("--market", paper.data_dir) if paper.data_dir else ()),
        ]
    return found | {"desk": [*python, "run-desk"], "front": [*python, "run-front"]}


@contextmanager
def only_one(home: Home) -> Iterator[None]:
    """One supervisor per home; its number stands in run/serve.pid.

    Raises:
        RefusedError: another one runs.
    """
    path = home.pid_file("serve")
    with (home.run_dir / "serve.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusedError(
                f"Carrydesk runs already in {home.root} (pid {read_pid(path) or 'unknown'}).",
                next_step="See `carrydesk status`, or stop it with `carrydesk stop`.",
            ) from None
        write_pid(path, os.getpid())
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


class Supervisor:
    """Keeps the roles of one home running until told to stop."""

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        *,
        roles: Mapping[str, list[str]] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._home = Home(settings.home)
        self._patience = patience or Patience()
        own = {**environment, "CARRYDESK_HOME": str(settings.home)}
        public = {name: value for name, value in own.items() if name not in _SECRET_NAMES}
        self._commands = commands(settings) if roles is None else roles
        self.children = {
            role: Child(
                role,
                self._home,
                lambda role=role: self._command(role),  # type: ignore[misc]
                own if role == "desk" else public,
                stop_seconds_max=self._patience.stop_desk if role == "desk" else self._patience.stop_other,
            )
            for role in self._commands
        }
        self.stopping = threading.Event()
        self._venue: dict[str, Any] = {}

    def _command(self, role: str) -> list[str]:
        """A venue that comes back listens where it did, so that its clients find it again."""
        command = list(self._commands[role])
        if role == "paper" and self._venue:
            command[command.index("--port") + 1] = str(self._venue["rest"]).rpartition(":")[2]
        return command

    def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Start or adopt everything, say so, watch until told to stop, then stop everything.

        Raises:
            RefusedError: another supervisor runs.
            ChildFailedError: a process refused to start.
        """
        with only_one(self._home):
            try:
                for child in self.children.values():
                    child.start()
                    self._await_ready(child)
                    self._remember(child)
                if not self.stopping.is_set():
                    ready({role: child.pid for role, child in self.children.items()})
                while not self.stopping.wait(_LOOK_SECONDS):
                    for child in self.children.values():
                        self._look(child)
            finally:
                self.stop()

    def stop(self) -> None:
        """Agents first, the venue last."""
        for child in reversed(self.children.values()):
            child.stop()

    def _await_ready(self, child: Child) -> None:
        deadline = time.monotonic() + self._patience.ready_max
        while not self.stopping.wait(_LOOK_SECONDS / 2):
            said = child.said()
            if said is not None and "error" not in said and child.pid is not None:
                return
            if child.pid is None:
                raise self._failed(child, said)
            if time.monotonic() > deadline:
                raise ChildFailedError(
                    f"The {child.role} was not ready within {self._patience.ready_max:.0f} s.",
                    next_step=f"See {self._home.log_file(child.role)}.",
                )

    def _failed(self, child: Child, said: dict[str, Any] | None) -> ChildFailedError:
        error = (said or {}).get("error")
        log = self._home.log_file(child.role)
        if isinstance(error, dict):
            # A process says it as it crosses borders, a command as its --json has it.
            next_step = error.get("next_step") or error.get("next") or f"See {log}."
            return ChildFailedError(
                f"The {child.role} did not start: {error.get('message')}",
                field=error.get("field"),
                allowed=error.get("allowed"),
                next_step=str(next_step),
            )
        return ChildFailedError(
            f"The {child.role} ended with code {child.exit_code}.", next_step=f"See {log}."
        )

    def _remember(self, child: Child) -> None:
        """A venue whose clock begins anew needs a desk that begins anew."""
        if child.role != "paper":
            return
        said = child.said() or {}
        moved = self._venue and any(
            said.get(name) != self._venue.get(name) for name in ("start_market_ns", "start_wire_ns", "rest")
        )
        self._venue = said
        if moved:
            logger.warning("the paper venue's clock moved: the desk starts again")
            self.children["desk"].stop()

    def _look(self, child: Child) -> None:
        if child.pid is None:
            self._restart(child, f"ended with code {child.exit_code}")
        elif child.role == "desk" and self._silent(child):
            self._restart(child, "the guard is silent")

    def _silent(self, child: Child) -> bool:
        age = heartbeat_age_ns(self._home.heartbeat_file)
        up = time.monotonic() - child.started
        said = child.said()
        if said is None or age is None:  # still starting
            return up > self._patience.ready_max
        return min(up, age / 1e9) > self._patience.silence_max

    def _restart(self, child: Child, why: str) -> None:
        if child.exit_code == EX_CONFIG:
            raise self._failed(child, child.said())
        now, patience = time.monotonic(), self._patience
        child.restarts.append(now)
        while child.restarts and now - child.restarts[0] > patience.restarts_window:
            child.restarts.popleft()
        logger.error("%s: %s; restart %d of the last ten minutes", child.role, why, len(child.restarts))
        # SIGABRT makes the desk write the stacks of all its threads to its log.
        child.end(signal.SIGABRT, signal.SIGKILL, seconds_each=patience.stacks)
        if child.role == "desk" and len(child.restarts) >= patience.restarts_max:
            self._home.freeze_file.touch(mode=0o600)
        pauses = patience.pauses
        if self.stopping.wait(pauses[min(len(child.restarts), len(pauses)) - 1]):
            return
        child.start()
        if child.role == "paper":
            self._await_ready(child)
            self._remember(child)


def serve(
    settings: Settings, environment: Mapping[str, str], ready: Callable[[dict[str, Any]], None]
) -> None:
    """Run a supervisor in this process until SIGTERM or SIGINT.

    Raises:
        RefusedError, ChildFailedError: see `Supervisor.run`.
    """
    supervisor = Supervisor(settings, environment)

    def stop(number: int, frame: object) -> None:
        supervisor.stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    supervisor.run(ready)


def stop_all(settings: Settings, environment: Mapping[str, str], *, seconds_max: float = 60.0) -> list[str]:
    """Stop the supervisor if there is one, then whatever is left; the roles that ran."""
    home = Home(settings.home)
    supervisor = Supervisor(settings, environment)
    ran = [role for role, child in supervisor.children.items() if child.pid is not None]
    pid = read_pid(home.pid_file("serve"))
    if pid is not None:
        ran.append("serve")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds_max
        while read_pid(home.pid_file("serve")) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
    supervisor.stop()
    return ran
