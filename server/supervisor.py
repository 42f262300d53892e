"""`carrydesk serve`: starts the paper venue, the desk and the front, watches them, and starts them again.

1. Children live in sessions of their own and write to files: the supervisor's death leaves the desk running,
   and the next `serve` adopts what runs.
2. A desk whose guard is silent for 5 s dumps its stacks, is killed and started again. Five restarts in ten
   minutes freeze entries; only the operator lifts that.
3. A child that ends with EX_CONFIG refuses to start. At the first start that ends everything. Once the desk
   runs, nothing that another process does may end it: all are started again, the more slowly the oftener.
   Only a desk whose journal cannot be trusted stays down, and that is said every minute.
4. Only processes that we wrote down ourselves, with their start time and our home, are ever signalled.
"""

import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from portfolio.core.errors import JOURNAL_FATAL, CarrydeskError, RefusedError
from server.child import Child
from server.heartbeat import heartbeat_age_ns
from server.home import Home
from server.process import read_pid, write_pid
from server.settings import Settings

logger = logging.getLogger(__name__)

EX_CONFIG = 78
#: In the order of starting.
ROLES = ("paper", "desk", "front")
#: A desk that ended so would trade from a journal that is not the truth, or against another desk.
_NEVER_AGAIN = frozenset(error.code for error in JOURNAL_FATAL)
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
    pauses: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
    #: Longest pause before a desk: pairs may be held, and nobody guards them.
    pause_desk_max: float = 10.0
    #: How often it is said that a desk stays down.
    reminder: float = 60.0
    #: What a desk gets to finish its hedges, and every other process to end.
    stop_desk: float = 30.0
    stop_other: float = 5.0
    #: What a silent process gets to write its stacks.
    stacks: float = 2.0


class ChildFailedError(CarrydeskError):
    """A process did not start, and starting it again is pointless."""

    code = "not_started"


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


def _child(role: str, home: Home, patience: Patience) -> Child:
    return Child(role, home, stop_seconds_max=patience.stop_desk if role == "desk" else patience.stop_other)


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
        self._own = {**environment, "CARRYDESK_HOME": str(settings.home)}
        self._public = {name: value for name, value in self._own.items() if name not in _SECRET_NAMES}
        self._commands = commands(settings) if roles is None else roles
        self.children = {role: _child(role, self._home, self._patience) for role in self._commands}
        self.stopping = threading.Event()
        self._venue: dict[str, Any] = {}

    def _command(self, role: str) -> list[str]:
        """A venue that comes back listens where it did, so that its clients find it again."""
        command = list(self._commands[role])
        if role == "paper" and "rest" in self._venue:
            command[command.index("--port") + 1] = str(self._venue["rest"]).rpartition(":")[2]
        return command

    def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Start or adopt everything, say so, watch until told to stop, then stop everything.

        What ends it otherwise leaves the processes running, as its own death would.

        Raises:
            RefusedError: another supervisor runs.
            ChildFailedError: a process refused to start, and no desk ran before; everything is stopped.
        """
        with only_one(self._home):
            desk = self.children.get("desk")
            if desk is not None and desk.pid is not None:
                self._adopt()
            else:
                self._start()
            announced = False
            while not self.stopping.wait(_LOOK_SECONDS):
                if not announced and all(_up(child) for child in self.children.values()):
                    ready({role: child.pid for role, child in self.children.items()})
                    announced = True
                for child in self.children.values():
                    self._look(child)
            self.stop()

    def _start(self) -> None:
        with ExitStack() as failed:
            failed.callback(self.stop)
            for child in self.children.values():
                self._begin(child)
                self._await_ready(child)
                self._remember(child)
            failed.pop_all()

    def _adopt(self) -> None:
        """Nothing may end a desk that runs: whatever is missing is started as after a crash."""
        if "paper" in self.children:
            self._venue = self.children["paper"].said() or {}  # where the desk believes it to be
        for child in self.children.values():
            if child.pid is None:
                child.due = time.monotonic()
            else:
                self._begin(child)

    def _begin(self, child: Child) -> None:
        child.due = None
        child.start(self._command(child.role), self._own if child.role == "desk" else self._public)

    def stop(self) -> None:
        """Agents first, the venue last."""
        for child in reversed(self.children.values()):
            child.stop()

    def _await_ready(self, child: Child) -> None:
        deadline = time.monotonic() + self._patience.ready_max
        while not _up(child) and not self.stopping.wait(_LOOK_SECONDS / 2):
            if child.pid is None:
                raise self._failed(child)
            if time.monotonic() > deadline:
                raise ChildFailedError(
                    f"The {child.role} was not ready within {self._patience.ready_max:.0f} s.",
                    next_step=f"See {self._home.log_file(child.role)}.",
                )

    def _failed(self, child: Child) -> ChildFailedError:
        error, log = child.error(), self._home.log_file(child.role)
        if error:
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
        if child.role != "paper" or not _up(child):
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
        """One look never waits for another process to start: the desk is looked at all the time."""
        try:
            if child.due is not None:
                self._look_again(child, child.due)
            elif child.pid is None:
                self._again(child, f"ended with code {child.exit_code}")
            elif self._silent(child):
                # SIGABRT makes it write the stacks of all its threads to its log.
                child.end(signal.SIGABRT, signal.SIGKILL, seconds_each=self._patience.stacks)
                self._again(child, "was silent")
            else:
                self._remember(child)
        except OSError as error:  # a full disk must not end the desk either
            self._again(child, f"cannot be looked after ({error})")

    def _look_again(self, child: Child, due: float) -> None:
        paper = self.children.get("paper")
        if time.monotonic() < due or (child.role == "desk" and paper is not None and not _up(paper)):
            return  # a desk asks its paper venue where it is
        if self._untrusted(child):
            self._mourn(child)
        else:
            self._begin(child)

    def _silent(self, child: Child) -> bool:
        up = time.monotonic() - child.started
        age = heartbeat_age_ns(self._home.heartbeat_file) if child.role == "desk" else None
        quiet = up if age is None else min(up, age / 1e9)
        if child.said() is None or (child.role == "desk" and age is None):  # still starting
            return quiet > self._patience.ready_max
        return child.role == "desk" and quiet > self._patience.silence_max

    def _again(self, child: Child, why: str) -> None:
        """Start it again later: at once if it seldom ends, ever later if it does so often."""
        now, patience = time.monotonic(), self._patience
        child.restarts.append(now)
        while now - child.restarts[0] > patience.restarts_window:
            child.restarts.popleft()
        times = len(child.restarts)
        desk = child.role == "desk"
        if self._untrusted(child):
            self._mourn(child)
            return
        pause = patience.pauses[min(times, len(patience.pauses)) - 1]
        child.due = now + (min(pause, patience.pause_desk_max) if desk else pause)
        why = self._failed(child).message if child.error() else why
        logger.error(
            "%s: %s; restart %d of the last ten minutes, in %.1f s",
            *(child.role, why, times, child.due - now),
        )
        if desk and times >= patience.restarts_max:
            try:
                self._home.freeze_file.touch(mode=0o600)
            except OSError as error:  # the next restart tries again
                logger.critical("entries cannot be frozen: %s", error)

    def _untrusted(self, child: Child) -> bool:
        """A desk that said that its journal is not the truth, or is another desk's now."""
        return (
            child.role == "desk"
            and child.exit_code in (None, EX_CONFIG)  # of one that was adopted nobody knows it
            and child.error().get("code") in _NEVER_AGAIN
        )

    def _mourn(self, child: Child) -> None:
        child.due = time.monotonic() + self._patience.reminder
        failed = self._failed(child)
        logger.critical(
            "THE DESK STAYS DOWN AND GUARDS NOTHING: %s %s Then `carrydesk stop` and `carrydesk serve`.",
            *(failed.message, failed.next_step),
        )


def _up(child: Child) -> bool:
    said = child.said()
    return said is not None and "error" not in said and child.pid is not None


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
        # `nohup` lets a hang-up be ignored: that must stay so.
        if signal.getsignal(number) is not signal.SIG_IGN or number is signal.SIGTERM:
            signal.signal(number, stop)
    supervisor.run(ready)


def stop_all(home: Home, *, seconds_max: float = 60.0) -> list[str]:
    """Stop the supervisor if there is one, then whatever is left; the roles that ran.

    It needs no settings: what runs stands in the home.
    """
    children = [_child(role, home, Patience()) for role in ROLES]
    ran = [child.role for child in children if child.pid is not None]
    pid = read_pid(home.pid_file("serve"))
    if pid is not None:
        ran.append("serve")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds_max
        while read_pid(home.pid_file("serve")) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
    for child in reversed(children):
        child.stop()
    return ran
