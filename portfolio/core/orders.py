"""Orders, their outcomes and fills, as the engine speaks of them."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from portfolio.core.names import ClientOrderId, Coin, InstrumentId, IntentId, PairId, VenueOrderId


class Side(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        """The other direction."""
        return Side.SELL if self is Side.BUY else Side.BUY


class TimeInForce(StrEnum):
    """How long an order may rest."""

    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    POST_ONLY = "post_only"


class OrderClass(StrEnum):
    """What an order does to risk. Vetoes, gates, halts and expiry stop ENTRY only.

    ENTRY adds risk; HEDGE reduces |net delta| of a filled lead and is bounded by it; REDUCE takes risk off.
    """

    ENTRY = "entry"
    HEDGE = "hedge"
    REDUCE = "reduce"


class Priority(StrEnum):
    """The worker's queues, first to last: cancel > guard > de-risk > exit > entry."""

    CANCEL = "cancel"
    #: The guard's own orders.
    GUARD = "guard"
    #: Hedges, what takes a lead back, and the leads of urgent exits.
    DERISK = "derisk"
    #: Leads of exits that can wait: they leave the reserve of a limit to what cannot.
    EXIT = "exit"
    ENTRY = "entry"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order to send. `limit_price` None means a market order (always IOC at the venue)."""

    client_order_id: ClientOrderId
    instrument_id: InstrumentId
    side: Side
    #: Base coins, > 0, a multiple of the lot.
    quantity: Decimal
    limit_price: Decimal | None
    time_in_force: TimeInForce
    #: Perpetuals only: the venue refuses whatever would open or flip.
    reduce_only: bool
    #: Spot only: the venue may lend what the order lacks.
    borrow: bool
    order_class: OrderClass
    pair_id: PairId
    #: The operation this order serves: an intent id, or the guard's own operation id ("g...").
    intent_id: IntentId


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Cancel one working order by our id."""

    client_order_id: ClientOrderId
    instrument_id: InstrumentId


@dataclass(frozen=True, slots=True)
class Accepted:
    """The venue took it; what it matched is learned from fills."""

    venue_order_id: VenueOrderId


@dataclass(frozen=True, slots=True)
class Rejected:
    """The venue refused it with an allow-listed code: it certainly had no effect."""

    venue_code: str
    message: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """It never left this process: it certainly had no effect."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may or may not have taken effect: look it up by id before anything else for this pair."""

    reason: str


Outcome = Accepted | Rejected | NotSent | Unknown


class OrderStatus(StrEnum):
    """State of an order at the venue. Unlisted venue words are an error, never mapped to one of these."""

    WORKING = "working"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"

    @property
    def terminal(self) -> bool:
        """No further fill can come."""
        return self is not OrderStatus.WORKING


@dataclass(frozen=True, slots=True)
class OrderState:
    """An order as the venue reports it."""

    client_order_id: ClientOrderId
    venue_order_id: VenueOrderId
    instrument_id: InstrumentId
    side: Side
    quantity: Decimal
    limit_price: Decimal | None
    filled: Decimal
    #: Volume-weighted price of the fills; None before the first.
    average_price: Decimal | None
    status: OrderStatus
    reduce_only: bool
    reject_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution."""

    #: The venue's execution id: fills are deduplicated on it.
    fill_id: str
    client_order_id: ClientOrderId
    venue_order_id: VenueOrderId
    instrument_id: InstrumentId
    side: Side
    quantity: Decimal
    price: Decimal
    #: Positive is a cost, negative a rebate, in `fee_coin`.
    fee: Decimal
    fee_coin: Coin
    maker: bool
    #: Market clock, integer ns: when the venue says it happened.
    event_market_ns: int


@dataclass(frozen=True, slots=True)
class Found:
    """The venue knows the order."""

    order: OrderState
    fills: tuple[Fill, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """Open orders, history and fills lacked the id when they were read.

    It says nothing of orders that arrived within the venue's visibility lag before that: whoever reads it
    adds the lag (and the clock difference) to the order's deadline.
    """

    #: When the first of them was read, wire clock.
    covered_until_wire_ns: int


@dataclass(frozen=True, slots=True)
class NotKnown:
    """The venue could not be asked, or its answer was incomplete."""

    reason: str


FindResult = Found | Absent | NotKnown
