"""Prices and market history as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.names import Coin, InstrumentId


@dataclass(frozen=True, slots=True)
class Level:
    """One price level of a book: price in quote, quantity in base."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Quote:
    """The book of one instrument, best level first on both sides; a side may be empty."""

    instrument_id: InstrumentId
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    event_market_ns: int
    seen_wire_ns: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Mark and index price of a perpetual, in quote."""

    instrument_id: InstrumentId
    mark_price: Decimal
    index_price: Decimal
    event_market_ns: int
    seen_wire_ns: int


@dataclass(frozen=True, slots=True)
class CoinPrice:
    """USD index price at which the venue values a coin as collateral or debt."""

    coin: Coin
    usd: Decimal
    event_market_ns: int
    seen_wire_ns: int


@dataclass(frozen=True, slots=True)
class FundingOutlook:
    """The running funding estimate of a perpetual. Positive: longs pay shorts."""

    instrument_id: InstrumentId
    #: Fraction of notional per interval, for the interval that ends at `next_settlement_market_ns`.
    predicted_rate: Decimal
    next_settlement_market_ns: int
    interval_minutes: int
    event_market_ns: int
    seen_wire_ns: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """One settled funding rate with the prices of its instant. Positive rate: longs paid shorts."""

    market_ns: int
    rate: Decimal
    perpetual_price: Decimal
    spot_price: Decimal


@dataclass(frozen=True, slots=True)
class Prices:
    """What a margin rule needs: mark prices of perpetuals in quote, USD index prices of coins."""

    marks: Mapping[InstrumentId, Decimal]
    usd: Mapping[Coin, Decimal]
