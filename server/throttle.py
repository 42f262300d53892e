"""How much one token may ask: calls per second, and calls at the same time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from portfolio.core.errors import RefusedError

CALLS_PER_SECOND = 20
BURST = 40
IN_FLIGHT_MAX = 8


class Throttle:
    """A bucket for one token. `monotonic_ns` is the wire clock's."""

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._tokens = float(BURST)
        self._seen_ns = monotonic_ns()
        self._in_flight = 0

    @contextmanager
    def pass_through(self) -> Iterator[None]:
        """Count one call for as long as the block runs.

        Raises:
            RefusedError: too many calls in a short time, or at the same time; nothing was done.
        """
        now = self._monotonic_ns()
        self._tokens = min(float(BURST), self._tokens + (now - self._seen_ns) / 1e9 * CALLS_PER_SECOND)
        self._seen_ns = now
        if self._tokens < 1:
            raise RefusedError(
                "Too many calls: NOT DONE.",
                allowed=f"{CALLS_PER_SECOND} a second, {BURST} in a burst",
                next_step="Wait a second; use wait_s of get_intent instead of polling.",
            )
        if self._in_flight >= IN_FLIGHT_MAX:
            raise RefusedError(
                "Too many calls at the same time: NOT DONE.",
                allowed=f"{IN_FLIGHT_MAX} at a time",
                next_step="Wait for the others to answer.",
            )
        self._tokens -= 1
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
