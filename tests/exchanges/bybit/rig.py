"""The adapter connected over real sockets to the facade of a paper venue, in one event loop."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import count
from time import time_ns
from typing import TypeVar

import anyio
import httpx2
from anyio.streams.memory import MemoryObjectReceiveStream

from exchanges.bybit.exchange import BybitExchange, BybitSettings, open_bybit
from exchanges.bybit.sign import ApiKey
from exchanges.bybit.urls import BybitUrls
from exchanges.paper.bybit.clock import VenueClock
from exchanges.paper.bybit.control import SECRET_HEADER
from exchanges.paper.bybit.faults import FaultPlan
from exchanges.paper.bybit.serve import listening
from exchanges.paper.bybit.venue import PaperVenue, VenueKey
from exchanges.paper.core import VenueCore
from exchanges.stream import StreamOptions
from portfolio.clocks import PaperClocks
from portfolio.core.events import VenueEvent
from portfolio.core.names import AccountId, ClientOrderId, InstrumentId, IntentId, PairId
from portfolio.core.orders import OrderClass, OrderRequest, Side, TimeInForce
from portfolio.ports import Exchange
from tests.exchanges.paper import venues

KEY = VenueKey("paperkey0123456789", "papersecret0123456789")
SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS
T = TypeVar("T", bound=VenueEvent)
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Rig:
    venue: PaperVenue
    urls: BybitUrls
    exchange: BybitExchange
    clocks: PaperClocks

    def soon(self, ms: int = 2000) -> int:
        return self.clocks.wire_ns() + ms * 1_000_000

    async def control(self, action: str, **values: object) -> dict[str, object]:
        async with httpx2.AsyncClient(trust_env=False) as client:
            reply = await client.post(
                f"{self.urls.rest}/paper/{action}", json=values, headers={SECRET_HEADER: KEY.api_secret}
            )
        answer: dict[str, object] = reply.json()
        assert answer["ok"] is True, answer
        return answer


def as_port(exchange: BybitExchange) -> Exchange:
    """The type checker's proof that the adapter is what the engine asks for."""
    return exchange


@asynccontextmanager
async def facade(
    core: VenueCore | None = None, *, at_ns: int = venues.START + HOUR_NS, latency_s: float = 0.0
) -> AsyncIterator[tuple[PaperVenue, BybitUrls]]:
    """A venue on loopback whose market time is `at_ns` now."""
    venue = PaperVenue(
        core or venues.venue(uid="12345678"),
        VenueClock(at_ns, time_ns()),
        KEY,
        latency_s=latency_s,
        push_every_s=0.02,
        faults=FaultPlan(),
    )
    async with listening(venue) as urls:
        yield venue, urls


@asynccontextmanager
async def connected(
    core: VenueCore | None = None,
    *,
    at_ns: int = venues.START + HOUR_NS,
    latency_s: float = 0.0,
    use_trade_socket: bool = True,
    secret: str = KEY.api_secret,
    ws_trade: str = "",
) -> AsyncIterator[Rig]:
    """The adapter on it."""
    async with facade(core, at_ns=at_ns, latency_s=latency_s) as (venue, urls):
        clocks = PaperClocks(
            start_market_ns=venue.clock.start_market_ns, start_wire_ns=venue.clock.start_wire_ns, speed=1
        )
        settings = BybitSettings(
            account=AccountId("bybit:main"),
            urls=replace(urls, ws_trade=ws_trade or urls.ws_trade),
            key=ApiKey(KEY.api_key, secret),
            figures_every_s=0.2,
            use_trade_socket=use_trade_socket,
            stream=StreamOptions(connect_within_s=1.0, pause_first_s=0.01, pause_max_s=0.1),
            subscribe_within_s=3.0,
        )
        async with open_bybit(settings, clocks) as exchange:
            yield Rig(venue, urls, exchange, clocks)


def order(
    name: InstrumentId,
    side: Side,
    quantity: str,
    price: str | None = None,
    *,
    tif: TimeInForce = TimeInForce.GTC,
    borrow: bool = False,
    reduce_only: bool = False,
    link: str | None = None,
) -> OrderRequest:
    return OrderRequest(
        client_order_id=ClientOrderId(link or f"o{next(_numbers)}"),
        instrument_id=name,
        side=side,
        quantity=Decimal(quantity),
        limit_price=None if price is None else Decimal(price),
        time_in_force=TimeInForce.IOC if price is None else tif,
        reduce_only=reduce_only,
        borrow=borrow,
        order_class=OrderClass.ENTRY,
        pair_id=PairId("SOL@bybit"),
        intent_id=IntentId("i1"),
    )


async def until(
    events: MemoryObjectReceiveStream[VenueEvent],
    kind: type[T],
    fits: Callable[[T], bool] = lambda _: True,
    *,
    within_s: float = 10.0,
) -> T:
    """The next event of a kind that fits; the others are dropped."""
    with anyio.fail_after(within_s):
        async for event in events:
            if isinstance(event, kind) and fits(event):
                return event
    raise AssertionError("the stream of events ended")
