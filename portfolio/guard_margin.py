"""The account valued for the guard: now, after cuts, and after the entries that ask to pass."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ZERO
from portfolio.core.errors import InputError, MissingDataError
from portfolio.core.guard.cuts import Cuts
from portfolio.core.guard.values import Simulate
from portfolio.core.guard.veto import breach_veto
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.apply import trade
from portfolio.core.margin.lines import account_breaches
from portfolio.core.margin.pairing import narrowed
from portfolio.core.margin.results import Lines
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.orders import OrderRequest
from portfolio.view import AccountView


class AccountMargin:
    """One account's margin, by the same rule as every what-if."""

    def __init__(self, *, view: AccountView, sim: MarginSim, limits: RiskLimits) -> None:
        self._view = view
        self._sim = sim
        self._limits = limits

    def now(self) -> tuple[MarginFigures, Simulate] | None:
        """Our figures and a simulation of cuts from here; None while an input is missing or cannot be."""
        try:
            state = narrowed(self._view.margin_state(), ())
            legs = {pair_id: self._view.legs(pair_id) for pair_id in self._view.pairs}
            figures = self._sim.rule(state, extrapolate=True).figures
        except (MissingDataError, InputError):
            return None
        return figures, Cuts(self._sim, state, self._view.pairs, legs, figures)

    def entry_refusal(self, orders: Sequence[OrderRequest]) -> str | None:
        """Why the account after these orders would be over a line; None when it would not.

        Health and usage are judged twice: as the orders leave it, and with the hedges that must follow.
        Stresses only with the hedges, which is how the account will stand: a lone lead is covered at once.

        Raises:
            MissingDataError: an input is missing.
        """
        try:
            return self._refusal(orders)
        except InputError as error:
            return f"the account cannot be valued: {error.message}"

    def _refusal(self, orders: Sequence[OrderRequest]) -> str | None:
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
