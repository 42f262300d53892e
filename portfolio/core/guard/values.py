"""What the guard's rules read and what they answer.

Quantities are base coins, money is quote (USD), shares and rates are fractions, times are wire-clock ns.
What is unknown is None and never stands for zero: a rule that needs it stays silent or refuses, as its text
says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from portfolio.core.account import MarginFigures
from portfolio.core.guard.state import GuardState
from portfolio.core.limits import RiskLimits
from portfolio.core.names import PairId
from portfolio.core.pairs import PairLegs, PairSpec

#: Figures of the account once each named pair's legs are at most that many coins; others stay as they are.
Simulate = Callable[[Mapping[PairId, Decimal]], MarginFigures]


class Rule(StrEnum):
    """Names of the rules, as the journal and the operator see them."""

    NAKED_LEG = "naked_leg"
    FLATTEN = "flatten"
    HEALTH = "ranking_reduction"
    USAGE = "usage_reduction"
    FORCED = "forced_reduction"
    DRAWDOWN = "drawdown"
    #: Equity is below the drawdown line, and the venue's ledger has not yet said whether it was withdrawn.
    LEDGER = "ledger"
    ORPHAN = "orphan"
    STALE = "staleness"
    GAP = "margin_gap"


class ActionKind(StrEnum):
    """What is done with a pair's legs."""

    #: Both legs go down to at most `to_quantity`; no leg ever grows.
    REDUCE = "reduce"
    #: The smaller leg grows up to `to_quantity`.
    HEDGE = "hedge"


@dataclass(frozen=True, slots=True)
class PairAction:
    """One pair's new size: absolute coins of one leg, so that doing it twice changes nothing."""

    pair_id: PairId
    kind: ActionKind
    to_quantity: Decimal
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class PairFacts:
    """What is known of one pair now."""

    spec: PairSpec
    legs: PairLegs
    #: Quality score; None while it cannot be scored.
    score: Decimal | None
    #: Reference price in quote; None when none was ever seen.
    price: Decimal | None
    #: Net delta in coins that cannot be traded away: lots, minimum order values.
    tolerance: Decimal
    #: The larger of the legs' minimum order values, in quote.
    notional_min: Decimal
    #: Cost of taking one unit of value on each leg (taker fee and half the spread), fractions; None when
    #: the leg has no fresh two-sided book.
    long_cost: Decimal | None
    short_cost: Decimal | None
    #: One-leg target of the operation that works on the pair; None when none does.
    wanted: Decimal | None = None
    #: What all our fills on the legs add up to, whichever pair they are of; None while the journal is unread.
    expected: PairLegs | None = None
    #: An order on one of the legs is in flight, so holdings and fills may differ for a moment.
    unsettled: bool = False
    #: The outcome of an order of this pair is unknown.
    unknown: bool = False

    @property
    def larger(self) -> Decimal:
        """Coins of the larger leg."""
        return max(self.legs.long_quantity, self.legs.short_quantity)

    @property
    def naked(self) -> bool:
        """Net delta is beyond what lots and minimum order values leave."""
        return abs(self.legs.unhedged) > self.tolerance

    @property
    def notional(self) -> Decimal | None:
        """Value of the larger leg in quote; None without a price."""
        return None if self.price is None else self.larger * self.price


@dataclass(frozen=True, slots=True)
class Holding:
    """One coin or position against what pairs and treasury explain; signed base coins."""

    name: str
    actual: Decimal
    explained: Decimal
    #: Difference that is noise: lots, minimum order values, interest.
    tolerance: Decimal
    #: What is noise on the other side of zero, where no interest leads: what the venue takes no order for.
    least: Decimal
    #: An order on it is in flight.
    unsettled: bool


@dataclass(frozen=True, slots=True)
class PriceCheck:
    """Two independent prices of one coin held: the perpetual's mark and the spot book or another mark."""

    name: str
    first: Decimal | None
    second: Decimal | None
    #: Age of the older of the two; None when one is missing.
    age_ns: int | None


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money that came into the account (positive) or left it."""

    usd: Decimal
    #: Market clock: when the venue says it happened.
    event_market_ns: int


@dataclass(frozen=True, slots=True)
class Uncounted:
    """A row of the venue's ledger of unknown worth: its coin has no price, or its type is not known here."""

    name: str
    event_market_ns: int


@dataclass(frozen=True, slots=True)
class GuardInput:
    """Everything the rules may read at one tick."""

    now_wire_ns: int
    state: GuardState
    limits: RiskLimits
    #: Our own valuation; None while an input of it is missing.
    ours: MarginFigures | None
    #: The venue's totals from the last account read, and their age.
    venue: MarginFigures | None
    venue_age_ns: int | None
    #: The venue's totals are new since the last tick: one sample of the margin gap.
    venue_is_new: bool
    account_age_ns: int | None
    #: Names of inputs that are missing or too old.
    stale: tuple[str, ...]
    pairs: Mapping[PairId, PairFacts]
    #: When the reading of the journal began that `expected` and `explained` come from; None before the first.
    journal_read_wire_ns: int | None = None
    holdings: tuple[Holding, ...] = ()
    price_checks: tuple[PriceCheck, ...] = ()
    #: When the venue says its totals were true, market clock.
    venue_market_ns: int = 0
    #: Transfers that the state has not counted yet.
    transfers: tuple[Transfer, ...] = ()
    #: When the reading of the venue's ledger began from which on `transfers` and `uncounted` know every row,
    #: wire clock; None before the first.
    ledger_read_wire_ns: int | None = None
    uncounted: tuple[Uncounted, ...] = ()
    halted: bool = False
    #: Pairs whose last orders are on their way, or whose result the account read does not show yet.
    busy: frozenset[PairId] = frozenset()
    #: A ladder is on its way: no second one until the account was read again. Flatten does not wait for it.
    ladder_out: bool = False

    @property
    def account_fresh(self) -> bool:
        """The account was read within its limit."""
        return self.account_age_ns is not None and self.account_age_ns <= self.limits.freshness.account_ns

    @property
    def venue_fresh(self) -> bool:
        """The venue's totals are within the account's limit."""
        age = self.venue_age_ns
        return self.venue is not None and age is not None and age <= self.limits.freshness.account_ns


@dataclass(frozen=True, slots=True)
class FreezeWanted:
    """A reason to refuse entries. `lifted_by` is "self" or "operator"."""

    source: str
    reason: str
    lifted_by: str = "self"


class Word(StrEnum):
    """The guard's state in one word, worst last."""

    OK = "ok"
    FROZEN = "frozen"
    REDUCING = "reducing"
    FLATTENING = "flattening"
    HALTED = "halted"


@dataclass(frozen=True, slots=True)
class GuardDecision:
    """What one tick decided, in the order in which it is carried out."""

    #: The state after this tick, as if everything below were done.
    state: GuardState
    word: Word
    #: Cancel every resting ENTRY order first.
    cancel_entries: bool
    #: Freezes that start and sources that end with this tick.
    freeze: tuple[FreezeWanted, ...]
    thaw: tuple[str, ...]
    #: One action per pair at most.
    actions: tuple[PairAction, ...]
    #: Pairs given back to their engines.
    released: tuple[PairId, ...]
    #: Who decided reductions: ours, venue or none.
    basis: str
    figures: MarginFigures | None
    #: Health after the actions as simulated; None when nothing was simulated.
    health_planned: Decimal | None
