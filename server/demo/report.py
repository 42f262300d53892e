"""What the demo measured, and how it speaks."""

import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Report:
    """The keys are a contract (DESIGN 14). None: not measured, because the demo did not come that far."""

    mode: str = "paper"
    pairs: int | None = None
    orders: int | None = None
    fills: int | None = None
    utilisation: float | None = None
    health_before: float | None = None
    health_after_shock: float | None = None
    health_end: float | None = None
    margin_gap: float | None = None
    guard_actions: int | None = None
    #: What was refused so far, and how often the desk was killed so far.
    refused: list[str] = field(default_factory=list)
    killed: int = 0
    recovered: bool | None = None
    duplicate_orders: int | None = None
    naked_seconds_max: float | None = None
    naked_at_end: list[str] | None = None
    attribution_usd: dict[str, str] | None = None
    seconds_setup: float | None = None
    seconds: float | None = None

    def data(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def failures(self) -> list[str]:
        """What did not hold; empty when the demo showed everything it claims."""
        checks = {
            "7 pairs on one account": self.pairs == 7,
            "utilisation > 3.5": self.utilisation is not None and self.utilisation > 3.5,
            "health >= 0.84 before the shock": self.health_before is not None and self.health_before >= 0.84,
            "the shock reached health below 0.7": (
                self.health_after_shock is not None and 0 < self.health_after_shock < 0.7
            ),
            "the guard acted": bool(self.guard_actions),
            "the guard brought health back": self.health_end is not None and self.health_end >= 0.7,
            "every attempt to get around the operator was refused": len(self.refused) >= 5,
            "the desk was killed": self.killed > 0,
            "the desk recovered": self.recovered is True,
            "no order twice": self.duplicate_orders == 0,
            "no naked leg left": self.naked_at_end == [],
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
