"""Limit prices of orders: from the book, the reference price and the bounds that the operator approved.

Roundings go towards the safe side: a buy limit down, a sell limit up, so that a limit is never looser than
what it was computed from.
"""

from decimal import Decimal

from portfolio.core.decimals import ONE, ZERO, round_down_to_step, round_up_to_step
from portfolio.core.market import Quote
from portfolio.core.orders import Side


def to_tick(price: Decimal, tick: Decimal, side: Side) -> Decimal:
    """`price` on the tick grid, not looser: down for a buy, up for a sell."""
    return round_down_to_step(price, tick) if side is Side.BUY else round_up_to_step(price, tick)


def within(price: Decimal, bound: Decimal | None, side: Side) -> Decimal:
    """The stricter of a limit price and the bound: the lower for a buy, the higher for a sell."""
    if bound is None:
        return price
    return min(price, bound) if side is Side.BUY else max(price, bound)


def maker_price(quote: Quote, side: Side, tick: Decimal, bound: Decimal | None) -> Decimal | None:
    """A resting price that joins the best level of its own side; None when either side is empty."""
    if not quote.bids or not quote.asks:
        return None
    best = quote.bids[0].price if side is Side.BUY else quote.asks[0].price
    return to_tick(within(best, bound, side), tick, side)


def taker_price(
    reference: Decimal, side: Side, slippage_max: Decimal, tick: Decimal, bound: Decimal | None
) -> Decimal:
    """The worst price to take: `slippage_max` (a fraction) through the reference, never past the bound."""
    worst = reference * (ONE + slippage_max * side.sign)
    return to_tick(within(worst, bound, side), tick, side)


def depth_within(quote: Quote, side: Side, limit: Decimal) -> Decimal:
    """Coins that an order of this side finds in the book at its limit or better."""
    levels = quote.asks if side is Side.BUY else quote.bids
    return sum(
        (level.quantity for level in levels if (limit - level.price) * side.sign >= 0),
        start=ZERO,
    )


def outside_bound(quote: Quote, side: Side, bound: Decimal | None) -> bool:
    """Whether the book offers nothing inside the bound; an empty side offers nothing."""
    levels = quote.asks if side is Side.BUY else quote.bids
    if not levels:
        return True
    return bound is not None and (bound - levels[0].price) * side.sign < 0
