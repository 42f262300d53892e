"""What the account looks like after cuts: the simulation that the guard's ladders climb by."""

from collections.abc import Mapping
from decimal import Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ZERO
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.names import PairId
from portfolio.core.pairs import PairLegs, PairSpec

_KEPT_STEPS = 8


class Cuts:
    """`Simulate` by the margin rule: both legs of each pair down to at most its target, debts repaid.

    A ladder asks for one more cut each time, so each accepted step starts from the state of the one before.
    """

    def __init__(
        self,
        sim: MarginSim,
        state: MarginState,
        pairs: Mapping[PairId, PairSpec],
        legs: Mapping[PairId, PairLegs],
        figures: MarginFigures,
    ) -> None:
        self._sim = sim
        self._pairs = pairs
        self._start = _Step({}, state, legs, figures)
        self._steps = [self._start]

    def __call__(self, targets: Mapping[PairId, Decimal]) -> MarginFigures:
        """Figures after these cuts, from the nearest step that was simulated before."""
        step = next((one for one in reversed(self._steps) if one.leads_to(targets)), self._start)
        for pair_id, target in targets.items():
            if step.targets.get(pair_id) == target:
                continue
            legs = step.legs[pair_id]
            surplus = max(legs.long_quantity, legs.short_quantity) - target
            cut = self._sim.cut(step.state, self._pairs[pair_id], legs, max(ZERO, surplus))
            step = _Step(
                {**step.targets, pair_id: target}, cut.state, {**step.legs, pair_id: cut.legs}, cut.figures
            )
        # A trial that did not help is followed by one from the same step with another pair: keep a few.
        self._steps = [*self._steps[-_KEPT_STEPS:], step]
        return step.figures


class _Step:
    """The account after some cuts."""

    __slots__ = ("figures", "legs", "state", "targets")

    def __init__(
        self,
        targets: Mapping[PairId, Decimal],
        state: MarginState,
        legs: Mapping[PairId, PairLegs],
        figures: MarginFigures,
    ) -> None:
        self.targets = targets
        self.state = state
        self.legs = legs
        self.figures = figures

    def leads_to(self, targets: Mapping[PairId, Decimal]) -> bool:
        """Whether cutting further from here gives exactly these targets."""
        return all(targets.get(pair_id, target + 1) <= target for pair_id, target in self.targets.items())
