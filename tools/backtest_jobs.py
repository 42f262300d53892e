"""Backtests that run beside the front: what is asked for, how far one is, and who runs them.

`server/backtest_jobs.py` runs them as child processes; the tool only knows this protocol.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Protocol

from tools.backtest_answer import BacktestAnswer


class BacktestStatus(StrEnum):
    """How far a backtest is."""

    RUNNING = "running"
    FINISHED = "finished"
    #: It ended without a result; the failure says why.
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: It took longer than it may.
    TIMED_OUT = "timed_out"

    @property
    def final(self) -> bool:
        """Nothing will change any more."""
        return self is not BacktestStatus.RUNNING


@dataclass(frozen=True, slots=True)
class BacktestRequest:
    """What to run; None: what the bundled data has."""

    #: UTC; both days are part of it.
    first: date | None
    last: date | None
    venue: str | None


@dataclass(frozen=True, slots=True)
class BacktestFailure:
    """Why there is no result."""

    code: str
    message: str
    field: str | None = None
    allowed: str | None = None
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class BacktestJob:
    """One backtest at one moment."""

    handle: str
    #: Name of the token that started it.
    owner: str
    request: BacktestRequest
    status: BacktestStatus
    #: Share of the work that is done, 0..1.
    progress: float
    #: What it does now, in its own words.
    stage: str
    #: Since its start, on the monotonic clock; of a final one: in total.
    elapsed_seconds: float
    answer: BacktestAnswer | None = None
    failure: BacktestFailure | None = None
    #: Where the HTML report lies, on the desk's machine.
    report: str | None = None


class Backtests(Protocol):
    """Runs at most one at a time; remembers the last few."""

    async def start(self, owner: str, request: BacktestRequest) -> BacktestJob:
        """Start one and return at once.

        Raises:
            RefusedError: one is running.
        """
        ...

    async def look(self, handle: str, wait_seconds: float = 0) -> BacktestJob:
        """How far it is; waits for its end for at most that long.

        Raises:
            UnknownNameError: no such handle.
        """
        ...

    async def cancel(self, handle: str, owner: str) -> BacktestJob:
        """End it if it runs, and wait until its process is gone.

        Raises:
            UnknownNameError: no such handle.
            AccessError: another token started it.
        """
        ...
