"""Where journal calls run when nothing else may: inline, for the simulation and for tests."""

from collections.abc import Callable
from typing import TypeVar

import anyio.lowlevel

T = TypeVar("T")


class InlineRunner:
    """Implements `ports.Runner` in the calling task.

    It yields once before the call, as a thread would, so that the simulation can interleave and crash there.
    A cancellation in that instant means the call never started; after it, the commit is complete.
    """

    async def run(self, call: Callable[[], T]) -> T:
        """The call's result; its exception passes through."""
        await anyio.lowlevel.checkpoint()
        return call()
