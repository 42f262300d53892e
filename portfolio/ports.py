"""The seams of the engine: venue, journal, clocks, runner.

Doubles for tests are a paper venue, an in-memory venue, a journal in memory and a fake clock; nothing else is
replaced.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, TypeVar

from anyio.streams.memory import MemoryObjectReceiveStream

from portfolio.core.account import AccountSnapshot
from portfolio.core.entries import CashBooked, Entry
from portfolio.core.events import VenueEvent
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.intents import Intent, IntentStatus, SignedApproval
from portfolio.core.market import CoinPrice, FundingOutlook, Mark, Quote, Settlement
from portfolio.core.names import AccountId, ClientOrderId, Coin, InstrumentId, IntentId, PairId, Venue
from portfolio.core.orders import CancelRequest, Fill, FindResult, OrderRequest, OrderStatus, Outcome
from portfolio.core.risk import RiskTables
from portfolio.core.venue_check import VenueCheck

T = TypeVar("T")


class Clocks(Protocol):
    """Two clocks. Wire: signatures, timeouts, ages, deadlines. Market: candles, funding, holding times."""

    def wire_ns(self) -> int:
        """Wall time of the wire clock, integer ns since the Unix epoch."""
        ...

    def monotonic_ns(self) -> int:
        """Never goes back; for durations on the wire clock."""
        ...

    def market_ns(self) -> int:
        """Time in the market's history, integer ns since the Unix epoch; equals wire time when live."""
        ...


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`count` items per `per_ns` on the wire clock; batches cost one per item."""

    name: str
    count: int
    per_ns: int


@dataclass(frozen=True, slots=True)
class VenueTraits:
    """What is particular about a venue, as data."""

    venue: Venue
    #: Most orders in one place (or cancel) request, by kind.
    batch_max: Mapping[InstrumentKind, int]
    #: Limits by (operation, kind) with operation "place" or "cancel".
    rate_limits: Mapping[tuple[str, InstrumentKind], RateLimit]
    #: Kinds for which the venue itself refuses to open or flip.
    reduce_only: frozenset[InstrumentKind]
    #: The venue lends on spot orders that ask for it.
    spot_borrow: bool
    #: Longest age at which the venue still takes a request we stamped.
    send_deadline_ns: int
    #: Largest clock difference we assume after correction.
    clock_skew_ns: int
    #: Longest time until an accepted order shows up in every query.
    visibility_lag_ns: int
    #: Seconds of each hour in which repayment is refused: (from, to).
    repay_blackout_seconds: tuple[int, int] | None
    #: Shortest time between two repayments, wire clock.
    repay_every_ns: int = 0
    #: Codes of a refusal that is about too many requests and says nothing of the order: it had no effect.
    limit_codes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the key may do."""

    uid: str
    can_trade: bool
    can_withdraw: bool
    read_only: bool


@dataclass(frozen=True, slots=True)
class MarketSnapshot:
    """Every price at one moment."""

    quotes: tuple[Quote, ...]
    marks: tuple[Mark, ...]
    coins: tuple[CoinPrice, ...]
    funding: tuple[FundingOutlook, ...]


class Exchange(Protocol):
    """One venue account. Reads raise VenueError; writes answer with one outcome per item instead."""

    @property
    def traits(self) -> VenueTraits:
        """Constant facts."""
        ...

    async def instruments(self) -> tuple[Instrument, ...]:
        """All instruments this project can trade."""
        ...

    async def risk_tables(self) -> RiskTables:
        """Fetched now."""
        ...

    async def snapshot(self) -> AccountSnapshot:
        """Balances, positions, open orders and the venue's own figures, read now."""
        ...

    async def market(self) -> MarketSnapshot:
        """Quotes, marks, coin prices and funding outlook of every instrument, read now."""
        ...

    def events(self) -> AbstractAsyncContextManager[MemoryObjectReceiveStream[VenueEvent]]:
        """Subscribe to everything. The first event is a Reset; after a Gap comes another Reset."""
        ...

    async def place(self, orders: Sequence[OrderRequest], deadline_wire_ns: int) -> tuple[Outcome, ...]:
        """Send one batch of one kind (at most traits.batch_max). The venue refuses it after the deadline."""
        ...

    async def cancel(self, orders: Sequence[CancelRequest], deadline_wire_ns: int) -> tuple[Outcome, ...]:
        """Cancel by our ids. An order that is already terminal is Rejected."""
        ...

    async def find(self, client_order_id: ClientOrderId, instrument_id: InstrumentId) -> FindResult:
        """Look in open orders, history and fills."""
        ...

    async def fills(self, since_market_ns: int) -> tuple[Fill, ...]:
        """All executions since, ascending; covers at least the last 7 days."""
        ...

    async def ledger(self, since_market_ns: int) -> tuple[CashBooked, ...]:
        """Funding, interest and transfer rows since, ascending."""
        ...

    async def settlements(self, instrument_id: InstrumentId, since_market_ns: int) -> tuple[Settlement, ...]:
        """Settled funding of a perpetual with prices, ascending, at the symbol's own times."""
        ...

    async def repay(self, coin: Coin, quantity: Decimal | None, deadline_wire_ns: int) -> Outcome:
        """Repay debt in `coin` from its own balance, without converting; None repays all that is possible."""
        ...

    async def credentials(self) -> Credentials:
        """What the key may do, read now."""
        ...

    async def check_order(self, order: OrderRequest) -> VenueCheck | None:
        """The venue's own what-if of one order, which is not placed; None: it answers none for this kind.

        A refusal of the order is a VenueError with effect rejected.
        """
        ...


@dataclass(frozen=True, slots=True)
class Recorded:
    """One journal entry with its place in the chain."""

    seq: int
    fence: int
    wire_ns: int
    entry: Entry
    hash: str


@dataclass(frozen=True, slots=True)
class OrderRow:
    """Projection: one planned order and what is known of it."""

    request: OrderRequest
    deadline_wire_ns: int
    #: planned, accepted, rejected, not_sent, unknown, absent, closed.
    state: str
    venue_order_id: str | None
    status: OrderStatus | None
    filled: Decimal
    #: Sum of quantity x price over booked fills, in quote.
    filled_quote: Decimal
    #: Sum of fees that were taken in the base coin.
    fee_base: Decimal
    planned_wire_ns: int
    detail: str


@dataclass(frozen=True, slots=True)
class IntentRow:
    """Projection: an intent and where it is in its life."""

    intent: Intent
    status: IntentStatus
    note: str
    moved_by: str
    approval: SignedApproval | None
    updated_wire_ns: int


@dataclass(frozen=True, slots=True)
class FillRow:
    """Projection: a booked execution with its owner."""

    fill: Fill
    pair_id: PairId
    intent_id: IntentId


@dataclass(frozen=True, slots=True)
class Freeze:
    """Projection: one standing freeze of entries."""

    source: str
    reason: str
    lifted_by: str
    since_wire_ns: int


@dataclass(frozen=True, slots=True)
class TokenRow:
    """Projection: an agent token."""

    name: str
    token_hash: str
    scopes: tuple[str, ...]
    revoked: bool


@dataclass(frozen=True, slots=True)
class Verification:
    """Outcome of walking the hash chain."""

    entries: int
    ok: bool
    first_bad: int | None
    detail: str


class Journal(Protocol):
    """Append-only truth, synchronous: `append` is one transaction on disk (fsync) with every projection.

    Raises JournalFencedError when another fence owns the journal, JournalError when the commit failed (then
    nothing of the batch is recorded), ConflictError when an IntentMoved or IntentApproved does not find the
    expected status or an approval nonce was used before.
    """

    def append(self, entries: Sequence[Entry], wire_ns: int) -> tuple[Recorded, ...]:
        """Commit all or nothing."""
        ...

    def order(self, client_order_id: ClientOrderId) -> OrderRow | None:
        """One order."""
        ...

    def orders(
        self, *, unsettled_only: bool = False, intent_id: IntentId | None = None
    ) -> tuple[OrderRow, ...]:
        """Orders in the order planned. Unsettled: state planned, accepted or unknown."""
        ...

    def fills(self, intent_id: IntentId | None = None) -> tuple[FillRow, ...]:
        """Booked fills in the order booked."""
        ...

    def has_fill(self, fill_id: str) -> bool:
        """Whether this execution is booked already."""
        ...

    def has_cash(self, kind: str, reference: str) -> bool:
        """Whether this row of the venue's ledger is booked already."""
        ...

    def holdings(self) -> Mapping[tuple[PairId, InstrumentId], Decimal]:
        """Signed base coins that each pair's fills add up to, net of fees paid in the base coin."""
        ...

    def treasury(self) -> Mapping[Coin, Decimal]:
        """Coins that belong to no pair."""
        ...

    def intent(self, intent_id: IntentId) -> IntentRow | None:
        """One intent."""
        ...

    def intent_by_request(self, proposed_by: str, request_id: str) -> IntentRow | None:
        """The intent that this token proposed under this request id."""
        ...

    def intents(self, *, open_only: bool = False, limit: int | None = None) -> tuple[IntentRow, ...]:
        """Intents, newest first, at most `limit` of them."""
        ...

    def freezes(self) -> tuple[Freeze, ...]:
        """Standing freezes."""
        ...

    def halted(self) -> bool:
        """Whether the kill switch is on."""
        ...

    def guard_state(self) -> str | None:
        """The last saved guard state, canonical JSON text."""
        ...

    def guard_actions(self, limit: int = 50) -> tuple[Recorded, ...]:
        """The newest GuardActed entries, newest first."""
        ...

    def tokens(self) -> tuple[TokenRow, ...]:
        """All tokens, revoked ones included."""
        ...

    def cash(self, since_seq: int = 0) -> tuple[Recorded, ...]:
        """CashBooked entries after `since_seq`."""
        ...

    def read(self, after_seq: int = 0, limit: int = 1000) -> tuple[Recorded, ...]:
        """Entries in order."""
        ...

    def head(self) -> tuple[int, str]:
        """Sequence number and hash of the newest entry; (0, 64 zeros) when empty."""
        ...

    def verify(self) -> Verification:
        """Walk the whole chain and compare every projection with a rebuild."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


class EmergencyLog(Protocol):
    """Where the guard's own orders are recorded while the journal cannot commit. Small, preallocated.

    Synchronous; the worker calls it through the Runner.
    """

    def append(self, record: bytes) -> None:
        """Keep one record; it is on disk when this returns.

        Raises:
            JournalError: the file is full or cannot be written; then nothing was kept.
        """
        ...

    def records(self) -> tuple[bytes, ...]:
        """What was kept since the last `clear`, in order."""
        ...

    def clear(self) -> None:
        """Forget everything: the journal has it now."""
        ...


class Runner(Protocol):
    """Runs a synchronous journal call: on one dedicated thread in production, inline in simulation."""

    async def run(self, call: Callable[[], T]) -> T:
        """The call's result; its exception passes through. Cancellation does not abandon a commit."""
        ...


class ApprovalVerifier(Protocol):
    """Checks operator signatures against the pinned public key."""

    def verify(
        self,
        approval: SignedApproval,
        *,
        purpose: str,
        digest: str,
        account: AccountId,
        mode: str,
        now_wire_ns: int,
    ) -> None:
        """Return if it is good.

        Raises:
            ApprovalError: expired, for another account, mode, digest or purpose, or not signed by the
            operator.
        """
        ...
