"""An account after pairs moved to absolute targets, all in one trade: where every what-if begins."""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from portfolio.core.margin.apply import Fee, trade
from portfolio.core.margin.caps import Legs, Pairs, size_of
from portfolio.core.margin.pairing import add_deltas, deltas_to, legs_after, legs_of, pair_of
from portfolio.core.margin.state import MarginState
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.pairs import PairSpec


class Moved(NamedTuple):
    """An account after its pairs moved to their targets."""

    state: MarginState
    #: What every pair of the book holds then.
    legs: Legs
    #: Signed base coins traded per instrument.
    deltas: Mapping[InstrumentId, Decimal]
    #: Pairs whose target is larger than what they held.
    growing: tuple[PairSpec, ...]


def moved_pairs(
    state: MarginState, pairs: Pairs, legs: Legs, targets: Mapping[PairId, Decimal], fee: Fee
) -> Moved:
    """All pairs moved in one trade, which repays debt as soon as one of them shrinks."""
    held = {pair_id: legs_of(legs, pair_id) for pair_id in pairs}
    moves = {pair_of(pairs, pair_id): to for pair_id, to in targets.items()}
    deltas = add_deltas(deltas_to(pair, held[pair.pair_id], to) for pair, to in moves.items())
    growing = tuple(pair for pair, to in moves.items() if to > size_of(held[pair.pair_id]))
    repay = any(to < size_of(held[pair.pair_id]) for pair, to in moves.items())
    after = trade(state, deltas, fee=fee, repay=repay)
    for pair, to in moves.items():
        was = held[pair.pair_id]
        held[pair.pair_id] = legs_after(state, pair, was, deltas_to(pair, was, to), fee)
    return Moved(after, held, deltas, growing)
