"""Fault plans: which requests, notices and moments go wrong. A plan is a value and says the same every time.

A plan is asked with running numbers (the n-th write request, read, notice of a venue), so a run that makes
the same requests meets the same faults. Explicit faults by number come before drawn ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from exchanges.paper.commands import AutoDeleverage, Command, FreezeBook, LimitNextFill, ShiftFigures
from exchanges.paper.config import SECOND_NS
from exchanges.paper.seeded import billionths, fraction
from portfolio.core.instrument import Instrument, InstrumentKind


class RequestFault(StrEnum):
    """What can go wrong with one write request (place, cancel, repay)."""

    #: It never leaves: the connection is refused.
    NOT_SENT = "not_sent"
    #: The venue takes it; the answer is lost.
    LOST_ANSWER = "lost_answer"
    #: It reaches the venue late, when nobody waits any more; past its deadline the venue refuses it.
    LATE = "late"
    #: The venue refuses every item.
    REJECT = "reject"
    #: The venue says too many visits.
    RATE_LIMIT = "rate_limit"
    #: Each order fills only in part.
    PARTIAL_FILL = "partial_fill"


class NoticeFault(StrEnum):
    """What can go wrong with one private notice."""

    DUPLICATE = "duplicate"
    #: It comes after the one that follows it.
    REORDER = "reorder"


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The event stream is down from `after_ns` of market time since the start, for `duration_ns`."""

    after_ns: int
    duration_ns: int


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Everything that will go wrong. The empty plan is a perfect venue."""

    seed: int = 0
    #: Probabilities, fractions of 1.
    requests: Mapping[RequestFault, Decimal] = field(default_factory=dict)
    notices: Mapping[NoticeFault, Decimal] = field(default_factory=dict)
    reads_failed: Decimal = Decimal(0)
    #: By running number from 1, before any draw.
    explicit: Mapping[int, RequestFault] = field(default_factory=dict)
    #: How late a LATE request arrives, wire clock.
    late_ns: int = SECOND_NS
    #: Share of a PARTIAL_FILL order that fills.
    partial_share: Decimal = Decimal("0.4")
    disconnects: tuple[Disconnect, ...] = ()
    #: Operator's commands at market times since the start: shocks, ADL, shifted figures, frozen books.
    commands: tuple[tuple[int, Command], ...] = ()

    def request(self, number: int) -> RequestFault | None:
        """Fault of the n-th write request."""
        if number in self.explicit:
            return self.explicit[number]
        return _draw(self.requests, fraction(self.seed, "request", number))

    def notice(self, number: int) -> NoticeFault | None:
        """Fault of the n-th private notice."""
        return _draw(self.notices, fraction(self.seed, "notice", number))

    def read_fails(self, number: int) -> bool:
        """Whether the n-th read fails."""
        return fraction(self.seed, "read", number) < self.reads_failed


NO_FAULTS = FaultPlan()

T = TypeVar("T")


def _draw(shares: Mapping[T, Decimal], drawn: Decimal) -> T | None:
    for fault, share in shares.items():
        if drawn < share:
            return fault
        drawn -= share
    return None


def seeded_plan(seed: int, instruments: tuple[Instrument, ...], duration_ns: int) -> FaultPlan:
    """A bad day at the venue, drawn from a seed: some of every fault, over `duration_ns` of market time."""
    perpetuals = [row.instrument_id for row in instruments if row.kind is InstrumentKind.PERPETUAL]
    spots = [row.instrument_id for row in instruments if row.kind is InstrumentKind.SPOT]

    def moment(what: str, number: int) -> int:
        return billionths(seed, what, number) * duration_ns // 1_000_000_000

    def one_of(what: str, number: int, names: list[T]) -> T:
        return names[billionths(seed, what, number) % len(names)]

    commands: list[tuple[int, Command]] = [
        (moment("adl", 0), AutoDeleverage(one_of("adl", 1, perpetuals), Decimal("0.5"))),
        (moment("frozen", 0), FreezeBook(one_of("frozen", 1, perpetuals), 10 * SECOND_NS)),
        (moment("partial", 0), LimitNextFill(one_of("partial", 1, spots), Decimal("0.5"))),
    ]
    shifted = moment("shift", 0)
    commands.append((shifted, ShiftFigures(maintenance_factor=Decimal("1.03"))))
    commands.append((shifted + 20 * SECOND_NS, ShiftFigures()))
    return FaultPlan(
        seed=seed,
        requests={
            RequestFault.NOT_SENT: Decimal("0.02"),
            RequestFault.LOST_ANSWER: Decimal("0.04"),
            RequestFault.LATE: Decimal("0.03"),
            RequestFault.REJECT: Decimal("0.03"),
            RequestFault.RATE_LIMIT: Decimal("0.02"),
            RequestFault.PARTIAL_FILL: Decimal("0.08"),
        },
        notices={NoticeFault.DUPLICATE: Decimal("0.05"), NoticeFault.REORDER: Decimal("0.05")},
        reads_failed=Decimal("0.03"),
        late_ns=SECOND_NS // 2 + billionths(seed, "late") * 2,
        disconnects=tuple(Disconnect(moment("disconnect", number), 5 * SECOND_NS) for number in range(2)),
        commands=tuple(sorted(commands, key=lambda item: item[0])),
    )
