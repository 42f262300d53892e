"""Instruments and risk tables of the three account modes for history: what a backtest runs on.

No archive holds the tables of the past, so today's stand for all years, and where a venue does not publish
one it is MADE by the rule that stands at the table. Bybit's are those of the paper venue. Binance: brackets
of BTC, ETH and SOL as read in July 2026 and collateral rates of the announcements (reference notes on
Portfolio Margin, 5.6 and 5.7). OKX: first tiers and discounts as recorded (reference notes on OKX, 5.1).

Sizes of a few hundred thousand USD stay in the first tiers, where the venues differ least from each other and
from their own past; a larger book meets the MADE part.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from exchanges.paper import bybit_tables
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.errors import InputError
from portfolio.core.instrument import Instrument, InstrumentKind, instrument_id
from portfolio.core.margin.okx_tables import OkxTables
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
BYBIT, BINANCE, OKX = Venue("bybit"), Venue("binance"), Venue("okx")
VENUES = (BINANCE, BYBIT, OKX)
#: Taken where the lot does not matter: quantities of a backtest are not rounded.
_STEP = Decimal("0.00000001")

#: Binance USD-M brackets: (cap in USDT, MMR, maximum leverage). Real: BTC, ETH, SOL.
_BRACKETS: Mapping[Coin, tuple[tuple[str, str, str], ...]] = {
    Coin("BTC"): (
        ("300000", "0.004", "150"), ("800000", "0.005", "100"), ("3000000", "0.0065", "75"),
        ("12000000", "0.01", "50"), ("70000000", "0.02", "25"), ("100000000", "0.025", "20"),
        ("230000000", "0.05", "10"), ("480000000", "0.1", "5"), ("600000000", "0.125", "4"),
    ),
    Coin("ETH"): (
        ("300000", "0.004", "150"), ("800000", "0.005", "100"), ("3000000", "0.0065", "75"),
        ("12000000", "0.01", "50"), ("50000000", "0.02", "25"), ("65000000", "0.025", "20"),
        ("150000000", "0.05", "10"), ("320000000", "0.1", "5"), ("400000000", "0.125", "4"),
    ),
    Coin("SOL"): (
        ("50000", "0.005", "100"), ("400000", "0.0065", "75"), ("1000000", "0.01", "50"),
        ("4000000", "0.02", "25"), ("8000000", "0.025", "20"), ("40000000", "0.05", "10"),
        ("80000000", "0.1", "5"), ("100000000", "0.125", "4"), ("200000000", "0.25", "2"),
    ),
}  # fmt: skip
#: MADE: every other coin by SOL's brackets with a tenth more maintenance margin.
MADE_BRACKET_FACTOR = Decimal("1.1")
#: Binance collateral rates: announcements for LTC, ADA, DOT; the reference notes' default for BTC, ETH, SOL.
_COLLATERAL: Mapping[Coin, str] = {
    Coin("BTC"): "0.95",
    Coin("ETH"): "0.95",
    Coin("SOL"): "0.90",
    Coin("LTC"): "0.85",
    Coin("ADA"): "0.75",
    Coin("DOT"): "0.75",
}
#: MADE: between what was announced for majors (0.85 and more) and for smaller coins (0.60 and less).
MADE_COLLATERAL = {Coin("BNB"): "0.90", Coin("XRP"): "0.85", Coin("DOGE"): "0.80", Coin("LINK"): "0.80"}
MADE_COLLATERAL_OTHERS = "0.70"
#: Margin loan of USDT: 10 % maintenance (the only published example), 10 x at the most. MADE: 5 M USDT.
_BINANCE_LOAN = BorrowTier(Decimal(5_000_000), ZERO, Decimal("0.1"), Decimal(10))

#: OKX: 1 % and 0.4 % to 100 x in the first tier of BTC and ETH (recorded).
_OKX_FIRST: Mapping[Coin, tuple[str, str, str]] = {
    Coin("BTC"): ("0.01", "0.004", "100"),
    Coin("ETH"): ("0.01", "0.004", "100"),
}
#: MADE: others start at twice that and 50 x.
MADE_OKX_FIRST = ("0.02", "0.0075", "50")
#: MADE: one tier without an end, so that a size in coins fits the prices of any year; its value in quote.
MADE_OKX_TIER_QUOTE = Decimal(2_000_000)
_ENDLESS = Decimal("1e15")
#: Discounts: BTC recorded (0.98), AVAX class 0.90 (help centre, mid-2025). MADE: the others by their size.
_DISCOUNT: Mapping[Coin, str] = {Coin("BTC"): "0.98", Coin("AVAX"): "0.88"}
MADE_DISCOUNT = {Coin("ETH"): "0.98", Coin("SOL"): "0.92", Coin("XRP"): "0.92", Coin("DOGE"): "0.90"}
MADE_DISCOUNT_OTHERS = "0.85"
#: Borrowing USDT: 10 % and 2 % in the first tier (documents' sample), then a point a step; MADE: 1 M a step.
_OKX_LOAN = (
    ("1000000", "0.1", "0.02", "10"),
    ("2000000", "0.11", "0.03", "9"),
    ("5000000", "0.2", "0.1", "5"),
)

#: Rates of a regular account today; what a backtest pays is its own fee model (venue eras). Margin rules
#: read the taker rates.
_FEES: Mapping[Venue, tuple[FeeRates, FeeRates]] = {
    BINANCE: (
        FeeRates(Decimal("0.0002"), Decimal("0.0005")),
        FeeRates(Decimal("0.001"), Decimal("0.001")),
    ),
    BYBIT: (bybit_tables.LINEAR_FEES, bybit_tables.SPOT_FEES),
    OKX: (
        FeeRates(Decimal("0.0002"), Decimal("0.0005")),
        FeeRates(Decimal("0.0008"), Decimal("0.001")),
    ),
}
#: MADE: USDT at 6 % a year; a backtest brings its own borrow rate.
_HOURLY = Decimal("0.06") / (24 * 365)


@dataclass(frozen=True, slots=True)
class AccountTables:
    """What one account trades on."""

    instruments: Mapping[InstrumentId, Instrument]
    tables: RiskTables


def account_tables(venue: Venue, coins: Iterable[Coin]) -> AccountTables:
    """Spot and perpetual of each coin against USDT, with every table that the venue's margin rule reads.

    Raises:
        InputError: a venue that no margin rule stands for.
    """
    if venue not in VENUES:
        raise InputError(f"{venue!r} has no margin rule.", field="venue", allowed=", ".join(VENUES))
    names = tuple(coins)
    instruments = {row.instrument_id: row for coin in names for row in _instruments(venue, coin)}
    perpetual, spot = _FEES[venue]
    fees = {
        key: perpetual if row.kind is InstrumentKind.PERPETUAL else spot for key, row in instruments.items()
    }
    keys = {coin: instrument_id(venue, InstrumentKind.PERPETUAL, f"{coin}USDT") for coin in names}
    tables = RiskTables(
        seen_wire_ns=0,
        collateral={coin: _collateral(venue, coin) for coin in (*names, USDT)},
        borrow={USDT: _borrow(venue)},
        positions={keys[coin]: _positions(venue, coin) for coin in names},
        fees=fees,
        venue=OkxTables(spot_taker_fee=spot.taker) if venue == OKX else None,
    )
    return AccountTables(instruments, tables)


def without_tables(venue: Venue, coins: Iterable[Coin]) -> tuple[Coin, ...]:
    """Coins of which nothing is on record for a venue, not even a class: others' tables stand for them."""
    known: set[Coin] = {
        BYBIT: {Coin("BTC"), *bybit_tables.MADE_COLLATERAL},
        BINANCE: {*_COLLATERAL, *MADE_COLLATERAL},
        OKX: {*_DISCOUNT, *MADE_DISCOUNT},
    }[venue]
    return tuple(coin for coin in coins if coin not in known)


def _instruments(venue: Venue, coin: Coin) -> tuple[Instrument, Instrument]:
    def made(kind: InstrumentKind) -> Instrument:
        symbol = f"{coin}USDT"
        linear = kind is InstrumentKind.PERPETUAL
        return Instrument(
            instrument_id=instrument_id(venue, kind, symbol),
            venue=venue,
            kind=kind,
            symbol=symbol,
            base=coin,
            quote=USDT,
            tick_size=_STEP,
            lot_size=_STEP,
            quantity_min=_STEP,
            notional_min=Decimal(5),
            quantity_max=None,
            market_quantity_max=None,
            funding_interval_minutes=480 if linear else None,
            leverage_max=_positions(venue, coin)[0].leverage_max if linear else None,
            marginable=not linear,
        )

    return made(InstrumentKind.SPOT), made(InstrumentKind.PERPETUAL)


def _model(coin: Coin) -> Coin:
    """MADE: a coin that the paper venue does not list follows AVAX, the harshest of its table."""
    return coin if coin == "BTC" or coin in bybit_tables.MADE_COLLATERAL else Coin("AVAX")


def _positions(venue: Venue, coin: Coin) -> tuple[PositionTier, ...]:
    if venue == BYBIT:
        return bybit_tables.position_tiers(_model(coin))
    return _binance_brackets(coin) if venue == BINANCE else _okx_tiers(coin)


def _binance_brackets(coin: Coin) -> tuple[PositionTier, ...]:
    known = coin in _BRACKETS
    factor = ONE if known else MADE_BRACKET_FACTOR
    tiers: list[PositionTier] = []
    for cap, rate, leverage in _BRACKETS[coin if known else Coin("SOL")]:
        maintenance = Decimal(rate) * factor
        deduction = ZERO
        if tiers:
            before = tiers[-1]
            deduction = before.deduction + before.notional_to * (maintenance - before.maintenance_rate)
        tiers.append(
            PositionTier(Decimal(cap), ONE / Decimal(leverage), maintenance, Decimal(leverage), deduction)
        )
    return tuple(tiers)


def _okx_tiers(coin: Coin) -> tuple[PositionTier, ...]:
    initial, maintenance, leverage = _OKX_FIRST.get(coin, MADE_OKX_FIRST)
    return (
        PositionTier(
            MADE_OKX_TIER_QUOTE,
            Decimal(initial),
            Decimal(maintenance),
            Decimal(leverage),
            ZERO,
            quantity_to=_ENDLESS,
        ),
    )


def _collateral(venue: Venue, coin: Coin) -> CollateralTable:
    if venue == BYBIT and coin != USDT:
        found = bybit_tables.collateral_table(_model(coin))
        return CollateralTable(coin, found.enabled, found.tiers)
    if coin == USDT:
        ratio = "1"
    elif venue == BINANCE:
        ratio = _COLLATERAL.get(coin) or MADE_COLLATERAL.get(coin, MADE_COLLATERAL_OTHERS)
    else:
        ratio = _DISCOUNT.get(coin) or MADE_DISCOUNT.get(coin, MADE_DISCOUNT_OTHERS)
    return CollateralTable(coin, enabled=True, tiers=(CollateralTier(ZERO, None, Decimal(ratio)),))


def _borrow(venue: Venue) -> BorrowTable:
    most: Decimal | None = None
    if venue == BYBIT:
        known = bybit_tables.borrow_table(USDT)
        tiers, most = known.tiers, known.quantity_max
    elif venue == BINANCE:
        tiers = (_BINANCE_LOAN,)
    else:
        tiers = tuple(BorrowTier(*(Decimal(text) for text in row)) for row in _OKX_LOAN)
    return BorrowTable(USDT, borrowable=True, hourly_rate=_HOURLY, quantity_max=most, tiers=tiers)
