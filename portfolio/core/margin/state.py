"""The input of every margin rule."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from portfolio.core.account import Balance, Position
from portfolio.core.instrument import Instrument
from portfolio.core.market import Prices
from portfolio.core.names import InstrumentId
from portfolio.core.orders import Side
from portfolio.core.risk import LeveragePolicy, RiskTables


@dataclass(frozen=True, slots=True)
class RestingOrder:
    """An open order as margin sees it: what is left of it, base coins > 0, at its limit price."""

    instrument_id: InstrumentId
    side: Side
    quantity: Decimal
    limit_price: Decimal
    reduce_only: bool


@dataclass(frozen=True, slots=True)
class MarginState:
    """One account at one moment: everything a margin rule reads, nothing it does not."""

    balances: tuple[Balance, ...]
    positions: tuple[Position, ...]
    orders: tuple[RestingOrder, ...]
    prices: Prices
    tables: RiskTables
    instruments: Mapping[InstrumentId, Instrument]
    policy: LeveragePolicy = field(default_factory=LeveragePolicy)
