"""Stresses: the account revalued by the exact rule after prices or collateral ratios moved.

The standard set (DESIGN 4): each coin alone +-30 %, the market +-20 % and +-40 % with betas, collateral
ratios -5 points, liquid-staking tokens -5 % against what they stand for, borrow rates x3 where anything is
owed. No margin rule reads a borrow rate, so what a rate costs is a debt: a day of interest, booked at once.

Stable coins do not move: perpetuals are quoted in them, and their depeg is a rule of the guard. Limit prices
of open orders stay where they are. Every account is stressed alone and without transfers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType

from portfolio.core.account import Balance
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.margin.lookups import usd_of
from portfolio.core.margin.results import LiquidationPrices
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.tiers import borrow_table
from portfolio.core.margin.valuation import MarginRule
from portfolio.core.market import Prices
from portfolio.core.names import Coin
from portfolio.core.risk import CollateralTier, RiskTables

STABLE_COINS: frozenset[Coin] = frozenset({Coin("USDT"), Coin("USDC")})
COIN_MOVES: tuple[Decimal, ...] = (Decimal("-0.3"), Decimal("0.3"))
#: Moves at which the book must still hold the guard's own entry lines, then the far ones.
MARKET_MOVES_NEAR: tuple[Decimal, ...] = (Decimal("-0.2"), Decimal("0.2"))
MARKET_MOVES_FAR: tuple[Decimal, ...] = (Decimal("-0.4"), Decimal("0.4"))
RATIO_SHIFT = Decimal("-0.05")
DEPEG = Decimal("-0.05")
BORROW_MULTIPLE = Decimal(3)
#: How long a stressed borrow rate is paid before anything changes.
INTEREST_HOURS = 24

#: A price is never stressed below this share of itself, whatever the beta.
FACTOR_MIN = Decimal("0.01")
_FACTOR_MAX = Decimal(10)
#: Search for a liquidation price: each step moves the price by this much, then bisection closes in.
ABOVE = Decimal("1.1")
BELOW = ONE / ABOVE
_BISECTIONS = 24
#: Bisections that are prepared at once: 2^5 - 1 factors.
_PREPARED = 5
_NO_BETAS: Mapping[Coin, Decimal] = MappingProxyType({})
_NO_TOKENS: Mapping[Coin, Coin] = MappingProxyType({})
_NO_SHIFTS: Mapping[Coin, Decimal] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Scenario:
    """One stress. Coins that `factors` does not name keep their price."""

    name: str
    #: Multiplier (> 0) of a coin's USD price and of every mark of its perpetuals.
    factors: Mapping[Coin, Decimal]
    #: Added to every collateral ratio, which stays within 0..1.
    ratio_shift: Decimal = ZERO
    #: Market +-20 %: held to the tighter of the book's stress lines.
    near: bool = False
    #: Added to one coin's collateral ratios besides, within 0..1 all the same.
    ratio_shifts: Mapping[Coin, Decimal] = field(default_factory=lambda: _NO_SHIFTS)
    #: A day's interest on every debt, at so many times today's rate, booked as debt at once; None: nothing.
    borrow_multiple: Decimal | None = None
    #: False: told to whoever asked, no line is held against it.
    binding: bool = True

    @property
    def prices_alone(self) -> bool:
        """Nothing moves but prices and all ratios together: what a compiled account can be asked."""
        return not self.ratio_shifts and self.borrow_multiple is None


def market_factors(
    coins: Iterable[Coin], move: Decimal, betas: Mapping[Coin, Decimal] = _NO_BETAS
) -> dict[Coin, Decimal]:
    """Factors of a joint move (a fraction) with each coin's beta, 1 where none is given; no stable coins."""
    return {
        coin: max(FACTOR_MIN, ONE + move * betas.get(coin, ONE)) for coin in coins if coin not in STABLE_COINS
    }


def exposed_coins(state: MarginState) -> tuple[Coin, ...]:
    """Coins whose price moves the account, stable ones left out, in a stable order."""
    found = {row.coin: None for row in state.balances if row.wallet or row.spot_borrow}
    traded = [row.instrument_id for row in state.positions] + [row.instrument_id for row in state.orders]
    for instrument_id in traded:
        instrument = state.instruments.get(instrument_id)
        if instrument is not None:  # an unknown one is the rule's error to raise, not ours
            found[instrument.base] = None
    return tuple(sorted(coin for coin in found if coin not in STABLE_COINS))


def standard_scenarios(
    coins: Iterable[Coin],
    *,
    betas: Mapping[Coin, Decimal] = _NO_BETAS,
    staking: Mapping[Coin, Coin] = _NO_TOKENS,
    borrowing: bool = False,
) -> tuple[Scenario, ...]:
    """The standard set over `coins`.

    Args:
        coins: Coins to move; stable ones are skipped.
        betas: Move of a coin per move of the market; 1 where absent.
        staking: Liquid-staking token -> the coin that it stands for. Such a token moves with its coin (with
            the coin's beta unless it has its own) and is depegged alone.
        borrowing: Something is owed.
    """
    moving = tuple(coin for coin in coins if coin not in STABLE_COINS)
    own = followed_betas(betas, staking)
    groups: dict[Coin, list[Coin]] = {}
    for coin in moving:
        groups.setdefault(staking.get(coin, coin), []).append(coin)
    found = [
        Scenario(f"{name} {_percent(move)}", dict.fromkeys(together, ONE + move))
        for name, together in groups.items()
        for move in COIN_MOVES
    ]
    found += [
        Scenario(f"{coin} depeg {_percent(DEPEG)}", {coin: ONE + DEPEG}) for coin in moving if coin in staking
    ]
    for near, moves in ((True, MARKET_MOVES_NEAR), (False, MARKET_MOVES_FAR)):
        found += [Scenario(market_name(move), market_factors(moving, move, own), near=near) for move in moves]
    found.append(Scenario("collateral ratios -5 points", {}, ratio_shift=RATIO_SHIFT))
    if borrowing:
        found.append(Scenario(f"borrow rates x{BORROW_MULTIPLE}", {}, borrow_multiple=BORROW_MULTIPLE))
    return tuple(found)


def followed_betas(betas: Mapping[Coin, Decimal], staking: Mapping[Coin, Coin]) -> dict[Coin, Decimal]:
    """Betas with those of staked tokens filled in: a token has its coin's unless it has its own."""
    own = dict(betas)
    for token, underlying in staking.items():
        own.setdefault(token, own.get(underlying, ONE))
    return own


def owed_coins(state: MarginState) -> dict[Coin, Decimal]:
    """What interest is paid on now, coins > 0: spot debt, and wallets below zero."""
    debts = {row.coin: row.spot_borrow + max(ZERO, -row.wallet) for row in state.balances}
    return {coin: debt for coin, debt in debts.items() if debt}


def market_name(move: Decimal) -> str:
    """Of the standard scenario that moves every coin."""
    return f"market {_percent(move)}"


def _percent(move: Decimal) -> str:
    return f"{move * 100:+.0f}%"


def stressed(state: MarginState, scenario: Scenario) -> MarginState:
    """The account at the scenario's prices and ratios, with its interest booked.

    Raises:
        MissingDataError: interest is to be booked on a coin without a borrow table.
    """
    prices = state.prices
    factors = scenario.factors
    if factors:
        usd = dict(prices.usd)
        for coin, factor in factors.items():
            if coin in usd:
                usd[coin] *= factor
        marks = dict(prices.marks)
        for instrument_id, mark in marks.items():
            instrument = state.instruments.get(instrument_id)
            factor = ONE if instrument is None else factors.get(instrument.base, ONE)
            if factor != ONE:
                marks[instrument_id] = mark * factor
        prices = Prices(marks=marks, usd=usd)
    tables = state.tables
    if scenario.ratio_shift or scenario.ratio_shifts:
        tables = shifted_ratios(tables, scenario.ratio_shift, scenario.ratio_shifts)
    balances = state.balances
    if scenario.borrow_multiple is not None:
        balances = _with_interest(state, INTEREST_HOURS * scenario.borrow_multiple)
    return MarginState(
        balances=balances,
        positions=state.positions,
        orders=state.orders,
        prices=prices,
        tables=tables,
        instruments=state.instruments,
        policy=state.policy,
    )


def _with_interest(state: MarginState, hours: Decimal) -> tuple[Balance, ...]:
    """Balances after so many hours of interest at today's rates."""
    owed = owed_coins(state)
    rates = {coin: borrow_table(state.tables, coin).hourly_rate for coin in owed}
    return tuple(
        replace(row, spot_borrow=row.spot_borrow + owed[row.coin] * rates[row.coin] * hours)
        if row.coin in owed
        else row
        for row in state.balances
    )


def shifted_ratios(
    tables: RiskTables, shift: Decimal, by_coin: Mapping[Coin, Decimal] = _NO_SHIFTS
) -> RiskTables:
    """The tables with `shift`, and a coin's own, added to every collateral ratio, kept within 0..1."""
    collateral = dict(tables.collateral)
    for coin in tables.collateral if shift else by_coin.keys() & tables.collateral.keys():
        table, whole = tables.collateral[coin], shift + by_coin.get(coin, ZERO)
        tiers = (
            CollateralTier(tier.quantity_from, tier.quantity_to, max(ZERO, min(ONE, tier.ratio + whole)))
            for tier in table.tiers
        )
        collateral[coin] = replace(table, tiers=tuple(tiers))
    return replace(tables, collateral=collateral)


def haircut_delta(rule: MarginRule, state: MarginState, betas: Mapping[Coin, Decimal] = _NO_BETAS) -> Decimal:
    """ECV lost when the market rises by 1 %, USD; negative when it gains."""
    up = Scenario("market +1%", market_factors(exposed_coins(state), Decimal("0.01"), betas))
    after = rule(stressed(state, up), extrapolate=True).figures.adjusted_equity
    return rule(state, extrapolate=True).figures.adjusted_equity - after


def liquidation_prices(
    rule: MarginRule, state: MarginState, coin: Coin, *, line: Decimal = ONE
) -> LiquidationPrices:
    """Where the account liquidates (MM x line >= ECV) as the price of one coin alone falls and rises.

    Nearest crossing on either side, within a tenth and ten times the price, found by scanning and bisection
    on the exact rule (to a millionth); on the safe side of it. All other prices stay.

    Args:
        rule: The account mode's margin rule.
        state: The account now.
        coin: The one that moves.
        line: ECV / MM at which the venue liquidates.

    Raises:
        MissingDataError: the coin has no price, or the rule lacks an input.
    """
    now = usd_of(state, coin)
    below, above = liquidation_factors(rule, state, {coin: ONE}, line=line)
    return LiquidationPrices(
        coin=coin,
        now=now,
        below=None if below is None else now * below,
        above=None if above is None else now * above,
    )


def liquidation_factors(
    rule: MarginRule, state: MarginState, betas: Mapping[Coin, Decimal], *, line: Decimal = ONE
) -> tuple[Decimal | None, Decimal | None]:
    """The joint move that liquidates: factors of a coin with beta 1, below and above 1; None when none does.

    Coins that `betas` does not name keep their price. (1, 1) when the account is liquidated already.
    """
    dead = liquidated(rule, state, betas, line)
    if dead(ONE):
        return ONE, ONE
    below, above = bracket(dead, BELOW), bracket(dead, ABOVE)
    return below and below[0], above and above[0]


def liquidated(
    rule: MarginRule, state: MarginState, betas: Mapping[Coin, Decimal], line: Decimal
) -> Callable[[Decimal], bool]:
    """Whether the account is liquidated when a coin with beta 1 moves by a factor, by the exact rule."""

    def dead(factor: Decimal) -> bool:
        move = factor - ONE
        factors = {coin: max(FACTOR_MIN, ONE + move * beta) for coin, beta in betas.items()}
        figures = rule(stressed(state, Scenario("search", factors)), extrapolate=True).figures
        margin, ecv = figures.maintenance_margin, figures.adjusted_equity
        return margin * line >= ecv and (margin, ecv) != (ZERO, ZERO)

    return dead


def _unprepared(_: Sequence[Decimal]) -> None:
    """Who answers one by one needs no warning."""


def bracket(
    dead: Callable[[Decimal], bool],
    step: Decimal,
    prepare: Callable[[Sequence[Decimal]], None] = _unprepared,
) -> tuple[Decimal, Decimal] | None:
    """The last factor that lives and the first that does not, going from 1 by `step`; None when all live.

    `prepare` is told beforehand which factors `dead` may be asked next.
    """
    ladder = [step]
    while ONE / _FACTOR_MAX <= ladder[-1] * step <= _FACTOR_MAX:
        ladder.append(ladder[-1] * step)
    prepare(ladder)
    found = next((number for number, factor in enumerate(ladder) if dead(factor)), None)
    if found is None:
        return None
    alive, end = ladder[found - 1] if found else ONE, ladder[found]
    for number in range(_BISECTIONS):
        if number % _PREPARED == 0:
            prepare(_middles(alive, end, _PREPARED))
        middle = (alive + end) / 2
        if dead(middle):
            end = middle
        else:
            alive = middle
    return alive, end


def _middles(alive: Decimal, end: Decimal, depth: int) -> list[Decimal]:
    """Every factor that the next bisections can ask for."""
    if not depth:
        return []
    middle = (alive + end) / 2
    return [middle, *_middles(alive, middle, depth - 1), *_middles(middle, end, depth - 1)]
