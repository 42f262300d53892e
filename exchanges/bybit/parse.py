"""Market payloads of Bybit v5 as values. Pure; an unknown word or a missing field is a VenueError."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from exchanges.bybit.symbols import BYBIT, to_id
from exchanges.errors import unreadable
from exchanges.fields import Row, decimal, decimal_or_none, integer, mapping, rows, table, text
from portfolio.core.decimals import parse, parse_integer
from portfolio.core.errors import NumberError
from portfolio.core.instrument import Instrument, InstrumentKind
from portfolio.core.market import CoinPrice, FundingOutlook, Level, Mark, Quote
from portfolio.core.names import Coin, InstrumentId

MS_NS = 1_000_000
MINUTE_MS = 60_000
#: The coin that every traded instrument is quoted and settled in.
QUOTE = Coin("USDT")

_STATUSES = frozenset({"PreLaunch", "Trading", "Delivering", "Closed", "PreListing", "Settling"})
#: Words of `marginTrading`; True where the unified account may borrow on the pair.
_MARGINABLE = {"none": False, "normalSpotOnly": False, "utaOnly": True, "both": True}


def spot_instrument(row: Row) -> Instrument | None:
    """One row of instruments-info, category spot; None unless it trades now."""
    if not _trading(row):
        return None
    lots = mapping(row, "lotSizeFilter")
    word = text(row, "marginTrading")
    if word not in _MARGINABLE:
        raise unreadable("instruments-info", "marginTrading", word)
    lot = decimal(lots, "basePrecision")
    return Instrument(
        instrument_id=to_id("spot", text(row, "symbol")),
        venue=BYBIT,
        kind=InstrumentKind.SPOT,
        symbol=text(row, "symbol"),
        base=Coin(text(row, "baseCoin")),
        quote=Coin(text(row, "quoteCoin")),
        tick_size=decimal(mapping(row, "priceFilter"), "tickSize"),
        lot_size=lot,
        quantity_min=lot,
        notional_min=decimal(lots, "minOrderAmt"),
        quantity_max=decimal_or_none(lots, "maxLimitOrderQty"),
        market_quantity_max=decimal_or_none(lots, "maxMarketOrderQty"),
        funding_interval_minutes=None,
        leverage_max=None,
        marginable=_MARGINABLE[word],
    )


def linear_instrument(row: Row) -> Instrument | None:
    """One row of instruments-info, category linear; None unless it is a perpetual that trades now."""
    if not _trading(row) or text(row, "contractType") != "LinearPerpetual":
        return None
    lots = mapping(row, "lotSizeFilter")
    return Instrument(
        instrument_id=to_id("linear", text(row, "symbol")),
        venue=BYBIT,
        kind=InstrumentKind.PERPETUAL,
        symbol=text(row, "symbol"),
        base=Coin(text(row, "baseCoin")),
        quote=Coin(text(row, "quoteCoin")),
        tick_size=decimal(mapping(row, "priceFilter"), "tickSize"),
        lot_size=decimal(lots, "qtyStep"),
        quantity_min=decimal(lots, "minOrderQty"),
        notional_min=decimal(lots, "minNotionalValue"),
        quantity_max=decimal_or_none(lots, "maxOrderQty"),
        market_quantity_max=decimal_or_none(lots, "maxMktOrderQty"),
        funding_interval_minutes=integer(row, "fundingInterval"),
        leverage_max=decimal(mapping(row, "leverageFilter"), "maxLeverage"),
        marginable=False,
    )


def _trading(row: Row) -> bool:
    status = text(row, "status")
    if status not in _STATUSES:
        raise unreadable("instruments-info", "status", status)
    return status == "Trading"


@dataclass(frozen=True, slots=True)
class Stamp:
    """When the venue said it (market clock) and when we saw it (wire clock), integer ns."""

    market_ns: int
    wire_ns: int


def ticker_quote(name: InstrumentId, row: Row, at: Stamp) -> Quote:
    """Best bid and ask of a REST ticker; a side may be empty."""
    return Quote(
        name,
        bids=_level(row, "bid1Price", "bid1Size"),
        asks=_level(row, "ask1Price", "ask1Size"),
        event_market_ns=at.market_ns,
        seen_wire_ns=at.wire_ns,
    )


def _level(row: Row, price: str, size: str) -> tuple[Level, ...]:
    value, quantity = decimal_or_none(row, price), decimal_or_none(row, size)
    if value is None or quantity is None or value <= 0 or quantity <= 0:
        return ()
    return (Level(value, quantity),)


def ticker_mark(name: InstrumentId, row: Row, at: Stamp) -> Mark:
    """Mark and index price of a perpetual's (merged) ticker."""
    return Mark(name, decimal(row, "markPrice"), decimal(row, "indexPrice"), at.market_ns, at.wire_ns)


def ticker_funding(name: InstrumentId, row: Row, at: Stamp) -> FundingOutlook | None:
    """The running funding estimate of a perpetual's (merged) ticker; its interval is in hours there.

    None while the venue names no rate or no interval: a guessed interval would be a wrong yield.
    """
    rate, hours = decimal_or_none(row, "fundingRate"), decimal_or_none(row, "fundingIntervalHour")
    if rate is None or hours is None:
        return None
    return FundingOutlook(
        name,
        predicted_rate=rate,
        next_settlement_market_ns=integer(row, "nextFundingTime") * MS_NS,
        interval_minutes=int(hours * 60),
        event_market_ns=at.market_ns,
        seen_wire_ns=at.wire_ns,
    )


def ticker_coin(coin: Coin, row: Row, at: Stamp) -> CoinPrice | None:
    """USD price of a spot ticker's base coin as collateral; None while it is no collateral ("")."""
    usd = decimal_or_none(row, "usdIndexPrice")
    return None if usd is None else CoinPrice(coin, usd, at.market_ns, at.wire_ns)


def quote_coin_price(usd_index: Decimal, index: Decimal, at: Stamp) -> CoinPrice:
    """USD price of USDT: the venue defines a coin's USD index as its USDT index x this conversion rate.

    Source: help centre, "Glossary UTA" (read 2026-03-13). `usd_index` and `index` are of the same coin.
    """
    return CoinPrice(QUOTE, usd_index / index, at.market_ns, at.wire_ns)


def funding_history(result: Row) -> list[tuple[int, Decimal]]:
    """Settled rates as (market ns, rate), newest first as sent."""
    return [
        (integer(row, "fundingRateTimestamp") * MS_NS, decimal(row, "fundingRate"))
        for row in rows(result, "list")
    ]


def kline_closes(result: Row) -> dict[int, Decimal]:
    """Close of each candle by its START in ms."""
    closes: dict[int, Decimal] = {}
    for candle in table(result, "list"):
        try:
            closes[parse_integer(candle[0], "start")] = parse(candle[4], "close")
        except (IndexError, NumberError):
            raise unreadable("kline", "list", candle) from None
    return closes


def settlement_closes(
    times_ns: Iterable[int], closes: Mapping[int, Decimal], interval_ms: int
) -> dict[int, Decimal]:
    """Price at each instant: the close of the candle that ended there; instants without one are left out."""
    found: dict[int, Decimal] = {}
    for instant in times_ns:
        close = closes.get(instant // MS_NS - interval_ms)
        if close is not None:
            found[instant] = close
    return found
