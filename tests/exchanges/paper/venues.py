"""Small venues for tests: made markets whose prices stand still unless a test moves them."""

from collections.abc import Mapping
from decimal import Decimal

from exchanges.paper.commands import PlaceOrder, Reply
from exchanges.paper.config import HOUR_NS, VenueConfig
from exchanges.paper.core import VenueCore
from exchanges.paper.rows import Notice, VenueOrder
from exchanges.paper.synthetic import SyntheticCoin, SyntheticReplay
from portfolio.core.names import Coin, InstrumentId
from portfolio.core.orders import Side, TimeInForce

#: 2024-08-05 00:00 UTC: a whole number of hours and of every funding interval.
START = 1_722_816_000_000_000_000
BTC, ETH, SOL, USDT = Coin("BTC"), Coin("ETH"), Coin("SOL"), Coin("USDT")
BTC_PERP = InstrumentId("bybit:linear:BTCUSDT")
BTC_SPOT = InstrumentId("bybit:spot:BTCUSDT")
SOL_PERP = InstrumentId("bybit:linear:SOLUSDT")
SOL_SPOT = InstrumentId("bybit:spot:SOLUSDT")


def still_coin(price: str, *, rate: str = "0.0001", minutes: int = 480) -> SyntheticCoin:
    return SyntheticCoin(
        Decimal(price), Decimal(0), Decimal(rate), Decimal(0), interval_minutes=minutes, basis=Decimal(0)
    )


STILL: Mapping[Coin, SyntheticCoin] = {
    BTC: still_coin("60000"),
    SOL: still_coin("150", rate="0.0002", minutes=60),
}


def venue(
    *,
    usdt: str = "100000",
    coins: Mapping[Coin, SyntheticCoin] = STILL,
    hours: int = 48,
    seed: int = 7,
    uid: str = "u1",
    balances: Mapping[Coin, Decimal] | None = None,
) -> VenueCore:
    replay = SyntheticReplay(seed=seed, start_ns=START, hours=hours, coins=coins)
    config = VenueConfig(uid=uid, start_ns=START, balances=balances or {USDT: Decimal(usdt)})
    return VenueCore(config, replay, seed=seed)


_count = iter(range(10**9))


def order(
    key: InstrumentId,
    side: Side,
    quantity: str,
    price: str | Decimal | None = None,
    *,
    link: str | None = None,
    tif: TimeInForce = TimeInForce.GTC,
    reduce_only: bool = False,
    borrow: bool = False,
    in_quote: bool = False,
) -> PlaceOrder:
    return PlaceOrder(
        order_link_id=f"t{next(_count)}" if link is None else link,
        instrument_id=key,
        side=side,
        quantity=Decimal(quantity),
        price=None if price is None else Decimal(price),
        time_in_force=tif,
        reduce_only=reduce_only,
        borrow=borrow,
        quantity_in_quote=in_quote,
    )


def do(core: VenueCore, command: PlaceOrder) -> VenueOrder:
    """Place it now and return the order as it stands afterwards."""
    reply = core.handle(command, core.now_ns)
    assert reply.ok, reply
    found = core.order(command.instrument_id, order_id=reply.order_id)
    assert found is not None
    return found


def refused(core: VenueCore, command: PlaceOrder) -> Reply:
    """Place it now, expect a refusal without effect."""
    before = core.dump()
    reply = core.handle(command, core.now_ns)
    assert not reply.ok
    assert core.dump() == before
    return reply


def wallet(core: VenueCore, coin: Coin) -> Decimal:
    return next(
        (row.balance.wallet for row in core.coins(every=True) if row.balance.coin == coin), Decimal(0)
    )


def debt(core: VenueCore, coin: Coin) -> Decimal:
    return next(
        (row.balance.spot_borrow for row in core.coins(every=True) if row.balance.coin == coin), Decimal(0)
    )


def run(core: VenueCore, *, hours: int = 0, seconds: int = 0) -> tuple[Notice, ...]:
    return core.advance(core.now_ns + hours * HOUR_NS + seconds * 1_000_000_000)


def best(core: VenueCore, key: InstrumentId, side: Side) -> Decimal:
    """Best price of a side of the book (BUY: bids)."""
    shown = core.book(key, 1)
    return (shown.bids if side is Side.BUY else shown.asks)[0].price
