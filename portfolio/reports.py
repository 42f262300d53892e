"""What watchers read: the desk's snapshot and the progress of an intent."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import TypeVar

from portfolio.core.decimals import ZERO
from portfolio.core.entries import Halted
from portfolio.core.errors import MissingDataError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.intents import IntentStatus
from portfolio.core.limits import RiskLimits
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.pairs import ArbitragePair, PairLegs, PairStatus
from portfolio.guard import Guard
from portfolio.ports import Clocks, FillRow, Freeze, IntentRow, Journal, Recorded, Runner
from portfolio.ranking import Ranking
from portfolio.service import DataAges, DeskSnapshot, GuardReport, IntentProgress, PairProgress
from portfolio.view import AccountView
from portfolio.writer import JournalWriter

V = TypeVar("V")

INTENTS_SHOWN = 20
ACTIONS_SHOWN = 20


class Reports:
    """Read-only assembly; holds no state of its own."""

    def __init__(
        self,
        *,
        view: AccountView,
        journal: Journal,
        runner: Runner,
        clocks: Clocks,
        guard: Guard,
        ranking: Ranking,
        limits: RiskLimits,
        writer: JournalWriter,
        mode: str,
        install: str,
    ) -> None:
        self._view = view
        self._journal = journal
        self._runner = runner
        self._clocks = clocks
        self._guard = guard
        self._ranking = ranking
        self._limits = limits
        self._writer = writer
        self._mode = mode
        self._install = install

    async def snapshot(self, *, recovered: bool) -> DeskSnapshot:
        """Everything at one moment; parts that cannot be known yet are None, and `stale` names them.

        Raises:
            MissingDataError: the account was never read, so there is nothing to show.
        """
        rows = await self._runner.run(lambda: self._journal.intents(open_only=True))
        recent = await self._runner.run(lambda: self._journal.intents(limit=INTENTS_SHOWN))
        actions = await self._runner.run(lambda: self._journal.guard_actions(ACTIONS_SHOWN))
        freezes = await self._runner.run(self._journal.freezes)
        halted = await self._runner.run(self._journal.halted)
        view = self._view
        venue = view.account_snapshot()
        try:
            state = view.margin_state()
        except MissingDataError:
            state = None
        shown = [*rows, *(row for row in recent if row.status.final)][:INTENTS_SHOWN]
        ages = view.ages()
        legs = {pair_id: view.legs(pair_id) for pair_id in view.pairs}
        perpetuals = [i for i, row in view.instruments.items() if row.kind is InstrumentKind.PERPETUAL]
        return DeskSnapshot(
            mode=self._mode,
            install=self._install,
            account=venue.account,
            uid=venue.uid,
            wire_ns=self._clocks.wire_ns(),
            market_ns=self._clocks.market_ns(),
            venue=venue,
            state=state,
            stale=view.stale(self._limits.freshness),
            ages=DataAges(ages.account_ns, ages.price_ns, ages.funding_ns, ages.tables_ns),
            pairs=self._pairs(shown, legs),
            legs=legs,
            quotes=_seen(view.quote, view.instruments),
            funding=_seen(view.funding, perpetuals),
            guard=self.guard(actions),
            freezes=(*freezes, *self._journal_freeze()),
            halted=halted or self._writer.owes(Halted),
            intents=tuple(shown),
            limits=self._limits,
            recovered=recovered,
            tables_changed=view.tables_changed,
            uncounted=view.uncounted(),
        )

    def _journal_freeze(self) -> Iterable[Freeze]:
        """While the journal cannot commit no entry goes, and only what the guard sends does."""
        failure = self._guard.journal_failure or self._writer.failure
        if failure is not None:
            yield Freeze("journal", f"the journal cannot be used: {failure}", "self", self._clocks.wire_ns())

    def guard(self, actions: tuple[Recorded, ...]) -> GuardReport:
        """The guard as its watchers see it."""
        status = self._guard.status()
        return GuardReport(
            state=status.state,
            figures=status.figures,
            venue_figures=status.venue_figures,
            margin_gap=status.margin_gap,
            held_pairs=status.held_pairs,
            last_actions=actions,
            heartbeat_age_ns=status.heartbeat_age_ns,
            gap_samples=status.gap_samples,
            gap_over=status.gap_over,
            basis=status.basis,
        )

    def _pairs(self, rows: Sequence[IntentRow], legs: dict[PairId, PairLegs]) -> tuple[ArbitragePair, ...]:
        moving = {
            target.pair_id: target
            for row in rows
            if row.status in (IntentStatus.EXECUTING, IntentStatus.CANCELLING)
            for target in row.intent.targets
        }
        scores = self._ranking.scores()
        out = []
        for pair_id, spec in self._view.pairs.items():
            held = legs[pair_id]
            target = moving.get(pair_id)
            if self._guard.holds(pair_id):
                status = PairStatus.GUARDED
            elif target is not None and target.to_quantity != held.hedged:
                status = PairStatus.ENTERING if target.to_quantity > held.hedged else PairStatus.EXITING
            else:
                status = PairStatus.HELD if held.hedged > 0 else PairStatus.FLAT
            out.append(
                ArbitragePair(
                    spec=spec,
                    symbol=self._view.instrument(spec.lead_leg).symbol,
                    size=held.hedged if target is None else target.to_quantity,
                    quality_score=scores.get(pair_id),
                    status=status,
                    narrative=spec.narrative,
                )
            )
        return tuple(out)

    async def progress(self, row: IntentRow) -> IntentProgress:
        """What has come of one intent."""
        intent_id = row.intent.intent_id
        orders = await self._runner.run(lambda: self._journal.orders(intent_id=intent_id))
        fills = await self._runner.run(lambda: self._journal.fills(intent_id))
        actions = await self._runner.run(self._journal.guard_actions)
        pairs = {target.pair_id for target in row.intent.targets}
        return IntentProgress(
            row=row,
            pairs=tuple(self._progress(target.pair_id, row) for target in row.intent.targets),
            orders=len(orders),
            fills=len(fills),
            fees_usd=sum((self._fee_usd(fill) for fill in fills), ZERO),
            unknown_orders=sum(order.state in ("planned", "unknown") for order in orders),
            guard_actions=tuple(
                action
                for action in actions
                if action.wire_ns >= row.intent.created_wire_ns
                and pairs & set(getattr(action.entry, "pairs", ()))
            ),
        )

    def _progress(self, pair_id: PairId, row: IntentRow) -> PairProgress:
        target = next(t for t in row.intent.targets if t.pair_id == pair_id)
        legs = self._view.legs(pair_id)
        return PairProgress(pair_id, target.from_quantity, target.to_quantity, legs.hedged, legs.unhedged)

    def _fee_usd(self, row: FillRow) -> Decimal:
        """A fee in USD at the fill's own price; quote coins are dollars here (USDT accounts only)."""
        fill = row.fill
        base = self._view.instrument(fill.instrument_id).base
        return fill.fee * fill.price if fill.fee_coin == base else fill.fee


def _seen(read: Callable[[InstrumentId], V], keys: Iterable[InstrumentId]) -> dict[InstrumentId, V]:
    """What was seen at least once; the rest is absent, not empty."""
    found = {}
    for key in keys:
        with suppress(MissingDataError):
            found[key] = read(key)
    return found
