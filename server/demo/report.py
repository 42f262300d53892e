"""What the demo measured, and how it speaks."""

import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Report:
    """The keys are a contract (DESIGN 14)."""

    mode: str = "paper"
    pairs: int = 0
    orders: int = 0
    fills: int = 0
    utilisation: float = 0.0
    binding: str = ""
    health_before: float = 0.0
    health_after_shock: float = 0.0
    health_end: float = 0.0
    margin_gap: float | None = None
    guard_actions: int = 0
    refused: list[str] = field(default_factory=list)
    killed: int = 0
    recovered: bool = False
    duplicate_orders: int = 0
    naked_seconds_max: float = 0.0
    naked_at_end: list[str] = field(default_factory=list)
    attribution_usd: dict[str, str] = field(default_factory=dict)
    seconds_setup: float = 0.0
    seconds: float = 0.0

    def data(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def failures(self) -> list[str]:
        """What did not hold; empty when the demo showed everything it claims."""
        checks = {
            "7 pairs on one account": self.pairs == 7,
            "utilisation > 3.5": self.utilisation > 3.5,
            "health >= 0.84 before the shock": self.health_before >= 0.84,
            "the shock reached health below 0.7": 0 < self.health_after_shock < 0.7,
            "the guard acted": self.guard_actions > 0,
            "the guard brought health back": self.health_end >= 0.7,
            "every attempt to get around the operator was refused": len(self.refused) >= 5,
            "the desk was killed": self.killed > 0,
            "the desk recovered": self.recovered,
            "no order twice": self.duplicate_orders == 0,
            "no naked leg left": not self.naked_at_end,
        }
        return [name for name, holds in checks.items() if not holds]


class Voice:
    """Numbered beats for people; on stderr when the JSON goes to stdout."""

    def __init__(self, *, as_json: bool) -> None:
        self._stream = sys.stderr if as_json else sys.stdout
        self._started = time.monotonic()
        self._beat = 0

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._started

    def beat(self, title: str) -> None:
        """The next numbered beat."""
        self._beat += 1
        self.say(f"\n{self._beat:2d}. {title}  [{self.seconds:.1f} s]")

    def say(self, text: str) -> None:
        """One line, as it is."""
        self._stream.write(text + "\n")
        self._stream.flush()
