"""Size of the book: the largest one-leg total for given weights that stays strictly inside the guard's lines.

The door back from floats: weights come in, Decimal USD targets go out. The account is simulated with the
exact margin rule under every stress of the book's lines; the largest size is found by bisection over the
total, because every line gets tighter as the book grows. Beyond the account's own cash a book is levered
only while its weighted carry exceeds the marginal cost of borrowing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import ZERO, round_down_to_step
from portfolio.core.errors import MissingDataError
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.results import Lines
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.names import PairId
from portfolio.core.pairs import PairLegs, PairSpec

#: More than this many times equity in one leg is never tried: no account mode allows it.
LEG_EQUITY_MULTIPLE_MAX = Decimal(10)
#: The search ends when the bracket is narrower than this share of equity.
PRECISION = Decimal("0.002")
_WEIGHT_STEP = Decimal("0.000001")
_CENT = Decimal("0.01")


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


@dataclass(frozen=True, slots=True)
class BookSize:
    """Targets in USD of one leg by pair, absolute, and what keeps the book from being larger."""

    targets_usd: Mapping[PairId, Decimal]
    leg_total_usd: Decimal
    #: Name of the limit that binds: a Breach name, `borrow_cost`, `no_pairs` or `equity`.
    binding: str


def size_book(weights: Mapping[PairId, float], given: SizingInput) -> BookSize:
    """Find the size. Pairs that are held but have no weight are taken to zero.

    Raises:
        MissingDataError: a price or risk table that is needed is absent.
    """
    shares = {
        pair: round_down_to_step(Decimal(repr(w)), _WEIGHT_STEP) for pair, w in weights.items() if w > 0
    }
    leaving = {pair: ZERO for pair, legs in given.legs.items() if pair not in shares and legs.hedged > 0}
    if not shares:
        return BookSize(leaving, ZERO, "no_pairs")
    missing = sorted(set(shares) - set(given.prices))
    if missing:
        raise MissingDataError(f"No price of {missing[0]}.", field="prices", next_step="Wait for the venue.")
    if given.total_equity <= 0:
        return BookSize(leaving, ZERO, "equity")
    ceiling, binding = given.total_equity * LEG_EQUITY_MULTIPLE_MAX, "equity"
    if given.carry_apr <= given.borrow_apr:
        ceiling, binding = given.total_equity, "borrow_cost"
    total, binding = _largest(shares, leaving, ceiling, binding, given)
    targets = {pair: round_down_to_step(share * total, _CENT) for pair, share in shares.items()}
    return BookSize({**targets, **leaving}, sum(targets.values(), ZERO), binding)


def _largest(
    shares: Mapping[PairId, Decimal],
    leaving: Mapping[PairId, Decimal],
    ceiling: Decimal,
    binding: str,
    given: SizingInput,
) -> tuple[Decimal, str]:
    """The largest total up to `ceiling` without a breach, within PRECISION of equity, rounded down."""
    why = _breach(shares, leaving, ceiling, given)
    if why is None:
        return ceiling, binding
    low, high = ZERO, ceiling
    while high - low > PRECISION * given.total_equity:
        middle = (low + high) / 2
        found = _breach(shares, leaving, middle, given)
        if found is None:
            low = middle
        else:
            high, why = middle, found
    return low, why


def _breach(
    shares: Mapping[PairId, Decimal], leaving: Mapping[PairId, Decimal], total: Decimal, given: SizingInput
) -> str | None:
    """Name of the first line that a book of this total violates; None when it fits."""
    coins = {pair: share * total / given.prices[pair] for pair, share in shares.items()}
    targets = {**coins, **leaving}
    simulation = given.sim.simulate(
        given.state,
        given.pairs,
        given.legs,
        targets,
        limits=given.limits,
        lines=Lines.BOOK,
        book_notional_usd=total,
    )
    return simulation.breaches[0].limit if simulation.breaches else None
