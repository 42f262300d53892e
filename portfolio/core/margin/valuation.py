"""What a margin rule answers, the same for every account mode.

Amounts ending in `_usd` and `figures` are USD; a coin's own quantities are in that coin; a leg's amounts are
in the coin that the perpetual settles in, as venues print them.

Rows are named tuples: making a frozen dataclass of each took half of a valuation's time.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Protocol

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ZERO
from portfolio.core.margin.state import MarginState
from portfolio.core.names import Coin, InstrumentId


class CoinValue(NamedTuple):
    """One coin of the account, valued once over everything that holds, owes or settles in it."""

    coin: Coin
    #: Coins: wallet - spot debt + unrealised PnL settled in it; negative is debt.
    equity: Decimal
    #: `equity` at the index price, before any haircut.
    usd: Decimal
    #: What counts as margin: tiered ratio over a positive equity, 100 % of a negative one.
    collateral_usd: Decimal
    #: usd - collateral_usd, >= 0.
    haircut_usd: Decimal
    #: Coins that need borrow margin, >= 0.
    borrowed: Decimal
    #: Initial and maintenance margin of what is borrowed, USD.
    borrow_im: Decimal
    borrow_mm: Decimal
    #: Coins: unrealised PnL of contracts settled in it.
    unrealised_pnl: Decimal
    #: Margin of contracts settled in it, in the coin.
    position_im: Decimal
    position_mm: Decimal
    order_im: Decimal

    @property
    def haircut(self) -> Decimal:
        """Share of the coin's value that does not count now, 0..1; 0 while the coin is in debt."""
        return self.haircut_usd / self.usd if self.haircut_usd else ZERO


class LegMargin(NamedTuple):
    """One perpetual position; amounts in the coin it settles in."""

    instrument_id: InstrumentId
    #: The coin it settles in.
    coin: Coin
    #: Base coins, signed.
    quantity: Decimal
    mark_price: Decimal
    #: |quantity| x mark, >= 0.
    mark_value: Decimal
    #: The leverage that the margin was computed at.
    leverage: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    unrealised_pnl: Decimal


@dataclass(frozen=True, slots=True)
class Valuation:
    """An account valued by its margin rule."""

    figures: MarginFigures
    #: Sum of the coins' `collateral_usd`, before open-order terms.
    margin_balance: Decimal
    #: The unrealised PnL inside `margin_balance`, USD.
    perpetual_pnl: Decimal
    #: USD, >= 0: collateral that open spot orders would lose by swapping into a lower-ratio coin.
    haircut_loss: Decimal
    #: USD, <= 0: what open perpetual orders would lose at once when they fill.
    order_loss: Decimal
    coins: tuple[CoinValue, ...]
    legs: tuple[LegMargin, ...]
    #: USD, >= 0: what a liquidation would pay in fees, where the venue adds it to MM; inside the figures' MM.
    liquidation_fees: Decimal = ZERO

    @property
    def available(self) -> Decimal:
        """USD that may still back new orders: margin balance - haircut loss - IM (order loss not in it)."""
        return self.margin_balance - self.haircut_loss - self.figures.initial_margin

    @property
    def haircut_usd(self) -> Decimal:
        """USD that ratios take away now, open spot orders included, >= 0."""
        return sum((row.haircut_usd for row in self.coins), start=self.haircut_loss)

    @property
    def consumed_usd(self) -> Decimal:
        """Margin consumed, USD: IM (borrow IM in it) + haircuts; what narrative caps are measured in."""
        return self.figures.initial_margin + self.haircut_usd

    def coin(self, coin: Coin) -> CoinValue | None:
        """The row of one coin; None when nothing of it is held, owed or settled."""
        return next((row for row in self.coins if row.coin == coin), None)


class MarginRule(Protocol):
    """The pure rule of one account mode."""

    def __call__(
        self, state: MarginState, *, reference: bool = False, extrapolate: bool = False
    ) -> Valuation:
        """Value the account.

        Args:
            state: Everything the rule reads.
            reference: Use the policy's leverage for every position instead of the venue's setting.
            extrapolate: Beyond a symbol's last tier go on with its rates instead of refusing. Only a price
                can bring a position there, so stresses and reductions use it.

        Raises:
            MissingDataError: a price, a table, a fee or an instrument that is needed is absent.
            RefusedError: a position or debt lies beyond its last tier and `extrapolate` is False.
        """
        ...
