"""The Binance rule taken apart for `LiveMargin`: the same functions that `binance_pm.value` adds up."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.account import Balance, MarginFigures, Position
from portfolio.core.decimals import ZERO
from portfolio.core.margin.binance_perpetual import Settled, symbol_margin
from portfolio.core.margin.binance_pm import (
    NO_TERMS,
    coin_terms,
    coin_value,
    figures_of,
    open_loss,
    require_leverage,
)
from portfolio.core.margin.incremental import Terms
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.names import Coin, InstrumentId


@dataclass(frozen=True, slots=True)
class BinanceLive:
    """See `IncrementalRule`; `reference` and `extrapolate` as in `MarginRule`."""

    reference: bool = False
    extrapolate: bool = False
    coin_width: int = len(NO_TERMS)

    def instrument(
        self,
        state: MarginState,
        instrument_id: InstrumentId,
        position: Position | None,
        orders: tuple[RestingOrder, ...],
    ) -> tuple[Coin, Terms]:
        """PnL, IM and MM of the position, IM of the orders."""
        symbol = symbol_margin(
            state, instrument_id, position, orders, reference=self.reference, extrapolate=self.extrapolate
        )
        return symbol.coin, symbol.terms

    def coin(
        self, state: MarginState, coin: Coin, balance: Balance | None, settled: Terms | None
    ) -> tuple[Decimal, Terms] | None:
        """Net coins, and their USD terms."""
        require_leverage(state)
        row = balance or Balance(coin, ZERO, ZERO, ZERO, ZERO)
        if settled is None and not row.wallet and not row.spot_borrow:
            return None
        totals = Settled() if settled is None else Settled(*settled)
        found = coin_value(state, row, totals, extrapolate=self.extrapolate)
        return found.equity, coin_terms(found, state.prices.usd[coin])

    def spot_order(
        self, state: MarginState, order: RestingOrder, equities: Mapping[Coin, Decimal]
    ) -> Decimal:
        """See `open_loss`."""
        return open_loss(state, order, equities)

    def figures(self, totals: Terms, spot_orders: Decimal) -> MarginFigures:
        """See `figures_of`."""
        return figures_of(totals, spot_orders)
