"""Bybit UTA cross margin: perpetual positions and their open orders. See `bybit_uta` for rule and sources."""

from collections.abc import Iterable
from decimal import Decimal

from portfolio.core.account import Position
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.errors import MissingDataError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.lookups import fees_of, instrument_of, mark_of
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.margin.tiers import position_tier, position_tiers
from portfolio.core.margin.valuation import LegMargin
from portfolio.core.names import Coin, InstrumentId


class Settled:
    """Totals of the contracts that settle in one coin, in that coin. Grows while an account is valued."""

    __slots__ = ("initial_margin", "maintenance_margin", "order_im", "order_loss", "unrealised_pnl")

    def __init__(self) -> None:
        self.unrealised_pnl = ZERO
        self.initial_margin = ZERO
        self.maintenance_margin = ZERO
        self.order_im = ZERO
        #: <= 0
        self.order_loss = ZERO


def perpetuals(
    state: MarginState, *, reference: bool, extrapolate: bool
) -> tuple[tuple[LegMargin, ...], dict[Coin, Settled]]:
    """Every position's margin, and the totals per settlement coin."""
    settled: dict[Coin, Settled] = {}
    orders = _orders(state)
    legs = []
    for position in state.positions:
        leg = _position(
            state,
            position,
            orders.get(position.instrument_id, ()),
            reference=reference,
            extrapolate=extrapolate,
        )
        totals = settled.get(leg.coin)
        if totals is None:
            totals = settled[leg.coin] = Settled()
        totals.unrealised_pnl += leg.unrealised_pnl
        totals.initial_margin += leg.initial_margin
        totals.maintenance_margin += leg.maintenance_margin
        legs.append(leg)
    for instrument_id, rows in orders.items():
        totals = settled.setdefault(instrument_of(state, instrument_id).quote, Settled())
        _add_orders(state, instrument_id, rows, totals, reference=reference, extrapolate=extrapolate)
    return tuple(legs), settled


def _orders(state: MarginState) -> dict[InstrumentId, list[RestingOrder]]:
    found: dict[InstrumentId, list[RestingOrder]] = {}
    for order in state.orders:
        if instrument_of(state, order.instrument_id).kind is InstrumentKind.PERPETUAL:
            found.setdefault(order.instrument_id, []).append(order)
    return found


def _opening(orders: Iterable[RestingOrder]) -> Decimal:
    """Base coins that the orders could open."""
    return sum((row.quantity for row in orders if not row.reduce_only), start=ZERO)


def _leverage(wanted: Decimal, tier_max: Decimal, instrument_id: InstrumentId) -> Decimal:
    if wanted <= 0:
        raise MissingDataError(
            f"{instrument_id} has no leverage ({wanted}).",
            field=f"leverage.{instrument_id}",
            next_step="Read the account again.",
        )
    return min(wanted, tier_max)


def _position(
    state: MarginState,
    position: Position,
    orders: Iterable[RestingOrder],
    *,
    reference: bool,
    extrapolate: bool,
) -> LegMargin:
    instrument_id = position.instrument_id
    mark = mark_of(state, instrument_id)
    quantity = abs(position.quantity)
    mark_value = quantity * mark
    total = quantity + _opening(orders) if orders else quantity
    tier = position_tier(
        position_tiers(state.tables, instrument_id), instrument_id, total * mark, extrapolate=extrapolate
    )
    wanted = state.policy.perpetual if reference else position.leverage
    leverage = _leverage(wanted, tier.leverage_max, instrument_id)
    inverse = ONE / leverage
    to_close = ONE - inverse if position.quantity > 0 else ONE + inverse
    fee = quantity * position.entry_price * to_close * fees_of(state, instrument_id).taker
    # With open orders the deduction belongs to position and orders together: whole, it would let the margin
    # of a small position fall below zero as soon as large orders lift its tier.
    deduction = tier.deduction if total == quantity else tier.deduction * quantity / total
    return LegMargin(
        instrument_id=instrument_id,
        coin=instrument_of(state, instrument_id).quote,
        quantity=position.quantity,
        mark_price=mark,
        mark_value=mark_value,
        leverage=leverage,
        initial_margin=mark_value / leverage + fee,
        maintenance_margin=mark_value * tier.maintenance_rate - deduction + fee,
        unrealised_pnl=position.quantity * (mark - position.entry_price),
    )


def _add_orders(
    state: MarginState,
    instrument_id: InstrumentId,
    orders: Iterable[RestingOrder],
    totals: Settled,
    *,
    reference: bool,
    extrapolate: bool,
) -> None:
    """Add IM and loss of one symbol's open orders to its settlement coin's totals."""
    mark = mark_of(state, instrument_id)
    position = next((row for row in state.positions if row.instrument_id == instrument_id), None)
    total = _opening(orders) + (ZERO if position is None else abs(position.quantity))
    tier = position_tier(
        position_tiers(state.tables, instrument_id), instrument_id, total * mark, extrapolate=extrapolate
    )
    wanted = state.policy.perpetual if reference or position is None else position.leverage
    inverse = ONE / _leverage(wanted, tier.leverage_max, instrument_id)
    taker = fees_of(state, instrument_id).taker
    for row in orders:
        sign = row.side.sign
        totals.order_loss += min(ZERO, (mark - row.limit_price) * row.quantity * sign)
        if not row.reduce_only:
            fees = taker + taker * (ONE - sign * inverse)
            totals.order_im += row.quantity * row.limit_price * (inverse + fees)
