"""Gathers what the mid-swap gates read, live, before every slice."""

from collections.abc import Mapping
from decimal import Decimal

from portfolio.core.errors import InputError, MissingDataError
from portfolio.core.gates import GateFacts, Verdict, entry_gate, exit_gate, settlement_wait
from portfolio.core.instrument import InstrumentKind
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.results import Lines
from portfolio.core.margin.sim import MarginSim
from portfolio.core.market import FundingOutlook
from portfolio.core.names import InstrumentId
from portfolio.core.pairs import PairSpec
from portfolio.core.planning import bound_of
from portfolio.core.pricing import outside_bound
from portfolio.operations import GuardGate, Operation
from portfolio.ports import Clocks, Runner
from portfolio.progress import Progress, Sides
from portfolio.view import AccountView


class Gatekeeper:
    """The gates of one account."""

    def __init__(
        self,
        *,
        view: AccountView,
        sim: MarginSim,
        guard: GuardGate,
        clocks: Clocks,
        limits: RiskLimits,
        offload: Runner,
    ) -> None:
        self._view = view
        self._sim = sim
        self._guard = guard
        self._clocks = clocks
        self._limits = limits
        #: Where the simulation runs: it may take longer than the event loop can wait.
        self._offload = offload

    def standing(self, operation: Operation, pair: PairSpec, progress: Progress) -> Verdict:
        """Everything but margin and bounds: cheap, for orders that already rest."""
        facts = self._facts(operation, pair, progress, outside=(), margin_blocked=None)
        return entry_gate(facts) if operation.course.entering else exit_gate(facts)

    async def before_slice(
        self, operation: Operation, pair: PairSpec, progress: Progress, sides: Sides, lead_after: Decimal
    ) -> Verdict:
        """All gates before a slice that brings the lead leg to `lead_after` coins."""
        outside = self._outside(operation, pair, sides)
        if not operation.course.entering:
            return exit_gate(self._facts(operation, pair, progress, outside, None))
        verdict = entry_gate(self._facts(operation, pair, progress, outside, None))
        if verdict.reason:
            return verdict
        blocked = await self._margin(pair, lead_after)
        return entry_gate(self._facts(operation, pair, progress, outside, blocked))

    def _facts(
        self,
        operation: Operation,
        pair: PairSpec,
        progress: Progress,
        outside: tuple[InstrumentId, ...],
        margin_blocked: str | None,
    ) -> GateFacts:
        approval = None if progress.intent is None else progress.intent.approval
        now = self._clocks.wire_ns()
        return GateFacts(
            guard_holds=self._guard.holds(pair.pair_id),
            frozen_reason=self._guard.frozen_reason(),
            intent_status=progress.intent_status,
            approval_expired=approval is not None and now >= approval.expires_wire_ns,
            stale=self._view.stale(self._limits.freshness, (pair.long_leg, pair.short_leg)),
            outside=outside,
            margin_blocked=margin_blocked,
            settlement_wait=self._settlement(operation, pair),
        )

    def _outside(self, operation: Operation, pair: PairSpec, sides: Sides) -> tuple[InstrumentId, ...]:
        legs = ((pair.lead_leg, sides.lead), (pair.hedge_leg, sides.hedge))
        return tuple(
            leg
            for leg, side in legs
            if outside_bound(self._view.quote(leg), side, bound_of(operation.bounds, leg))
        )

    def _settlement(self, operation: Operation, pair: PairSpec) -> str | None:
        perpetuals = [
            leg
            for leg in (pair.long_leg, pair.short_leg)
            if self._view.instrument(leg).kind is InstrumentKind.PERPETUAL
        ]
        outlooks: Mapping[InstrumentId, FundingOutlook] = {leg: self._view.funding(leg) for leg in perpetuals}
        return settlement_wait(
            outlooks,
            short=frozenset([pair.short_leg]),
            now_market_ns=self._clocks.market_ns(),
            entering=operation.course.entering,
            limits=self._limits.trade,
        )

    async def _margin(self, pair: PairSpec, lead_after: Decimal) -> str | None:
        """Why the account with the slice on both legs would be refused; None: it would not.

        Raises:
            MissingDataError: a table, a fee or a price that the simulation needs is missing.
        """
        try:
            state = self._view.margin_state()
            legs = {pair_id: self._view.legs(pair_id) for pair_id in self._view.pairs}
        except MissingDataError as error:
            return error.message
        targets = {pair.pair_id: lead_after}
        try:
            simulation = await self._offload.run(
                lambda: self._sim.simulate(
                    state, self._view.pairs, legs, targets, limits=self._limits, lines=Lines.ENTRY
                )
            )
        except InputError as error:
            # What the venue reports no account can be: nobody can say that the slice fits.
            return f"the account cannot be valued: {error.message}"
        return None if simulation.allowed else ", ".join(simulation.blocked_by)
