"""What it costs to enter and leave a pair the way the engine executes, before it has traded.

The lead is a post-only order that is taken after a deadline; each of its fills is hedged at once by a taker
order on the other leg. So a trade costs

    lead:   s * (maker fee + adverse selection) + (1 - s) * (taker fee + slippage)
    hedge:  taker fee + slippage

with s the share of the lead that fills as maker. Slippage is what walking the book costs against its middle.
"""

from collections.abc import Sequence
from decimal import Decimal

from portfolio.core.decimals import ZERO
from portfolio.core.market import Level, Quote
from portfolio.core.risk import FeeRates

#: Share of a lead that fills as maker before its deadline. Declared, not measured: an archive has nobody's
#: fills. The attribution of a running desk shows what it is there.
MAKER_SHARE = 0.7
#: What fills of a resting order are worth less than the middle: price runs through it more often than away.
ADVERSE_BPS = 1.0
_BPS = 10_000.0


def trade_cost_bps(lead: FeeRates, hedge: FeeRates, lead_slippage: float, hedge_slippage: float) -> float:
    """Trading both legs once in normal mode, bps of one leg.

    Args:
        lead: Fees of the leg that leads.
        hedge: Fees of the leg that follows.
        lead_slippage: Taker slippage of the lead against the middle, bps.
        hedge_slippage: The same of the hedge.
    """
    made = float(lead.maker) * _BPS + ADVERSE_BPS
    taken = float(lead.taker) * _BPS + lead_slippage
    hedged = float(hedge.taker) * _BPS + hedge_slippage
    return MAKER_SHARE * made + (1.0 - MAKER_SHARE) * taken + hedged


def slippage_bps(quote: Quote, usd: Decimal) -> tuple[float, float] | None:
    """What buying and what selling this much costs against the middle, bps; None when a side is too thin.

    `usd` is in the instrument's quote coin, above 0.
    """
    if not (quote.bids and quote.asks):
        return None
    middle = (quote.bids[0].price + quote.asks[0].price) / 2
    bought, sold = _average(quote.asks, usd), _average(quote.bids, usd)
    if bought is None or sold is None:
        return None
    return float(bought / middle - 1) * _BPS, float(1 - sold / middle) * _BPS


def _average(levels: Sequence[Level], usd: Decimal) -> Decimal | None:
    """Average price of an order of this value; None when the levels do not hold it."""
    left, coins = usd, ZERO
    for level in levels:
        here = level.price * level.quantity
        if here >= left:
            return usd / (coins + left / level.price)
        left -= here
        coins += level.quantity
    return None
