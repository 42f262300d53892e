"""From what the venue said to journal entries: each execution once, each order closed once.

Runs inside the writer's commit, so that what it reads is what it writes on. News may be repeated, late and in
any order; booking the same news twice changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from portfolio.core.decimals import ZERO
from portfolio.core.entries import (
    EntriesFrozen,
    Entry,
    FillBooked,
    FillOrphaned,
    OrderAnswered,
    OrderClosed,
)
from portfolio.core.names import ClientOrderId
from portfolio.core.orders import Fill, OrderState, OrderStatus
from portfolio.ports import Journal, OrderRow

#: Freezes that only the operator lifts. Not named "orphan": that one the guard's rule lifts by itself.
ORPHAN_FILL = "orphan_fill"
LATE_FILL = "late_fill"
#: States in which no execution can be missing: one that arrives contradicts what was certain.
_OVER = frozenset({"rejected", "not_sent", "absent", "closed"})
_UNANSWERED = frozenset({"planned", "unknown"})


@dataclass(frozen=True, slots=True)
class News:
    """What was learned of orders."""

    fills: tuple[Fill, ...] = ()
    #: Latest states, terminal ones that still wait for fills included.
    states: Mapping[ClientOrderId, OrderState] = field(default_factory=dict)
    #: Proven never to have reached the venue, or to have gone without a fill.
    absent: tuple[ClientOrderId, ...] = ()


@dataclass(frozen=True, slots=True)
class Booked:
    """What became of the news."""

    #: Orders whose outcome is certain now.
    known: tuple[ClientOrderId, ...]
    #: Orders with nothing left to come.
    settled: tuple[ClientOrderId, ...]
    #: Terminal orders some of whose fills did not arrive yet.
    short_of_fills: tuple[ClientOrderId, ...]
    #: Booked or orphaned fills that were not known before.
    fills: int


@dataclass(slots=True)
class _Draft:
    journal: Journal
    entries: list[Entry] = field(default_factory=list)
    rows: dict[ClientOrderId, OrderRow | None] = field(default_factory=dict)
    gained: dict[ClientOrderId, Decimal] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def row(self, client_order_id: ClientOrderId) -> OrderRow | None:
        if client_order_id not in self.rows:
            self.rows[client_order_id] = self.journal.order(client_order_id) if client_order_id else None
        return self.rows[client_order_id]


def book(journal: Journal, news: News) -> tuple[list[Entry], Booked]:
    """The entries that this news adds to the journal, and what they settle."""
    draft = _Draft(journal)
    frozen = _book_fills(draft, news.fills)
    known = dict.fromkeys([*draft.gained, *news.states])
    known = {key: None for key in known if draft.row(key) is not None}
    for key in known:
        _answer(draft, key, news.states.get(key))
    settled, short = _close(draft, news.states)
    for key in news.absent:
        if _absent(draft, key):
            known[key] = None
            settled.append(key)
    standing = {freeze.source for freeze in journal.freezes()} if frozen else set()
    draft.entries += [one for one in frozen.values() if one.source not in standing]
    return draft.entries, Booked(tuple(known), tuple(settled), tuple(short), len(draft.seen))


def _book_fills(draft: _Draft, fills: tuple[Fill, ...]) -> dict[str, EntriesFrozen]:
    frozen: dict[str, EntriesFrozen] = {}
    for fill in fills:
        if fill.fill_id in draft.seen or draft.journal.has_fill(fill.fill_id):
            continue
        draft.seen.add(fill.fill_id)
        row = draft.row(fill.client_order_id)
        if row is None or (row.request.instrument_id, row.request.side) != (fill.instrument_id, fill.side):
            draft.entries.append(FillOrphaned(fill))
            reason = (
                f"{fill.side.value} {fill.quantity} {fill.instrument_id}, fill {fill.fill_id}, is not ours"
            )
            frozen.setdefault(ORPHAN_FILL, EntriesFrozen(ORPHAN_FILL, reason, "operator"))
            continue
        draft.entries.append(FillBooked(fill, row.request.pair_id, row.request.intent_id))
        draft.gained[fill.client_order_id] = draft.gained.get(fill.client_order_id, ZERO) + fill.quantity
        if row.state in _OVER:
            reason = f"order {fill.client_order_id} was {row.state}, yet fill {fill.fill_id} arrived"
            frozen.setdefault(LATE_FILL, EntriesFrozen(LATE_FILL, reason, "operator"))
    return frozen


def _answer(draft: _Draft, client_order_id: ClientOrderId, state: OrderState | None) -> None:
    """The venue knows an order that has no answer yet: it was accepted."""
    row = draft.row(client_order_id)
    if row is None or row.state not in _UNANSWERED:
        return
    venue_order_id = None if state is None else state.venue_order_id
    draft.entries.append(OrderAnswered(client_order_id, "accepted", venue_order_id, "learned from the venue"))


def _close(
    draft: _Draft, states: Mapping[ClientOrderId, OrderState]
) -> tuple[list[ClientOrderId], list[ClientOrderId]]:
    settled, short = [], []
    for key, state in states.items():
        row = draft.row(key)
        if row is None or not state.status.terminal:
            continue
        booked = row.filled + draft.gained.get(key, ZERO)
        if booked < state.filled:
            short.append(key)
            continue
        if row.state != "closed":
            draft.entries.append(OrderClosed(key, state.status, booked))
        settled.append(key)
    return settled, short


def _absent(draft: _Draft, client_order_id: ClientOrderId) -> bool:
    row = draft.row(client_order_id)
    if row is None or client_order_id in draft.gained:
        return False
    if row.state in _UNANSWERED:
        detail = "not in open orders, history or fills after its deadline"
        draft.entries.append(OrderAnswered(client_order_id, "absent", None, detail))
    elif row.state == "accepted":
        # Venues forget a cancelled order without fills after a day; its fills would still be found.
        draft.entries.append(OrderClosed(client_order_id, OrderStatus.CANCELLED, row.filled))
    return True
