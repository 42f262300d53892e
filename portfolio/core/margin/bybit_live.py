"""The Bybit UTA rule taken apart for `LiveMargin`: the same functions that `bybit_uta.value` adds up."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.account import Balance, MarginFigures, Position
from portfolio.core.decimals import ZERO
from portfolio.core.margin.bybit_perpetual import Settled, order_terms, position_margin
from portfolio.core.margin.bybit_uta import NO_TERMS, coin_terms, coin_value, figures_of, swap_loss
from portfolio.core.margin.exact import exact_sum
from portfolio.core.margin.incremental import Terms
from portfolio.core.margin.lookups import instrument_of
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.names import Coin, InstrumentId

_NOTHING = Settled()


@dataclass(frozen=True, slots=True)
class BybitLive:
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
        """PnL, IM and MM of the position, IM and loss of the orders."""
        pnl = initial = maintenance = order_im = order_loss = ZERO
        if position is not None:
            leg = position_margin(
                state, position, orders, reference=self.reference, extrapolate=self.extrapolate
            )
            pnl, initial, maintenance = leg.unrealised_pnl, leg.initial_margin, leg.maintenance_margin
        if orders:
            rows = order_terms(
                state,
                instrument_id,
                position,
                orders,
                reference=self.reference,
                extrapolate=self.extrapolate,
            )
            order_im = exact_sum([row[0] for row in rows])
            order_loss = exact_sum([row[1] for row in rows])
        coin = instrument_of(state, instrument_id).quote
        return coin, (pnl, initial, maintenance, order_im, order_loss)

    def coin(
        self, state: MarginState, coin: Coin, balance: Balance | None, settled: Terms | None
    ) -> tuple[Decimal, Terms] | None:
        """Equity in coins, and its USD terms."""
        wallet = borrow = locked = ZERO
        if balance is not None:
            wallet, borrow, locked = balance.wallet, balance.spot_borrow, balance.locked
        if settled is None and not wallet and not borrow:
            return None
        totals = _NOTHING if settled is None else Settled(*settled)
        row = coin_value(state, coin, wallet, borrow, locked, totals, self.extrapolate)
        return row.equity, coin_terms(row, state.prices.usd[coin], totals.order_loss)

    def spot_order(
        self, state: MarginState, order: RestingOrder, equities: Mapping[Coin, Decimal]
    ) -> Decimal:
        """The collateral value that its coins lose by changing places."""
        return swap_loss(state, order, equities)

    def figures(self, totals: Terms, spot_orders: Decimal) -> MarginFigures:
        """See `figures_of`."""
        return figures_of(totals, spot_orders)
