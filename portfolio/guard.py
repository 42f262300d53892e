"""The guard's loop: every second and on every account or price event it reads, decides and acts.

1. It reads the account, never an agent, and waits for nobody: the journal, orders and repayments are left to
   tasks of their own, so that it keeps looking while they work and can escalate.
2. Adding risk fails closed: whatever is missing, old, frozen or in doubt makes `veto` refuse. Reducing stays
   possible on stale data and while the journal cannot commit.
3. What a restart must not forget is in the journal with the action.
4. `veto`, `holds`, `frozen` and `status` are synchronous reads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import anyio
from anyio.abc import TaskGroup, TaskStatus

from portfolio.core.account import MarginFigures
from portfolio.core.entries import EntriesThawed, GuardActed, Noted
from portfolio.core.errors import CarrydeskError
from portfolio.core.guard.arbiter import acknowledged, decide, planned_health
from portfolio.core.guard.gap_sample import GapSample
from portfolio.core.guard.orders import operation_id
from portfolio.core.guard.values import ActionKind, GuardDecision, PairAction, Rule, Word
from portfolio.core.guard.veto import EntryFacts, standing_veto
from portfolio.core.limits import SECOND_NS, RiskLimits
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import ClientOrderId, InstrumentId, IntentId, PairId
from portfolio.core.orders import CancelRequest, OrderClass, OrderRequest
from portfolio.guard_batch import Carrier, GuardWorker
from portfolio.guard_facts import FactsGatherer
from portfolio.guard_margin import AccountMargin
from portfolio.guard_memory import GuardMemory
from portfolio.ports import Clocks, Freeze, Journal, OrderRow, Runner
from portfolio.repayment import Repayer
from portfolio.view import AccountView

#: The loop looks at least this often.
LOOK_EVERY_NS = SECOND_NS
#: Events of one instant are looked at together, and everybody else runs in between.
COALESCE_NS = 2_000_000
#: After a look the loop rests this many times as long as it took: a flood of prices must not starve the desk.
REST_PER_LOOK = 3
#: A guard that has not looked for this long refuses entries; the supervisor restarts it soon after.
ASLEEP_NS = 3 * SECOND_NS
#: Between two cancels of one order.
_CANCEL_AGAIN_NS = SECOND_NS


@dataclass(frozen=True, slots=True)
class GuardStatus:
    """The guard as its watchers see it."""

    #: ok, frozen, reducing, flattening, halted.
    state: str
    #: Ours; None while an input is missing.
    figures: MarginFigures | None
    #: The venue's own, from the last account read.
    venue_figures: MarginFigures | None
    #: |ours - venue| / venue over MM and ECV, the larger, at the last sample; None before the first.
    margin_gap: Decimal | None
    #: The last samples of it, oldest first, and how many of the newest are over the line in a row.
    gap_samples: tuple[GapSample, ...]
    gap_over: int
    #: Who decides reductions now: ours, venue or none.
    basis: str
    held_pairs: tuple[PairId, ...]
    freezes: tuple[Freeze, ...]
    #: What the last operations did, newest first.
    last_actions: tuple[str, ...]
    #: Age of the last completed look on the wire clock, integer ns; None before the first.
    heartbeat_age_ns: int | None

    @property
    def health(self) -> Decimal | None:
        """Our health score."""
        return None if self.figures is None else self.figures.health_score

    @property
    def venue_health(self) -> Decimal | None:
        """Health score by the venue's figures."""
        return None if self.venue_figures is None else self.venue_figures.health_score

    @property
    def usage(self) -> Decimal | None:
        """Our margin usage."""
        return None if self.figures is None else self.figures.margin_usage


class Guard:
    """See the module. One per account.

    Args:
        view: Everything known of the account.
        sim: The margin rule and its what-ifs.
        worker: The only writer to the venue.
        journal: Read and written through `runner`.
        runner: Where journal calls run.
        clocks: Wire times for limits, ages and cool-downs.
        limits: The operator's.
        scores: Quality scores of now; a pair without one ranks first for reduction.
        heartbeat: Called after every look.
        recovered: Whether everything in flight at the last stop is accounted for.
        tables_doubted: Called at every sample that shows our figures apart from the venue's.
    """

    def __init__(
        self,
        *,
        view: AccountView,
        sim: MarginSim,
        worker: GuardWorker,
        journal: Journal,
        runner: Runner,
        clocks: Clocks,
        limits: RiskLimits,
        scores: Callable[[], Mapping[PairId, Decimal]],
        heartbeat: Callable[[], None],
        recovered: Callable[[], bool],
        tables_doubted: Callable[[], None] = lambda: None,
    ) -> None:
        self._tables_doubted = tables_doubted
        self._view = view
        self._worker = worker
        self._clocks = clocks
        self._limits = limits
        self._heartbeat = heartbeat
        self._recovered = recovered
        self._margin = AccountMargin(view=view, sim=sim, limits=limits)
        self._memory = GuardMemory(journal=journal, runner=runner, clocks=clocks, view=view)
        self._gatherer = FactsGatherer(view=view, clocks=clocks, limits=limits, scores=scores)
        self._carrier = Carrier(
            view=view,
            worker=worker,
            clocks=clocks,
            limits=limits,
            gatherer=self._gatherer,
            repayer=Repayer(view=view, worker=worker, clocks=clocks),
        )
        self._group: TaskGroup | None = None
        self._decision: GuardDecision | None = None
        self._figures: MarginFigures | None = None
        self._looked_ns: int | None = None
        self._cancelled: dict[ClientOrderId, int] = {}
        self._legs: dict[InstrumentId, Decimal] = {}
        self._done: list[str] = []

    # --- the loop -----------------------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep watch until cancelled; ready after the first look.

        Raises:
            JournalError: the journal or the saved state cannot be used.
        """
        await self._memory.load(self._gatherer.holdings_now)
        async with anyio.create_task_group() as group:
            self._group = group
            group.start_soon(self._memory.keep_reading, self._gatherer.holdings_now)
            group.start_soon(self._memory.keep_writing)
            self._look(group)
            task_status.started()
            cost_ns = 0
            while True:
                version = self._view.version
                with anyio.move_on_after(LOOK_EVERY_NS / SECOND_NS):
                    await self._view.changed(version)
                await anyio.sleep(max(COALESCE_NS, REST_PER_LOOK * cost_ns) / SECOND_NS)
                began_ns = self._clocks.monotonic_ns()
                self._look(group)
                cost_ns = self._clocks.monotonic_ns() - began_ns

    def _look(self, group: TaskGroup) -> None:
        """One tick: gather, decide, start what must be done."""
        decision = self._decide()
        self._decision = decision
        if decision.actions:
            self._act(group, decision)
        if decision.cancel_entries:
            self._cancel_entries(group)
        self._memory.froze(decision.freeze, decision.thaw)
        self._looked_ns = self._clocks.wire_ns()
        self._heartbeat()

    def _decide(self) -> GuardDecision:
        valued = self._margin.now()
        self._figures = None if valued is None else valued[0]
        legs = self._gatherer.holdings_now()
        if legs != self._legs:
            self._legs = legs
            self._memory.read_soon()
        counted = self._memory.transfers()
        inp = self._gatherer.gather(
            state=self._memory.state,
            ours=self._figures,
            facts=self._memory.facts,
            unknown=self._worker.unknown_pairs(),
            busy=self._carrier.busy(),
            ladder_out=self._carrier.ladder_out(),
            recovered=self._recovered(),
            transfers=counted,
            uncounted=self._memory.uncounted(),
        )
        decision = decide(inp, None if valued is None else valued[1])
        if decision.state.gap_over > inp.state.gap_over:
            self._tables_doubted()
        self._memory.decided(decision.state, counted)
        return decision

    # --- acting -------------------------------------------------------------------------------------------

    def _act(self, group: TaskGroup, decision: GuardDecision) -> None:
        operation = operation_id(self._view.account, decision.state.operations, self._clocks.wire_ns())
        self._carrier.take(decision.actions)
        group.start_soon(self._carry, group, operation, decision)

    async def _carry(self, group: TaskGroup, operation: IntentId, decision: GuardDecision) -> None:
        entries = tuple(acted(operation, decision))
        self._done = [f"{row.rule}: {row.detail}" for row in entries] + self._done[:20]

        async def commit() -> tuple[OrderRow, ...]:
            await self._memory.commit(entries)
            return await self._memory.flying()

        notes = await self._carrier.carry(operation, decision.actions, commit)
        self._memory.read_soon()
        group.start_soon(self._finish, operation, decision.actions, notes)

    async def _finish(self, operation: IntentId, actions: Sequence[PairAction], notes: Sequence[str]) -> None:
        """Leave a line about what did not go as planned, and repay what the cuts freed."""
        await self._note(operation, notes)
        if any(action.kind is ActionKind.REDUCE for action in actions):
            await self._note(operation, await self._carrier.repay(operation, actions))

    async def _note(self, operation: IntentId, notes: Sequence[str]) -> None:
        if notes:
            await self._memory.commit([Noted(f"guard {operation}", "; ".join(notes)[:2000])])

    def _cancel_entries(self, group: TaskGroup) -> None:
        """Cancel every resting ENTRY, each at most once a second."""
        facts, now = self._memory.facts, self._clocks.wire_ns()
        self._cancelled = {key: at for key, at in self._cancelled.items() if now - at < _CANCEL_AGAIN_NS}
        requests = [
            CancelRequest(row.request.client_order_id, row.request.instrument_id)
            for row in (() if facts is None else facts.unsettled)
            if row.request.order_class is OrderClass.ENTRY
            and row.request.client_order_id not in self._cancelled
        ]
        if requests:
            self._cancelled |= {one.client_order_id: now for one in requests}
            group.start_soon(self._cancel, requests)

    async def _cancel(self, requests: Sequence[CancelRequest]) -> None:
        try:
            await self._worker.cancel(requests)
        except CarrydeskError as error:
            await self._memory.commit([Noted("guard", f"entries could not be cancelled: {error}")])
        self._memory.read_soon()

    # --- for others ---------------------------------------------------------------------------------------

    def veto(self, orders: Sequence[OrderRequest]) -> str | None:
        """Why these ENTRY orders may not go; None: they may. Anything missing refuses; changes nothing."""
        entries = [order for order in orders if order.order_class is OrderClass.ENTRY]
        if not entries:
            return None
        try:
            return self._standing(entries) or self._margin.entry_refusal(entries)
        except CarrydeskError as error:
            return str(error)

    def _standing(self, entries: Sequence[OrderRequest]) -> str | None:
        now = self._clocks.wire_ns()
        facts = self._memory.facts
        if facts is None or self._looked_ns is None or now - self._looked_ns > ASLEEP_NS:
            return "the guard is not awake"
        if self._memory.failure is not None:
            return f"the journal cannot be used: {self._memory.failure}"
        return standing_veto(
            EntryFacts(
                now_wire_ns=now,
                state=self._memory.state,
                pairs={one.pair_id: self._view.pair(one.pair_id).coin for one in entries},
                recovered=self._recovered(),
                halted=facts.halted,
                freezes={row.source: row.reason for row in self._memory.freezes()},
                stale=self._view.stale(self._limits.freshness, {one.instrument_id for one in entries}),
                unknown=self._worker.unknown_pairs(),
            ),
            self._limits,
        )

    def holds(self, pair_id: PairId) -> bool:
        """Whether the guard has taken this pair from its engine.

        Until that is in the journal too, however the pair looks by then: an engine, which decides from the
        journal, would otherwise do again what the guard did.
        """
        return pair_id in self._memory.state.held or self._memory.unwritten(pair_id)

    @property
    def journal_failure(self) -> str | None:
        """Why the guard could not read or write the journal when it last tried; None: it could."""
        return self._memory.failure

    def frozen(self) -> tuple[Freeze, ...]:
        """Every freeze of entries that stands, whoever began it."""
        return self._memory.freezes()

    def frozen_reason(self) -> str | None:
        """Why entries are frozen until somebody or something else changes; None: they are not.

        Late inputs are not named here: `veto` refuses for them, and they come back by themselves.
        """
        facts = self._memory.facts
        if facts is not None and facts.halted:
            return "halted by the operator"
        lasting = (row for row in self.frozen() if row.source != Rule.STALE)
        return next((f"{row.source}: {row.reason}" for row in lasting), None)

    async def read_through(self, seq: int) -> None:
        """Wait until this entry of the journal counts here, a few seconds at most."""
        await self._memory.read_through(seq)

    async def acknowledge(self, pairs: Sequence[PairId] | None = None) -> None:
        """The operator saw it: pairs reduced twice (None: all, and a drawdown) may be entered again.

        A signed resume in the journal does the same for all.
        """
        before = self._memory.state
        after = self._memory.state = acknowledged(before, pairs)
        await self._memory.commit(
            [EntriesThawed(name, "operator") for name in before.frozen if name not in after.frozen]
        )

    def status(self) -> GuardStatus:
        """What the guard sees and does now."""
        decision, memory = self._decision, self._memory
        snapshot = self._view.snapshot
        looked = self._looked_ns
        return GuardStatus(
            state=Word.FROZEN if decision is None else self._word(decision),
            figures=self._figures,
            venue_figures=None if snapshot is None else snapshot.figures,
            margin_gap=memory.state.gap,
            gap_samples=memory.state.gap_samples,
            gap_over=memory.state.gap_over,
            basis="none" if decision is None else decision.basis,
            held_pairs=tuple(sorted(memory.state.held)),
            freezes=self.frozen(),
            last_actions=tuple(self._done),
            heartbeat_age_ns=None if looked is None else max(0, self._clocks.wire_ns() - looked),
        )

    def _word(self, decision: GuardDecision) -> Word:
        return Word.FROZEN if decision.word is Word.OK and self.frozen() else decision.word


def acted(operation: IntentId, decision: GuardDecision) -> list[GuardActed]:
    """The journal's entries of one decision: one per rule that fired, with its pairs."""
    fired = dict.fromkeys(rule for action in decision.actions for rule in action.rules)
    before = None if decision.figures is None else decision.figures.health_score
    entries = []
    for rule in fired:
        mine = [action for action in decision.actions if rule in action.rules]
        detail = ", ".join(f"{row.kind} {row.pair_id} to {row.to_quantity:f}" for row in mine)
        entries.append(
            GuardActed(
                action_id=operation,
                rule=rule,
                pairs=tuple(row.pair_id for row in mine),
                detail=f"{detail} (figures: {decision.basis})",
                health_before=before,
                health_planned=planned_health(decision),
            )
        )
    return entries
