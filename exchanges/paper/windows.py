"""Rolling windows of a venue's rate limits, as the venue counts them: every item costs one."""

from collections import deque
from dataclasses import dataclass

from portfolio.ports import RateLimit


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit after a request."""

    remaining: int
    #: Wire time at which the oldest counted item leaves the window.
    reset_wire_ns: int


class Window:
    """One limit of one account."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._taken: deque[int] = deque()

    def take(self, wanted: int, wire_ns: int) -> int:
        """How many of `wanted` items fit now; they are counted."""
        self._forget(wire_ns)
        fits = max(0, min(wanted, self.limit.count - len(self._taken)))
        self._taken.extend([wire_ns] * fits)
        return fits

    def standing(self, wire_ns: int) -> Standing:
        """What is left now."""
        self._forget(wire_ns)
        reset = self._taken[0] + self.limit.per_ns if self._taken else wire_ns
        return Standing(self.limit.count - len(self._taken), reset)

    def _forget(self, wire_ns: int) -> None:
        while self._taken and self._taken[0] <= wire_ns - self.limit.per_ns:
            self._taken.popleft()
