"""What a paper venue reports: orders, executions, ledger rows, tickers, and the notices that carry them.

Times are market-clock integer ns. Amounts are Decimals in the coin or unit that the field names.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from portfolio.core.account import Balance, MarginFigures, Position
from portfolio.core.market import Level
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.orders import Side, TimeInForce


class VenueOrderStatus(StrEnum):
    """The venue's own words."""

    NEW = "New"
    PARTIALLY_FILLED = "PartiallyFilled"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    #: Spot only: cancelled after some fills.
    PARTIALLY_FILLED_CANCELLED = "PartiallyFilledCanceled"
    REJECTED = "Rejected"

    @property
    def open(self) -> bool:
        """It can still fill."""
        return self in (VenueOrderStatus.NEW, VenueOrderStatus.PARTIALLY_FILLED)


class ExecutionType(StrEnum):
    """Why an execution happened, in the venue's words."""

    TRADE = "Trade"
    FUNDING = "Funding"
    ADL = "AdlTrade"
    BUST = "BustTrade"


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order with everything the venue shows of it."""

    order_id: str
    order_link_id: str
    instrument_id: InstrumentId
    side: Side
    #: True for market orders; `price` is then the protective price.
    market: bool
    price: Decimal
    quantity: Decimal
    time_in_force: TimeInForce
    reduce_only: bool
    borrow: bool
    status: VenueOrderStatus
    filled: Decimal
    #: Sum of quantity x price of its fills, in quote.
    filled_quote: Decimal
    #: Fees so far by coin; positive is a cost.
    fees: tuple[tuple[Coin, Decimal], ...]
    #: Coins reserved while it works (spot only), in `locked_coin`.
    locked: Decimal
    locked_coin: Coin
    #: The venue's words, e.g. EC_NoError, EC_PostOnlyWillTakeLiquidity.
    reject_reason: str
    #: The venue's words, e.g. UNKNOWN, CancelByUser.
    cancel_type: str
    #: CreateByUser, CreateByLiq, CreateByAdl_PassThrough.
    create_type: str
    created_ns: int
    updated_ns: int

    @property
    def left(self) -> Decimal:
        """Base coins not filled."""
        return self.quantity - self.filled

    @property
    def average_price(self) -> Decimal | None:
        """Volume-weighted price of the fills; None before the first."""
        return self.filled_quote / self.filled if self.filled else None


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill, or one funding payment (`kind`)."""

    execution_id: str
    kind: ExecutionType
    order_id: str
    order_link_id: str
    instrument_id: InstrumentId
    side: Side
    price: Decimal
    quantity: Decimal
    #: Positive is a cost. A funding payment that was received is negative.
    fee: Decimal
    fee_coin: Coin
    fee_rate: Decimal
    maker: bool
    order_price: Decimal
    order_quantity: Decimal
    left: Decimal
    #: Perpetuals: base coins of an opposite position that this closed, and what that realised in quote.
    closed: Decimal
    realised_pnl: Decimal
    mark_price: Decimal
    market: bool
    borrow: bool
    create_type: str
    at_ns: int
    sequence: int


class LedgerKind(StrEnum):
    """Types of the venue's transaction log."""

    TRADE = "TRADE"
    SETTLEMENT = "SETTLEMENT"
    INTEREST = "INTEREST"
    BORROW = "BORROW"
    REPAY = "REPAY"
    TRANSFER_IN = "TRANSFER_IN"
    TRANSFER_OUT = "TRANSFER_OUT"
    LIQUIDATION = "LIQUIDATION"
    ADL = "ADL"


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One change of one coin: `change` moves the wallet, `debt` the spot borrow; their difference is equity.

    change = cash_flow + funding - fee.
    """

    row_id: str
    kind: LedgerKind
    coin: Coin
    change: Decimal
    debt: Decimal
    cash_flow: Decimal
    #: Positive: received.
    funding: Decimal
    #: Positive: a cost.
    fee: Decimal
    wallet_after: Decimal
    instrument_id: InstrumentId | None
    side: Side | None
    quantity: Decimal
    price: Decimal
    #: Signed position (or wallet for spot) after the row.
    size_after: Decimal
    fee_rate: Decimal
    order_id: str
    order_link_id: str
    execution_id: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class PositionRow:
    """A perpetual position with what the margin rule says of it; quantity 0 when flat."""

    instrument_id: InstrumentId
    #: None when flat.
    position: Position | None
    leverage: Decimal
    mark_price: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    #: In quote, of the current holding and of all time, fees and funding included.
    realised_current: Decimal
    realised_total: Decimal
    created_ns: int
    updated_ns: int
    sequence: int


@dataclass(frozen=True, slots=True)
class CoinRow:
    """One coin of the wallet with what the margin rule says of it."""

    balance: Balance
    unrealised_pnl: Decimal
    equity: Decimal
    usd_price: Decimal
    #: Everything owed: spot borrow and negative balance, in coins.
    borrowed: Decimal
    cumulative_realised: Decimal
    marginable: bool
    switch_on: bool


@dataclass(frozen=True, slots=True)
class BookView:
    """The book of one instrument as shown, best first. MADE: the archive has no depth (see book.py)."""

    instrument_id: InstrumentId
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    at_ns: int


@dataclass(frozen=True, slots=True)
class Ticker:
    """Prices of one instrument at one moment; funding fields are None for spot."""

    instrument_id: InstrumentId
    last: Decimal
    bid: Level | None
    ask: Level | None
    index: Decimal
    mark: Decimal
    #: USD price at which the base coin counts as collateral or debt.
    usd_index: Decimal
    predicted_rate: Decimal | None
    next_settlement_ns: int | None
    interval_minutes: int | None
    #: MADE: a constant per symbol scaled by price; the archive has none.
    open_interest: Decimal | None
    at_ns: int


@dataclass(frozen=True, slots=True)
class Candle:
    """One candle of the replay; `start_ns` is its open."""

    start_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


@dataclass(frozen=True, slots=True)
class OrderNotice:
    """An order changed."""

    order: VenueOrder
    at_ns: int


@dataclass(frozen=True, slots=True)
class ExecutionNotice:
    """Something was executed (fills, funding, ADL, liquidation)."""

    execution: Execution
    at_ns: int


@dataclass(frozen=True, slots=True)
class PositionNotice:
    """A position changed."""

    row: PositionRow
    at_ns: int


@dataclass(frozen=True, slots=True)
class WalletNotice:
    """Coins that changed, complete rows, and the account's totals."""

    coins: tuple[CoinRow, ...]
    figures: MarginFigures
    at_ns: int


@dataclass(frozen=True, slots=True)
class EndOfDataNotice:
    """The replay is over: the venue stands still and refuses orders from now on."""

    at_ns: int


Notice = OrderNotice | ExecutionNotice | PositionNotice | WalletNotice | EndOfDataNotice
