"""Instruments: what can be traded, with the venue's steps and limits."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from portfolio.core.names import Coin, InstrumentId, Venue


class InstrumentKind(StrEnum):
    """Spot, or a linear perpetual settled in its quote coin."""

    SPOT = "spot"
    PERPETUAL = "linear"


def instrument_id(venue: Venue, kind: InstrumentKind, symbol: str) -> InstrumentId:
    """The id of an instrument: `bybit:linear:BTCUSDT`."""
    return InstrumentId(f"{venue}:{kind.value}:{symbol}")


@dataclass(frozen=True, slots=True)
class Instrument:
    """One tradable instrument.

    Quantities are in `base` coins and prices in `quote` per `base`, for both kinds.
    """

    instrument_id: InstrumentId
    venue: Venue
    kind: InstrumentKind
    symbol: str
    base: Coin
    quote: Coin
    tick_size: Decimal
    lot_size: Decimal
    quantity_min: Decimal
    #: Smallest order value, in quote.
    notional_min: Decimal
    #: Largest limit order, in base; None where the venue names none.
    quantity_max: Decimal | None
    #: Largest market order, in base; None where the venue names none.
    market_quantity_max: Decimal | None
    #: Minutes between two settlements, perpetuals only. It changes over time: read it again daily.
    funding_interval_minutes: int | None
    #: Perpetuals only.
    leverage_max: Decimal | None
    #: Spot only: the venue lends for this instrument.
    marginable: bool
