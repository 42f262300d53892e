"""What trading cost: fees by venue and era, slippage by coin, orders as the engine places them.

A declared model; no archive has an account's fills. Fees are those of a regular account (no VIP tier, no
rebates, no discount in the venue's own token). Slippage is half a spread plus half of what a linear book
moves: walking through all of its depth within 1 % costs 50 bps. Depth and spread are MADE by class of coin,
from the order of magnitude of +-1 % depth on the three venues in 2023-2025; earlier books were thinner.

The engine leads with a post-only order on the perpetual, and takes the rest after a deadline; the spot leg is
taken at once. Urgent orders (the guard's) take both legs, at twice the half spread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from portfolio.backtest.result import Costs
from portfolio.core.names import Coin, Venue
from portfolio.core.trade_cost import ADVERSE_BPS, MAKER_SHARE

_BPS = 1e-4
#: A spot book is thinner than the perpetual's.
SPOT_DEPTH_SHARE = 0.5
#: Walking through all depth within 1 % pays half of that on average.
WALK = 0.005


@dataclass(frozen=True, slots=True)
class Fees:
    """Rates of a regular account, fractions of notional; negative is a rebate."""

    perpetual_maker: float
    perpetual_taker: float
    spot_taker: float


#: From a day on (ns since 1970) a venue's rates hold; the first row holds for all time before the second one.
#: Binance: taker 4 bps until autumn 2023, 5 since. Bybit: 7.5 bps taker with a maker rebate of 2.5 (counted
#: as 0: a regular account's queue is not a market maker's), from spring 2022 6 and 1, since 2023 5.5 and 2.
#: OKX: 5 and 2, spot 10. Dates of changes are to the quarter.
_ERAS: Mapping[Venue, Sequence[tuple[int, Fees]]] = {
    Venue("binance"): (
        (0, Fees(0.0002, 0.0004, 0.001)),
        (1_696_118_400_000_000_000, Fees(0.0002, 0.0005, 0.001)),
    ),
    Venue("bybit"): (
        (0, Fees(0.0, 0.00075, 0.001)),
        (1_648_771_200_000_000_000, Fees(0.0001, 0.0006, 0.001)),
        (1_688_169_600_000_000_000, Fees(0.0002, 0.00055, 0.001)),
    ),
    Venue("okx"): ((0, Fees(0.0002, 0.0005, 0.001)),),
}


@dataclass(frozen=True, slots=True)
class Book:
    """MADE: the perpetual's order book of a coin."""

    half_spread_bps: float
    #: USD within 1 % of the middle, one side.
    depth_usd: float


_BOOKS: Mapping[Coin, Book] = {
    Coin("BTC"): Book(0.1, 30e6),
    Coin("ETH"): Book(0.15, 20e6),
    Coin("SOL"): Book(0.5, 8e6),
    Coin("XRP"): Book(0.7, 6e6),
    Coin("DOGE"): Book(0.8, 5e6),
    Coin("BNB"): Book(0.7, 4e6),
    **{Coin(name): Book(1.2, 3e6) for name in ("ADA", "LTC", "LINK", "AVAX", "DOT")},
}
_OTHERS = Book(2.0, 1.5e6)
#: Spot spreads are wider.
_SPOT_SPREAD = 1.5


def fees_at(venue: Venue, time_ns: int) -> Fees:
    """The rates of a venue's era."""
    eras = _ERAS[venue]
    for (_, fees), (until, _) in pairwise(eras):
        if time_ns < until:
            return fees
    return eras[-1][1]


def book_of(coin: Coin) -> Book:
    """The made book of a coin."""
    return _BOOKS.get(coin, _OTHERS)


def trade_costs(venue: Venue, coin: Coin, notional_usd: float, time_ns: int, *, urgent: bool) -> Costs:
    """What trading both legs of a pair by `notional_usd` (one leg, > 0) costs, USD.

    Normal orders cost what `portfolio.core.trade_cost` expects of them, here split by kind.
    """
    fees, book = fees_at(venue, time_ns), book_of(coin)
    taken = 1.0 if urgent else 1.0 - MAKER_SHARE
    spread = book.half_spread_bps * _BPS * (2.0 if urgent else 1.0)
    walked = notional_usd * taken / book.depth_usd * WALK
    spot_walked = notional_usd / (book.depth_usd * SPOT_DEPTH_SHARE) * WALK
    perpetual_fee = taken * fees.perpetual_taker + (1.0 - taken) * fees.perpetual_maker
    return Costs(
        fees=notional_usd * (perpetual_fee + fees.spot_taker),
        slippage=notional_usd * (taken * (spread + walked) + spread * _SPOT_SPREAD + spot_walked),
        adverse_selection=notional_usd * (1.0 - taken) * ADVERSE_BPS * _BPS,
    )


def round_trip_bps(venue: Venue, coin: Coin, notional_usd: float, time_ns: int) -> float:
    """Entering and leaving a pair of this size by normal orders, bps of one leg."""
    return 2.0 * trade_costs(venue, coin, notional_usd, time_ns, urgent=False).total / notional_usd / _BPS
