"""From an intent's absolute targets to moves of pairs, in the order in which they may start.

Exits come first: they free the margin that entries use. A pair that shares an instrument with an earlier move
waits for it, because two operations on one instrument could not tell their coins apart at the venue.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.intents import LegBound, Target
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.orders import OrderClass
from portfolio.core.pairs import PairSpec
from portfolio.core.reconcile import Course


@dataclass(frozen=True, slots=True)
class PairMove:
    """One pair's way to its target."""

    pair_id: PairId
    course: Course
    bounds: tuple[LegBound, ...]
    #: Moves that must have ended before this one starts, because they trade the same instruments.
    after: tuple[PairId, ...]

    @property
    def order_class(self) -> OrderClass:
        """ENTRY when the pair grows, REDUCE when it shrinks."""
        return OrderClass.ENTRY if self.course.entering else OrderClass.REDUCE


def plan_moves(targets: Iterable[Target], pairs: Mapping[PairId, PairSpec]) -> tuple[PairMove, ...]:
    """Exits, largest cut first, then entries as listed; targets that change nothing are left out."""
    changed = [target for target in targets if target.to_quantity != target.from_quantity]
    exits = [target for target in changed if target.to_quantity < target.from_quantity]
    entries = [target for target in changed if target.to_quantity > target.from_quantity]
    exits.sort(key=lambda target: (target.to_quantity / target.from_quantity, target.pair_id))
    moves: list[PairMove] = []
    for target in (*exits, *entries):
        after = tuple(move.pair_id for move in moves if _share(pairs[move.pair_id], pairs[target.pair_id]))
        course = Course(target.from_quantity, target.to_quantity)
        moves.append(PairMove(target.pair_id, course, target.bounds, after))
    return tuple(moves)


def _share(one: PairSpec, other: PairSpec) -> bool:
    return not _instruments(one).isdisjoint(_instruments(other))


def _instruments(pair: PairSpec) -> frozenset[InstrumentId]:
    return frozenset((pair.long_leg, pair.short_leg))


def bound_of(bounds: Sequence[LegBound], instrument_id: InstrumentId) -> Decimal | None:
    """The worst price approved for an instrument; None: no bound."""
    return next((bound.limit_price for bound in bounds if bound.instrument_id == instrument_id), None)
