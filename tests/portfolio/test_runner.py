import anyio
import pytest

from portfolio.core.errors import ConflictError
from portfolio.ports import Runner
from portfolio.runner import InlineRunner


def test_the_call_s_result_and_its_error_pass_through() -> None:
    def fails() -> int:
        raise ConflictError("taken")

    async def main() -> None:
        runner: Runner = InlineRunner()
        assert await runner.run(lambda: 5) == 5
        with pytest.raises(ConflictError, match="taken"):
            await runner.run(fails)

    anyio.run(main, backend="trio")


def test_other_tasks_run_between_the_request_and_the_call() -> None:
    seen: list[str] = []

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(InlineRunner().run, lambda: seen.append("call"))
            seen.append("before")
            await anyio.wait_all_tasks_blocked()
        seen.append("after")

    anyio.run(main, backend="trio")
    assert seen == ["before", "call", "after"]


def test_a_call_requested_by_a_cancelled_task_never_starts() -> None:
    seen: list[str] = []

    async def main() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await InlineRunner().run(lambda: seen.append("call"))

    anyio.run(main, backend="trio")
    assert seen == []
