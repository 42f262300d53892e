"""What each pair adds to an account, and the caps per narrative and per pair (DESIGN 5).

A pair's (or narrative's) margin is marginal: the account with it minus the account without it, all its legs
closed at mark and index without fees and the debt repaid. Marginal parts need not add up to the whole: what
the last borrower adds, the first one may not.
"""

from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal

from portfolio.core.decimals import ZERO
from portfolio.core.instrument import InstrumentKind
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.apply import Fee, trade
from portfolio.core.margin.lookups import instrument_of
from portfolio.core.margin.pairing import add_deltas, deltas_to, leg_price_usd
from portfolio.core.margin.results import Breach, MarginShare, PairMargin
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.valuation import MarginRule, Valuation
from portfolio.core.names import Narrative, PairId
from portfolio.core.pairs import PairLegs, PairSpec

Pairs = Mapping[PairId, PairSpec]
Legs = Mapping[PairId, PairLegs]


def size_of(legs: PairLegs) -> Decimal:
    """Coins of one leg, the larger one."""
    return max(legs.long_quantity, legs.short_quantity)


def without(state: MarginState, pairs: Collection[PairSpec], legs: Legs) -> MarginState:
    """The account with these pairs closed, free of charge and repaid; never sells more than is there."""
    deltas = add_deltas(deltas_to(pair, legs[pair.pair_id], ZERO) for pair in pairs)
    wallets = {row.coin: max(ZERO, row.wallet) for row in state.balances}
    for instrument_id, delta in deltas.items():
        instrument = instrument_of(state, instrument_id)
        if instrument.kind is InstrumentKind.SPOT:
            deltas[instrument_id] = max(delta, -wallets.get(instrument.base, ZERO))
    return trade(state, deltas, fee=Fee.NONE, repay=True)


def pair_margins(
    rule: MarginRule,
    state: MarginState,
    valuation: Valuation,
    pairs: Pairs,
    legs: Legs,
    averages: Mapping[PairId, MarginShare],
) -> tuple[PairMargin, ...]:
    """What each pair adds; zeros for a flat one. `valuation` and `averages` are those of `state`."""
    rows = []
    for pair_id, pair in pairs.items():
        size = size_of(legs[pair_id])
        if size == 0:
            rows.append(PairMargin(pair_id, ZERO, ZERO, ZERO, ZERO, ZERO, averages[pair_id]))
            continue
        rest = rule(without(state, (pair,), legs), extrapolate=True)
        with_it, without_it = valuation.figures, rest.figures
        rows.append(
            PairMargin(
                pair_id=pair_id,
                quantity=size,
                notional_usd=size * leg_price_usd(state, pair),
                initial_margin=with_it.initial_margin - without_it.initial_margin,
                maintenance_margin=with_it.maintenance_margin - without_it.maintenance_margin,
                haircut_usd=valuation.haircut_usd - rest.haircut_usd,
                average=averages[pair_id],
            )
        )
    return tuple(rows)


def narrative_breaches(
    rule: MarginRule,
    state: MarginState,
    pairs: Pairs,
    legs: Legs,
    narratives: Collection[Narrative],
    limits: RiskLimits,
) -> Iterator[Breach]:
    """Narratives whose margin (IM + haircuts + borrow IM, reference leverage) is too much of the equity."""
    bound = limits.book.narrative_equity_share_max
    whole = rule(state, reference=True, extrapolate=True)
    equity = whole.figures.total_equity
    for narrative, consumed in narrative_margins(rule, state, whole, pairs, legs, narratives):
        if consumed > 0 and (equity <= 0 or consumed > bound * equity):
            yield Breach(f"narrative:{narrative}", None if equity <= 0 else consumed / equity, bound)


def narrative_margins(
    rule: MarginRule,
    state: MarginState,
    whole: Valuation,
    pairs: Pairs,
    legs: Legs,
    narratives: Collection[Narrative],
) -> Iterator[tuple[Narrative, Decimal]]:
    """Margin that each narrative consumes, USD; `whole` is the state's valuation at reference leverage."""
    for narrative in narratives:
        members = [row for row in pairs.values() if row.narrative == narrative]
        rest = rule(without(state, members, legs), reference=True, extrapolate=True)
        yield narrative, whole.consumed_usd - rest.consumed_usd


def narrative_rates(
    rule: MarginRule, state: MarginState, pairs: Pairs, legs: Legs
) -> dict[Narrative, Decimal]:
    """Margin that one USD of one leg of each narrative consumes; those that consume none are left out."""
    worth: dict[Narrative, Decimal] = {}
    for pair_id, pair in pairs.items():
        size = size_of(legs[pair_id])
        if size > 0:
            worth[pair.narrative] = worth.get(pair.narrative, ZERO) + size * leg_price_usd(state, pair)
    whole = rule(state, reference=True, extrapolate=True)
    found = narrative_margins(
        rule, state, whole, pairs, legs, [name for name, usd in worth.items() if usd > 0]
    )
    return {narrative: used / worth[narrative] for narrative, used in found if used > 0}


def share_breaches(
    state: MarginState,
    equity: Decimal,
    pairs: Pairs,
    legs: Legs,
    limits: RiskLimits,
    book_notional_usd: Decimal,
) -> Iterator[Breach]:
    """Pairs that are too much of the book, one-leg notional in USD.

    The book is measured by the largest of its notional now, the notional it is planned to have, and the
    account's equity: against what is held alone, the first pair of any book would be all of it.
    """
    bound = limits.book.pair_book_share_max
    notionals = {
        pair_id: size_of(legs[pair_id]) * leg_price_usd(state, pair)
        for pair_id, pair in pairs.items()
        if size_of(legs[pair_id]) > 0
    }
    book = max(sum(notionals.values(), start=ZERO), equity, book_notional_usd)
    for pair_id, notional in notionals.items():
        if notional > bound * book:
            yield Breach(f"pair_share:{pair_id}", None if book <= 0 else notional / book, bound)
