"""Random small accounts with all that bends: tiers, brackets, debts, orders, coins that do not count."""

import random
from decimal import Decimal

from portfolio.core.account import Balance, Position
from portfolio.core.instrument import Instrument, InstrumentKind, instrument_id
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.margin.stress import Scenario
from portfolio.core.market import Prices
from portfolio.core.names import Coin, InstrumentId, Venue
from portfolio.core.orders import Side
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

BASES = tuple(Coin(name) for name in ("AAA", "BBB", "CCC", "DDD", "EEE"))
QUOTES = (Coin("USDT"), Coin("USDC"))


def _listed() -> dict[InstrumentId, Instrument]:
    found = {}
    for base in BASES:
        for quote in QUOTES:
            for kind in InstrumentKind:
                key = instrument_id(Venue("bybit"), kind, f"{base}{quote}")
                step = Decimal("0.001")
                found[key] = Instrument(
                    *(key, Venue("bybit"), kind, f"{base}{quote}", base, quote, step, step, step, step),
                    *(None, None, None, None),
                    marginable=True,
                )
    return found


INSTRUMENTS = _listed()
SPOT = [key for key, row in INSTRUMENTS.items() if row.kind is InstrumentKind.SPOT]
PERPETUALS = [key for key in INSTRUMENTS if key not in SPOT]


class Draw(random.Random):
    """Decimals of so many places."""

    def decimal(self, low: float, high: float, places: int) -> Decimal:
        """Evenly between the two."""
        whole = self.randint(round(low * 10**places), round(high * 10**places))
        return Decimal(whole).scaleb(-places)

    def size(self, low: float, high: float, places: int) -> Decimal:
        """Evenly in magnitude."""
        return max(Decimal(1).scaleb(-places), round(Decimal(low * (high / low) ** self.random()), places))


def account(draw: Draw) -> MarginState:
    """One account; positions within reach of several tiers, coins within reach of several brackets."""
    coins = (*BASES, *QUOTES)
    usd = {coin: draw.size(0.01, 60_000, 4) for coin in BASES}
    usd |= {coin: draw.decimal(0.95, 1.05, 4) for coin in QUOTES}
    marks = {
        key: max(Decimal("0.0001"), round(usd[INSTRUMENTS[key].base] * draw.decimal(0.97, 1.03, 4), 4))
        for key in PERPETUALS
    }
    return MarginState(
        balances=tuple(_balance(draw, coin, usd[coin]) for coin in coins if draw.random() < 0.8),
        positions=tuple(_position(draw, key, marks[key]) for key in PERPETUALS if draw.random() < 0.5),
        orders=tuple(_order(draw, usd) for _ in range(draw.choice((0, 0, 1, 4)))),
        prices=Prices(marks, usd),
        tables=RiskTables(
            seen_wire_ns=0,
            collateral={coin: _collateral(draw, coin, usd[coin]) for coin in coins},
            borrow={coin: _borrow(draw, coin, usd[coin]) for coin in coins},
            positions={key: _tiers(draw) for key in PERPETUALS},
            fees=dict.fromkeys(INSTRUMENTS, FeeRates(Decimal("0.0002"), draw.decimal(0, 0.001, 6))),
        ),
        instruments=INSTRUMENTS,
        policy=LeveragePolicy(Decimal(10), draw.choice((Decimal(3), Decimal(10)))),
    )


def scenario(draw: Draw) -> Scenario:
    """Any coins by any factors, and sometimes other ratios."""
    moved = draw.sample((*BASES, *QUOTES), draw.randint(0, 7))
    factors = {coin: draw.size(0.05, 8, 4) for coin in moved}
    return Scenario("random", factors, draw.choice((Decimal(0), draw.decimal(-0.3, 0.1, 3))))


def _balance(draw: Draw, coin: Coin, usd: Decimal) -> Balance:
    def coins(chance: float) -> Decimal:
        return draw.size(1, 300_000, 2) / usd if draw.random() < chance else Decimal(0)

    wallet, owed, locked = (round(coins(chance), 6) for chance in (0.8, 0.4, 0.2))
    return Balance(coin, wallet if draw.random() < 0.85 else -wallet, owed, Decimal(0), locked)


def _position(draw: Draw, key: InstrumentId, mark: Decimal) -> Position:
    quantity = max(Decimal("0.001"), round(draw.size(10, 3_000_000, 2) / mark, 3))
    entry = max(Decimal("0.0001"), round(mark * draw.decimal(0.6, 1.6, 4), 4))
    return Position(key, quantity * draw.choice((1, -1)), entry, mark, draw.decimal(1, 100, 1))


def _order(draw: Draw, usd: dict[Coin, Decimal]) -> RestingOrder:
    key = draw.choice((*PERPETUALS, *SPOT))
    price = usd[INSTRUMENTS[key].base]
    limit = max(Decimal("0.0001"), round(price * draw.decimal(0.7, 1.3, 4), 4))
    quantity = max(Decimal("0.001"), round(draw.size(10, 300_000, 2) / price, 3))
    return RestingOrder(
        key, draw.choice(list(Side)), quantity, limit, draw.random() < 0.3 and key in PERPETUALS
    )


def _borders(draw: Draw, most: int, top: float) -> list[Decimal]:
    return sorted({draw.size(100, top, 2) for _ in range(draw.randint(0, most))})


def _tiers(draw: Draw) -> tuple[PositionTier, ...]:
    """Deductions by the venue's recursion, leverage falling."""
    rate, leverage, deduction = Decimal("0.004"), Decimal(100), Decimal(0)
    found = []
    for border in (*_borders(draw, 6, 3_000_000), Decimal(10**12)):
        found.append(PositionTier(border, 1 / leverage, rate, leverage, deduction))
        higher = rate + draw.decimal(0.001, 0.03, 4)
        deduction += border * (higher - rate)
        rate, leverage = higher, max(Decimal(2), leverage - draw.randint(5, 30))
    return tuple(found)


def _collateral(draw: Draw, coin: Coin, usd: Decimal) -> CollateralTable:
    borders = [round(border / usd, 4) for border in _borders(draw, 4, 300_000)]
    ends = [*borders, draw.choice((None, Decimal(10**9)))]
    tiers = tuple(
        CollateralTier(low, high, draw.decimal(0, 1, 3))
        for low, high in zip([Decimal(0), *borders], ends, strict=True)
    )
    return CollateralTable(coin, draw.random() < 0.9, tiers)


def _borrow(draw: Draw, coin: Coin, usd: Decimal) -> BorrowTable:
    borders = [round(border / usd, 4) for border in _borders(draw, 2, 300_000)]
    rates = sorted(draw.decimal(0.05, 0.6, 3) for _ in range(3))
    tiers = tuple(
        BorrowTier(end, rate, rate / 3, Decimal(10))
        for end, rate in zip([*borders, None], rates[: len(borders) + 1], strict=True)
    )
    return BorrowTable(coin, borrowable=True, hourly_rate=Decimal(0), quantity_max=None, tiers=tiers)
