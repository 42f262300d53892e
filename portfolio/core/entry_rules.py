"""What the worker checks of an order by values alone, at the last moment before it is journalled.

An ENTRY must lie inside what the operator approved, in pair, leg, side, price and total quantity. While a
pair has an order nobody knows the outcome of, only orders run for it that cannot overshoot whatever that
one did.
"""

from decimal import Decimal

from portfolio.core.instrument import InstrumentKind
from portfolio.core.intents import Intent, LegBound
from portfolio.core.names import InstrumentId
from portfolio.core.orders import OrderClass, OrderRequest, Side
from portfolio.core.pairs import PairSpec


def outside_intent(order: OrderRequest, intent: Intent, pair: PairSpec, committed: Decimal) -> str | None:
    """Why this ENTRY is not covered by the intent; None when it is.

    `committed` is what the intent's ENTRY orders on this pair's leg did or may still do, base coins, this one
    not included.
    """
    if intent.reduce_only:
        return "the intent is reduce-only"
    target = next((one for one in intent.targets if one.pair_id == order.pair_id), None)
    if target is None:
        return f"{order.pair_id} is not in the intent"
    side = entry_side(pair, order.instrument_id)
    if side is None:
        return f"{order.instrument_id} is no leg of {order.pair_id}"
    if order.side is not side:
        return f"entering {order.pair_id} never means to {order.side.value} {order.instrument_id}"
    growth = target.to_quantity - target.from_quantity
    if committed + order.quantity > growth:
        return f"{committed} + {order.quantity} coins are more than the {max(growth, Decimal(0))} approved"
    return _beyond_bound(order, target.bounds)


def entry_side(pair: PairSpec, instrument_id: InstrumentId) -> Side | None:
    """The side that enters a leg; None when it is no leg of the pair."""
    if instrument_id == pair.long_leg:
        return Side.BUY
    return Side.SELL if instrument_id == pair.short_leg else None


def _beyond_bound(order: OrderRequest, bounds: tuple[LegBound, ...]) -> str | None:
    bound = next((one for one in bounds if one.instrument_id == order.instrument_id), None)
    if bound is None:
        return f"the intent names no price for {order.instrument_id}"
    if order.limit_price is None:
        return "a market order has no price to compare with the approved one"
    if (order.limit_price - bound.limit_price) * order.side.sign > 0:
        return f"price {order.limit_price} is beyond the approved {bound.limit_price}"
    return None


def takes_off_only(order: OrderRequest, kind: InstrumentKind, venue_reduces: bool, holding: Decimal) -> bool:
    """Whether it cannot open, flip or borrow: bounded by the venue, or by `holding` (base coins, + long)."""
    if order.order_class is OrderClass.ENTRY or order.borrow:
        return False
    if kind is InstrumentKind.PERPETUAL:
        return order.reduce_only and venue_reduces
    return order.quantity <= -order.side.sign * holding
