"""Bybit as an Exchange: one unified account. Paper, testnet and live differ by `BybitUrls` only."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from exchanges.bybit import parse_account, parse_orders
from exchanges.bybit.client import BybitClient, LimitSeen
from exchanges.bybit.parse import QUOTE
from exchanges.bybit.reads import Reads
from exchanges.bybit.server_time import ServerTime
from exchanges.bybit.sign import ApiKey
from exchanges.bybit.streams import REFERENCE, CoinRates, MarketHandler, PrivateHandler
from exchanges.bybit.subscription import Reads as SubscriptionReads
from exchanges.bybit.subscription import Subscription
from exchanges.bybit.symbols import BYBIT, to_venue
from exchanges.bybit.trade import TradeSocket
from exchanges.bybit.urls import BybitUrls
from exchanges.bybit.writes import Writes
from exchanges.fields import text
from exchanges.parallel import Parallel, background
from exchanges.rest import RestClient
from exchanges.stream import StreamOptions
from portfolio.core.account import AccountSnapshot
from portfolio.core.decimals import plain
from portfolio.core.entries import CashBooked
from portfolio.core.errors import Effect, VenueError
from portfolio.core.events import BalanceUpdate, RateLimitUpdate, VenueEvent
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.market import Settlement
from portfolio.core.names import AccountId, ClientOrderId, Coin, InstrumentId
from portfolio.core.orders import CancelRequest, Fill, FindResult, OrderRequest, Outcome
from portfolio.core.risk import LeveragePolicy, RiskTables
from portfolio.core.venue_check import VenueCheck
from portfolio.ports import Clocks, Credentials, MarketSnapshot, RateLimit, VenueTraits

_LOG = logging.getLogger("carrydesk.bybit")
SECOND_NS = 1_000_000_000
TIME_SYNC_EVERY_S = 60.0
TIME_RETRY_S = 1.0
EVENTS_QUEUED_MAX = 256


@dataclass(frozen=True, slots=True)
class BybitSettings:
    """What one account is opened with."""

    account: AccountId
    urls: BybitUrls
    key: ApiKey
    #: Coins that are traded; empty: every coin that has a USDT spot pair and a USDT perpetual.
    coins: frozenset[Coin] = frozenset()
    policy: LeveragePolicy = field(default_factory=LeveragePolicy)
    #: Longest time until an accepted order shows up in every query.
    visibility_lag_ns: int = 2 * SECOND_NS
    #: How often balances and the venue's own figures are read, wire clock.
    figures_every_s: float = 1.0
    use_trade_socket: bool = True
    stream: StreamOptions = field(default_factory=StreamOptions)
    subscribe_within_s: float = 15.0


def bybit_traits(visibility_lag_ns: int = 2 * SECOND_NS) -> VenueTraits:
    """Constant facts of Bybit UTA at the default tier. Source: docs/v5 rate-limit and order/batch pages."""

    def limit(operation: str, kind: InstrumentKind, count: int) -> RateLimit:
        return RateLimit(f"{operation}.{kind.value}", count, SECOND_NS)

    spot, linear = InstrumentKind.SPOT, InstrumentKind.PERPETUAL
    return VenueTraits(
        venue=BYBIT,
        batch_max={linear: 20, spot: 10},
        rate_limits={
            (operation, kind): limit(operation, kind, count)
            for operation in ("place", "cancel")
            for kind, count in ((linear, 10), (spot, 20))
        },
        reduce_only=frozenset({linear}),
        spot_borrow=True,
        send_deadline_ns=2 * SECOND_NS,
        clock_skew_ns=SECOND_NS // 2,
        visibility_lag_ns=visibility_lag_ns,
        repay_blackout_seconds=(240, 330),
        repay_every_ns=SECOND_NS,
        limit_codes=frozenset({"10006"}),
    )


class BybitExchange:
    """Implements portfolio.ports.Exchange. Made by `open_bybit`."""

    def __init__(
        self, settings: BybitSettings, clocks: Clocks, client: BybitClient, trade: TradeSocket | None
    ) -> None:
        self.settings = settings
        self._clocks = clocks
        self._client = client
        self._traits = bybit_traits(settings.visibility_lag_ns)
        self._reads = Reads(client, clocks)
        self._writes = Writes(client, trade, clocks, self._traits, self._limit_seen)
        self._instruments: tuple[Instrument, ...] = ()
        self._uid = ""
        self._subscriptions: list[Subscription] = []

    @property
    def traits(self) -> VenueTraits:
        """Constant facts."""
        return self._traits

    # --- reads --------------------------------------------------------------------------------------------

    async def instruments(self) -> tuple[Instrument, ...]:
        """Spot pairs and perpetuals of the configured coins that trade now."""
        self._instruments = await self._reads.instruments(self.settings.coins)
        return self._instruments

    async def listed_coins(self) -> frozenset[Coin]:
        """Every coin that trades now as a spot pair and as a perpetual, configured or not."""
        found = await self._reads.instruments(frozenset())
        spots = {one.base for one in found if one.kind is InstrumentKind.SPOT}
        return frozenset(spots & {one.base for one in found if one.kind is not InstrumentKind.SPOT})

    async def _known_instruments(self) -> tuple[Instrument, ...]:
        return self._instruments or await self.instruments()

    async def risk_tables(self) -> RiskTables:
        """Fetched now."""
        known = await self._known_instruments()
        symbols = tuple(one.symbol for one in known if one.kind is InstrumentKind.PERPETUAL)
        return await self._reads.risk_tables(symbols)

    async def snapshot(self) -> AccountSnapshot:
        """Wallet, positions, open orders and the venue's own figures."""
        at = self._reads.stamp()
        async with Parallel() as parallel:
            uid = parallel.start(self._account_uid)
            info = parallel.start(self._client.account_info)
            wallet = parallel.start(self._client.wallet)
            positions = parallel.start(self._client.positions)
            linear = parallel.start(lambda: self._client.open_orders("linear"))
            spot = parallel.start(lambda: self._client.open_orders("spot"))
        balances, figures = parse_account.wallet(wallet.value)
        held = (parse_account.position(row, "avgPrice")[1] for row in positions.value)
        orders = [parse_orders.order_state("linear", row) for row in linear.value]
        orders += [parse_orders.order_state("spot", row) for row in spot.value]
        return AccountSnapshot(
            account=self.settings.account,
            uid=uid.value,
            margin_mode=text(info.value, "marginMode"),
            balances=balances,
            positions=tuple(one for one in held if one is not None),
            orders=tuple(orders),
            figures=figures,
            event_market_ns=at.market_ns,
            seen_wire_ns=at.wire_ns,
        )

    async def _account_uid(self) -> str:
        if not self._uid:
            self._uid = (await self.credentials()).uid
        return self._uid

    async def market(self) -> MarketSnapshot:
        """Every price, read now."""
        return await self._reads.market(await self._known_instruments())

    async def find(self, client_order_id: ClientOrderId, instrument_id: InstrumentId) -> FindResult:
        """Look in open orders, history and executions."""
        return await self._reads.find(client_order_id, instrument_id)

    async def fills(self, since_market_ns: int) -> tuple[Fill, ...]:
        """Executions since, ascending; at most 28 days back."""
        return await self._reads.fills(since_market_ns)

    async def ledger(self, since_market_ns: int) -> tuple[CashBooked, ...]:
        """Funding, interest and transfers since, ascending; at most 28 days back."""
        return await self._reads.ledger(since_market_ns)

    async def settlements(self, instrument_id: InstrumentId, since_market_ns: int) -> tuple[Settlement, ...]:
        """Settled funding with prices, ascending."""
        return await self._reads.settlements(instrument_id, to_venue(instrument_id)[1], since_market_ns)

    async def credentials(self) -> Credentials:
        """What the key may do; refuses an account that is not UTA 2.0 in cross margin."""
        async with Parallel() as parallel:
            key = parallel.start(self._client.key_info)
            account = parallel.start(self._client.account_info)
        return parse_account.credentials(key.value, account.value)

    async def check_order(self, order: OrderRequest) -> VenueCheck | None:
        """order/pre-check, which the venue has for perpetuals only."""
        if to_venue(order.instrument_id)[0] is InstrumentKind.SPOT:
            return None
        return parse_orders.pre_check(await self._client.pre_check(parse_orders.order_item(order)))

    # --- writes -------------------------------------------------------------------------------------------

    async def place(self, orders: Sequence[OrderRequest], deadline_wire_ns: int) -> tuple[Outcome, ...]:
        """Send one batch of one kind; the venue refuses it after the deadline."""
        return await self._writes.place(orders, deadline_wire_ns)

    async def cancel(self, orders: Sequence[CancelRequest], deadline_wire_ns: int) -> tuple[Outcome, ...]:
        """Cancel one batch of one kind by our ids."""
        return await self._writes.cancel(orders, deadline_wire_ns)

    async def repay(self, coin: Coin, quantity: Decimal | None, deadline_wire_ns: int) -> Outcome:
        """Repay debt from the coin's own balance."""
        return await self._writes.repay(coin, quantity, deadline_wire_ns)

    async def prepare(self) -> None:
        """Bring the account's leverage to the policy: each perpetual's, and that of borrowing.

        Raises:
            VenueError: spot margin is off (switching it on needs the operator once), or a request failed.
        """
        state = await self._client.spot_margin_state()
        if text(state, "spotMarginMode") != "1":
            raise VenueError(
                "Spot margin is off on this account.",
                effect=Effect.REJECTED,
                venue_code="spot_margin",
                next_step="Switch spot margin trading on in the venue's own interface.",
            )
        if text(state, "spotLeverage") != plain(self.settings.policy.borrow):
            await self._client.set_spot_leverage(plain(self.settings.policy.borrow))
        for one in await self._known_instruments():
            if one.leverage_max is not None:
                leverage = min(self.settings.policy.perpetual, one.leverage_max)
                await self._client.set_leverage(one.symbol, plain(leverage))

    # --- events -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def events(self) -> AsyncIterator[MemoryObjectReceiveStream[VenueEvent]]:
        """Subscribe to everything: a Reset first; after every Gap another one."""
        known = await self._known_instruments()
        valued = {row.coin for row in (await self.snapshot()).balances} - {QUOTE}
        subscription = Subscription(
            SubscriptionReads(self.snapshot, self.fills, self._figures),
            self._clocks,
            figures_every_s=self.settings.figures_every_s,
            options=self.settings.stream,
        )
        handlers = self._handlers(subscription, known, await self._priced(valued))
        public, urls = self.settings.urls.ws_public, {"private": self.settings.urls.ws_private}
        urls |= {f"public.{kind.value}": f"{public}/{kind.value}" for kind in InstrumentKind}
        send, receive = anyio.create_memory_object_stream[VenueEvent](EVENTS_QUEUED_MAX)
        async with send, receive, background() as tasks:
            self._subscriptions.append(subscription)
            try:
                await subscription.start(tasks, handlers, urls, send, self.settings.subscribe_within_s)
                yield receive
            finally:
                self._subscriptions.remove(subscription)

    async def _priced(self, coins: set[Coin]) -> set[Coin]:
        """Those of `coins` that have a spot pair to take a USD price from."""
        symbols = {text(row, "symbol") for row in await self._client.tickers("spot")}
        return {coin for coin in coins if f"{coin}{QUOTE}" in symbols}

    def _handlers(
        self, link: Subscription, known: tuple[Instrument, ...], valued: set[Coin]
    ) -> dict[str, MarketHandler | PrivateHandler]:
        rates = CoinRates(link.buffer)
        urls = self.settings.urls
        found: dict[str, MarketHandler | PrivateHandler] = {}
        for kind in InstrumentKind:
            traded = {one.symbol: one.base for one in known if one.kind is kind}
            extra = {REFERENCE} | (valued if kind is InstrumentKind.SPOT else set())
            handler = MarketHandler(
                kind,
                traded,
                {f"{coin}{QUOTE}": coin for coin in sorted(extra)} | traded,
                urls.end_topic if kind is InstrumentKind.PERPETUAL else "",
                buffer=link.buffer,
                rates=rates,
                link=link,
                clocks=self._clocks,
            )
            found[handler.stream] = handler
        private = PrivateHandler(
            self.settings.key, self._client, buffer=link.buffer, link=link, clocks=self._clocks
        )
        return found | {private.stream: private}

    async def _figures(self) -> BalanceUpdate:
        at = self._reads.stamp()
        balances, figures = parse_account.wallet(await self._client.wallet())
        return BalanceUpdate(balances, figures, at.market_ns, at.wire_ns)

    def _limit_seen(self, operation: str, kind: InstrumentKind, seen: LimitSeen) -> None:
        now = self._clocks.monotonic_ns()
        if not self._client.server_time.known(now):
            return  # the reset could not be told on our clock
        offset = self._client.server_time.offset_ns(now)
        event = RateLimitUpdate(
            limit_name=self._traits.rate_limits[operation, kind].name,
            limit=seen.limit,
            remaining=seen.remaining,
            reset_wire_ns=seen.reset_ms * 1_000_000 - offset,
            seen_wire_ns=self._clocks.wire_ns(),
        )
        for subscription in self._subscriptions:
            subscription.buffer.put_account(event)


@asynccontextmanager
async def open_bybit(settings: BybitSettings, clocks: Clocks) -> AsyncIterator[BybitExchange]:
    """Connect one account: the venue's clock first, then the trade socket in the background.

    Raises:
        VenueError: the venue could not be reached.
    """
    server_time = ServerTime()
    async with RestClient(settings.urls.rest) as rest:
        client = BybitClient(rest, settings.key, clocks, server_time)
        server_time.learn(await client.time_samples())
        trade = (
            TradeSocket(settings.urls.ws_trade, settings.key, client, clocks, settings.stream)
            if settings.use_trade_socket
            else None
        )
        async with background() as tasks:
            tasks.start_soon(_keep_time, client, server_time, clocks)
            if trade is not None:
                tasks.start_soon(trade.serve)
                with anyio.move_on_after(settings.stream.connect_within_s):
                    await trade.ready.wait()
            yield BybitExchange(settings, clocks, client, trade)


async def _keep_time(client: BybitClient, server_time: ServerTime, clocks: Clocks) -> None:
    """Measure the venue's clock again and again, at once after it was found wrong."""
    waited = 0.0
    while True:
        await anyio.sleep(TIME_RETRY_S)
        waited += TIME_RETRY_S
        if waited < TIME_SYNC_EVERY_S and server_time.known(clocks.monotonic_ns()):
            continue
        try:
            server_time.learn(await client.time_samples())
        except VenueError as error:
            _LOG.warning("time synchronisation failed: %s", error.message)
        else:
            waited = 0.0
