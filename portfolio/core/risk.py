"""Risk tables: live data of the venue with an age. A missing table is an error for whatever adds risk."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.names import Coin, InstrumentId


@dataclass(frozen=True, slots=True)
class CollateralTier:
    """Coins from `quantity_from` (exclusive) up to `quantity_to` (inclusive; None: no end) count at it."""

    quantity_from: Decimal
    quantity_to: Decimal | None
    #: Share of the value that counts as margin, a fraction. haircut = 1 - ratio.
    ratio: Decimal


@dataclass(frozen=True, slots=True)
class CollateralTable:
    """Ascending tiers of one coin, applied like tax brackets to the account's whole positive quantity."""

    coin: Coin
    #: The venue accepts the coin and the account's switch is on; otherwise it counts 0.
    enabled: bool
    tiers: tuple[CollateralTier, ...]


@dataclass(frozen=True, slots=True)
class BorrowTier:
    """Margin rates while the borrowed quantity is at most `quantity_to` coins (cumulative; None = no end)."""

    quantity_to: Decimal | None
    initial_rate: Decimal
    maintenance_rate: Decimal
    leverage_max: Decimal


@dataclass(frozen=True, slots=True)
class BorrowTable:
    """What borrowing one coin costs and needs."""

    coin: Coin
    borrowable: bool
    #: Interest per hour, a fraction.
    hourly_rate: Decimal
    #: Most that this account may owe, in coins; None where the venue names none.
    quantity_max: Decimal | None
    tiers: tuple[BorrowTier, ...]


@dataclass(frozen=True, slots=True)
class PositionTier:
    """Rates of a perpetual while the symbol's mark value is at most `notional_to` (in quote)."""

    notional_to: Decimal
    initial_rate: Decimal
    maintenance_rate: Decimal
    leverage_max: Decimal
    #: Subtracted from maintenance margin so that it is continuous over tiers, in quote.
    deduction: Decimal


@dataclass(frozen=True, slots=True)
class FeeRates:
    """This account's own rates as fractions of notional; negative is a rebate."""

    maker: Decimal
    taker: Decimal


@dataclass(frozen=True, slots=True)
class LeveragePolicy:
    """The operator's reference leverage: caps and margin are computed at min(this, the tier's maximum)."""

    perpetual: Decimal = Decimal(10)
    borrow: Decimal = Decimal(10)


@dataclass(frozen=True, slots=True)
class RiskTables:
    """All tables of one account as last fetched."""

    #: When we fetched them, wire clock, integer ns.
    seen_wire_ns: int
    collateral: Mapping[Coin, CollateralTable]
    borrow: Mapping[Coin, BorrowTable]
    #: Ascending tiers of each perpetual, never empty.
    positions: Mapping[InstrumentId, tuple[PositionTier, ...]]
    fees: Mapping[InstrumentId, FeeRates]
