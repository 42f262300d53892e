"""Accounts to value, and a rule that counts: shared by the tests of the margin rules."""

from collections.abc import Mapping
from decimal import Decimal

from portfolio.core.account import Balance, Position
from portfolio.core.instrument import Instrument, InstrumentKind, instrument_id
from portfolio.core.margin.bybit_uta import value
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.margin.valuation import Valuation
from portfolio.core.market import Prices
from portfolio.core.names import Coin, InstrumentId, Narrative, PairId, Venue
from portfolio.core.orders import Side
from portfolio.core.pairs import PairLegs, PairSpec
from portfolio.core.risk import (
    BorrowTable,
    BorrowTier,
    CollateralTable,
    CollateralTier,
    FeeRates,
    LeveragePolicy,
    PositionTier,
    RiskTables,
)

D = Decimal
BYBIT = Venue("bybit")
USDT = Coin("USDT")


def perp(base: str, quote: str = "USDT", *, venue: Venue = BYBIT) -> InstrumentId:
    return instrument_id(venue, InstrumentKind.PERPETUAL, f"{base}{quote}")


def spot(base: str, quote: str = "USDT", *, venue: Venue = BYBIT) -> InstrumentId:
    return instrument_id(venue, InstrumentKind.SPOT, f"{base}{quote}")


def instrument(
    kind: InstrumentKind,
    base: str,
    quote: str = "USDT",
    *,
    lot: str = "0.001",
    marginable: bool = True,
    venue: Venue = BYBIT,
) -> Instrument:
    perpetual = kind is InstrumentKind.PERPETUAL
    return Instrument(
        instrument_id=instrument_id(venue, kind, f"{base}{quote}"),
        venue=venue,
        kind=kind,
        symbol=f"{base}{quote}",
        base=Coin(base),
        quote=Coin(quote),
        tick_size=D("0.1"),
        lot_size=D(lot),
        quantity_min=D(lot),
        notional_min=D(5),
        quantity_max=None,
        market_quantity_max=None,
        funding_interval_minutes=480 if perpetual else None,
        leverage_max=D(100) if perpetual else None,
        marginable=marginable and not perpetual,
    )


def both(
    *bases: str, quote: str = "USDT", lot: str = "0.001", venue: Venue = BYBIT
) -> dict[InstrumentId, Instrument]:
    rows = [instrument(kind, base, quote, lot=lot, venue=venue) for base in bases for kind in InstrumentKind]
    return {row.instrument_id: row for row in rows}


def tier(to: str, mmr: str, leverage: str, deduction: str = "0") -> PositionTier:
    return PositionTier(D(to), 1 / D(leverage), D(mmr), D(leverage), D(deduction))


def chain(*rows: tuple[str, str, str]) -> tuple[PositionTier, ...]:
    """Tiers of (limit, MMR, maximum leverage), deductions by the venue's recursion."""
    made: list[PositionTier] = []
    for to, mmr, leverage in rows:
        deduction = D(0)
        if made:
            last = made[-1]
            deduction = last.notional_to * (D(mmr) - last.maintenance_rate) + last.deduction
        made.append(PositionTier(D(to), 1 / D(leverage), D(mmr), D(leverage), deduction))
    return tuple(made)


def ratios(coin: str, *rows: tuple[str, str | None, str], enabled: bool = True) -> CollateralTable:
    return CollateralTable(
        Coin(coin),
        enabled,
        tuple(
            CollateralTier(D(low), None if high is None else D(high), D(ratio)) for low, high, ratio in rows
        ),
    )


def flat_ratio(coin: str, ratio: str) -> CollateralTable:
    return ratios(coin, ("0", None, ratio))


def lending(
    coin: str,
    imr: str = "0.1",
    mmr: str = "0.04",
    *,
    most: str | None = None,
    borrowable: bool = True,
    tiers: tuple[BorrowTier, ...] | None = None,
) -> BorrowTable:
    rows = tiers or (BorrowTier(None, D(imr), D(mmr), D(10)),)
    return BorrowTable(Coin(coin), borrowable, D("0.00001"), None if most is None else D(most), rows)


#: Two tiers within reach of the tests' sizes, then a wide one.
TIERS = chain(("300000", "0.0033", "100"), ("2000000", "0.005", "75"), ("80000000", "0.02", "25"))
FEES = FeeRates(maker=D("0.0002"), taker=D("0.00055"))


def tables(
    instruments: Mapping[InstrumentId, Instrument],
    *,
    collateral: Mapping[str, str] | None = None,
    positions: Mapping[InstrumentId, tuple[PositionTier, ...]] | None = None,
    fees: FeeRates = FEES,
) -> RiskTables:
    """Complete tables: ratio 0.95 and lending for every coin unless `collateral` says otherwise."""
    coins = {row.base for row in instruments.values()} | {row.quote for row in instruments.values()}
    wanted = {"USDT": "1", "USDC": "1"} | dict(collateral or {})
    return RiskTables(
        seen_wire_ns=0,
        collateral={coin: flat_ratio(coin, wanted.get(coin, "0.95")) for coin in sorted(coins)},
        borrow={coin: lending(coin) for coin in sorted(coins)},
        positions={
            key: (positions or {}).get(key, TIERS)
            for key, row in instruments.items()
            if row.kind is InstrumentKind.PERPETUAL
        },
        fees=dict.fromkeys(instruments, fees),
    )


def balance(
    coin: str, wallet: str | Decimal, borrow: str | Decimal = "0", locked: str | Decimal = "0"
) -> Balance:
    return Balance(Coin(coin), D(wallet), D(borrow), D(0), D(locked))


def position(
    key: InstrumentId, quantity: str | Decimal, entry: str | Decimal, leverage: str = "10"
) -> Position:
    return Position(key, D(quantity), D(entry), D(entry), D(leverage))


def order(
    key: InstrumentId, side: Side, quantity: str, price: str, *, reduce_only: bool = False
) -> RestingOrder:
    return RestingOrder(key, side, D(quantity), D(price), reduce_only)


def account(
    *,
    balances: tuple[Balance, ...] = (),
    positions: tuple[Position, ...] = (),
    orders: tuple[RestingOrder, ...] = (),
    usd: Mapping[str, str | Decimal] | None = None,
    marks: Mapping[InstrumentId, str | Decimal] | None = None,
    instruments: Mapping[InstrumentId, Instrument] | None = None,
    risk: RiskTables | None = None,
    policy: LeveragePolicy | None = None,
) -> MarginState:
    """A state; a perpetual's mark is its base coin's USD price unless `marks` says otherwise."""
    known = both("BTC") if instruments is None else instruments
    prices = {Coin(coin): D(price) for coin, price in (usd or {}).items()}
    found = {
        key: prices[row.base]
        for key, row in known.items()
        if row.kind is InstrumentKind.PERPETUAL and row.base in prices
    }
    found |= {key: D(price) for key, price in (marks or {}).items()}
    return MarginState(
        balances=balances,
        positions=positions,
        orders=orders,
        prices=Prices(marks=found, usd=prices),
        tables=risk or tables(known),
        instruments=known,
        policy=policy or LeveragePolicy(),
    )


def carry_pair(base: str, narrative: str | None = None, *, reverse: bool = False) -> PairSpec:
    """`SOL@bybit`: long spot, short perpetual; or the reverse."""
    legs = (perp(base), spot(base)) if reverse else (spot(base), perp(base))
    return PairSpec(
        pair_id=PairId(f"{base}@bybit:reverse" if reverse else f"{base}@bybit"),
        coin=Coin(base),
        narrative=Narrative(narrative or base.lower()),
        long_leg=legs[0],
        short_leg=legs[1],
        lead_leg=perp(base),
    )


def flat(pair: PairSpec) -> PairLegs:
    return PairLegs(pair.pair_id, D(0), D(0))


class Asked:
    """Bybit's exact rule, counting how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(
        self, state: MarginState, *, reference: bool = False, extrapolate: bool = False
    ) -> Valuation:
        self.times += 1
        return value(state, reference=reference, extrapolate=extrapolate)
