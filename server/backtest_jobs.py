"""Runs the agent's backtests: one child process at a time, at low priority, limited, ended with the front.

The child says how far it is in JSON lines on stderr, {"progress": 0.25, "stage": "..."}; what else it writes
there goes to the log if it fails. Its answer is the last line of stdout, as of `carrydesk backtest --json`:
the figures, or {"error": {...}}. It gets no venue key and no token: only what is named here of the
environment.
"""

import json
import logging
import os
import secrets
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.abc

from portfolio.core.errors import AccessError, InputError, RefusedError, UnknownNameError
from server.background import ONE_THREAD
from tools.backtest_answer import BacktestAnswer, read_answer
from tools.backtest_jobs import BacktestFailure, BacktestJob, BacktestRequest, BacktestStatus

logger = logging.getLogger(__name__)

#: Longest that one may take, wall clock.
SECONDS_MAX = 1800
#: Ended ones whose figures and reports are kept.
KEPT_MAX = 5
ANSWER_BYTES_MAX = 4 << 20
_LINE_BYTES_MAX = 64 << 10
_STAGE_MAX = 120
_TAIL_LINES = 20
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")

#: The command line of a request whose report goes to that file.
Command = Callable[[BacktestRequest, Path], Sequence[str]]


@dataclass(eq=False)
class _Record:
    handle: str
    owner: str
    request: BacktestRequest
    report: Path
    started_ns: int
    status: BacktestStatus = BacktestStatus.RUNNING
    progress: float = 0.0
    stage: str = "starting"
    ended_ns: int | None = None
    answer: BacktestAnswer | None = None
    failure: BacktestFailure | None = None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: anyio.Event = field(default_factory=anyio.Event)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL_LINES))


def child_command(request: BacktestRequest, report: Path) -> list[str]:
    """How the front starts one: the code of `carrydesk backtest`, behind `begin_background`."""
    options = {
        "--from": None if request.first is None else request.first.isoformat(),
        "--to": None if request.last is None else request.last.isoformat(),
        "--venue": request.venue,
        "--report": str(report),
    }
    given = [part for name, value in options.items() if value is not None for part in (name, value)]
    return [sys.executable, "-P", "-m", "server.cli", "run-backtest", *given]


class BacktestJobs:
    """Implements `tools.backtest_jobs.Backtests`. Use `backtest_jobs`, which owns the tasks."""

    def __init__(
        self,
        tasks: anyio.abc.TaskGroup,
        command: Command,
        folder: Path,
        monotonic_ns: Callable[[], int],
        environment: Mapping[str, str],
        seconds_max: float,
    ) -> None:
        self._tasks = tasks
        self._command = command
        self._folder = folder
        self._monotonic_ns = monotonic_ns
        kept = {name: environment[name] for name in _ENVIRONMENT if name in environment}
        self._environment = kept | ONE_THREAD
        self._seconds_max = seconds_max
        self._records: dict[str, _Record] = {}

    async def start(self, owner: str, request: BacktestRequest) -> BacktestJob:
        """See `Backtests`."""
        running = next((one for one in self._records.values() if not one.status.final), None)
        if running is not None:
            share = f"{100 * running.progress:.0f} % done"
            raise RefusedError(
                f"A backtest runs already ({running.handle}, {share}): NOT STARTED.",
                allowed="one at a time",
                next_step=f"Call backtest_policy with handle {running.handle} and wait_s until it is final, "
                "or end it with cancel true if it is yours; then start this one.",
            )
        handle = f"bt{secrets.token_hex(6)}"
        record = _Record(handle, owner, request, self._folder / f"{handle}.html", self._monotonic_ns())
        self._records[handle] = record  # before the first wait: nobody else may start one meanwhile
        self._forget()
        self._tasks.start_soon(self._work, record)
        return self._view(record)

    async def look(self, handle: str, wait_seconds: float = 0) -> BacktestJob:
        """See `Backtests`."""
        record = self._known(handle)
        with anyio.move_on_after(wait_seconds):
            await record.done.wait()
        return self._view(record)

    async def cancel(self, handle: str, owner: str) -> BacktestJob:
        """See `Backtests`."""
        record = self._known(handle)
        if record.owner != owner:
            raise AccessError(
                f"Backtest {handle} was started with the token {record.owner}.", next_step="Wait for its end."
            )
        record.scope.cancel()
        await record.done.wait()
        return self._view(record)

    def _known(self, handle: str) -> _Record:
        record = self._records.get(handle)
        if record is None:
            raise UnknownNameError(
                f"There is no backtest {handle}.",
                field="handle",
                allowed=", ".join(self._records) or "none: no backtest was started",
                next_step="Handles end with the front, and only the last few are kept. Start it again.",
            )
        return record

    def _forget(self) -> None:
        """Drop what is older than the last few, reports of earlier fronts included."""
        for handle in list(self._records)[: -KEPT_MAX - 1]:
            del self._records[handle]
        reports = sorted(self._folder.glob("bt*.html"), key=lambda path: path.stat().st_mtime_ns)
        for report in reports[:-KEPT_MAX]:
            report.unlink(missing_ok=True)

    def _view(self, record: _Record) -> BacktestJob:
        ended = self._monotonic_ns() if record.ended_ns is None else record.ended_ns
        return BacktestJob(
            handle=record.handle,
            owner=record.owner,
            request=record.request,
            status=record.status,
            progress=record.progress,
            stage=record.stage,
            elapsed_seconds=(ended - record.started_ns) / 1e9,
            answer=record.answer,
            failure=record.failure,
            report=str(record.report) if record.answer is not None and record.report.is_file() else None,
        )

    async def _work(self, record: _Record) -> None:
        status = BacktestStatus.CANCELLED
        try:
            with record.scope, anyio.move_on_after(self._seconds_max) as limit:
                record.failure = await self._child(record)
                status = BacktestStatus.FINISHED if record.failure is None else BacktestStatus.FAILED
            if limit.cancelled_caught:
                status = BacktestStatus.TIMED_OUT
        except OSError as error:
            logger.exception("a backtest could not be started")
            status = BacktestStatus.FAILED
            record.failure = BacktestFailure("internal", f"It could not be started: {error.strerror}.")
        finally:
            self._end(record, status)

    def _end(self, record: _Record, status: BacktestStatus) -> None:
        if status is BacktestStatus.FINISHED:
            record.progress = 1.0
        else:
            record.report.unlink(missing_ok=True)
        if status is BacktestStatus.FAILED:
            logger.warning("backtest %s failed; it last said:\n%s", record.handle, "\n".join(record.tail))
        record.status, record.stage, record.ended_ns = status, "", self._monotonic_ns()
        record.done.set()

    async def _child(self, record: _Record) -> BacktestFailure | None:
        """Run it to its end; why there is no answer."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        said = bytearray()
        with anyio.CancelScope(shield=True):  # a start that is cut off half-way would leave a child to nobody
            process = await anyio.open_process(
                self._command(record.request, record.report),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                start_new_session=True,
            )
        try:
            async with anyio.create_task_group() as readers:
                readers.start_soon(_read_progress, record, process)
                await _read_answer(process, said)
                if len(said) > ANSWER_BYTES_MAX:
                    readers.cancel_scope.cancel()
            if len(said) > ANSWER_BYTES_MAX:
                return BacktestFailure("internal", f"It wrote more than {ANSWER_BYTES_MAX} bytes.")
            code = await process.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await _end_process(process)
        return _understand(record, code, bytes(said))


async def _end_process(process: anyio.abc.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.aclose()


async def _read_answer(process: anyio.abc.Process, said: bytearray) -> None:
    assert process.stdout is not None
    async for chunk in process.stdout:
        said += chunk
        if len(said) > ANSWER_BYTES_MAX:
            return


async def _read_progress(record: _Record, process: anyio.abc.Process) -> None:
    assert process.stderr is not None
    rest = b""
    async for chunk in process.stderr:
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[-_LINE_BYTES_MAX:]
        for line in lines:
            _note(record, line[:_LINE_BYTES_MAX])


def _note(record: _Record, line: bytes) -> None:
    found = _object(line)
    share = found.get("progress") if found is not None else None
    if found is None or not isinstance(share, int | float) or not 0 <= share <= 1:
        record.tail.append(line.decode(errors="replace")[:500])
        return
    record.progress = max(record.progress, float(share))
    stage = "".join(char for char in str(found.get("stage", "")) if char.isprintable())
    record.stage = stage[:_STAGE_MAX]


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _understand(record: _Record, code: int, said: bytes) -> BacktestFailure | None:
    """Take the answer, or say why there is none."""
    lines = said.splitlines()
    found = _object(lines[-1]) if lines else None
    error = found.get("error") if found is not None else None
    if isinstance(error, dict):
        texts = {name: error.get(name) for name in ("code", "message", "field", "allowed", "next")}
        known = {name: None if text is None else str(text) for name, text in texts.items()}
        return BacktestFailure(
            known["code"] or "error",
            known["message"] or "It failed.",
            known["field"],
            known["allowed"],
            known["next"] or "",
        )
    see_log = "Tell the operator; the front's log has its last words."
    if code != 0 or found is None:
        ended = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return BacktestFailure("internal", f"It {ended} and without an answer.", next_step=see_log)
    try:
        record.answer = read_answer(found)
    except InputError as error:
        return BacktestFailure("internal", error.message, next_step=see_log)
    return None


@asynccontextmanager
async def backtest_jobs(
    command: Command,
    folder: Path,
    monotonic_ns: Callable[[], int],
    environment: Mapping[str, str],
    *,
    seconds_max: float = SECONDS_MAX,
) -> AsyncIterator[BacktestJobs]:
    """Backtests for as long as the block runs; what runs at its end is killed. Reports go to `folder`."""
    async with anyio.create_task_group() as tasks:
        try:
            yield BacktestJobs(tasks, command, folder, monotonic_ns, environment, seconds_max)
        finally:
            tasks.cancel_scope.cancel()
