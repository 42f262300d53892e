"""Random accounts for hypothesis: everything that a rule reads, within tables that hold it."""

from decimal import Decimal

from hypothesis import strategies as st

from portfolio.core.account import Balance, Position
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.market import Prices
from portfolio.core.names import Coin
from portfolio.core.orders import Side
from portfolio.core.risk import (
    BorrowTable,
    BorrowTier,
    CollateralTable,
    CollateralTier,
    FeeRates,
    LeveragePolicy,
    RiskTables,
)
from tests.portfolio.core.margin.accounts import chain, instrument

D = Decimal
BASES = ("AAA", "BBB", "CCC")
QUOTES = ("USDT", "USDC")


def decimals(low: str, high: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(D(low), D(high), places=places, allow_nan=False, allow_infinity=False)


INSTRUMENTS = {
    row.instrument_id: row
    for row in (
        instrument(kind, base, quote) for kind in InstrumentKind for base in BASES for quote in QUOTES
    )
}
PERPETUALS = [key for key, row in INSTRUMENTS.items() if row.kind is InstrumentKind.PERPETUAL]
COINS = [Coin(name) for name in (*BASES, *QUOTES)]

#: Leverage of random positions stays below every tier's maximum, as the venue enforces.
TIERS = chain(
    ("5000", "0.01", "75"), ("50000", "0.015", "50"), ("600000", "0.03", "20"), ("1e12", "0.1", "20")
)


@st.composite
def collateral_tables(draw: st.DrawFn, coin: Coin) -> CollateralTable:
    borders = sorted(draw(st.sets(decimals("0.01", "900", 2), max_size=3)))
    starts = [D(0), *borders]
    ends: list[Decimal | None] = [*borders, draw(st.sampled_from([None, D(1000)]))]
    tiers = tuple(
        CollateralTier(low, high, draw(decimals("0", "1", 3))) for low, high in zip(starts, ends, strict=True)
    )
    return CollateralTable(coin, draw(st.sampled_from([True, True, True, False])), tiers)


@st.composite
def borrow_tables(draw: st.DrawFn, coin: Coin) -> BorrowTable:
    borders = sorted(draw(st.sets(decimals("1", "2000", 1), max_size=2)))
    rates = sorted(draw(st.lists(decimals("0.05", "0.6", 3), min_size=3, max_size=3)))
    tiers = tuple(
        BorrowTier(to, rate, rate / 3, D(10))
        for to, rate in zip([*borders, None], rates[: len(borders) + 1], strict=True)
    )
    return BorrowTable(coin, borrowable=True, hourly_rate=D(0), quantity_max=None, tiers=tiers)


@st.composite
def balances(draw: st.DrawFn) -> tuple[Balance, ...]:
    rows = []
    for coin in draw(st.permutations(COINS)):
        if draw(st.booleans()):
            debt, locked = (draw(st.one_of(st.just(D(0)), decimals("0", "500", 4))) for _ in range(2))
            rows.append(
                Balance(coin, draw(decimals("-300", "2000", 4)), debt, draw(decimals("0", "9", 2)), locked)
            )
    return tuple(rows)


@st.composite
def resting_orders(draw: st.DrawFn) -> tuple[RestingOrder, ...]:
    return tuple(
        RestingOrder(
            key,
            draw(st.sampled_from(Side)),
            draw(decimals("0.001", "400", 3)),
            draw(decimals("0.5", "900", 2)),
            draw(st.booleans()) and key in PERPETUALS,
        )
        for key in draw(st.lists(st.sampled_from(sorted(INSTRUMENTS)), max_size=4))
    )


@st.composite
def accounts(draw: st.DrawFn, *, orders: bool = True) -> MarginState:
    positions = tuple(
        Position(
            key,
            draw(decimals("0.001", "900", 3)) * draw(st.sampled_from([1, -1])),
            draw(decimals("0.5", "900", 4)),
            D(1),
            draw(st.sampled_from([D(1), D(3), D(10), D("12.5"), D(20)])),
        )
        for key in draw(st.lists(st.sampled_from(PERPETUALS), unique=True, max_size=4))
    )
    resting = draw(resting_orders()) if orders else ()
    usd = {coin: draw(decimals("0.5", "900", 4)) for coin in COINS if coin not in QUOTES}
    usd |= {Coin(quote): draw(decimals("0.9", "1.1", 4)) for quote in QUOTES}
    taker = draw(st.sampled_from([D("0.00055"), D("0.000649"), D("0.001")]))
    return MarginState(
        balances=draw(balances()),
        positions=positions,
        orders=resting,
        prices=Prices(marks={key: draw(decimals("0.5", "900", 4)) for key in PERPETUALS}, usd=usd),
        tables=RiskTables(
            seen_wire_ns=0,
            collateral={coin: draw(collateral_tables(coin)) for coin in COINS},
            borrow={coin: draw(borrow_tables(coin)) for coin in COINS},
            positions=dict.fromkeys(PERPETUALS, TIERS),
            fees=dict.fromkeys(INSTRUMENTS, FeeRates(D("0.0002"), taker)),
        ),
        instruments=INSTRUMENTS,
        policy=LeveragePolicy(
            draw(st.sampled_from([D(2), D(10), D(15)])), draw(st.sampled_from([D(3), D(10)]))
        ),
    )
