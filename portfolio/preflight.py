"""The last look before an order is journalled: may it go, given what the journal says at this moment?

Runs inside the writer's commit, so that no halt, freeze, cancellation or other order comes between the look
and the write-ahead. ENTRY is refused by anything that is not in order; HEDGE and REDUCE only when they were
sent before, could overshoot, or would do again what the guard does or did to the pair.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from portfolio.core.decimals import ZERO
from portfolio.core.entry_rules import outside_intent, takes_off_only
from portfolio.core.errors import ApprovalError
from portfolio.core.instrument import Instrument
from portfolio.core.intents import Intent, IntentStatus
from portfolio.core.names import AccountId, ClientOrderId, InstrumentId, IntentId, PairId, VenueOrderId
from portfolio.core.orders import (
    Accepted,
    NotSent,
    OrderClass,
    OrderRequest,
    Outcome,
    Rejected,
    Side,
    Unknown,
)
from portfolio.core.pairs import PairSpec
from portfolio.ports import ApprovalVerifier, Journal, OrderRow, VenueTraits
from portfolio.progress import guard_acted

#: What an approval of an intent is signed for.
PURPOSE = "intent"
#: States in which an order may still fill.
OPEN_STATES = frozenset({"planned", "accepted", "unknown"})


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the event loop knows at the moment of the look."""

    now_wire_ns: int
    unknown_pairs: frozenset[PairId]
    #: Every outcome of the time before this desk is known.
    recovered: bool
    #: The orders are the guard's own.
    from_guard: bool
    #: Pairs of these orders that the guard has taken.
    held_pairs: frozenset[PairId]
    #: When each order was asked for.
    asked_wire_ns: Mapping[ClientOrderId, int]


@dataclass(slots=True)
class _Pass:
    """One look at one batch: what was read and decided so far."""

    journal: Journal
    at: Circumstances
    #: Why no ENTRY may go at all; None when some may.
    closed: str | None
    going: list[OrderRequest] = field(default_factory=list)
    intents: dict[IntentId, Intent | str] = field(default_factory=dict)
    planned: dict[IntentId, tuple[OrderRow, ...]] = field(default_factory=dict)
    #: When the guard acted last, wire clock, 0 if never; None until it is asked.
    newest_action_ns: int | None = None

    def orders_of(self, operation_id: IntentId) -> tuple[OrderRow, ...]:
        """The operation's orders as they were before this batch."""
        if operation_id not in self.planned:
            self.planned[operation_id] = self.journal.orders(intent_id=operation_id)
        return self.planned[operation_id]

    def guard_acted(self, pair_id: PairId, since_wire_ns: int) -> bool:
        """Whether the guard acted on this pair at that time or later."""
        if self.newest_action_ns is None:
            # Most batches see none: one read for all of their orders.
            newest = self.journal.guard_actions(1)
            self.newest_action_ns = newest[0].wire_ns if newest else 0
        if self.newest_action_ns < since_wire_ns:
            return False
        return guard_acted(self.journal, pair_id, since_wire_ns)


class Preflight:
    """The rules of one account."""

    def __init__(
        self,
        *,
        account: AccountId,
        mode: str,
        instruments: Mapping[InstrumentId, Instrument],
        pairs: Mapping[PairId, PairSpec],
        traits: VenueTraits,
        verifier: ApprovalVerifier,
        digest_of: Callable[[Intent], str],
    ) -> None:
        self._account = account
        self._mode = mode
        self._instruments = instruments
        self._pairs = pairs
        self._traits = traits
        self._verifier = verifier
        self._digest_of = digest_of

    def look(
        self, journal: Journal, orders: Sequence[OrderRequest], at: Circumstances
    ) -> tuple[Outcome | None, ...]:
        """One answer per order: None means it may be planned and sent now."""
        run = _Pass(journal, at, self._closed(journal, orders, at))
        answers = []
        for order in orders:
            answer = self._answer(run, order)
            if answer is None:
                run.going.append(order)
            answers.append(answer)
        return tuple(answers)

    def _answer(self, run: _Pass, order: OrderRequest) -> Outcome | None:
        if any(one.client_order_id == order.client_order_id for one in run.going):
            return NotSent("the same order was asked for twice")
        row = run.journal.order(order.client_order_id)
        if row is not None:
            return _earlier(row, order)
        if not run.at.from_guard:
            reason = _taken(run, order)
            if reason is not None:
                return NotSent(reason)
        if order.order_class is OrderClass.ENTRY:
            reason = run.closed or self._entry_refusal(run, order)
            return None if reason is None else NotSent(reason)
        if order.pair_id in run.at.unknown_pairs and not self._cannot_overshoot(run, order):
            return NotSent(f"{order.pair_id} has an order with an unknown outcome: this one could overshoot")
        return None

    # --- ENTRY --------------------------------------------------------------------------------------------

    def _closed(self, journal: Journal, orders: Sequence[OrderRequest], at: Circumstances) -> str | None:
        if all(order.order_class is not OrderClass.ENTRY for order in orders):
            return None
        if not at.recovered:
            return "recovering: outcomes of the time before are not all known yet"
        if journal.halted():
            return "halted by the operator"
        freezes = journal.freezes()
        if freezes:
            return f"entries are frozen by {freezes[0].source}: {freezes[0].reason}"
        return None

    def _entry_refusal(self, run: _Pass, order: OrderRequest) -> str | None:
        if order.pair_id in run.at.unknown_pairs:
            return f"{order.pair_id} has an order with an unknown outcome"
        intent = run.intents.get(order.intent_id)
        if intent is None:
            intent = self._approved(run, order.intent_id)
            run.intents[order.intent_id] = intent
        if isinstance(intent, str):
            return intent
        pair = self._pairs.get(order.pair_id)
        if pair is None:
            return f"{order.pair_id} is not a pair of this desk"
        return outside_intent(order, intent, pair, _committed(run, order))

    def _approved(self, run: _Pass, intent_id: IntentId) -> Intent | str:
        """The intent, or why nothing may be entered for it."""
        row = run.journal.intent(intent_id)
        if row is None:
            return f"no intent {intent_id}: nothing is entered without one"
        if row.status is not IntentStatus.EXECUTING:
            return f"intent {intent_id} is {row.status.value}"
        if row.approval is None:
            return f"intent {intent_id} has no approval"
        if (row.intent.account, row.intent.mode) != (self._account, self._mode):
            return f"intent {intent_id} is for {row.intent.account} in mode {row.intent.mode}"
        try:
            self._verifier.verify(
                row.approval,
                purpose=PURPOSE,
                digest=self._digest_of(row.intent),
                account=self._account,
                mode=self._mode,
                now_wire_ns=run.at.now_wire_ns,
            )
        except ApprovalError as error:
            return str(error)
        return row.intent

    # --- HEDGE and REDUCE beside an unknown ---------------------------------------------------------------

    def _cannot_overshoot(self, run: _Pass, order: OrderRequest) -> bool:
        instrument = self._instruments[order.instrument_id]
        if order.side is Side.BUY and not order.reduce_only:
            return False
        return takes_off_only(
            order, instrument.kind, instrument.kind in self._traits.reduce_only, _sellable(run, order)
        )


def _earlier(row: OrderRow, order: OrderRequest) -> Outcome:
    """The answer to an order that was planned before: it is never sent a second time."""
    if row.request != order:
        return NotSent("this order id belongs to another order: take the next attempt")
    match row.state:
        case "accepted" | "closed":
            return Accepted(VenueOrderId(row.venue_order_id or ""))
        case "rejected":
            return Rejected("", row.detail)
        case "not_sent" | "absent":
            return NotSent(f"it is known to be {row.state}: take the next attempt")
        case _:
            return Unknown(f"it was {row.state} before: wait until its outcome is known")


def _taken(run: _Pass, order: OrderRequest) -> str | None:
    """Why the pair is no longer the one that this order was made for; None: it is.

    An order may wait in its lane while the guard takes the pair, trades it and gives it back.
    """
    pair_id = order.pair_id
    if pair_id in run.at.held_pairs:
        return f"the guard holds {pair_id}"
    began = [row.planned_wire_ns for row in run.orders_of(order.intent_id) if row.request.pair_id == pair_id]
    if run.guard_acted(pair_id, min([*began, run.at.asked_wire_ns[order.client_order_id]])):
        return f"the guard acted on {pair_id} since {order.intent_id} began there"
    return None


def _committed(run: _Pass, order: OrderRequest) -> Decimal:
    """What the intent's ENTRY orders on this pair's leg did or may still do, base coins."""
    key = (order.intent_id, order.pair_id, order.instrument_id)
    total = ZERO
    for row in run.orders_of(order.intent_id):
        if row.request.order_class is OrderClass.ENTRY and _key(row.request) == key:
            total += row.request.quantity if row.state in OPEN_STATES else row.filled
    return total + sum((one.quantity for one in run.going if _key(one) == key), ZERO)


def _key(order: OrderRequest) -> tuple[IntentId, PairId, InstrumentId]:
    return (order.intent_id, order.pair_id, order.instrument_id)


def _sellable(run: _Pass, order: OrderRequest) -> Decimal:
    """Coins of the leg that the pair owns and that no open sale may take, whatever became of it."""
    leg = (order.pair_id, order.instrument_id)
    owned = run.journal.holdings().get(leg, ZERO)
    for row in run.journal.orders(unsettled_only=True):
        request = row.request
        if (request.pair_id, request.instrument_id) == leg and request.side is Side.SELL:
            owned -= request.quantity - row.filled
    for one in run.going:
        if (one.pair_id, one.instrument_id) == leg and one.side is Side.SELL:
            owned -= one.quantity
    return owned
