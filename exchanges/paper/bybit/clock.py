"""The paper venue's two clocks: wire is the machine's, market is start + speed x elapsed."""

import time
from dataclasses import dataclass
from decimal import Decimal


@dataclass(slots=True)
class VenueClock:
    """The same formula, in the same integers, as the desk's own paper clocks."""

    start_market_ns: int
    start_wire_ns: int
    speed: Decimal = Decimal(1)
    #: Operator: how far the clock that signatures are checked against is off.
    skew_ns: int = 0

    def machine_ns(self) -> int:
        """The machine's wall clock."""
        return time.time_ns()

    def wire_ns(self) -> int:
        """What the venue believes the time is."""
        return time.time_ns() + self.skew_ns

    def wire_ms(self) -> int:
        """The same in ms."""
        return self.wire_ns() // 1_000_000

    def market_ns(self) -> int:
        """Time in the replayed history."""
        numerator, denominator = self.speed.as_integer_ratio()
        return self.start_market_ns + (time.time_ns() - self.start_wire_ns) * numerator // denominator

    def wire_seconds_until(self, market_ns: int) -> float:
        """How long the machine has to wait for a market moment; at speed 0 for ever."""
        if self.speed == 0:
            return float("inf")
        return float(Decimal(market_ns - self.market_ns()) / self.speed) / 1e9
