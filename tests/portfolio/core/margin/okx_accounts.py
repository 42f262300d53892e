"""OKX accounts to value: builders shared by the tests of its two modes."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from portfolio.core.account import Balance, Position
from portfolio.core.instrument import Instrument, InstrumentKind, instrument_id
from portfolio.core.margin.okx_parameters import announced_units
from portfolio.core.margin.okx_tables import OkxTables
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.market import Prices
from portfolio.core.names import Coin, InstrumentId, Venue
from portfolio.core.risk import (
    BorrowTable,
    BorrowTier,
    CollateralTable,
    FeeRates,
    LeveragePolicy,
    PositionTier,
    RiskTables,
)
from tests.portfolio.core.margin import accounts

D = Decimal
OKX = Venue("okx")
#: Taker rates of a regular account: 0.05 % on swaps, 0.1 % on spot.
SWAP_FEES = FeeRates(maker=D("0.0002"), taker=D("0.0005"))
SPOT_FEES = FeeRates(maker=D("0.0008"), taker=D("0.001"))
#: Size in coins, IMR, MMR, leverage.
TIERS = (("10", "0.01", "0.004", "100"), ("50", "0.02", "0.01", "50"), ("1e9", "0.05", "0.02", "20"))


def swap(base: str, quote: str = "USDT") -> InstrumentId:
    return instrument_id(OKX, InstrumentKind.PERPETUAL, f"{base}-{quote}-SWAP")


def spot(base: str, quote: str = "USDT") -> InstrumentId:
    return instrument_id(OKX, InstrumentKind.SPOT, f"{base}-{quote}")


def pair(base: str, quote: str = "USDT") -> tuple[Instrument, Instrument]:
    """The swap and the spot instrument of a coin."""
    made = []
    for kind, key in (
        (InstrumentKind.PERPETUAL, swap(base, quote)),
        (InstrumentKind.SPOT, spot(base, quote)),
    ):
        row = accounts.instrument(kind, base, quote)
        made.append(replace(row, venue=OKX, instrument_id=key, symbol=key.rsplit(":", 1)[1]))
    return made[0], made[1]


def coin_tiers(*rows: tuple[str, str, str, str]) -> tuple[PositionTier, ...]:
    """Tiers of (size in coins, IMR, MMR, leverage)."""
    return tuple(PositionTier(D(0), D(im), D(mm), D(lever), D(0), D(size)) for size, im, mm, lever in rows)


def lending(coin: str, imr: str = "0.1", mmr: str = "0.03", most: str | None = None) -> BorrowTable:
    tier = BorrowTier(None if most is None else D(most), D(imr), D(mmr), 1 / D(imr))
    return BorrowTable(Coin(coin), borrowable=True, hourly_rate=D(0), quantity_max=None, tiers=(tier,))


def okx(
    *,
    coins: Mapping[str, str],
    usd: Mapping[str, str],
    balances: tuple[Balance, ...] = (),
    positions: tuple[Position, ...] = (),
    orders: tuple[RestingOrder, ...] = (),
    marks: Mapping[InstrumentId, str] | None = None,
    quotes: tuple[str, ...] = ("USDT",),
    collateral: Mapping[str, CollateralTable] | None = None,
    borrow: tuple[BorrowTable, ...] = (),
    tiers: tuple[PositionTier, ...] = coin_tiers(*TIERS),
    venue: OkxTables | None = None,
    policy: LeveragePolicy | None = None,
) -> MarginState:
    """An account that trades `coins` (coin -> discount rate) against `quotes`, which count at 1."""
    listed = [row for base in coins for quote in quotes for row in pair(base, quote)]
    instruments = {row.instrument_id: row for row in listed}
    prices = {Coin(coin): D(price) for coin, price in usd.items()}
    perpetuals = [row for row in listed if row.kind is InstrumentKind.PERPETUAL]
    found = {
        row.instrument_id: prices[row.base] / prices[row.quote]
        for row in perpetuals
        if row.base in prices and row.quote in prices
    }
    rates = {**dict.fromkeys(quotes, "1"), **coins}
    discounts = {Coin(coin): accounts.flat_ratio(coin, rate) for coin, rate in rates.items()}
    discounts |= {Coin(coin): table for coin, table in (collateral or {}).items()}
    loans = {Coin(coin): lending(coin) for coin in rates} | {row.coin: row for row in borrow}
    return MarginState(
        balances=balances,
        positions=positions,
        orders=orders,
        prices=Prices(marks=found | {key: D(price) for key, price in (marks or {}).items()}, usd=prices),
        tables=RiskTables(
            seen_wire_ns=0,
            collateral=discounts,
            borrow=loans,
            positions={row.instrument_id: tiers for row in perpetuals},
            fees={
                row.instrument_id: SWAP_FEES if row.kind is InstrumentKind.PERPETUAL else SPOT_FEES
                for row in listed
            },
            venue=venue or OkxTables(D("0.001"), units=announced_units(Coin(coin) for coin in coins)),
        ),
        instruments=instruments,
        policy=policy or LeveragePolicy(),
    )
