"""One account's book in a backtest: coins, cash, and how a stretch of history changes them.

Bookkeeping as the venue does it: a settlement pays funding on coins x mark; interest runs on what is owed,
hour by hour, at the rate known at the start of the stretch; a short perpetual's loss lowers the cash that its
quote coin is; prices move both legs, and nothing is traded because of that.

Floats: it is statistics of a made-up account. What decides about margin is the exact rule over the
`MarginState` that `margin_state` makes of it; `figures` is the same rule as arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from portfolio.backtest.market import VenueMarket
from portfolio.core.account import Balance, Position
from portfolio.core.carry import Floats, Ints
from portfolio.core.decimals import ZERO
from portfolio.core.instrument import Instrument
from portfolio.core.margin.carry_arrays import ArrayRule, CarryFigures, CarryRows, array_rule
from portfolio.core.margin.carry_tables import CarryTables, carry_tables
from portfolio.core.margin.modes import AccountMode
from portfolio.core.margin.state import MarginState
from portfolio.core.market import Prices
from portfolio.core.names import Coin, InstrumentId, PairId
from portfolio.core.pairs import PairLegs, PairSpec
from portfolio.core.risk import LeveragePolicy, RiskTables

QUOTE = Coin("USDT")
_ONE = Decimal(1)


@dataclass(frozen=True, slots=True, eq=False)
class AccountModel:
    """What one venue's account trades on: its rule, tables, pairs, in the order of the market's columns."""

    mode: AccountMode
    instruments: dict[InstrumentId, Instrument]
    tables: RiskTables
    policy: LeveragePolicy
    pairs: tuple[PairSpec, ...]
    rule: ArrayRule
    arrays: CarryTables

    @property
    def specs(self) -> dict[PairId, PairSpec]:
        """Pairs by id."""
        return {pair.pair_id: pair for pair in self.pairs}


def account_model(
    mode: AccountMode,
    instruments: dict[InstrumentId, Instrument],
    tables: RiskTables,
    pairs: Sequence[PairSpec],
) -> AccountModel:
    """Compile an account.

    Raises:
        MissingDataError: a table is absent.
    """
    policy = LeveragePolicy()
    rule = array_rule(mode.rule)
    assert rule is not None, f"{mode.name} has no arrays"
    leverage = [instruments[pair.short_leg].leverage_max for pair in pairs]
    arrays = carry_tables(
        tables,
        policy,
        [pair.coin for pair in pairs],
        [pair.short_leg for pair in pairs],
        [pair.long_leg for pair in pairs],
        QUOTE,
        [np.inf if most is None else float(most) for most in leverage],
    )
    return AccountModel(mode, instruments, tables, policy, tuple(pairs), rule, arrays)


@dataclass(slots=True)
class Book:
    """What the account holds: n pairs, hedged, and the quote coin."""

    #: Coins of each leg, and average entry price of the short, (n,).
    coins: Floats
    entry: Floats
    #: Wallet less loan.
    cash: float

    def copy(self) -> "Book":
        """An independent copy."""
        return Book(self.coins.copy(), self.entry.copy(), self.cash)

    def held(self) -> Ints:
        """Columns of pairs that hold anything."""
        return np.flatnonzero(self.coins)

    def equity(self, spot: Floats, mark: Floats) -> float:
        """At these prices, (n,)."""
        value = float(self.coins @ (spot - mark + self.entry))
        return self.cash + value

    def trade(self, column: int, to_coins: float, spot: float, mark: float, cost_usd: float) -> None:
        """Bring both legs of a pair to `to_coins` at these prices, and pay."""
        change = to_coins - self.coins[column]
        self.cash -= change * spot + cost_usd
        if change > 0:
            held = self.coins[column]
            self.entry[column] = (held * self.entry[column] + change * mark) / to_coins
        else:
            self.cash -= change * (self.entry[column] - mark)
        self.coins[column] = to_coins
        if to_coins == 0:
            self.entry[column] = 0.0


@dataclass(slots=True)
class Stretch:
    """The account over steps first + 1 .. last of its market, untraded; arrays of shape (last - first,)."""

    first: int
    cash: Floats
    equity: Floats
    gross: Floats
    interest: Floats
    #: Lowest health at the step and at the extremes before it; largest usage (NaN: no equity).
    health: Floats
    usage: Floats
    #: MM over ECV at its worst, infinite where ECV <= 0.
    margin_rate: Floats
    #: What was owed at the end of each step.
    owed: Floats


def project(
    market: VenueMarket, model: AccountModel, book: Book, first: int, last: int, *, interest: float = 1.0
) -> Stretch:
    """What the account lives through while nothing is traded; the book stays as it is."""
    steps = slice(first + 1, last + 1)
    count = last - first
    held = book.held()
    if len(held) == 0:
        return _empty(market, book, first, last)
    coins, entry = book.coins[held], book.entry[held]
    marks, spots = market.mark[first : last + 1, held], market.spot[first : last + 1, held]
    pnl = float(coins @ entry) - marks @ coins
    funding = market.funding[steps, held] @ coins
    rates = market.hourly_rate[first:last] * market.hours[steps] * interest
    cash, paid = np.empty(count), np.empty(count)
    money = book.cash
    for number, (earned, rate, before) in enumerate(
        zip(funding.tolist(), rates.tolist(), pnl[:-1].tolist(), strict=True)
    ):
        due = max(0.0, -(money + before)) * rate
        money += earned - due
        cash[number], paid[number] = money, due
    value = spots[1:] @ coins
    found = model.rule(_rows(market, book, held, steps, cash), model.arrays.of(held)).totals
    ratio = np.where(
        found.adjusted_equity > 0,
        found.maintenance_margin / np.where(found.adjusted_equity > 0, found.adjusted_equity, 1.0),
        np.inf,
    ).reshape(3, count)
    return Stretch(
        first=first,
        cash=cash,
        equity=cash + pnl[1:] + value,
        gross=value + marks[1:] @ coins,
        interest=paid,
        health=found.health.reshape(3, count).min(axis=0),
        usage=found.usage.reshape(3, count).max(axis=0),
        margin_rate=ratio.max(axis=0),
        owed=np.maximum(0.0, -(cash + pnl[1:])),
    )


def _empty(market: VenueMarket, book: Book, first: int, last: int) -> Stretch:
    """An account without positions: its cash stays (a debt would be repaid from nothing, and runs on)."""
    count = last - first
    cash = np.full(count, book.cash)
    zero = np.zeros(count)
    return Stretch(first, cash, cash, zero, zero, np.ones(count), zero, zero, np.maximum(0.0, -cash))


def _rows(market: VenueMarket, book: Book, held: Ints, steps: slice, cash: Floats) -> CarryRows:
    """Three accounts a step: at its prices, with every coin at its high, with every coin at its low."""
    spot, mark = market.spot[steps][:, held], market.mark[steps][:, held]
    factors = np.concatenate((np.ones_like(spot), market.high[steps][:, held], market.low[steps][:, held]))
    shape = factors.shape
    return CarryRows(
        spot=np.broadcast_to(book.coins[held], shape),
        short=np.broadcast_to(book.coins[held], shape),
        entry=np.broadcast_to(book.entry[held], shape),
        spot_price=np.tile(spot, (3, 1)) * factors,
        mark=np.tile(mark, (3, 1)) * factors,
        cash=np.tile(cash, 3),
        ratio_shift=np.zeros(shape[0]),
    )


def at_prices(model: AccountModel, book: Book, spot: Floats, mark: Floats) -> CarryFigures:
    """The account at S sets of prices of all its pairs, (S, n)."""
    held = book.held()
    shape = (len(spot), len(held))
    rows = CarryRows(
        spot=np.broadcast_to(book.coins[held], shape),
        short=np.broadcast_to(book.coins[held], shape),
        entry=np.broadcast_to(book.entry[held], shape),
        spot_price=spot[:, held],
        mark=mark[:, held],
        cash=np.full(len(spot), book.cash),
        ratio_shift=np.zeros(len(spot)),
    )
    return model.rule(rows, model.arrays.of(held))


def margin_state(model: AccountModel, book: Book, spot: Floats, mark: Floats) -> MarginState:
    """The account as the exact rule reads it, at these prices, (n,)."""
    balances = [Balance(QUOTE, _number(max(0.0, book.cash)), _number(max(0.0, -book.cash)), ZERO, ZERO)]
    positions = []
    marks: dict[InstrumentId, Decimal] = {}
    usd: dict[Coin, Decimal] = {QUOTE: _ONE}
    for column, pair in enumerate(model.pairs):
        price = marks[pair.short_leg] = _number(mark[column])
        usd[pair.coin] = _number(spot[column])
        coins = _number(book.coins[column])
        if coins > 0:
            balances.append(Balance(pair.coin, coins, ZERO, ZERO, ZERO))
            entry, leverage = _number(book.entry[column]), _number(model.arrays.leverage[column])
            positions.append(Position(pair.short_leg, -coins, entry, price, leverage))
    return MarginState(
        balances=tuple(balances),
        positions=tuple(positions),
        orders=(),
        prices=Prices(marks, usd),
        tables=model.tables,
        instruments=model.instruments,
        policy=model.policy,
    )


def legs_of(model: AccountModel, book: Book) -> dict[PairId, PairLegs]:
    """What every pair holds."""
    found = {}
    for column, pair in enumerate(model.pairs):
        coins = _number(book.coins[column])
        found[pair.pair_id] = PairLegs(pair.pair_id, coins, coins)
    return found


def _number(value: float) -> Decimal:
    return Decimal(repr(float(value)))
