"""The implementations of `ports.Clocks`: live, paper, virtual (under trio's clock) and by hand (tests)."""

import time
from decimal import Decimal

import anyio

from portfolio.core.decimals import parse
from portfolio.core.errors import InputError, NumberError

SECOND_NS = 1_000_000_000


def _ratio(speed: Decimal | int) -> tuple[int, int]:
    value = parse(speed, "speed")
    if value < 0:
        raise NumberError(f"speed: {speed} must not be negative.", field="speed", allowed=">= 0")
    return value.as_integer_ratio()


class SystemClocks:
    """Live: wire is the machine's wall clock, market is the same."""

    def wire_ns(self) -> int:
        """Wall time, integer ns since the Unix epoch."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """The machine's monotonic clock, integer ns."""
        return time.monotonic_ns()

    def market_ns(self) -> int:
        """Equal to wire time."""
        return time.time_ns()


class PaperClocks(SystemClocks):
    """Paper: market = start_market_ns + speed * (wire - start_wire_ns), exact in integers, rounded down.

    A function of the wall clock only, so that every process (and a restarted one) given the same three
    numbers agrees on the market's time.

    Raises:
        NumberError: `speed` is negative, not finite, or a float.
    """

    def __init__(self, *, start_market_ns: int, start_wire_ns: int, speed: Decimal | int) -> None:
        self._start_market_ns = start_market_ns
        self._start_wire_ns = start_wire_ns
        self._numerator, self._denominator = _ratio(speed)

    def market_ns(self) -> int:
        """Time in the replayed history, integer ns since the Unix epoch."""
        return self.market_at(time.time_ns())

    def market_at(self, wire_ns: int) -> int:
        """Market time at a moment of the wire clock."""
        elapsed = wire_ns - self._start_wire_ns
        return self._start_market_ns + elapsed * self._numerator // self._denominator


class LoopClocks:
    """Virtual: both clocks follow the event loop's time, which trio's MockClock moves.

    Create it inside the running loop: that moment is `start_wire_ns` and `start_market_ns`.

    Raises:
        NumberError: `speed` is negative, not finite, or a float.
    """

    def __init__(self, *, start_wire_ns: int, start_market_ns: int, speed: Decimal | int = 1) -> None:
        self._origin = anyio.current_time()
        self._start_wire_ns = start_wire_ns
        self._start_market_ns = start_market_ns
        self._numerator, self._denominator = _ratio(speed)

    def wire_ns(self) -> int:
        """start_wire_ns plus the loop's elapsed time, integer ns."""
        return self._start_wire_ns + self.monotonic_ns()

    def monotonic_ns(self) -> int:
        """The loop's elapsed time, integer ns. Loop time is a float of seconds: exact to well under 1 us."""
        return round((anyio.current_time() - self._origin) * SECOND_NS)

    def market_ns(self) -> int:
        """start_market_ns + speed * elapsed, rounded down."""
        return self._start_market_ns + self.monotonic_ns() * self._numerator // self._denominator


class ManualClocks:
    """For tests: time moves only when told."""

    def __init__(self, *, wire_ns: int = 1_700_000_000 * SECOND_NS, market_ns: int | None = None) -> None:
        self._start_wire_ns = wire_ns
        self._wire_ns = wire_ns
        self._market_ns = wire_ns if market_ns is None else market_ns

    def wire_ns(self) -> int:
        """The wire time last set."""
        return self._wire_ns

    def monotonic_ns(self) -> int:
        """Wire time since the start."""
        return self._wire_ns - self._start_wire_ns

    def market_ns(self) -> int:
        """The market time last set."""
        return self._market_ns

    def advance(self, wire_ns: int, *, market_ns: int | None = None) -> None:
        """Move the wire clock by `wire_ns` >= 0, and the market clock by `market_ns` (None: by the same).

        Raises:
            InputError: a clock would go back.
        """
        step = wire_ns if market_ns is None else market_ns
        if wire_ns < 0 or step < 0:
            raise InputError("A clock does not go back.", field="wire_ns", allowed=">= 0")
        self._wire_ns += wire_ns
        self._market_ns += step
