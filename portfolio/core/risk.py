"""Risk tables: live data of the venue with an age. A missing table is an error for whatever adds risk."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.margin.okx_tables import OkxTables
from portfolio.core.names import Coin, InstrumentId


@dataclass(frozen=True, slots=True)
class CollateralTier:
    """Coins from `quantity_from` (exclusive) up to `quantity_to` (inclusive; None: no end) count at it.

    In a table `in_usd` the two bounds are USD values instead.
    """

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
    #: The venue bounds its tiers by the USD value of the coins, not by their number.
    in_usd: bool = False


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
    #: Base coins, where the venue draws its tiers in contracts: the exact border, of which `notional_to` is
    #: the value when the tables were fetched. None where it draws them in quote.
    quantity_to: Decimal | None = None


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
    #: What only one venue's rules read; None where the tables above say everything.
    venue: OkxTables | None = None
