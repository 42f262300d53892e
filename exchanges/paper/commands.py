"""What may be asked of a paper venue, and its answer. All values; every command is handled at a market time.

The account's commands are what a venue's API offers; the operator's commands exist on paper only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.orders import Side, TimeInForce
from portfolio.core.risk import BorrowTable, CollateralTable, FeeRates, PositionTier


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """One order as the venue's create request has it.

    `price` None is a market order: an IOC at a protective price. `quantity` is in base coins; for a spot
    market order with `quantity_in_quote` it is in quote coins (what the venue calls marketUnit).
    """

    #: The client's id; "" lets the venue do without (linear) or make one up (spot).
    order_link_id: str
    instrument_id: InstrumentId
    side: Side
    quantity: Decimal
    price: Decimal | None
    time_in_force: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False
    #: Spot only, isLeverage=1: the venue lends what the order lacks.
    borrow: bool = False
    quantity_in_quote: bool = False


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Cancel by the venue's id or, when that is "", by the client's."""

    instrument_id: InstrumentId
    order_link_id: str = ""
    order_id: str = ""


@dataclass(frozen=True, slots=True)
class AmendOrder:
    """Change the total quantity and/or the price of a working order; None leaves it."""

    instrument_id: InstrumentId
    order_link_id: str = ""
    order_id: str = ""
    quantity: Decimal | None = None
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class CancelAll:
    """Cancel every working order of a kind, or of one instrument."""

    kind: InstrumentKind
    instrument_id: InstrumentId | None = None


@dataclass(frozen=True, slots=True)
class Repay:
    """Repay spot debt from the coin's own free balance; None repays as much as possible."""

    coin: Coin
    quantity: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Borrow:
    """Borrow a coin by hand."""

    coin: Coin
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class SetLeverage:
    """Leverage of one perpetual."""

    instrument_id: InstrumentId
    leverage: Decimal


@dataclass(frozen=True, slots=True)
class SetSpotLeverage:
    """Spot margin leverage L of the account, 2..10."""

    leverage: Decimal


@dataclass(frozen=True, slots=True)
class SetCollateralSwitch:
    """Whether a coin counts as collateral."""

    coin: Coin
    enabled: bool


@dataclass(frozen=True, slots=True)
class Transfer:
    """Operator: coins into (+) or out of (-) the account."""

    coin: Coin
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Shock:
    """Operator: from now on every price of a coin is multiplied, reached linearly over `ramp_ns`.

    `premium` adds a fraction to the perpetual's (last and mark) price only. Shocks stack.
    """

    multipliers: Mapping[Coin, Decimal]
    premium: Mapping[Coin, Decimal] = field(default_factory=dict)
    ramp_ns: int = 0


@dataclass(frozen=True, slots=True)
class ChangeTables:
    """Operator: replace risk tables from now on."""

    collateral: tuple[CollateralTable, ...] = ()
    borrow: tuple[BorrowTable, ...] = ()
    positions: Mapping[InstrumentId, tuple[PositionTier, ...]] = field(default_factory=dict)
    fees: Mapping[InstrumentId, FeeRates] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AutoDeleverage:
    """Operator: the venue cuts a position by this fraction (0..1] at the mark price (ADL)."""

    instrument_id: InstrumentId
    fraction: Decimal


@dataclass(frozen=True, slots=True)
class ShiftFigures:
    """Operator: report totals multiplied by these factors (a venue figure that disagrees with the rules)."""

    maintenance_factor: Decimal = Decimal(1)
    equity_factor: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class FreezeBook:
    """Operator: the shown book stands still for a while (orders still match the true one)."""

    instrument_id: InstrumentId
    duration_ns: int


@dataclass(frozen=True, slots=True)
class LimitNextFill:
    """Operator: the next taker order of an instrument meets at most this share of its quantity."""

    instrument_id: InstrumentId
    share: Decimal


@dataclass(frozen=True, slots=True)
class RejectNext:
    """Operator: the next `count` orders of an instrument are refused with this code."""

    instrument_id: InstrumentId
    code: str
    message: str
    count: int = 1


Command = (
    PlaceOrder
    | CancelOrder
    | AmendOrder
    | CancelAll
    | Repay
    | Borrow
    | SetLeverage
    | SetSpotLeverage
    | SetCollateralSwitch
    | Transfer
    | Shock
    | ChangeTables
    | AutoDeleverage
    | ShiftFigures
    | FreezeBook
    | LimitNextFill
    | RejectNext
)


@dataclass(frozen=True, slots=True)
class Reply:
    """The venue's answer. `code` "0" is success; any other is an error code, and nothing happened."""

    code: str = "0"
    message: str = "OK"
    order_id: str = ""
    order_link_id: str = ""
    #: Repay and borrow: coins moved.
    quantity: Decimal | None = None
    #: Cancel all: (order_id, order_link_id) of what was cancelled.
    cancelled: tuple[tuple[str, str], ...] = ()

    @property
    def ok(self) -> bool:
        """It was taken."""
        return self.code == "0"
