"""Where journal calls run in production: a thread of their own, so that no fsync stops the event loop."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar, cast

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from portfolio.core.errors import JournalError

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Job:
    call: Callable[[], Any]
    done: anyio.Event = field(default_factory=anyio.Event)
    result: Any = None
    error: BaseException | None = None


class ThreadRunner:
    """Implements `ports.Runner`: calls run one after another, in the order submitted.

    1. At most `waiting_max` calls are queued; the next caller waits for a place (and may be cancelled there).
    2. A queued call is never abandoned: cancellation reaches the caller only after it has run.
    3. Leaving the `async with` block runs what is queued, then ends the thread.
    """

    def __init__(self, *, waiting_max: int = 256) -> None:
        self._places = anyio.Semaphore(waiting_max)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def __aenter__(self) -> "ThreadRunner":
        token = anyio.lowlevel.current_token()
        self._thread = threading.Thread(target=self._serve, args=(token,), name="journal", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(thread.join)

    async def run(self, call: Callable[[], T]) -> T:
        """The call's result; its exception passes through.

        Raises:
            JournalError: the runner is not running.
        """
        job = _Job(call)
        async with self._places:
            if self._thread is None:
                raise JournalError("The journal's thread has ended.", next_step="The desk is stopping.")
            self._jobs.put(job)
            with anyio.CancelScope(shield=True):
                await job.done.wait()
        if job.error is not None:
            raise job.error
        return cast(T, job.result)

    def _serve(self, token: Any) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.result = job.call()
            except BaseException as error:  # noqa: BLE001 - raised again in the task that asked
                job.error = error
            anyio.from_thread.run_sync(job.done.set, token=token)
