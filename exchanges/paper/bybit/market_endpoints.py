"""Public REST endpoints: time, instruments, tickers, books, candles, funding, risk tables."""

from collections.abc import Mapping

from exchanges.paper.bybit import render_market
from exchanges.paper.bybit.venue import PaperVenue
from exchanges.paper.bybit.wire import MS_NS, Answer, Call, Refusal, Row, ms, plain
from portfolio.core.errors import InputError, UnknownNameError
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.names import Coin, InstrumentId

MINUTE_NS = 60_000_000_000
DAY_MINUTES = 1440
_KINDS_OF_KLINE = {"kline": "last", "mark-price-kline": "mark", "index-price-kline": "index"}


def _listed(venue: PaperVenue, call: Call, kind: InstrumentKind) -> list[Instrument]:
    symbol, base = call.text("symbol", ""), call.text("baseCoin", "")
    found = [
        one
        for one in venue.core.instruments()
        if one.kind is kind and symbol in ("", one.symbol) and base in ("", one.base)
    ]
    if symbol and not found:
        raise Refusal("10001", "Not supported symbols")
    return found


def _kind_or_none(call: Call) -> InstrumentKind | None:
    """None for categories that exist at the venue but have nothing here (inverse, option)."""
    category = call.text("category")
    return None if category in ("inverse", "option") else call.kind()


def named(venue: PaperVenue, call: Call) -> InstrumentId:
    """Category and symbol of something that is listed."""
    name = call.instrument()
    try:
        venue.core.listing(name)
    except UnknownNameError:
        raise Refusal("10001", "Not supported symbols") from None
    return name


def time(venue: PaperVenue, call: Call) -> Answer:
    """Wire time."""
    now = venue.clock.wire_ns()
    return Answer({"timeSecond": str(now // 10**9), "timeNano": str(now)})


def instruments(venue: PaperVenue, call: Call) -> Answer:
    """One page holds all that is listed here."""
    kind = _kind_or_none(call)
    category = call.text("category")
    rows: list[Row] = []
    if kind is not None and call.text("status", "Trading") == "Trading":
        for one in _listed(venue, call, kind):
            listing = venue.core.listing(one.instrument_id)
            spot = kind is InstrumentKind.SPOT
            rows.append(
                render_market.spot_instrument(listing)
                if spot
                else render_market.linear_instrument(listing, venue.core.config.start_ns)
            )
    result: Row = {"category": category, "list": rows}
    if kind is not InstrumentKind.SPOT:
        result["nextPageCursor"] = ""
    return Answer(result)


def tickers(venue: PaperVenue, call: Call) -> Answer:
    """Of one symbol or a category."""
    kind = _kind_or_none(call)
    core = venue.now()
    listed = _listed(venue, call, kind) if kind is not None else []
    rows = [render_market.ticker(one, core.ticker(one.instrument_id)) for one in listed]
    return Answer({"category": call.text("category"), "list": rows})


def orderbook(venue: PaperVenue, call: Call) -> Answer:
    """The made book."""
    name = named(venue, call)
    core = venue.now()
    limit = call.integer("limit", 1 if call.kind() is InstrumentKind.SPOT else 25)
    book = core.book(name, max(1, min(limit, 1000)))
    at = core.now_ns // MS_NS
    return Answer(
        {
            "s": call.text("symbol"),
            "b": render_market.levels(book.bids),
            "a": render_market.levels(book.asks),
            "ts": at,
            "u": at,
            "seq": at,
            "cts": at,
        }
    )


def kline(venue: PaperVenue, call: Call, endpoint: str = "kline") -> Answer:
    """Candles that open in [start, end], newest first."""
    if call.text("category", "") == "":
        call = Call({**call.values, "category": "linear"})
    name = named(venue, call)
    words = {"D": DAY_MINUTES, "W": 7 * DAY_MINUTES, "M": 30 * DAY_MINUTES}
    word = call.text("interval")
    interval = words.get(word) or call.integer("interval", 0)
    if interval < 0:
        raise Refusal("10001", "params error: interval is invalid")
    step = interval * MINUTE_NS
    limit = max(1, min(call.integer("limit", 200), 1000))
    core = venue.now()
    end = min(call.integer("end", core.now_ns // MS_NS) * MS_NS, core.now_ns)
    start = max(call.integer("start", 0) * MS_NS, end - (limit - 1) * step)
    try:
        candles = core.candles(name, step, start, end, of=_KINDS_OF_KLINE[endpoint])
    except InputError as error:
        raise Refusal("10001", f"params error: {error.message}") from None
    rows = [render_market.candle(one) for one in reversed(candles)]
    if endpoint != "kline":
        rows = [row[:5] for row in rows]
    return Answer({"category": call.text("category"), "symbol": call.text("symbol"), "list": rows})


def mark_kline(venue: PaperVenue, call: Call) -> Answer:
    """Mark price candles."""
    return kline(venue, call, "mark-price-kline")


def index_kline(venue: PaperVenue, call: Call) -> Answer:
    """Index price candles."""
    return kline(venue, call, "index-price-kline")


def funding_history(venue: PaperVenue, call: Call) -> Answer:
    """Settled rates, newest first; only a start without an end is an error at the venue."""
    if call.text("startTime", "") and not call.text("endTime", ""):
        raise Refusal("10001", "params error: endTime is required")
    name = named(venue, call)
    core = venue.now()
    start = call.integer("startTime", 0) * MS_NS
    end = call.integer("endTime", core.now_ns // MS_NS) * MS_NS
    limit = max(1, min(call.integer("limit", 200), 200))
    settled = core.settlements(name, start, end)[-limit:]
    rows = [
        {
            "symbol": call.text("symbol"),
            "fundingRate": plain(one.rate),
            "fundingRateTimestamp": ms(one.market_ns),
        }
        for one in reversed(settled)
    ]
    return Answer({"category": call.text("category"), "list": rows})


def risk_limit(venue: PaperVenue, call: Call) -> Answer:
    """Position tiers in pages of 15 symbols."""
    kind = _kind_or_none(call)
    if kind is not InstrumentKind.PERPETUAL:
        return Answer({"category": call.text("category"), "list": [], "nextPageCursor": ""})
    listed = _listed(venue, call, kind)
    first = call.integer("cursor", 0)
    tables = venue.core.tables(0).positions
    rows = [
        row
        for one in listed[first : first + 15]
        for row in render_market.risk_limits(one.symbol, tables.get(one.instrument_id, ()))
    ]
    more = str(first + 15) if first + 15 < len(listed) else ""
    return Answer({"category": "linear", "list": rows, "nextPageCursor": more})


def collateral(venue: PaperVenue, call: Call) -> Answer:
    """Tiered ratios; its retExtInfo is a text, as at the venue."""
    wanted = call.text("currency", "")
    tables = venue.core.tables(0).collateral
    rows = [render_market.collateral(one) for coin, one in tables.items() if wanted in ("", coin)]
    return Answer({"list": rows}, extra="{}")


def position_tiers(venue: PaperVenue, call: Call) -> Answer:
    """Margin tiers of borrowing; its retExtInfo is a text, as at the venue."""
    wanted = call.text("currency", "")
    tables = venue.core.tables(0).borrow
    rows = [render_market.borrow_tiers(one) for coin, one in tables.items() if wanted in ("", coin)]
    return Answer({"list": rows}, extra="{}")


def margin_data(venue: PaperVenue, call: Call) -> Answer:
    """Borrow data per coin for the one VIP level there is here."""
    wanted = call.text("currency", "")
    order = venue.core.liquidation_order()
    tables = venue.core.tables(0)
    rows = [
        {
            "currency": coin,
            "borrowable": loan.borrowable,
            "collateralRatio": _first_ratio(venue, coin),
            "hourlyBorrowRate": plain(loan.hourly_rate),
            "liquidationOrder": str(order.get(coin, "")),
            "marginCollateral": coin in tables.collateral,
            "maxBorrowingAmount": "" if loan.quantity_max is None else plain(loan.quantity_max),
        }
        for coin, loan in tables.borrow.items()
        if wanted in ("", coin)
    ]
    return Answer({"vipCoinList": [{"vipLevel": "No VIP", "list": rows}]})


def _first_ratio(venue: PaperVenue, coin: Coin) -> str:
    table = venue.core.tables(0).collateral.get(coin)
    return plain(table.tiers[0].ratio) if table is not None and table.tiers else "0"


def coin_info(venue: PaperVenue, call: Call) -> Answer:
    """Every coin, with one made chain each (signed at the venue; SDKs build their currency lists from it)."""
    chain: Mapping[str, object] = {
        "chain": "PAPER",
        "chainType": "PAPER",
        "chainDeposit": "0",
        "chainWithdraw": "0",
        "confirmation": "1",
        "withdrawFee": "0",
        "withdrawMin": "0",
        "depositMin": "0",
        "minAccuracy": "8",
    }
    wanted = call.text("coin", "")
    coins = sorted({coin for one in venue.core.instruments() for coin in (one.base, one.quote)})
    rows = [
        {"name": coin, "coin": coin, "remainAmount": "0", "chains": [dict(chain)]}
        for coin in coins
        if wanted in ("", coin)
    ]
    return Answer({"rows": rows})
