"""Proportional entry at work: what each entry may have done while the exits of its intent still leave."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from portfolio.core.decimals import ONE, ZERO
from portfolio.core.errors import InputError, MissingDataError
from portfolio.core.margin.results import Simulation
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import PairId
from portfolio.core.planning import PairMove
from portfolio.core.proportional import Funding, MoveMargin, entry_allowance, match_swaps
from portfolio.ports import Runner
from portfolio.view import AccountView


class Swap:
    """How far the exits of one intent are."""

    def __init__(self, freed: Callable[[PairId], Decimal]) -> None:
        #: Share of an exit that is hedged and repaid, from its engine.
        self._freed = freed
        self._reached: set[PairId] = set()
        self._ended: set[PairId] = set()

    def end(self, pair_id: PairId, *, reached: bool) -> None:
        """A move ended; when it reached its target, the dust it left counts as gone."""
        self._ended.add(pair_id)
        if reached:
            self._reached.add(pair_id)

    def freed(self, exits: Iterable[PairId]) -> dict[PairId, Decimal]:
        """Per exit, the share of its margin that is free again."""
        return {pair_id: ONE if pair_id in self._reached else self._freed(pair_id) for pair_id in exits}

    def ended(self, exits: Iterable[PairId]) -> bool:
        """Whether none of them will free any more."""
        return all(pair_id in self._ended for pair_id in exits)


class SwapPermit:
    """Implements `operations.Permit` for one entry."""

    def __init__(self, swap: Swap, planned: Decimal, funding: Funding) -> None:
        self._swap = swap
        self._planned = planned
        self._funding = funding
        self._exits = tuple(part.pair_id for part in funding.from_exits)

    def coins(self) -> Decimal:
        """Most coins that the whole entry may have done now."""
        return entry_allowance(self._planned, self._funding, self._swap.freed(self._exits))

    def final(self) -> bool:
        """Every exit that pays for it has ended."""
        return self._swap.ended(self._exits)


async def fund_entries(
    moves: Iterable[PairMove], view: AccountView, sim: MarginSim, offload: Runner
) -> dict[PairId, Funding]:
    """What pays for each entry; empty when there is nothing to exit or nothing to enter.

    Margin is simulated for the whole moves, from where the intent starts to where it ends, so that a
    restart in the middle computes the same shares again.

    Raises:
        MissingDataError: an input of the simulation is missing or cannot be.
    """
    planned = tuple(moves)
    if len({move.course.entering for move in planned}) < 2:
        return {}
    state = view.margin_state()
    legs = {pair_id: view.legs(pair_id) for pair_id in view.pairs}
    start = {move.pair_id: move.course.from_quantity for move in planned}
    end = {move.pair_id: move.course.to_quantity for move in planned}
    try:
        before = await offload.run(lambda: sim.simulate(state, view.pairs, legs, start, stresses=()))
        after = await offload.run(lambda: sim.simulate(state, view.pairs, legs, end, stresses=()))
    except InputError as error:
        raise MissingDataError(f"The account cannot be valued: {error.message}", field=error.field) from error
    was, will = _margins(before), _margins(after)

    def change(move: PairMove) -> MoveMargin:
        return MoveMargin(move.pair_id, abs(will.get(move.pair_id, ZERO) - was.get(move.pair_id, ZERO)))

    exits = [change(move) for move in planned if not move.course.entering]
    entries = [change(move) for move in planned if move.course.entering]
    return match_swaps(exits, entries)


def _margins(simulation: Simulation) -> Mapping[PairId, Decimal]:
    """IM + haircut of each pair, USD."""
    return {row.pair_id: row.initial_margin + row.haircut_usd for row in simulation.pairs}
