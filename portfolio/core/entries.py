"""Everything the journal can say. One frozen class per kind; the kind's text is in KINDS.

Nothing happens in Carrydesk that is not one of these first: orders are planned here before they go on the
wire, and every projection (orders, intents, holdings, freezes, tokens) can be rebuilt from them alone.
"""

from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.intents import Intent, IntentStatus, SignedApproval
from portfolio.core.names import AccountId, ClientOrderId, Coin, InstrumentId, IntentId, PairId
from portfolio.core.orders import Fill, OrderRequest, OrderStatus


@dataclass(frozen=True, slots=True)
class JournalOpened:
    """First entry of a journal: whose it is."""

    account: AccountId
    uid: str
    mode: str


@dataclass(frozen=True, slots=True)
class DeskStarted:
    """A desk took ownership with this fence."""

    fence: int
    version: str


@dataclass(frozen=True, slots=True)
class TreasuryAdopted:
    """Coins of the account that belong to no pair, absolute quantity (collateral, cash)."""

    coin: Coin
    quantity: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class IntentProposed:
    """An agent or the controller proposed it."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class IntentApproved:
    """The approval was burnt and execution started, in one transaction."""

    intent_id: IntentId
    approval: SignedApproval


@dataclass(frozen=True, slots=True)
class IntentMoved:
    """The intent changed status by someone's word or by its own end."""

    intent_id: IntentId
    expected: IntentStatus
    status: IntentStatus
    #: token name, "operator", "desk" or "guard".
    by: str
    note: str


@dataclass(frozen=True, slots=True)
class OrderPlanned:
    """Write-ahead: committed before the wire sees the order."""

    request: OrderRequest
    #: After this wire time the venue refuses it.
    deadline_wire_ns: int


@dataclass(frozen=True, slots=True)
class OrderAnswered:
    """What the venue answered: accepted, rejected, not_sent, unknown, or absent (proven later)."""

    client_order_id: ClientOrderId
    outcome: str
    venue_order_id: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class OrderClosed:
    """The venue reports a terminal state; all its fills are booked."""

    client_order_id: ClientOrderId
    status: OrderStatus
    filled: Decimal


@dataclass(frozen=True, slots=True)
class FillBooked:
    """One execution, once; attributes coins to the order's pair."""

    fill: Fill
    pair_id: PairId
    intent_id: IntentId


@dataclass(frozen=True, slots=True)
class FillOrphaned:
    """An execution of an order that this journal did not plan."""

    fill: Fill


@dataclass(frozen=True, slots=True)
class RepaymentMoved:
    """A debt repayment: planned, done, refused or unknown. Quantity in coins."""

    operation_id: str
    coin: Coin
    quantity: Decimal
    status: str
    detail: str


#: Kind of cash whose type at the venue is not known here; its reference begins with the venue's word for it.
UNKNOWN_CASH = "unknown"


@dataclass(frozen=True, slots=True)
class CashBooked:
    """A row of the venue's cash ledger; positive: received. Unique by (kind, reference).

    Kinds are funding, interest, transfer, other and unknown.
    """

    kind: str
    reference: str
    instrument_id: InstrumentId | None
    coin: Coin
    amount: Decimal
    event_market_ns: int


@dataclass(frozen=True, slots=True)
class GuardActed:
    """A guard rule fired and what it did."""

    action_id: str
    rule: str
    pairs: tuple[PairId, ...]
    detail: str
    health_before: Decimal | None
    health_planned: Decimal | None


@dataclass(frozen=True, slots=True)
class GuardStateSaved:
    """Peaks, counters and cool-downs of the guard as canonical JSON text."""

    state: str


@dataclass(frozen=True, slots=True)
class EntriesFrozen:
    """ENTRY orders are refused while this freeze stands. `source` names it: rule or reason key."""

    source: str
    reason: str
    #: "self" when the rule lifts it by itself, "operator" when only the operator can.
    lifted_by: str


@dataclass(frozen=True, slots=True)
class EntriesThawed:
    """That freeze is over."""

    source: str
    by: str


@dataclass(frozen=True, slots=True)
class Halted:
    """The operator's kill switch."""

    by: str
    note: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The halt was lifted with the operator's signature."""

    approval: SignedApproval


@dataclass(frozen=True, slots=True)
class TokenAdded:
    """An agent token; only its hash is stored."""

    name: str
    token_hash: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """That token no longer opens anything."""

    name: str


@dataclass(frozen=True, slots=True)
class TablesChanged:
    """A risk table differs from the one before."""

    summary: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Anything worth an audit line that changes no projection."""

    topic: str
    text: str


Entry = (
    JournalOpened
    | DeskStarted
    | TreasuryAdopted
    | IntentProposed
    | IntentApproved
    | IntentMoved
    | OrderPlanned
    | OrderAnswered
    | OrderClosed
    | FillBooked
    | FillOrphaned
    | RepaymentMoved
    | CashBooked
    | GuardActed
    | GuardStateSaved
    | EntriesFrozen
    | EntriesThawed
    | Halted
    | Resumed
    | TokenAdded
    | TokenRevoked
    | TablesChanged
    | Noted
)

#: The journal's text for each kind; never change one that has been written.
KINDS: dict[type, str] = {
    JournalOpened: "journal.opened",
    DeskStarted: "desk.started",
    TreasuryAdopted: "treasury.adopted",
    IntentProposed: "intent.proposed",
    IntentApproved: "intent.approved",
    IntentMoved: "intent.moved",
    OrderPlanned: "order.planned",
    OrderAnswered: "order.answered",
    OrderClosed: "order.closed",
    FillBooked: "fill.booked",
    FillOrphaned: "fill.orphaned",
    RepaymentMoved: "repayment.moved",
    CashBooked: "cash.booked",
    GuardActed: "guard.acted",
    GuardStateSaved: "guard.state",
    EntriesFrozen: "entries.frozen",
    EntriesThawed: "entries.thawed",
    Halted: "desk.halted",
    Resumed: "desk.resumed",
    TokenAdded: "token.added",
    TokenRevoked: "token.revoked",
    TablesChanged: "tables.changed",
    Noted: "note",
}
