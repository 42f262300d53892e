"""The account valued for the guard: now, after cuts, and after the entries that ask to pass."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ZERO
from portfolio.core.errors import MissingDataError
from portfolio.core.guard.values import Simulate
from portfolio.core.guard.veto import breach_veto
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.apply import trade
from portfolio.core.margin.lines import account_breaches
from portfolio.core.margin.pairing import narrowed
from portfolio.core.margin.results import Lines
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.orders import OrderRequest
from portfolio.core.pairs import PairLegs, PairSpec
from portfolio.view import AccountView

_KEPT_STEPS = 8


class AccountMargin:
    """One account's margin, by the same rule as every what-if."""

    def __init__(self, *, view: AccountView, sim: MarginSim, limits: RiskLimits) -> None:
        self._view = view
        self._sim = sim
        self._limits = limits

    def now(self) -> tuple[MarginFigures, Simulate] | None:
        """Our figures and a simulation of cuts from here; None while an input is missing."""
        try:
            state = narrowed(self._view.margin_state(), ())
            legs = {pair_id: self._view.legs(pair_id) for pair_id in self._view.pairs}
            figures = self._sim.rule(state, extrapolate=True).figures
        except MissingDataError:
            return None
        return figures, Cuts(self._sim, state, self._view.pairs, legs, figures)

    def entry_refusal(self, orders: Sequence[OrderRequest]) -> str | None:
        """Why the account after these orders would be over a line; None when it would not.

        Health and usage are judged twice: as the orders leave it, and with the hedges that must follow.
        Stresses only with the hedges, which is how the account will stand: a lone lead is covered at once.

        Raises:
            MissingDataError: an input is missing.
        """
        state = self._view.margin_state()
        deltas = order_deltas(orders)
        bare = self._sim.rule(trade(narrowed(state, deltas), deltas), extrapolate=True).figures
        refusal = breach_veto(tuple(account_breaches(bare, self._limits, Lines.ENTRY)))
        if refusal is not None:
            return refusal
        hedged = self._completed(deltas, {order.pair_id for order in orders})
        return breach_veto(self._sim.breaches(state, hedged, limits=self._limits, lines=Lines.ENTRY))

    def _completed(
        self, deltas: Mapping[InstrumentId, Decimal], pair_ids: Iterable[PairId]
    ) -> dict[InstrumentId, Decimal]:
        """The deltas with what makes each pair whole again: the smaller leg follows the larger."""
        done = dict(deltas)
        for pair_id in sorted(pair_ids):
            pair, legs = self._view.pair(pair_id), self._view.legs(pair_id)
            long = legs.long_quantity + done.get(pair.long_leg, ZERO)
            short = legs.short_quantity - done.get(pair.short_leg, ZERO)
            if long < short:
                done[pair.long_leg] = done.get(pair.long_leg, ZERO) + short - long
            elif short < long:
                done[pair.short_leg] = done.get(pair.short_leg, ZERO) - (long - short)
        return done


def order_deltas(orders: Iterable[OrderRequest]) -> dict[InstrumentId, Decimal]:
    """Signed base coins per instrument if all of them fill."""
    deltas: dict[InstrumentId, Decimal] = {}
    for order in orders:
        traded = order.side.sign * order.quantity
        deltas[order.instrument_id] = deltas.get(order.instrument_id, ZERO) + traded
    return deltas


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
