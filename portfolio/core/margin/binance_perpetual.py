"""Binance Portfolio Margin: USD-M positions and their open orders. See `binance_pm` for rule and sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.account import Position
from portfolio.core.decimals import ZERO
from portfolio.core.errors import MissingDataError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.exact import exact_sum
from portfolio.core.margin.lookups import instrument_of, mark_of
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.margin.tiers import position_tier, position_tiers
from portfolio.core.margin.valuation import LegMargin
from portfolio.core.names import Coin, InstrumentId


@dataclass(frozen=True, slots=True)
class Settled:
    """Totals of the contracts that settle in one coin, in that coin, rounded to 28 digits."""

    unrealised_pnl: Decimal = ZERO
    initial_margin: Decimal = ZERO
    maintenance_margin: Decimal = ZERO
    order_im: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class SymbolMargin:
    """One perpetual: its position, if there is one, and its open orders, in the coin it settles in."""

    coin: Coin
    leg: LegMargin | None
    order_im: Decimal

    @property
    def terms(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """What it adds to the totals of its coin, in the order of `Settled`."""
        if self.leg is None:
            return ZERO, ZERO, ZERO, self.order_im
        leg = self.leg
        return leg.unrealised_pnl, leg.initial_margin, leg.maintenance_margin, self.order_im


def perpetuals(
    state: MarginState, *, reference: bool, extrapolate: bool
) -> tuple[tuple[LegMargin, ...], dict[Coin, Settled]]:
    """Every position's margin, and the totals per settlement coin."""
    positions = {row.instrument_id: row for row in state.positions}
    orders: dict[InstrumentId, list[RestingOrder]] = {}
    for order in state.orders:
        if instrument_of(state, order.instrument_id).kind is InstrumentKind.PERPETUAL:
            orders.setdefault(order.instrument_id, []).append(order)
    legs = []
    parts: dict[Coin, list[tuple[Decimal, ...]]] = {}
    for instrument_id in positions | orders:
        symbol = symbol_margin(
            state,
            instrument_id,
            positions.get(instrument_id),
            orders.get(instrument_id, ()),
            reference=reference,
            extrapolate=extrapolate,
        )
        parts.setdefault(symbol.coin, []).append(symbol.terms)
        if symbol.leg is not None:
            legs.append(symbol.leg)
    settled = {
        coin: Settled(*(+exact_sum(column) for column in zip(*rows, strict=True)))
        for coin, rows in parts.items()
    }
    return tuple(legs), settled


def symbol_margin(
    state: MarginState,
    instrument_id: InstrumentId,
    position: Position | None,
    orders: Sequence[RestingOrder],
    *,
    reference: bool,
    extrapolate: bool,
) -> SymbolMargin:
    """One perpetual's margin; errors as in `MarginRule`. Orders that only reduce need none."""
    coin = instrument_of(state, instrument_id).quote
    opening = [row for row in orders if not row.reduce_only]
    if position is None and not opening:
        return SymbolMargin(coin, None, ZERO)
    leverage = _leverage(
        state, instrument_id, position, opening, reference=reference, extrapolate=extrapolate
    )
    leg = None if position is None else _leg(state, position, coin, leverage, extrapolate=extrapolate)
    return SymbolMargin(coin, leg, _order_value(state, opening) / leverage)


def _leverage(
    state: MarginState,
    instrument_id: InstrumentId,
    position: Position | None,
    orders: Sequence[RestingOrder],
    *,
    reference: bool,
    extrapolate: bool,
) -> Decimal:
    """The leverage of initial margin: as set, at most what the bracket of position and orders permits."""
    wanted = state.policy.perpetual if reference or position is None else position.leverage
    held = ZERO if position is None else abs(position.quantity)
    total = +exact_sum((held, *(row.quantity for row in orders))) * mark_of(state, instrument_id)
    brackets = position_tiers(state.tables, instrument_id)
    bracket = position_tier(brackets, instrument_id, total, extrapolate=extrapolate)
    leverage = min(wanted, bracket.leverage_max)
    if leverage <= 0:
        raise MissingDataError(
            f"{instrument_id} has no leverage ({leverage}).",
            field=f"leverage.{instrument_id}",
            next_step="Read the account again.",
        )
    return leverage


def _leg(
    state: MarginState, position: Position, coin: Coin, leverage: Decimal, *, extrapolate: bool
) -> LegMargin:
    """|position x mark| x MMR - cum, by the bracket of the position alone."""
    instrument_id = position.instrument_id
    mark = mark_of(state, instrument_id)
    notional = abs(position.quantity) * mark
    bracket = position_tier(
        position_tiers(state.tables, instrument_id), instrument_id, notional, extrapolate=extrapolate
    )
    return LegMargin(
        instrument_id=instrument_id,
        coin=coin,
        quantity=position.quantity,
        mark_price=mark,
        mark_value=notional,
        leverage=leverage,
        initial_margin=notional / leverage,
        maintenance_margin=notional * bracket.maintenance_rate - bracket.deduction,
        unrealised_pnl=position.quantity * (mark - position.entry_price),
    )


def _order_value(state: MarginState, orders: Sequence[RestingOrder]) -> Decimal:
    """What the orders could open, in quote: each at the larger of its limit price and the mark."""
    return +exact_sum(
        row.quantity * max(row.limit_price, mark_of(state, row.instrument_id)) for row in orders
    )
