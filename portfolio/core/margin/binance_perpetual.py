"""Binance Portfolio Margin: USD-M positions and their open orders. See `binance_pm` for rule and sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.account import Position
from portfolio.core.decimals import ZERO
from portfolio.core.errors import MissingDataError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.lookups import instrument_of, mark_of
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.margin.tiers import position_tier, position_tiers
from portfolio.core.margin.valuation import LegMargin
from portfolio.core.names import Coin, InstrumentId


@dataclass(slots=True)
class Settled:
    """Totals of the contracts that settle in one coin, in that coin. Grows while an account is valued."""

    unrealised_pnl: Decimal = ZERO
    initial_margin: Decimal = ZERO
    maintenance_margin: Decimal = ZERO
    order_im: Decimal = ZERO


def perpetuals(
    state: MarginState, *, reference: bool, extrapolate: bool
) -> tuple[tuple[LegMargin, ...], dict[Coin, Settled]]:
    """Every position's margin, and the totals per settlement coin."""
    settled: dict[Coin, Settled] = {}
    legs = []
    orders = _opening_orders(state)
    positions = {row.instrument_id: row for row in state.positions}
    for instrument_id in positions | orders:
        position, resting = positions.get(instrument_id), orders.get(instrument_id, ())
        coin = instrument_of(state, instrument_id).quote
        totals = settled.setdefault(coin, Settled())
        leverage = _leverage(
            state, instrument_id, position, resting, reference=reference, extrapolate=extrapolate
        )
        if position is not None:
            leg = _leg(state, position, coin, leverage, extrapolate=extrapolate)
            totals.unrealised_pnl += leg.unrealised_pnl
            totals.initial_margin += leg.initial_margin
            totals.maintenance_margin += leg.maintenance_margin
            legs.append(leg)
        totals.order_im += _order_value(state, resting) / leverage
    return tuple(legs), settled


def _opening_orders(state: MarginState) -> dict[InstrumentId, list[RestingOrder]]:
    """Open perpetual orders that are not reduce-only."""
    found: dict[InstrumentId, list[RestingOrder]] = {}
    for order in state.orders:
        kind = instrument_of(state, order.instrument_id).kind
        if kind is InstrumentKind.PERPETUAL and not order.reduce_only:
            found.setdefault(order.instrument_id, []).append(order)
    return found


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
    if wanted <= 0:
        raise MissingDataError(
            f"{instrument_id} has no leverage ({wanted}).",
            field=f"leverage.{instrument_id}",
            next_step="Read the account again.",
        )
    held = ZERO if position is None else abs(position.quantity)
    total = sum((row.quantity for row in orders), start=held) * mark_of(state, instrument_id)
    brackets = position_tiers(state.tables, instrument_id)
    return min(wanted, position_tier(brackets, instrument_id, total, extrapolate=extrapolate).leverage_max)


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
    return sum(
        (row.quantity * max(row.limit_price, mark_of(state, row.instrument_id)) for row in orders), start=ZERO
    )
