"""Instruments and risk tables of the Bybit paper venue.

Sources: reference notes on Bybit v5 (captures of 2026-09, the venue's own documents and help centre). What
they do not have is made by a rule that stands at the table, and its name begins with `MADE_`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal
from types import MappingProxyType

from portfolio.core.decimals import ONE, ZERO
from portfolio.core.errors import UnknownNameError
from portfolio.core.instrument import Instrument, InstrumentKind, instrument_id
from portfolio.core.names import Coin, InstrumentId, Venue
from portfolio.core.risk import (
    BorrowTable,
    BorrowTier,
    CollateralTable,
    CollateralTier,
    FeeRates,
    PositionTier,
    RiskTables,
)

USDT = Coin("USDT")
BYBIT = Venue("bybit")
_RATE_STEP = Decimal("0.0001")

#: Non-VIP rates (fee-rate endpoint's defaults).
LINEAR_FEES = FeeRates(maker=Decimal("0.0002"), taker=Decimal("0.00055"))
SPOT_FEES = FeeRates(maker=Decimal("0.001"), taker=Decimal("0.001"))


@dataclass(frozen=True, slots=True)
class Listing:
    """An instrument and what the paper venue needs to run its market."""

    instrument: Instrument
    #: riskParameters.priceLimitRatioX and Y: how far from mark (index for spot) an order may be priced.
    price_limit_x: Decimal
    price_limit_y: Decimal
    #: MADE: size of the made book's first level, in quote, and half of its spread, a fraction.
    top_quote: Decimal
    half_spread: Decimal
    #: MADE: open interest at 1 x price, in base coins; 0 for spot.
    open_interest: Decimal
    #: The coin whose rows of the tables below this one follows: usually its own.
    model: Coin


@dataclass(frozen=True, slots=True)
class _Market:
    """One coin's row of the tables below; texts, so that the table reads like one."""

    linear_tick: str
    linear_lot: str
    linear_max: str
    linear_market_max: str
    spot_tick: str
    spot_lot: str
    spot_max: str
    leverage_max: str
    limit_x: str
    limit_y: str
    top_quote: str
    half_spread: str
    open_interest: str


#: Ticks and lots as the venue lists them (BTC: captured; the others: as their price series print). Size
#: caps are the venue's for BTC and MADE in proportion for the others. Depth, spread and open interest are
#: MADE: they order the coins by their usual liquidity.
_MARKETS: Mapping[Coin, _Market] = {
    Coin("BTC"): _Market(
        "0.1", "0.001", "1190", "500", "0.01", "0.000001", "83", "150", "0.01", "0.02", "250000", "0.00001",
        "55000"
    ),
    Coin("ETH"): _Market(
        "0.01", "0.01", "7240", "2800", "0.01", "0.00001", "1230", "100", "0.01", "0.02", "150000",
        "0.000015", "500000"
    ),
    Coin("SOL"): _Market(
        "0.01", "0.1", "79700", "16300", "0.01", "0.001", "9800", "100", "0.02", "0.04", "80000", "0.00004",
        "6000000"
    ),
    Coin("XRP"): _Market(
        "0.0001", "0.1", "3500000", "1300000", "0.0001", "0.01", "900000", "100", "0.02", "0.04", "60000",
        "0.00006", "250000000",
    ),
    Coin("DOGE"): _Market(
        "0.00001", "1", "9000000", "3000000", "0.00001", "0.1", "2700000", "100", "0.02", "0.04", "50000",
        "0.00007", "1200000000",
    ),
    Coin("BNB"): _Market(
        "0.05", "0.01", "2300", "900", "0.1", "0.0001", "800", "100", "0.02", "0.04", "40000", "0.0001",
        "400000"
    ),
    Coin("AVAX"): _Market(
        "0.001", "0.1", "42000", "14000", "0.01", "0.001", "12000", "75", "0.02", "0.04", "30000", "0.00012",
        "4000000",
    ),
}  # fmt: skip
#: MADE: spot is thinner than the perpetual and its spread wider.
MADE_SPOT_DEPTH = Decimal("0.5")
MADE_SPOT_SPREAD = Decimal("1.5")


def listings(
    coins: Iterable[Coin],
    intervals: Mapping[Coin, int | None],
    models: Mapping[Coin, Coin] = MappingProxyType({}),
) -> dict[InstrumentId, Listing]:
    """Spot and perpetual of each coin, by instrument id.

    Args:
        coins: What to list.
        intervals: Minutes between two settlements.
        models: MADE coins, each listed by the rows of another one.

    Raises:
        UnknownNameError: a coin without a row in the tables.
    """
    found: dict[InstrumentId, Listing] = {}
    for coin in coins:
        model = models.get(coin, coin)
        if model not in _MARKETS:
            raise UnknownNameError(
                f"The paper venue does not list {model}.", field="coin", allowed=", ".join(_MARKETS)
            )
        for listing in (_linear(coin, model, intervals.get(coin)), _spot(coin, model)):
            found[listing.instrument.instrument_id] = listing
    return found


def _linear(coin: Coin, model: Coin, interval_minutes: int | None) -> Listing:
    market = _MARKETS[model]
    symbol = f"{coin}USDT"
    return Listing(
        Instrument(
            instrument_id=instrument_id(BYBIT, InstrumentKind.PERPETUAL, symbol),
            venue=BYBIT,
            kind=InstrumentKind.PERPETUAL,
            symbol=symbol,
            base=coin,
            quote=USDT,
            tick_size=Decimal(market.linear_tick),
            lot_size=Decimal(market.linear_lot),
            quantity_min=Decimal(market.linear_lot),
            notional_min=Decimal(5),
            quantity_max=Decimal(market.linear_max),
            market_quantity_max=Decimal(market.linear_market_max),
            funding_interval_minutes=interval_minutes,
            leverage_max=Decimal(market.leverage_max),
            marginable=False,
        ),
        Decimal(market.limit_x),
        Decimal(market.limit_y),
        Decimal(market.top_quote),
        Decimal(market.half_spread),
        Decimal(market.open_interest),
        model,
    )


def _spot(coin: Coin, model: Coin) -> Listing:
    market = _MARKETS[model]
    symbol = f"{coin}USDT"
    most = Decimal(market.spot_max)
    return Listing(
        Instrument(
            instrument_id=instrument_id(BYBIT, InstrumentKind.SPOT, symbol),
            venue=BYBIT,
            kind=InstrumentKind.SPOT,
            symbol=symbol,
            base=coin,
            quote=USDT,
            tick_size=Decimal(market.spot_tick),
            lot_size=Decimal(market.spot_lot),
            quantity_min=Decimal(market.spot_lot),
            notional_min=Decimal(5),
            quantity_max=most,
            market_quantity_max=most / 2,
            funding_interval_minutes=None,
            leverage_max=None,
            marginable=True,
        ),
        Decimal(market.limit_x),
        Decimal(market.limit_y),
        Decimal(market.top_quote) * MADE_SPOT_DEPTH,
        Decimal(market.half_spread) * MADE_SPOT_SPREAD,
        ZERO,
        model,
    )


#: BTCUSDT: (limit in USDT, MMR, maximum leverage). First three rows: captures of 2026-09-23/25. The rest: the
#: help centre's older full table, whose limits and rates continue the captured ones; with the new first tier
#: every deduction is 510 higher (inference: the recursion below yields exactly that).
_BTC_LADDER = (
    ("300000", "0.0033", "150"),
    ("2000000", "0.005", "100"),
    ("2600000", "0.0056", "90"),
    ("3200000", "0.0063", "80"),
    ("3800000", "0.0067", "75"),
    ("4400000", "0.0071", "70"),
    ("5000000", "0.0077", "65"),
    ("5600000", "0.0091", "55"),
    ("8500000", "0.01", "50"),
    ("10000000", "0.013", "45"),
    ("14000000", "0.015", "40"),
    ("20000000", "0.016", "35"),
    ("28000000", "0.02", "30"),
    ("38000000", "0.025", "25"),
    ("50000000", "0.029", "20"),
    ("55000000", "0.03", "19"),
    ("60000000", "0.035", "18"),
    ("65000000", "0.036", "17"),
    ("70000000", "0.038", "16"),
    ("75000000", "0.04", "15"),
    ("80000000", "0.045", "14"),
)
#: Tier 1 as captured: ETHUSDT 900 000 and SOLUSDT 50 000 at 0.005.
_FIRST_TIER: Mapping[Coin, tuple[str, str]] = {
    Coin("ETH"): ("900000", "0.005"),
    Coin("SOL"): ("50000", "0.005"),
}
#: MADE: no capture of these. AVAX starts where ADAUSDT was captured (200 000 at 0.0075).
MADE_FIRST_TIER: Mapping[Coin, tuple[str, str]] = {
    Coin("XRP"): ("200000", "0.005"),
    Coin("DOGE"): ("200000", "0.005"),
    Coin("BNB"): ("200000", "0.005"),
    Coin("AVAX"): ("200000", "0.0075"),
}


def position_tiers(coin: Coin) -> tuple[PositionTier, ...]:
    """Tiers of the coin's perpetual; deductions by the venue's recursion, exactly.

    MADE for every coin but BTC, above tier 1: BTC's older ladder (first limit 2 000 000 at 0.005) with its
    limits scaled to the coin's first limit and its rates shifted to the coin's first rate.
    """
    if coin == "BTC":
        return _with_deductions((Decimal(a), Decimal(b), Decimal(c)) for a, b, c in _BTC_LADDER)
    limit, rate = _FIRST_TIER.get(coin) or MADE_FIRST_TIER[coin]
    ladder = _BTC_LADDER[1:]
    scale = Decimal(limit) / Decimal(ladder[0][0])
    shift = Decimal(rate) - Decimal(ladder[0][1])
    most = Decimal(_MARKETS[coin].leverage_max)
    return _with_deductions(
        (Decimal(to) * scale, Decimal(mmr) + shift, min(Decimal(leverage), most))
        for to, mmr, leverage in ladder
    )


def _with_deductions(rows: Iterable[tuple[Decimal, Decimal, Decimal]]) -> tuple[PositionTier, ...]:
    """deduction(n) = limit(n-1) * (MMR(n) - MMR(n-1)) + deduction(n-1); IMR = 1 / leverage, 4 digits."""
    tiers: list[PositionTier] = []
    for limit, rate, leverage in rows:
        before = tiers[-1] if tiers else None
        deduction = (
            before.notional_to * (rate - before.maintenance_rate) + before.deduction if before else ZERO
        )
        initial = (ONE / leverage).quantize(_RATE_STEP, rounding=ROUND_DOWN)
        tiers.append(PositionTier(limit, initial, rate, leverage, deduction))
    return tuple(tiers)


#: The help centre's illustrative table for BTC: quantity up to, ratio. Nothing counts beyond the last.
_BTC_COLLATERAL = (("10", "0.98"), ("20", "0.95"), ("30", "0.90"), ("40", "0.85"), ("50", "0.80"))
#: MADE: first ratio and size of each bracket in coins (about what 10 BTC were worth); ratios fall by BTC's
#: steps.
MADE_COLLATERAL: Mapping[Coin, tuple[str, str]] = {
    Coin("ETH"): ("0.97", "200"),
    Coin("SOL"): ("0.95", "4000"),
    Coin("XRP"): ("0.93", "1000000"),
    Coin("DOGE"): ("0.90", "4000000"),
    Coin("BNB"): ("0.95", "1000"),
    Coin("AVAX"): ("0.90", "20000"),
}


def collateral_table(coin: Coin) -> CollateralTable:
    """USDT counts in full; BTC by the help centre's example; MADE for the others."""
    if coin == USDT:
        return CollateralTable(coin, enabled=True, tiers=(CollateralTier(ZERO, None, ONE),))
    if coin == "BTC":
        rows = [(Decimal(to), Decimal(ratio)) for to, ratio in _BTC_COLLATERAL]
    else:
        ratio, size = MADE_COLLATERAL[coin]
        first = Decimal(_BTC_COLLATERAL[0][1])
        rows = [
            (Decimal(size) * number, Decimal(ratio) - (first - Decimal(btc_ratio)))
            for number, (_, btc_ratio) in enumerate(_BTC_COLLATERAL, start=1)
        ]
    tiers: list[CollateralTier] = []
    start = ZERO
    for to, ratio_of in rows:
        tiers.append(CollateralTier(start, to, ratio_of))
        start = to
    tiers.append(CollateralTier(start, None, ZERO))
    return CollateralTable(coin, enabled=True, tiers=tuple(tiers))


#: BTC: hourly rate and first tier (390 coins at 0.2 / 0.04) from the documents' samples. USDT's margin
#: rates are those of the worked example (0.1 / 0.04). MADE: every other rate, and every quantity but BTC's
#: tiers.
_BORROW: Mapping[Coin, tuple[str, str, tuple[tuple[str | None, str, str], ...]]] = {
    USDT: ("0.000006", "8000000", (("4000000", "0.1", "10"), ("6000000", "0.2", "5"), (None, "0.5", "2"))),
    Coin("BTC"): (
        "0.000001502122",
        "30",
        (("390", "0.2", "5"), ("391", "0.25", "4"), ("392", "0.33333333", "3"), (None, "0.5", "2")),
    ),
    Coin("ETH"): ("0.0000025", "600", (("6000", "0.2", "5"), (None, "0.5", "2"))),
    Coin("SOL"): ("0.0000060", "8000", (("80000", "0.2", "5"), (None, "0.5", "2"))),
    Coin("XRP"): ("0.0000045", "1500000", (("15000000", "0.2", "5"), (None, "0.5", "2"))),
    Coin("DOGE"): ("0.0000070", "5000000", (("50000000", "0.2", "5"), (None, "0.5", "2"))),
    Coin("BNB"): ("0.0000080", "1500", (("15000", "0.2", "5"), (None, "0.5", "2"))),
    Coin("AVAX"): ("0.0000080", "20000", (("200000", "0.25", "4"), (None, "0.5", "2"))),
}
_BORROW_MAINTENANCE = Decimal("0.04")


def borrow_table(coin: Coin) -> BorrowTable:
    """See `_BORROW`."""
    hourly, most, rows = _BORROW[coin]
    tiers = tuple(
        BorrowTier(None if to is None else Decimal(to), Decimal(rate), _BORROW_MAINTENANCE, Decimal(leverage))
        for to, rate, leverage in rows
    )
    return BorrowTable(
        coin, borrowable=True, hourly_rate=Decimal(hourly), quantity_max=Decimal(most), tiers=tiers
    )


#: The venue sells collateral in this order when it repays debts by force. BTC 11 is captured; MADE otherwise.
LIQUIDATION_ORDER: Mapping[Coin, int] = {
    USDT: 1,
    Coin("BTC"): 11,
    Coin("ETH"): 12,
    Coin("SOL"): 21,
    Coin("XRP"): 22,
    Coin("BNB"): 23,
    Coin("DOGE"): 31,
    Coin("AVAX"): 32,
}


def risk_tables(listed: Mapping[InstrumentId, Listing], seen_wire_ns: int = 0) -> RiskTables:
    """All tables for what is listed."""
    models = {listing.instrument.base: listing.model for listing in listed.values()} | {USDT: USDT}
    perpetuals = {
        key: listing.model
        for key, listing in listed.items()
        if listing.instrument.kind is InstrumentKind.PERPETUAL
    }
    return RiskTables(
        seen_wire_ns=seen_wire_ns,
        collateral={coin: replace(collateral_table(models[coin]), coin=coin) for coin in sorted(models)},
        borrow={coin: replace(borrow_table(models[coin]), coin=coin) for coin in sorted(models)},
        positions={key: position_tiers(model) for key, model in perpetuals.items()},
        fees={key: LINEAR_FEES if key in perpetuals else SPOT_FEES for key in listed},
    )
