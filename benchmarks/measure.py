"""Samples and what is said of them."""

import math
import os
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

T = TypeVar("T")
#: A benchmark's answer: names -> a number, a text, or a mapping of such.
Result = dict[str, object]
MS_NS = 1_000_000


def spread(samples: Sequence[float]) -> dict[str, float | int]:
    """How many samples, and percentiles by nearest rank: with under 100 of them, p99 is the largest."""
    ordered = sorted(samples)

    def rank(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 4)

    return {
        "n": len(ordered),
        "min": round(ordered[0], 4),
        "p50": rank(0.50),
        "p95": rank(0.95),
        "p99": rank(0.99),
        "max": round(ordered[-1], 4),
    }


def ms(duration_ns: float) -> float:
    """Milliseconds, to 0.1 us."""
    return round(duration_ns / MS_NS, 4)


def timed(
    call: Callable[[], T],
    times: int,
    *,
    warm_up: int = 2,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> tuple[list[float], T]:
    """Run `call` so many times after warming up; milliseconds of each by `clock`, and the last answer."""
    for _ in range(warm_up):
        call()
    samples = []
    for _ in range(times):
        start = clock()
        result = call()
        samples.append(ms(clock() - start))
    return samples, result


def _fixed_work() -> Decimal:
    total = Decimal(0)
    for number in range(1, 2000):
        total += Decimal(number) / 7
    return total


def noise(times: int = 100) -> Result:
    """The machine now: the same small piece of work, and a sleep of 1 ms, again and again."""
    work, _ = timed(_fixed_work, times)
    late = []
    for _ in range(times):
        start = time.perf_counter_ns()
        time.sleep(0.001)
        late.append(ms(time.perf_counter_ns() - start) - 1)
    return {"fixed_work_ms": spread(work), "sleep_1ms_late_ms": spread(late), "load": os.getloadavg()[0]}
