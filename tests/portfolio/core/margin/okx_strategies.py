"""Random OKX accounts for hypothesis: everything that its rules read, within tables that hold it."""

from decimal import Decimal

from hypothesis import strategies as st

from portfolio.core.account import Balance, Position
from portfolio.core.instrument import InstrumentKind
from portfolio.core.margin.okx_tables import OkxSizeTier, OkxTables, OkxUnit
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.market import Prices
from portfolio.core.names import Coin
from portfolio.core.orders import Side
from portfolio.core.risk import FeeRates, LeveragePolicy, RiskTables
from tests.portfolio.core.margin.okx_accounts import coin_tiers, pair
from tests.portfolio.core.margin.strategies import borrow_tables, collateral_tables, decimals

D = Decimal
BASES = ("AAA", "BBB", "CCC")
QUOTES = ("USDT", "USDC")
INSTRUMENTS = {row.instrument_id: row for base in BASES for quote in QUOTES for row in pair(base, quote)}
PERPETUALS = [key for key, row in INSTRUMENTS.items() if row.kind is InstrumentKind.PERPETUAL]
COINS = [Coin(name) for name in (*BASES, *QUOTES)]
TIERS = coin_tiers(
    ("50", "0.01", "0.004", "100"),
    ("400", "0.02", "0.01", "50"),
    ("1500", "0.05", "0.02", "20"),
    ("1e9", "0.2", "0.1", "5"),
)


@st.composite
def units(draw: st.DrawFn) -> OkxUnit:
    rises = sorted(draw(st.sets(decimals("0.01", "0.3", 2), min_size=1, max_size=3)))
    steps = sorted(draw(st.sets(decimals("1000", "90000", 0), max_size=3)))
    factors = sorted(draw(st.lists(decimals("1", "12", 1), min_size=4, max_size=4)))
    return OkxUnit(
        shocks=(*(-move for move in reversed(rises)), D(0), *rises),
        extreme=draw(decimals("0.2", "0.6", 2)),
        extreme_share=D("0.5"),
        basis_rate=draw(decimals("0", "0.02", 4)),
        reduction_rate=draw(decimals("0.001", "0.05", 4)),
        reduction_tiers=tuple(
            OkxSizeTier(to, factor) for to, factor in zip([*steps, None], factors, strict=False)
        ),
    )


@st.composite
def venue_tables(draw: st.DrawFn) -> OkxTables:
    levers = st.sampled_from([D(1), D(3), D(5), D(10)])
    rates = sorted(draw(st.lists(decimals("0", "0.1", 3), min_size=2, max_size=2)))
    return OkxTables(
        spot_taker_fee=draw(decimals("0", "0.002", 4)),
        borrow_leverage=draw(st.dictionaries(st.sampled_from(COINS), levers)),
        units={Coin(base): draw(units()) for base in BASES},
        spot_in_use_max=draw(st.dictionaries(st.sampled_from(COINS), decimals("0", "400", 2))),
        hedge_tiers=(
            OkxSizeTier(draw(decimals("1", "50000", 0)), rates[0]),
            OkxSizeTier(draw(st.sampled_from([None, D("60000")])), rates[1]),
        ),
    )


@st.composite
def balances(draw: st.DrawFn) -> tuple[Balance, ...]:
    rows = []
    zero = st.just(D(0))
    for coin in draw(st.permutations(COINS)):
        if draw(st.booleans()):
            debt, locked, interest = (draw(st.one_of(zero, zero, decimals("0", "500", 4))) for _ in range(3))
            rows.append(Balance(coin, draw(decimals("-300", "2000", 4)), debt, interest, locked))
    return tuple(rows)


@st.composite
def okx_states(draw: st.DrawFn, *, orders: bool = True) -> MarginState:
    positions = tuple(
        Position(
            key,
            draw(decimals("0.001", "900", 3)) * draw(st.sampled_from([1, -1])),
            draw(decimals("0.5", "900", 4)),
            D(1),
            draw(st.sampled_from([D(1), D(3), D(10), D("12.5"), D(100)])),
        )
        for key in draw(st.lists(st.sampled_from(PERPETUALS), unique=True, max_size=4))
    )
    resting = tuple(
        RestingOrder(
            key,
            draw(st.sampled_from(Side)),
            draw(decimals("0", "400", 3)),
            draw(decimals("0.5", "900", 2)),
            draw(st.booleans()) and key in PERPETUALS,
        )
        for key in (draw(st.lists(st.sampled_from(sorted(INSTRUMENTS)), max_size=5)) if orders else ())
    )
    usd = {coin: draw(decimals("0.5", "900", 4)) for coin in COINS if coin not in QUOTES}
    usd |= {Coin(quote): draw(decimals("0.9", "1.1", 4)) for quote in QUOTES}
    listed = [*draw(st.sets(st.sampled_from(COINS))), Coin("USDT")]
    taker = draw(st.sampled_from([D("0.0005"), D("0.001"), D("-0.0001")]))
    return MarginState(
        balances=draw(balances()),
        positions=positions,
        orders=resting,
        prices=Prices(marks={key: draw(decimals("0.5", "900", 4)) for key in PERPETUALS}, usd=usd),
        tables=RiskTables(
            seen_wire_ns=0,
            collateral={coin: draw(collateral_tables(coin)) for coin in listed},
            borrow={coin: draw(borrow_tables(coin)) for coin in COINS},
            positions=dict.fromkeys(PERPETUALS, TIERS),
            fees=dict.fromkeys(INSTRUMENTS, FeeRates(D("0.0002"), taker)),
            venue=draw(venue_tables()),
        ),
        instruments=INSTRUMENTS,
        policy=LeveragePolicy(
            draw(st.sampled_from([D(2), D(10), D(15)])), draw(st.sampled_from([D(3), D(10)]))
        ),
    )
