"""What the what-if answers: values of `MarginSim`."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from portfolio.core.account import MarginFigures
from portfolio.core.margin.state import MarginState
from portfolio.core.names import Coin, PairId
from portfolio.core.pairs import PairLegs


class Lines(StrEnum):
    """Which lines of `RiskLimits` a state is held to.

    ENTRY: the guard's veto - health and usage now, every stress at the "other stress" line, tiers and
    borrowing. BOOK: the size of the book, strictly inside them - also market +-20 % at its tighter line and
    the caps per narrative and pair.
    """

    ENTRY = "entry"
    BOOK = "book"


@dataclass(frozen=True, slots=True)
class Breach:
    """One violated line. `limit` is its stable name.

    Names: `health`, `usage`, `stress:<scenario>`, `position_tier:<instrument>`, `borrow_quota:<coin>`,
    `borrow_rate`, `narrative:<name>`, `pair_share:<pair>`.
    """

    limit: str
    #: The measured figure; None when it has no value (usage while ECV <= 0, nothing lent at all).
    value: Decimal | None
    #: The line itself.
    bound: Decimal | None


@dataclass(frozen=True, slots=True)
class StressResult:
    """The account after one scenario, alone, without transfers."""

    scenario: str
    figures: MarginFigures


@dataclass(frozen=True, slots=True)
class MarginShare:
    """An average part of the account, USD; parts add up to the account exactly (see `shares`)."""

    #: Margins of borrowing are in both.
    initial_margin: Decimal
    maintenance_margin: Decimal
    #: Collateral value that ratios take away.
    haircut_usd: Decimal
    #: ECV: of a pair what it costs (<= 0 where haircuts are), of the treasury everything else.
    adjusted_equity: Decimal
    #: What is owed, at index prices.
    borrowed_usd: Decimal


@dataclass(frozen=True, slots=True)
class PairMargin:
    """What one pair adds to the account: the account with it minus the account without it, USD."""

    pair_id: PairId
    #: Coins of one leg, the larger leg.
    quantity: Decimal
    #: One leg at its reference price, USD.
    notional_usd: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    #: ECV that ratios take away because of the pair.
    haircut_usd: Decimal
    #: What it bears when everybody bears the average; with all other pairs and the treasury, the account.
    average: MarginShare

    @property
    def total_usd(self) -> Decimal:
        """IM + MM + haircut: one number to rank pairs by the relief that closing them brings."""
        return self.initial_margin + self.maintenance_margin + self.haircut_usd


@dataclass(frozen=True, slots=True)
class Simulation:
    """An account before and after a change of targets, and under stress."""

    before: MarginFigures
    after: MarginFigures
    #: The state behind `after`, and what every pair holds in it (a spot purchase arrives without its fee).
    state: MarginState
    legs: Mapping[PairId, PairLegs]
    #: After the change, in the order of the pairs given.
    pairs: tuple[PairMargin, ...]
    #: After the change, the average share of what no pair holds, open orders among it.
    treasury: MarginShare
    #: After the change, worst health first.
    stresses: tuple[StressResult, ...]
    #: Every line that the state after violates.
    breaches: tuple[Breach, ...]
    #: Nothing is breached, or no pair grows: reducing is never refused.
    allowed: bool
    #: Names of the breached limits; empty when allowed.
    blocked_by: tuple[str, ...]

    @property
    def worst_stress(self) -> StressResult | None:
        """The stress that leaves the least health; None when none was run."""
        return self.stresses[0] if self.stresses else None


@dataclass(frozen=True, slots=True)
class Headroom:
    """How much more of a pair fits; one lot more is refused by `binding`."""

    pair_id: PairId
    #: Coins of one leg on top of what is held, a multiple of the lot, >= 0.
    quantity: Decimal
    #: Coins of one leg after adding it.
    target: Decimal
    #: `quantity` at the leg's reference price, USD.
    notional_usd: Decimal
    #: Name of the limit that binds (see Breach).
    binding: str


@dataclass(frozen=True, slots=True)
class Cut:
    """The account after a pair was reduced on both legs and its debt repaid from the proceeds."""

    pair_id: PairId
    #: Coins of one leg taken off, the larger leg.
    quantity: Decimal
    state: MarginState
    legs: PairLegs
    figures: MarginFigures


@dataclass(frozen=True, slots=True)
class LiquidationPrices:
    """USD prices of one coin at which the account's MM reaches its ECV, everything else unchanged."""

    coin: Coin
    now: Decimal
    #: Nearest below; None when no fall of the coin alone liquidates.
    below: Decimal | None
    #: Nearest above; None up to ten times the price.
    above: Decimal | None
