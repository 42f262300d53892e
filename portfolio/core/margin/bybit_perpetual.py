"""Bybit UTA cross margin: perpetual positions and their open orders. See `bybit_uta` for rule and sources."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from portfolio.core.account import Position
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.errors import MissingDataError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.exact import exact_sum
from portfolio.core.margin.lookups import fees_of, instrument_of, mark_of
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.margin.tiers import position_tier, position_tiers
from portfolio.core.margin.valuation import LegMargin
from portfolio.core.names import Coin, InstrumentId

#: Initial margin and loss (<= 0) of one open order.
OrderTerms = tuple[Decimal, Decimal]


class Settled(NamedTuple):
    """Totals of the contracts that settle in one coin, in that coin, rounded to 28 digits."""

    unrealised_pnl: Decimal = ZERO
    initial_margin: Decimal = ZERO
    maintenance_margin: Decimal = ZERO
    order_im: Decimal = ZERO
    #: <= 0
    order_loss: Decimal = ZERO


def perpetuals(
    state: MarginState, *, reference: bool, extrapolate: bool
) -> tuple[tuple[LegMargin, ...], dict[Coin, Settled]]:
    """Every position's margin, and the totals per settlement coin."""
    orders = _orders(state)
    legs = [
        position_margin(
            state,
            position,
            orders.get(position.instrument_id, ()),
            reference=reference,
            extrapolate=extrapolate,
        )
        for position in state.positions
    ]
    parts: dict[Coin, tuple[list[LegMargin], list[OrderTerms]]] = {}
    for leg in legs:
        found = parts.get(leg.coin)
        if found is None:
            found = parts[leg.coin] = ([], [])
        found[0].append(leg)
    held = {row.instrument_id: row for row in state.positions} if orders else {}
    for instrument_id, rows in orders.items():
        terms = order_terms(
            state,
            instrument_id,
            held.get(instrument_id),
            rows,
            reference=reference,
            extrapolate=extrapolate,
        )
        parts.setdefault(instrument_of(state, instrument_id).quote, ([], []))[1].extend(terms)
    return tuple(legs), {coin: _settled(*rows) for coin, rows in parts.items()}


def _settled(legs: list[LegMargin], orders: list[OrderTerms]) -> Settled:
    return Settled(
        +exact_sum([row.unrealised_pnl for row in legs]),
        +exact_sum([row.initial_margin for row in legs]),
        +exact_sum([row.maintenance_margin for row in legs]),
        +exact_sum([row[0] for row in orders]),
        +exact_sum([row[1] for row in orders]),
    )


def _orders(state: MarginState) -> dict[InstrumentId, list[RestingOrder]]:
    found: dict[InstrumentId, list[RestingOrder]] = {}
    for order in state.orders:
        if instrument_of(state, order.instrument_id).kind is InstrumentKind.PERPETUAL:
            found.setdefault(order.instrument_id, []).append(order)
    return found


def _opening(orders: Iterable[RestingOrder]) -> Decimal:
    """Base coins that the orders could open."""
    return sum((row.quantity for row in orders if not row.reduce_only), start=ZERO)


def leverage_of(wanted: Decimal, tier_max: Decimal, instrument_id: InstrumentId) -> Decimal:
    """The leverage that margin is computed at; MissingDataError when none is set, or its tier grants none."""
    leverage = min(wanted, tier_max)
    if leverage <= 0:
        raise MissingDataError(
            f"{instrument_id} has no leverage ({leverage}).",
            field=f"leverage.{instrument_id}",
            next_step="Read the account again.",
        )
    return leverage


def position_margin(
    state: MarginState,
    position: Position,
    orders: Iterable[RestingOrder],
    *,
    reference: bool,
    extrapolate: bool,
) -> LegMargin:
    """One position's margin beside the open orders of its symbol; errors as in `MarginRule`."""
    instrument_id = position.instrument_id
    mark = mark_of(state, instrument_id)
    quantity = abs(position.quantity)
    mark_value = quantity * mark
    total = quantity + _opening(orders) if orders else quantity
    tier = position_tier(
        position_tiers(state.tables, instrument_id), instrument_id, total * mark, extrapolate=extrapolate
    )
    wanted = state.policy.perpetual if reference else position.leverage
    leverage = leverage_of(wanted, tier.leverage_max, instrument_id)
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


def order_terms(
    state: MarginState,
    instrument_id: InstrumentId,
    position: Position | None,
    orders: Iterable[RestingOrder],
    *,
    reference: bool,
    extrapolate: bool,
) -> list[OrderTerms]:
    """IM and loss (<= 0) of each open order of one perpetual, in the coin it settles in."""
    mark = mark_of(state, instrument_id)
    total = _opening(orders) + (ZERO if position is None else abs(position.quantity))
    tier = position_tier(
        position_tiers(state.tables, instrument_id), instrument_id, total * mark, extrapolate=extrapolate
    )
    wanted = state.policy.perpetual if reference or position is None else position.leverage
    inverse = ONE / leverage_of(wanted, tier.leverage_max, instrument_id)
    taker = fees_of(state, instrument_id).taker
    terms = []
    for row in orders:
        sign = row.side.sign
        margin = ZERO
        if not row.reduce_only:
            fees = taker + taker * (ONE - sign * inverse)
            margin = row.quantity * row.limit_price * (inverse + fees)
        terms.append((margin, min(ZERO, (mark - row.limit_price) * row.quantity * sign)))
    return terms
