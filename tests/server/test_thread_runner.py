import threading
from collections.abc import Callable

import anyio
import pytest

from portfolio.core.errors import ConflictError, JournalError
from portfolio.ports import Runner
from server.thread_runner import ThreadRunner

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@BACKENDS
def test_calls_run_on_one_thread_of_their_own_in_the_order_asked(backend: str) -> None:
    seen: list[tuple[int, int]] = []

    def call(number: int) -> Callable[[], None]:
        return lambda: seen.append((number, threading.get_ident()))

    async def main() -> None:
        async with ThreadRunner(waiting_max=3) as runner, anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(runner.run, call(number))
                await anyio.lowlevel.checkpoint()

    anyio.run(main, backend=backend)
    assert [number for number, _ in seen] == list(range(20))
    assert len({thread for _, thread in seen} - {threading.get_ident()}) == 1


@BACKENDS
def test_the_call_s_result_and_its_error_pass_through(backend: str) -> None:
    def fails() -> int:
        raise ConflictError("taken")

    async def main() -> None:
        async with ThreadRunner() as thread_runner:
            runner: Runner = thread_runner
            assert await runner.run(lambda: 5) == 5
            with pytest.raises(ConflictError, match="taken"):
                await runner.run(fails)
            assert await runner.run(lambda: 6) == 6

    anyio.run(main, backend=backend)


@BACKENDS
def test_a_call_that_began_is_awaited_when_its_task_is_cancelled(backend: str) -> None:
    begun, release = threading.Event(), threading.Event()
    finished: list[str] = []

    def commit() -> None:
        begun.set()
        release.wait(10)
        finished.append("commit")

    async def main() -> None:
        async with ThreadRunner() as runner:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(runner.run, commit)
                    await anyio.to_thread.run_sync(begun.wait)
                    scope.cancel()
                    assert finished == []
                    release.set()
            assert finished == ["commit"]

    anyio.run(main, backend=backend)


@BACKENDS
def test_a_caller_without_a_place_in_the_queue_waits_and_may_be_cancelled_there(backend: str) -> None:
    begun, release = threading.Event(), threading.Event()
    finished: list[str] = []

    def commit() -> None:
        begun.set()
        release.wait(10)

    async def main() -> None:
        async with ThreadRunner(waiting_max=1) as runner, anyio.create_task_group() as group:
            group.start_soon(runner.run, commit)
            await anyio.to_thread.run_sync(begun.wait)
            async with anyio.create_task_group() as second:
                second.start_soon(runner.run, lambda: finished.append("second"))
                await anyio.wait_all_tasks_blocked()
                second.cancel_scope.cancel()
            release.set()

    anyio.run(main, backend=backend)
    assert finished == []


@BACKENDS
def test_the_event_loop_runs_while_a_call_takes_its_time(backend: str) -> None:
    release = threading.Event()

    async def main() -> None:
        async with ThreadRunner() as runner, anyio.create_task_group() as group:
            group.start_soon(runner.run, lambda: release.wait(10))
            await anyio.lowlevel.checkpoint()
            release.set()

    anyio.run(main, backend=backend)


@BACKENDS
def test_a_runner_that_has_ended_takes_no_calls(backend: str) -> None:
    async def main() -> None:
        async with ThreadRunner() as runner:
            pass
        with pytest.raises(JournalError, match="has ended"):
            await runner.run(lambda: 5)

    anyio.run(main, backend=backend)
