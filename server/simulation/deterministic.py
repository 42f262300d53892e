"""The one place that owns trio's deterministic-scheduling flags.

trio shuffles runnable tasks on purpose. With its (private, tested here) switch and a seeded generator the
order becomes a function of the seed, and with a virtual clock that jumps to the next deadline nothing waits
for real time.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio
import trio._core._run as trio_run
from trio.testing import MockClock

T = TypeVar("T")


def run(main: Callable[[], Awaitable[T]], *, seed: int) -> T:
    """Run `main` under a virtual clock with scheduling decided by `seed`; the flags are restored afterwards.

    Raises:
        AttributeError: this trio no longer has the flags; then nothing here would be deterministic.
    """
    internals: Any = trio_run
    before = (internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r)
    internals._ALLOW_DETERMINISTIC_SCHEDULING = True
    internals._r = random.Random(seed)  # noqa: S311
    try:
        return trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r = before
