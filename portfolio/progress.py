"""An operation's orders as the journal has them, turned into increments.

Everything the engine decides from is read here at one moment; a replay after a crash reads the same rows
and so continues where the orders, not the process, stopped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.entries import GuardActed
from portfolio.core.increments import Increments, LegOrder, leg_progress
from portfolio.core.intents import IntentStatus
from portfolio.core.names import IntentId, PairId
from portfolio.core.orders import Side
from portfolio.core.pairs import PairSpec
from portfolio.ports import IntentRow, Journal, OrderRow

#: Actions of the guard read at first: most operations see none.
_ACTIONS_READ = 10
#: The order may still fill.
OPEN_STATES = frozenset({"planned", "accepted", "unknown"})
#: Nobody knows whether the order took effect. A planned row met here was left behind by a crash.
UNSURE_STATES = frozenset({"planned", "unknown"})
#: The order certainly had no effect.
DEAD_STATES = frozenset({"rejected", "not_sent", "absent"})


@dataclass(frozen=True, slots=True)
class Sides:
    """Which way an operation trades its two legs."""

    lead: Side
    hedge: Side


def sides_of(pair: PairSpec, *, entering: bool) -> Sides:
    """Entering buys the long leg and sells the short one; leaving does the opposite."""
    lead = Side.BUY if pair.lead_leg == pair.long_leg else Side.SELL
    if not entering:
        lead = lead.opposite
    return Sides(lead, lead.opposite)


@dataclass(frozen=True, slots=True)
class Progress:
    """The orders of one operation on one pair, oldest first, and the intent they serve."""

    #: None: the guard's own operation, which has no intent.
    intent: IntentRow | None
    lead: tuple[OrderRow, ...]
    hedge: tuple[OrderRow, ...]
    #: Slice and attempt of the next order on each leg.
    lead_next: tuple[int, int]
    hedge_next: tuple[int, int]
    #: The guard acted on the pair after the operation's first order there: what these orders add up to is
    #: not what the pair holds, and whoever continued would do again what the guard did.
    guarded: bool = False

    @property
    def intent_status(self) -> IntentStatus | None:
        """None: an operation without an intent."""
        return None if self.intent is None else self.intent.status

    def unsure(self) -> OrderRow | None:
        """The oldest order whose outcome nobody knows."""
        return next((row for row in (*self.lead, *self.hedge) if row.state in UNSURE_STATES), None)

    def open_lead(self) -> OrderRow | None:
        """The oldest lead order that may still fill."""
        return next((row for row in self.lead if row.state in OPEN_STATES), None)

    def open_hedge(self) -> OrderRow | None:
        """The oldest hedge order that may still fill."""
        return next((row for row in self.hedge if row.state in OPEN_STATES), None)

    def taken_back(self, sides: Sides) -> bool:
        """Whether taking back the lead has begun: it is then finished, not started anew."""
        return any(row.request.side is not sides.lead for row in self.lead)

    def increments(self, sides: Sides, planned: Decimal) -> Increments:
        """What was done so far."""
        return Increments(
            planned,
            leg_progress(_leg_orders(self.lead), sides.lead),
            leg_progress(_leg_orders(self.hedge), sides.hedge),
        )


def _leg_orders(rows: Iterable[OrderRow]) -> Iterable[LegOrder]:
    for row in rows:
        open_now = row.state in OPEN_STATES
        yield LegOrder(row.request.side, row.request.quantity, row.filled, row.fee_base, open_now)


def read_progress(journal: Journal, operation_id: IntentId, pair: PairSpec) -> Progress:
    """Read the operation's orders on this pair and its intent. Synchronous: for a runner."""
    rows = journal.orders(intent_id=operation_id)
    began = min((row.planned_wire_ns for row in rows if row.request.pair_id == pair.pair_id), default=None)
    lead = [row for row in rows if row.request.instrument_id == pair.lead_leg]
    hedge = [row for row in rows if row.request.instrument_id == pair.hedge_leg]
    return Progress(
        intent=journal.intent(operation_id),
        lead=tuple(row for row in lead if row.request.pair_id == pair.pair_id),
        hedge=tuple(row for row in hedge if row.request.pair_id == pair.pair_id),
        # Numbered over every pair of the operation: two of them may trade the same instrument.
        lead_next=next_number(lead),
        hedge_next=next_number(hedge),
        guarded=began is not None and guard_acted(journal, pair.pair_id, began),
    )


def guard_acted(journal: Journal, pair_id: PairId, since_wire_ns: int) -> bool:
    """Whether the guard acted on this pair at that time or later."""
    limit = _ACTIONS_READ
    while True:
        newest = journal.guard_actions(limit)
        for row in newest:
            if row.wire_ns < since_wire_ns:
                return False
            if isinstance(row.entry, GuardActed) and pair_id in row.entry.pairs:
                return True
        if len(newest) < limit:
            return False
        limit *= 10


def next_number(rows: Sequence[OrderRow]) -> tuple[int, int]:
    """Slice and attempt of the next order on an instrument, from the operation's orders there.

    The slice counts every order planned before, so no id is made twice; the attempt counts how many in a row
    had no effect.
    """
    dead = 0
    for row in reversed(rows):
        if row.state not in DEAD_STATES:
            break
        dead += 1
    return len(rows), dead
