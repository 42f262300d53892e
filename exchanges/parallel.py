"""Several awaitable calls at once, typed; the first error cancels the rest and is raised bare."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Generic, Self, TypeVar

import anyio
from anyio.abc import TaskGroup

from portfolio.core.errors import CarrydeskError

T = TypeVar("T")


class Pending(Generic[T]):
    """The result of one call; to be read after the block."""

    def __init__(self) -> None:
        self._values: list[T] = []

    def set(self, value: T) -> None:
        """Store it."""
        self._values.append(value)

    @property
    def value(self) -> T:
        """The result."""
        return self._values[0]


class Parallel:
    """`async with Parallel() as parallel: a = parallel.start(call)`; then `a.value` after the block."""

    def __init__(self) -> None:
        self._tasks: TaskGroup = anyio.create_task_group()
        self._error: CarrydeskError | None = None

    def start(self, call: Callable[[], Awaitable[T]]) -> Pending[T]:
        """Start one call."""
        pending: Pending[T] = Pending()
        self._tasks.start_soon(self._run, call, pending)
        return pending

    async def _run(self, call: Callable[[], Awaitable[T]], pending: Pending[T]) -> None:
        try:
            pending.set(await call())
        except CarrydeskError as error:
            self._error = self._error or error
            self._tasks.cancel_scope.cancel()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        swallowed = await self._tasks.__aexit__(kind, error, trace)
        if self._error is not None:
            raise self._error
        return swallowed


@asynccontextmanager
async def background() -> AsyncIterator[TaskGroup]:
    """Tasks that live as long as a block; an error of the block comes out bare, not in a group."""
    failed: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as error:  # noqa: BLE001 - raised below, once the tasks have ended
            failed = error
        tasks.cancel_scope.cancel()
    if failed is not None:
        raise failed
