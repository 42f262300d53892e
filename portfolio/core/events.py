"""What a venue tells us while we listen. Every event carries when we saw it (wire clock)."""

from dataclasses import dataclass

from portfolio.core.account import AccountSnapshot, Balance, MarginFigures, Position
from portfolio.core.market import CoinPrice, FundingOutlook, Mark, Quote
from portfolio.core.names import InstrumentId
from portfolio.core.orders import Fill, OrderState


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """An order changed state."""

    order: OrderState
    seen_wire_ns: int


@dataclass(frozen=True, slots=True)
class FillUpdate:
    """An execution; the same one may arrive twice (deduplicate on fill_id)."""

    fill: Fill
    seen_wire_ns: int


@dataclass(frozen=True, slots=True)
class BalanceUpdate:
    """The coins that changed, complete rows, and the venue's totals when it sent them."""

    balances: tuple[Balance, ...]
    figures: MarginFigures | None
    event_market_ns: int
    seen_wire_ns: int


@dataclass(frozen=True, slots=True)
class PositionUpdate:
    """A perpetual position after a change; None means flat."""

    instrument_id: InstrumentId
    position: Position | None
    event_market_ns: int
    seen_wire_ns: int


@dataclass(frozen=True, slots=True)
class RateLimitUpdate:
    """What the venue said about one of its limits in an answer. `limit_name` as in the venue's traits."""

    limit_name: str
    limit: int
    remaining: int
    reset_wire_ns: int
    seen_wire_ns: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Something may have been missed on this stream: what it fed is stale until a Reset."""

    stream: str
    reason: str
    seen_wire_ns: int


@dataclass(frozen=True, slots=True)
class Reset:
    """A fresh full read of the account after a gap or at the start: replaces everything known."""

    snapshot: AccountSnapshot
    seen_wire_ns: int


@dataclass(frozen=True, slots=True)
class EndOfData:
    """A paper venue reached the end of its history and stopped."""

    market_ns: int
    seen_wire_ns: int


VenueEvent = (
    Quote
    | Mark
    | CoinPrice
    | FundingOutlook
    | OrderUpdate
    | FillUpdate
    | BalanceUpdate
    | PositionUpdate
    | RateLimitUpdate
    | Gap
    | Reset
    | EndOfData
)
