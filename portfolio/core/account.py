"""The account as the venue reports it, and the two ratios everything is measured by."""

from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import ONE, ZERO, clamp
from portfolio.core.names import AccountId, Coin, InstrumentId
from portfolio.core.orders import OrderState

#: Shadow margin: we act as if maintenance margin were a fifth higher than the venue says (DESIGN 2).
SHADOW = Decimal("0.20")


def health_score(maintenance_margin: Decimal, adjusted_equity: Decimal) -> Decimal:
    """clamp(1 - 1.2 * MM / ECV, 0, 1); 0 when ECV <= 0. Both in USD, MM >= 0."""
    if adjusted_equity <= 0:
        return ZERO
    return clamp(ONE - (ONE + SHADOW) * maintenance_margin / adjusted_equity, ZERO, ONE)


def margin_usage(initial_margin: Decimal, adjusted_equity: Decimal) -> Decimal | None:
    """IM / ECV, a fraction; None when ECV <= 0 (usage has no value then, and nothing may be added)."""
    if adjusted_equity <= 0:
        return None
    return initial_margin / adjusted_equity


@dataclass(frozen=True, slots=True)
class Balance:
    """One coin. equity = wallet - spot_borrow + unrealised PnL of contracts settled in it."""

    coin: Coin
    #: Coins held, borrowed ones included; may be negative (a loss or fee nobody paid yet is debt).
    wallet: Decimal
    #: Coins owed from spot margin trading, >= 0.
    spot_borrow: Decimal
    #: Interest booked into the debt but shown apart, >= 0.
    accrued_interest: Decimal
    #: Coins reserved by open spot orders, >= 0.
    locked: Decimal


@dataclass(frozen=True, slots=True)
class Position:
    """One perpetual position, one-way mode."""

    instrument_id: InstrumentId
    #: Base coins, signed: + long, - short; never 0.
    quantity: Decimal
    entry_price: Decimal
    mark_price: Decimal
    leverage: Decimal
    #: 1 - collateral ratio of the coin that it settles in, a fraction; None until valued by a margin rule.
    haircut: Decimal | None = None

    @property
    def unrealised_pnl(self) -> Decimal:
        """In quote; positive is a gain."""
        return self.quantity * (self.mark_price - self.entry_price)


@dataclass(frozen=True, slots=True)
class MarginFigures:
    """The four totals of an account in USD, whether the venue's or ours."""

    total_equity: Decimal
    #: ECV: after haircuts, liabilities and unrealised PnL.
    adjusted_equity: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal

    @property
    def health_score(self) -> Decimal:
        """See `health_score`."""
        return health_score(self.maintenance_margin, self.adjusted_equity)

    @property
    def margin_usage(self) -> Decimal | None:
        """See `margin_usage`."""
        return margin_usage(self.initial_margin, self.adjusted_equity)


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """One read of the account. `figures` are the venue's own; ours come from the margin rule."""

    account: AccountId
    #: The venue's account id; a journal belongs to one uid.
    uid: str
    #: The venue's word for the margin mode, e.g. REGULAR_MARGIN.
    margin_mode: str
    balances: tuple[Balance, ...]
    positions: tuple[Position, ...]
    orders: tuple[OrderState, ...]
    figures: MarginFigures
    event_market_ns: int
    seen_wire_ns: int

    @property
    def total_equity(self) -> Decimal:
        """USD, no haircut (the venue's figure)."""
        return self.figures.total_equity

    @property
    def adjusted_equity(self) -> Decimal:
        """ECV in USD (the venue's figure)."""
        return self.figures.adjusted_equity

    @property
    def health_score(self) -> Decimal:
        """From the venue's figures."""
        return self.figures.health_score
