"""Binance accounts to value: the printed examples, the printed brackets, and builders around them."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from portfolio.core.account import Balance, Position
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.names import Coin, InstrumentId, Venue
from portfolio.core.risk import BorrowTable, CollateralTable, LeveragePolicy, PositionTier
from tests.portfolio.core.margin.accounts import (
    account,
    balance,
    both,
    lending,
    perp,
    position,
    spot,
    tables,
    tier,
)

D = Decimal
BINANCE = Venue("binance")

#: Leverage, cap, MMR, cum: USD-M brackets as printed in July 2026 (the BTC table since 2025-08-19).
_FIRST = """150 300000 0.0040 0
100 800000 0.0050 300
75 3000000 0.0065 1500
50 12000000 0.0100 12000
"""
BRACKETS: Mapping[str, str] = {
    "BTC": _FIRST
    + """25 70000000 0.0200 132000
20 100000000 0.0250 482000
10 230000000 0.0500 2982000
5 480000000 0.1000 14482000
4 600000000 0.1250 26482000
3 800000000 0.1500 41482000
2 1200000000 0.2500 121482000
1 1800000000 0.5000 421482000""",
    "ETH": _FIRST
    + """25 50000000 0.0200 132000
20 65000000 0.0250 382000
10 150000000 0.0500 2007000
5 320000000 0.1000 9507000
4 400000000 0.1250 17507000
3 530000000 0.1500 27507000
2 800000000 0.2500 80507000
1 1200000000 0.5000 280507000""",
    "SOL": """100 50000 0.0050 0
75 400000 0.0065 75
50 1000000 0.0100 1475
25 4000000 0.0200 11475
20 8000000 0.0250 31475
10 40000000 0.0500 231475
5 80000000 0.1000 2231475
4 100000000 0.1250 4231475
2 200000000 0.2500 16731475
1 400000000 0.5000 66731475""",
}


def brackets(text: str) -> tuple[PositionTier, ...]:
    rows = (line.split() for line in text.splitlines())
    return tuple(tier(cap, rate, leverage, cum) for leverage, cap, rate, cum in rows)


def upm(base: str) -> InstrumentId:
    """The USD-M perpetual of a coin."""
    return perp(base, venue=BINANCE)


def margin(base: str) -> InstrumentId:
    """The cross-margin instrument of a coin."""
    return spot(base, venue=BINANCE)


def pm(
    *bases: str,
    balances: tuple[Balance, ...] = (),
    positions: tuple[Position, ...] = (),
    orders: tuple[RestingOrder, ...] = (),
    usd: Mapping[str, str] | None = None,
    marks: Mapping[InstrumentId, str] | None = None,
    rates: Mapping[str, str | CollateralTable] | None = None,
    tiers: Mapping[str, tuple[PositionTier, ...]] | None = None,
    loans: Mapping[str, BorrowTable] | None = None,
    policy: LeveragePolicy | None = None,
) -> MarginState:
    """A state over the instruments of `bases`; collateral rate 0.95 and loan MMR 10 % unless given."""
    instruments = both(*bases, venue=BINANCE)
    flat = {coin: rate for coin, rate in (rates or {}).items() if isinstance(rate, str)}
    tiered = {Coin(coin): rate for coin, rate in (rates or {}).items() if not isinstance(rate, str)}
    known = {base: brackets(BRACKETS[base]) for base in bases if base in BRACKETS} | dict(tiers or {})
    risk = tables(instruments, collateral=flat, positions={upm(base): rows for base, rows in known.items()})
    borrow = {coin: lending(coin, "0", "0.1") for coin in risk.borrow}
    borrow |= {Coin(coin): table for coin, table in (loans or {}).items()}
    return account(
        balances=balances,
        positions=positions,
        orders=orders,
        usd={"USDT": "1"} | dict(usd or {}),
        marks=marks,
        instruments=instruments,
        risk=replace(risk, collateral={**risk.collateral, **tiered}, borrow=borrow),
        policy=policy,
    )


def printed_carry(loan: str = "0", borrow_leverage: str = "10") -> MarginState:
    """50 ETH at 3000 as collateral at 0.95, 50 ETHUSDT short at a loss of 1500, 20 000 USDT, maybe a loan.

    The loan is spent: it is owed, and what it bought has left the account.
    """
    return pm(
        "ETH",
        balances=(balance("ETH", "50"), balance("USDT", "20000", loan)),
        positions=(position(upm("ETH"), "-50", "2970"),),
        usd={"ETH": "3000"},
        policy=LeveragePolicy(borrow=D(borrow_leverage)),
    )


def alone(base: str, notional: str, rows: tuple[PositionTier, ...] | None = None) -> MarginState:
    """One short position of a notional, at a price of 1, beside more than enough USDT."""
    return pm(
        base,
        balances=(balance("USDT", "1e10"),),
        positions=(position(upm(base), f"-{notional}", "1", "1"),),
        usd={base: "1"},
        tiers={base: rows} if rows else None,
    )
