"""What a paper venue is started with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from portfolio.core.names import AccountId, Coin, Venue

_BYBIT = Venue("bybit")
_MAIN = AccountId("bybit:main")
SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS


@dataclass(frozen=True, slots=True)
class VenueConfig:
    """One venue with one account. The uid names the run: state of another uid is refused."""

    uid: str
    #: Market clock, integer ns: when the venue opens.
    start_ns: int
    balances: Mapping[Coin, Decimal]
    venue: Venue = _BYBIT
    account: AccountId = _MAIN
    margin_mode: str = "REGULAR_MARGIN"
    perpetual_leverage: Decimal = Decimal(10)
    spot_leverage: Decimal = Decimal(10)
    #: Levels of the made book on each side.
    book_levels: int = 20
    #: Market time after which a consumed level is whole again.
    refill_ns: int = SECOND_NS
    #: Market time between two looks at resting orders; the made jitter has its nodes there.
    grid_ns: int = 5 * SECOND_NS
    #: Multiplies the made depth and flow of every instrument.
    liquidity: Decimal = Decimal(1)
    #: Coins (besides USDT) that the venue lists; empty = all that the replay has.
    coins: tuple[Coin, ...] = field(default=())
    #: MADE coins, for load and scale: each is listed by the tables of another coin.
    models: Mapping[Coin, Coin] = field(default_factory=dict)
