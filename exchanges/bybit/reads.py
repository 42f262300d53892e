"""Reads of Bybit that are put together from several requests. Every one raises VenueError only."""

from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal

import anyio

from exchanges.bybit import parse, parse_account, parse_orders, parse_tables
from exchanges.bybit.client import BybitClient
from exchanges.bybit.parse import MINUTE_MS, MS_NS, QUOTE, Stamp
from exchanges.bybit.streams import REFERENCE
from exchanges.bybit.symbols import to_venue
from exchanges.fields import Row, decimal_or_none, text
from exchanges.parallel import Parallel
from portfolio.core.entries import CashBooked
from portfolio.core.errors import MissingDataError, VenueError
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.market import CoinPrice, Settlement
from portfolio.core.names import ClientOrderId, Coin, InstrumentId
from portfolio.core.orders import Absent, Fill, FindResult, Found, NotKnown
from portfolio.core.risk import RiskTables
from portfolio.ports import Clocks, MarketSnapshot

DAY_MS = 86_400_000
#: Longest window of execution and transaction lists.
WINDOW_MS = 7 * DAY_MS
#: Executions and ledger rows older than this are not asked for.
HISTORY_MAX_MS = 28 * DAY_MS
#: Candles from which the prices of settlements are taken, longest first: the longest that fits is read.
CANDLES_MINUTES = (240, 120, 60)
CANDLES_PER_REQUEST = 1000
RATES_PER_REQUEST = 200
#: Up to this many symbols, position tiers are read one by one, else the whole list.
SYMBOLS_ONE_BY_ONE = 30

_PATHS_OF_ORDERS = ("/v5/order/realtime", "/v5/order/history")


class Reads:
    """The reading half of the adapter."""

    def __init__(self, client: BybitClient, clocks: Clocks) -> None:
        self._client = client
        self._clocks = clocks

    def stamp(self) -> Stamp:
        """Now, before a read: market time never later than the venue's, so that newer pushes win."""
        wire = self._clocks.wire_ns()
        skew = self._client.server_time.earliest_ns(0, self._clocks.monotonic_ns())
        return Stamp((self._clocks.market_ns() + skew) // MS_NS * MS_NS - MS_NS, wire)

    # --- markets ------------------------------------------------------------------------------------------

    async def instruments(self, coins: frozenset[Coin]) -> tuple[Instrument, ...]:
        """USDT spot pairs and perpetuals of `coins` (empty: of every coin that has both)."""
        async with Parallel() as parallel:
            spot = parallel.start(lambda: self._client.instruments("spot"))
            linear = parallel.start(lambda: self._client.instruments("linear"))
        wanted = coins or _bases(spot.value) & _bases(linear.value)
        found = [parse.spot_instrument(row) for row in _of(wanted, spot.value)]
        found += [parse.linear_instrument(row) for row in _of(wanted, linear.value)]
        return tuple(one for one in found if one is not None)

    async def market(self, instruments: Iterable[Instrument]) -> MarketSnapshot:
        """Quotes, marks, coin prices and funding of every instrument, from two ticker lists."""
        at = self.stamp()
        async with Parallel() as parallel:
            spot = parallel.start(lambda: self._client.tickers("spot"))
            linear = parallel.start(lambda: self._client.tickers("linear"))
        spots = {text(row, "symbol"): row for row in spot.value}
        perpetuals = {text(row, "symbol"): row for row in linear.value}
        traded = [(one, (spots if one.kind is InstrumentKind.SPOT else perpetuals)) for one in instruments]
        present = [(one, table[one.symbol]) for one, table in traded if one.symbol in table]
        outlooks = (
            parse.ticker_funding(one.instrument_id, row, at)
            for one, row in present
            if one.kind is InstrumentKind.PERPETUAL
        )
        linear_rows = [(one, row) for one, row in present if one.kind is InstrumentKind.PERPETUAL]
        return MarketSnapshot(
            quotes=tuple(parse.ticker_quote(one.instrument_id, row, at) for one, row in present),
            marks=tuple(parse.ticker_mark(one.instrument_id, row, at) for one, row in linear_rows),
            coins=_coin_prices(spots, perpetuals, at),
            funding=tuple(one for one in outlooks if one is not None),
        )

    async def risk_tables(self, symbols: tuple[str, ...]) -> RiskTables:
        """Every table, fetched now."""
        seen = self._clocks.wire_ns()
        async with Parallel() as parallel:
            ratios = parallel.start(self._client.collateral_ratios)
            tiers = parallel.start(self._client.borrow_tiers)
            info = parallel.start(self._client.collateral_info)
            spot_fees = parallel.start(lambda: self._client.fee_rates("spot"))
            linear_fees = parallel.start(lambda: self._client.fee_rates("linear"))
            limits = parallel.start(lambda: self._risk_limits(symbols))
        collateral, borrow = parse_tables.coin_tables(
            info.value,
            parse_tables.collateral_tiers(ratios.value),
            parse_tables.borrow_tiers(tiers.value),
        )
        fees = parse_tables.fee_rates("spot", spot_fees.value)
        return RiskTables(
            seen_wire_ns=seen,
            collateral=collateral,
            borrow=borrow,
            positions=parse_tables.position_tiers(limits.value),
            fees=fees | parse_tables.fee_rates("linear", linear_fees.value),
        )

    async def _risk_limits(self, symbols: tuple[str, ...]) -> tuple[Row, ...]:
        if len(symbols) > SYMBOLS_ONE_BY_ONE:
            return await self._client.risk_limits(None)
        limiter = anyio.CapacityLimiter(8)

        async def one(symbol: str) -> tuple[Row, ...]:
            async with limiter:
                return await self._client.risk_limits(symbol)

        async with Parallel() as parallel:
            parts = [parallel.start(lambda symbol=symbol: one(symbol)) for symbol in symbols]  # type: ignore[misc]
        return tuple(row for part in parts for row in part.value)

    async def settlements(self, name: InstrumentId, spot: str, since_ns: int) -> tuple[Settlement, ...]:
        """Settled funding with the closes of the candles that ended there; ascending.

        Raises:
            MissingDataError: a price in the middle of the history is missing.
        """
        symbol = to_venue(name)[1]
        start, end = max(0, since_ns // MS_NS), self._clocks.market_ns() // MS_NS
        rates = await self._rates(symbol, start, end)
        if not rates:
            return ()
        first, minutes = min(rates) // MS_NS, _candle_minutes(rates)
        async with Parallel() as parallel:
            perpetual = parallel.start(lambda: self._closes("linear", symbol, minutes, first, end))
            other = parallel.start(lambda: self._closes("spot", spot, minutes, first, end))
        step = minutes * MINUTE_MS
        prices = parse.settlement_closes(rates, perpetual.value, step)
        spots = parse.settlement_closes(rates, other.value, step)
        both = sorted(prices.keys() & spots.keys())
        missing = [instant for instant in rates if both and instant > both[0] and instant not in both]
        if missing:
            raise MissingDataError(f"{name}: no price at the settlement {min(missing)}.", field="kline")
        return tuple(Settlement(instant, rates[instant], prices[instant], spots[instant]) for instant in both)

    async def _rates(self, symbol: str, start_ms: int, end_ms: int) -> dict[int, Decimal]:
        found: dict[int, Decimal] = {}
        while True:
            page = parse.funding_history(await self._client.funding_history(symbol, start_ms, end_ms))
            found.update(page)
            if len(page) < RATES_PER_REQUEST:
                return found
            end_ms = min(instant for instant, _ in page) // MS_NS - 1

    async def _closes(
        self, category: str, symbol: str, minutes: int, first_ms: int, end_ms: int
    ) -> dict[int, Decimal]:
        step = minutes * MINUTE_MS
        span = step * (CANDLES_PER_REQUEST - 1)
        found: dict[int, Decimal] = {}
        start = first_ms - step
        while start <= end_ms:
            stop = min(start + span, end_ms)
            found |= parse.kline_closes(await self._client.kline(category, symbol, minutes, start, stop))
            start = stop + 1
        return found

    # --- account ------------------------------------------------------------------------------------------

    async def fills(self, since_market_ns: int) -> tuple[Fill, ...]:
        """Executions of both categories since, ascending; at most 28 days back."""
        found: dict[str, Fill] = {}
        for category in ("linear", "spot"):
            for start, end in self._windows(since_market_ns):
                for row in await self._client.executions(category, start, end):
                    fill = parse_orders.fill(category, row)
                    if fill is not None and fill.event_market_ns >= since_market_ns:
                        found[fill.fill_id] = fill
        return tuple(sorted(found.values(), key=lambda fill: (fill.event_market_ns, fill.fill_id)))

    async def ledger(self, since_market_ns: int) -> tuple[CashBooked, ...]:
        """Cash that moved without a trade since, ascending; at most 28 days back."""
        found: dict[tuple[str, str], CashBooked] = {}
        for start, end in self._windows(since_market_ns):
            for row in await self._client.transactions(start, end):
                entry = parse_account.cash(row)
                if entry is not None and entry.event_market_ns >= since_market_ns:
                    found[(entry.kind, entry.reference)] = entry
        return tuple(sorted(found.values(), key=lambda entry: (entry.event_market_ns, entry.reference)))

    def _windows(self, since_market_ns: int) -> list[tuple[int, int]]:
        skew = self._client.server_time.offset_ns(self._clocks.monotonic_ns())
        now = (self._clocks.market_ns() + max(0, skew)) // MS_NS + 1
        start = max(since_market_ns // MS_NS, now - HISTORY_MAX_MS)
        return [(at, min(at + WINDOW_MS - 1, now)) for at in range(start, now + 1, WINDOW_MS)]

    async def find(self, link: ClientOrderId, name: InstrumentId) -> FindResult:
        """Look for an order in the open orders (recent ones included), the history and the executions."""
        began = self._clocks.wire_ns()
        try:
            return await self._find(link, name, began)
        except VenueError as error:
            return NotKnown(error.message)

    async def _find(self, link: ClientOrderId, name: InstrumentId, began_wire_ns: int) -> FindResult:
        kind, symbol = to_venue(name)
        row = None
        for path in _PATHS_OF_ORDERS:
            row = await self._order_row(path, kind.value, symbol, link)
            if row is not None:
                break
        rows = await self._client.executions_of(kind.value, symbol, link)
        fills = tuple(
            fill
            for fill in (parse_orders.fill(kind.value, one) for one in reversed(rows))
            if fill is not None and fill.client_order_id == link
        )
        if row is None:
            return NotKnown("There are executions without an order.") if fills else Absent(began_wire_ns)
        order = parse_orders.order_state(kind.value, row)
        if sum((fill.quantity for fill in fills), Decimal(0)) < order.filled:
            return NotKnown("The executions do not yet add up to what the order says.")
        return Found(order, fills)

    async def _order_row(self, path: str, category: str, symbol: str, link: ClientOrderId) -> Row | None:
        found = await _or_none(lambda: self._client.order_by_link(path, category, symbol, link))
        for row in found or ():
            if text(row, "orderLinkId") == link:
                return row
        return None


async def _or_none(call: Callable[[], Awaitable[tuple[Row, ...]]]) -> tuple[Row, ...] | None:
    """Some queries answer "does not exist" with a code instead of an empty list (110001, 170213)."""
    try:
        return await call()
    except VenueError as error:
        if error.venue_code in ("110001", "170213"):
            return None
        raise


def _candle_minutes(instants_ns: Iterable[int]) -> int:
    """The longest candle that ends at each of the instants; the shortest when none does."""
    times = [instant // MS_NS for instant in instants_ns]
    fitting = (
        minutes for minutes in CANDLES_MINUTES if all(time % (minutes * MINUTE_MS) == 0 for time in times)
    )
    return next(fitting, CANDLES_MINUTES[-1])


def _bases(rows: Iterable[Row]) -> frozenset[Coin]:
    return frozenset(Coin(text(row, "baseCoin")) for row in rows if text(row, "quoteCoin") == QUOTE)


def _of(coins: frozenset[Coin], rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if text(row, "quoteCoin") == QUOTE and text(row, "baseCoin") in coins]


def _coin_prices(spots: dict[str, Row], perpetuals: dict[str, Row], at: Stamp) -> tuple[CoinPrice, ...]:
    prices: list[CoinPrice] = []
    for symbol, row in spots.items():
        if symbol.endswith(QUOTE):
            price = parse.ticker_coin(Coin(symbol.removesuffix(QUOTE)), row, at)
            if price is not None:
                prices.append(price)
    reference = f"{REFERENCE}{QUOTE}"
    if reference in spots and reference in perpetuals:
        usd = decimal_or_none(spots[reference], "usdIndexPrice")
        index = decimal_or_none(perpetuals[reference], "indexPrice")
        if usd and index:
            prices.append(parse.quote_coin_price(usd, index, at))
    return tuple(prices)
