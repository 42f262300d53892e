"""Intents that wait: those whose time ran out expire, those whose world moved on are void."""

from collections.abc import Callable
from decimal import Decimal

from portfolio.core.drift import World, drifted
from portfolio.core.entries import IntentMoved
from portfolio.core.errors import ConflictError, InputError, MissingDataError
from portfolio.core.increments import naked_tolerance
from portfolio.core.intents import Intent, IntentStatus, Target
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.legs import fee_rate
from portfolio.ports import Clocks, IntentRow, Journal, Runner
from portfolio.view import AccountView

BY = "desk"
_WAITING = frozenset({IntentStatus.PROPOSED, IntentStatus.REQUESTED})


class WaitingRoom:
    """Closes waiting intents that expired or drifted; looks once more before an approved one starts."""

    def __init__(
        self,
        *,
        view: AccountView,
        journal: Journal,
        runner: Runner,
        offload: Runner,
        clocks: Clocks,
        sim: MarginSim,
        limits: RiskLimits,
        fingerprint: Callable[[MarginState], str],
    ) -> None:
        self._view = view
        self._journal = journal
        self._runner = runner
        self._offload = offload
        self._clocks = clocks
        self._sim = sim
        self._limits = limits
        self._fingerprint = fingerprint

    async def weed(self) -> None:
        """Close every waiting intent that expired or drifted."""
        rows = await self._runner.run(lambda: self._journal.intents(open_only=True))
        for row in rows:
            if row.status in _WAITING:
                await self._look(row)

    async def _look(self, row: IntentRow) -> None:
        if self._clocks.wire_ns() >= row.intent.expires_wire_ns:
            await self.move(row, IntentStatus.EXPIRED, "nobody approved it in time")
            return
        try:
            reason = await self.drift(row.intent)
        except MissingDataError:
            # Without data nothing can be said; it cannot start without data either.
            return
        if reason is not None:
            await self.move(row, IntentStatus.VOID, reason)

    async def drift(self, intent: Intent) -> str | None:
        """Why the world is no longer the one that the intent was written for; None: it is.

        Raises:
            MissingDataError: an input is missing, too old, or cannot be.
        """
        view = self._view
        gone = self.gone(intent)
        if gone is not None:
            return gone
        legs_traded = tuple(
            leg
            for target in intent.targets
            for leg in (view.pair(target.pair_id).long_leg, view.pair(target.pair_id).short_leg)
        )
        stale = view.stale(self._limits.freshness, legs_traded)
        if stale and not intent.reduce_only:
            raise MissingDataError(f"Missing or too old: {', '.join(stale)}.", field="data")
        state = view.margin_state()
        legs = {pair_id: view.legs(pair_id) for pair_id in view.pairs}
        targets = {target.pair_id: target.to_quantity for target in intent.targets}
        try:
            simulation = await self._offload.run(
                lambda: self._sim.simulate(state, view.pairs, legs, targets, stresses=())
            )
        except InputError as error:
            raise MissingDataError(
                f"The account cannot be valued: {error.message}", field=error.field
            ) from error
        world = World(
            fingerprint=self._fingerprint(state),
            prices={leg: view.reference_price(leg) for leg in legs_traded},
            legs=legs,
            tolerance={target.pair_id: self._tolerance(target) for target in intent.targets},
            health_after=simulation.after.health_score,
        )
        return drifted(intent, view.pairs, world)

    def gone(self, intent: Intent) -> str | None:
        """Which pair the intent names that the desk, started anew, does not have any more; None: none.

        Pairs are what the venue lists at the start: one that was delisted meanwhile is not among them.
        """
        names = [target.pair_id for target in intent.targets if target.pair_id not in self._view.pairs]
        return f"{', '.join(names)}: not a pair of this desk any more" if names else None

    def _tolerance(self, target: Target) -> Decimal:
        pair = self._view.pair(target.pair_id)
        lead, hedge = self._view.instrument(pair.lead_leg), self._view.instrument(pair.hedge_leg)
        dust = target.from_quantity * fee_rate(self._view, hedge)
        return naked_tolerance(lead, hedge, self._view.reference_price(pair.lead_leg), dust)

    async def move(self, row: IntentRow, status: IntentStatus, note: str) -> bool:
        """Record the intent's next status; False when somebody else moved it first."""
        entry = IntentMoved(row.intent.intent_id, row.status, status, BY, note)
        try:
            await self._runner.run(lambda: self._journal.append([entry], self._clocks.wire_ns()))
        except ConflictError:
            return False
        return True
