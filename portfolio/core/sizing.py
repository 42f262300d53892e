"""Size of the book: the largest one-leg total for given shares that stays strictly inside the guard's lines.

The door back from floats: shares come in, Decimal USD targets go out. Three things bound the size, in this
order, and the answer names the one that does:

1. *Carry*: beyond the account's own cash a book is levered only while its carry exceeds the marginal cost of
   borrowing by LEVER_ON_APR; it stays levered until the carry exceeds it by less than LEVER_OFF_APR.
2. *Volatility*: the book's forecast volatility, as a share of equity, stays within the budget.
3. *Margin*: every line of `BookLimits`, now and under every stress; each gets tighter as the book grows.
   The search runs on the account's rule as arrays where the caller has them (`CarryAccount`), and what it
   found is verified by the exact rule; without them the exact rule is bisected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from portfolio.core.book_shares import Shares, shares_at
from portfolio.core.decimals import ZERO, round_down_to_step, round_up_to_step
from portfolio.core.errors import MissingDataError
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.book_screen import BookScreen, CarryAccount
from portfolio.core.margin.pairing import add_deltas, deltas_to, leg_price_usd
from portfolio.core.margin.results import Lines
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario, standard_scenarios
from portfolio.core.names import Narrative, PairId
from portfolio.core.pairs import PairLegs, PairSpec

#: More than this many times equity in one leg is never tried: no account mode allows it.
LEG_EQUITY_MULTIPLE_MAX = Decimal(10)
#: The search ends when the bracket is narrower than this share of equity.
PRECISION = Decimal("0.002")
#: A book is levered once its expected carry exceeds the cost of borrowing by the first, which is 2.5 round
#: trips over three months, and until it exceeds it by less than the second.
LEVER_ON_APR = 0.03
LEVER_OFF_APR = 0.01
#: Standard deviation of equity a year that the book may be expected to have. On bundled history 4 to 6 % keep
#: utilisation over 3.5 while leverage pays; smaller ones give up to 0.2 more Sharpe ratio and less carry.
VOLATILITY_BUDGET = 0.045
#: Totals that one pass of the search looks at, and shares of the first total that its first pass looks at.
_GRID = 9
_NEAR = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98])
_WEIGHT_STEP = Decimal("0.000001")
_CENT = Decimal("0.01")
#: Far finer than any lot.
_COIN_STEP = Decimal("1e-10")


@dataclass(frozen=True, slots=True)
class SizingInput:
    """The account that the book is sized for."""

    sim: MarginSim
    state: MarginState
    pairs: Mapping[PairId, PairSpec]
    legs: Mapping[PairId, PairLegs]
    #: Reference price of each pair's lead leg, quote per base.
    prices: Mapping[PairId, Decimal]
    total_equity: Decimal
    #: Weighted carry of the book a year before borrowing, and what borrowing one more dollar costs a year.
    carry_apr: float
    borrow_apr: float
    limits: RiskLimits
    #: Forecast standard deviation of the book's return, a fraction of its one-leg total a year; None: the
    #: caller budgets no volatility.
    volatility: float | None = None
    #: Standard deviation of equity a year that the book may be expected to have.
    volatility_budget: float = VOLATILITY_BUDGET
    #: The book is levered now: it stays so until its carry falls to LEVER_OFF_APR over the cost.
    levered: bool = False
    #: The account as arrays, to search by; None: the exact rule is searched.
    account: CarryAccount | None = None
    #: A total that is expected to be about right: when it fits it is taken, and nothing is searched; USD.
    #: With arrays only.
    expected: Decimal | None = None
    #: Stresses that the arrays are searched under; None: the standard set of the account's coins.
    scenarios: Sequence[Scenario] | None = None
    #: Stresses that the exact rule verifies what was found by, without caps; None: all lines, all caps.
    verified: Sequence[Scenario] | None = None


@dataclass(frozen=True, slots=True)
class BookSize:
    """Targets in USD of one leg by pair, absolute, and what keeps the book from being larger."""

    targets_usd: Mapping[PairId, Decimal]
    leg_total_usd: Decimal
    #: Name of the limit that binds: a Breach name, `liquidity`, `borrow_cost`, `volatility`, `no_pairs` or
    #: `equity`; `expected` where the expected total was taken without a search.
    binding: str
    #: The carry pays for leverage, whether or not the other limits leave room for it.
    levered: bool = False
    #: The one-leg total that the shares are of, USD: what caps leave in cash is in it as well.
    planned_usd: Decimal = ZERO


def size_book(shares: Shares, given: SizingInput) -> BookSize:
    """Find the size. Pairs that are held but have no share are taken to zero.

    Raises:
        MissingDataError: a price or risk table that is needed is absent.
    """
    may = shares.pair_ids
    if not may:
        return BookSize(_targets(shares, ZERO, given), ZERO, "no_pairs")
    _require_prices(shares, given)
    if given.total_equity <= 0:
        return BookSize(_targets(shares, ZERO, given), ZERO, "equity")
    levered = pays_for_leverage(given.carry_apr, given.borrow_apr, levered=given.levered)
    ceiling, binding = ceiling_of(given, levered=levered)
    total, binding = _largest(shares, ceiling, binding, given)
    targets = {pair: round_down_to_step(usd, _CENT) for pair, usd in _targets(shares, total, given).items()}
    return BookSize(targets, sum(targets.values(), ZERO), binding, levered, total)


def narrative_use(shares: Shares, total: Decimal, given: SizingInput) -> dict[Narrative, float]:
    """Margin that one USD of each narrative consumes in a book of this total (above 0), measured.

    Raises:
        MissingDataError: a price or risk table that is needed is absent.
    """
    _require_prices(shares, given)
    if given.account is not None:
        return BookScreen(given.account, shares, (), given.limits).narrative_use(float(total))
    coins = _coins(shares, total, given)
    found = given.sim.narrative_use(given.state, given.pairs, given.legs, coins)
    return {narrative: float(use) for narrative, use in found.items()}


def pays_for_leverage(carry_apr: float, borrow_apr: float, *, levered: bool) -> bool:
    """Whether a book of this carry is worth borrowing for; one that is levered stays so until it costs."""
    return carry_apr > borrow_apr + (LEVER_OFF_APR if levered else LEVER_ON_APR)


def ceiling_of(given: SizingInput, *, levered: bool) -> tuple[Decimal, str]:
    """The largest total that carry and volatility allow, whatever the margin, and which of them says so."""
    equity = given.total_equity
    found = (equity * LEG_EQUITY_MULTIPLE_MAX, "equity") if levered else (equity, "borrow_cost")
    if given.volatility is not None and given.volatility > 0:
        budgeted = equity * Decimal(repr(given.volatility_budget / given.volatility))
        found = min(found, (budgeted, "volatility"))
    return found


def _require_prices(shares: Shares, given: SizingInput) -> None:
    missing = sorted(set(shares.pair_ids) - set(given.prices))
    if missing:
        raise MissingDataError(f"No price of {missing[0]}.", field="prices", next_step="Wait for the venue.")


def _targets(shares: Shares, total: Decimal, given: SizingInput) -> dict[PairId, Decimal]:
    """USD of one leg by pair in a book of this total: its shares, and 0 for what is held without one."""
    found = {
        pair: round_down_to_step(Decimal(repr(share)), _WEIGHT_STEP) * total
        for pair, share in shares_at(shares, float(total)).items()
    }
    return found | {pair: ZERO for pair, legs in given.legs.items() if pair not in found and legs.hedged > 0}


def _coins(shares: Shares, total: Decimal, given: SizingInput) -> dict[PairId, Decimal]:
    """The same in coins, rounded down, so that no pair comes out above its cap; leaving needs no price."""
    rows = _targets(shares, total, given).items()
    return {
        pair: round_down_to_step(usd / given.prices[pair], _COIN_STEP) if usd > 0 else ZERO
        for pair, usd in rows
    }


def _planned(shares: Shares, total: Decimal, given: SizingInput) -> Decimal:
    """The total as caps of pairs value it, rounded up: prices are in quote, which need not be worth 1 USD."""
    state, pairs = given.state, given.pairs
    worth = [leg_price_usd(state, pairs[pair]) / given.prices[pair] for pair in shares.pair_ids]
    return round_up_to_step(total * max(worth), _CENT)


def _largest(
    shares: Shares,
    ceiling: Decimal,
    binding: str,
    given: SizingInput,
) -> tuple[Decimal, str]:
    """The largest total up to `ceiling` without a breach, within PRECISION of equity, rounded down."""
    if given.account is not None:
        coins = given.account.coins
        scenarios = standard_scenarios(coins) if given.scenarios is None else given.scenarios
        screen = BookScreen(given.account, shares, scenarios, given.limits)
        hoped = ceiling if given.expected is None else min(ceiling, given.expected)
        why = screen.first_breaches(np.array([float(hoped)]))[0]
        if why is None and given.expected is not None:
            return hoped, binding if hoped == ceiling else "expected"
        if why is not None:
            precision = float(PRECISION * given.total_equity)
            ceiling, binding = _searched(screen, float(hoped), why, precision)
    why = _breach(shares, ceiling, given)
    if why is None:
        return ceiling, binding
    low, high = ZERO, ceiling
    while high - low > PRECISION * given.total_equity:
        middle = (low + high) / 2
        found = _breach(shares, middle, given)
        if found is None:
            low = middle
        else:
            high, why = middle, found
    return low, why


def _searched(screen: BookScreen, high: float, why: str, precision: float) -> tuple[Decimal, str]:
    """The same search on arrays below a total that does not fit, and the line that the answer is bound by.

    A few totals a pass, each pass inside the bracket of the one before. The first pass looks close below:
    what was expected is seldom far off.
    """
    low, totals = 0.0, high * _NEAR
    while high - low > precision:
        found = screen.first_breaches(totals)
        failed = next((number for number, name in enumerate(found) if name is not None), None)
        if failed is None:
            low = float(totals[-1])
        else:
            why = found[failed] or why
            low, high = float(totals[failed - 1]) if failed else low, float(totals[failed])
        totals = np.linspace(low, high, _GRID + 2)[1:-1]
    return round_down_to_step(Decimal(repr(low)), _CENT), why


def _breach(shares: Shares, total: Decimal, given: SizingInput) -> str | None:
    """Name of the first line that a book of this total violates; None when it fits."""
    targets = _coins(shares, total, given)
    if given.verified is not None:
        deltas = add_deltas(
            deltas_to(given.pairs[pair], given.legs[pair], to) for pair, to in targets.items()
        )
        found = given.sim.breaches(
            given.state, deltas, limits=given.limits, lines=Lines.BOOK, stresses=given.verified
        )
        return found[0].limit if found else shares.full(np.array([float(total)]))[0]
    breach = given.sim.first_breach(
        given.state,
        given.pairs,
        given.legs,
        targets,
        limits=given.limits,
        book_notional_usd=_planned(shares, total, given),
    )
    if breach is not None:
        return breach.limit
    return shares.full(np.array([float(total)]))[0]
