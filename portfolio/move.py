"""One operation on one pair, from its first slice to its last: what `ArbitrageEngine` runs.

A loop that reads (journal rows, live view), decides one thing, does it, and reads again. Nothing that sizes
an order is kept between two turns: sizes come from the journal, so a crash between any two steps repeats
nothing, and a turn that the journal fails is begun again. In the order of urgency a turn is:

1. the guard took the pair, now or in an earlier life: stop; 2. an outcome is unknown: wait for the
bookkeeper; 3. a hedge is in flight: wait for it; 4. taking back has begun: finish it; 5. lead is filled and
not hedged: hedge it, or take it back when hedges are refused or health is too low; 6. a lead rests: attend
it; 7. stopping: end; 8. the next slice.
"""

from collections.abc import Callable
from decimal import Decimal

from portfolio.core.decimals import ONE, ZERO
from portfolio.core.errors import JOURNAL_FATAL, JournalError, MissingDataError
from portfolio.core.increments import Increments, naked_tolerance
from portfolio.core.instrument import InstrumentKind
from portfolio.core.intents import IntentStatus
from portfolio.core.limits import SECOND_NS
from portfolio.core.orders import OrderClass, Side, TimeInForce
from portfolio.core.pairs import PairSpec
from portfolio.core.planning import bound_of
from portfolio.core.reconcile import capped, planned, remaining
from portfolio.core.slicing import next_hedge, next_unwind
from portfolio.leading import Leader, Step, Turn
from portfolio.legs import SETTLE_NS, Draft, Failures, Kit, LegSender, fee_rate
from portfolio.operations import MoveEnd, MoveResult, Operation
from portfolio.ports import OrderRow
from portfolio.progress import read_progress, sides_of

#: How long the proof of an unknown outcome is waited for; the guard's naked-leg rule does not wait so long.
UNSURE_NS = 60 * SECOND_NS


class Move:
    """See the module."""

    def __init__(self, kit: Kit, pair: PairSpec, operation: Operation, fenced: Callable[[], bool]) -> None:
        self._kit = kit
        self._pair = pair
        self._operation = operation
        self._fenced = fenced
        self._entering = operation.course.entering
        self._sides = sides_of(pair, entering=self._entering)
        self._lead = kit.view.instrument(pair.lead_leg)
        self._hedge = kit.view.instrument(pair.hedge_leg)
        self._sender = LegSender(kit, operation.operation_id, pair.pair_id)
        self._leader = Leader(kit, pair, operation, self._sides, self._sender)
        self._planned: Decimal | None = None
        #: Coins of the hedge leg, on the pair's side, when the operation began.
        self._held = ZERO
        self._last: Increments | None = None
        self._status: IntentStatus | None = None
        self._stop: str | None = None
        self._take_back: str | None = None
        self._hedge_failures = Failures()
        self._back_failures = Failures()
        self._unsure_since: int | None = None
        #: Hedged exits that repayments have covered, coins.
        self._repaid = ZERO

    @property
    def freed(self) -> Decimal:
        """Share of an exit that is hedged and repaid, 0 to 1."""
        return min(ONE, self._repaid / self._planned) if self._planned else ZERO

    @property
    def taking_back(self) -> bool:
        """Whether the lead is being taken back."""
        return self._take_back is not None

    async def run(self) -> MoveResult:
        """Move until there is a result.

        Raises:
            JournalError: the journal may not be used by us at all.
        """
        while True:
            try:
                result = await self._kit.retry.until_done(self._attempt)
            except MissingDataError as error:
                step = await self._leader.patience(error.message)
                result = None if step is Step.AGAIN else self._result(MoveEnd.STOPPED, error.message)
            if result is not None:
                return result

    async def _attempt(self) -> MoveResult | None:
        try:
            return await self._turn()
        except JOURNAL_FATAL:
            raise
        except JournalError:
            await self._sender.withdraw_unseen()
            raise

    async def _turn(self) -> MoveResult | None:
        # Before the read and after it: what the guard does is held by it until the journal has it.
        fenced = self._fenced()
        turn = await self._read()
        if fenced or self._fenced() or turn.progress.guarded:
            return await self._yield_to_guard(turn)
        unsure = turn.progress.unsure()
        if unsure is not None:
            return await self._wait_until_sure(unsure)
        self._unsure_since = None
        open_hedge = turn.progress.open_hedge()
        if open_hedge is not None:
            return await self._settle(open_hedge, self._hedge_failures)
        if self._take_back is not None or turn.progress.taken_back(self._sides):
            return await self._unwind(turn)
        quantity = self._hedge_quantity(turn)
        if quantity > 0:
            await self._cover(turn, quantity)
            return None
        return await self._lead_on(turn)

    async def _lead_on(self, turn: Turn) -> MoveResult | None:
        open_lead = turn.progress.open_lead()
        if open_lead is not None:
            # What fills while the journal cannot commit cannot be hedged: then nothing may rest.
            failing = self._kit.worker.journal_failure is not None
            stopping = failing or self._stop is not None or (self._entering and self._unhealthy())
            step = await self._leader.attend(turn, open_lead, stopping=stopping)
        elif self._stop is not None:
            return await self._end(MoveEnd.STOPPED, self._stop)
        else:
            await self._count_repaid(turn)
            step = await self._leader.advance(turn)
        if step is Step.REACHED:
            return await self._end(MoveEnd.REACHED, "")
        if step is Step.STOP:
            self._stop = self._leader.stop
        return None

    async def _read(self) -> Turn:
        kit, operation = self._kit, self._operation
        progress = await kit.runner.run(
            lambda: read_progress(kit.journal, operation.operation_id, self._pair)
        )
        legs = kit.view.legs(self._pair.pair_id)
        live = legs.long_quantity if self._pair.lead_leg == self._pair.long_leg else legs.short_quantity
        if self._planned is None:
            begun = progress.increments(self._sides, operation.course.distance)
            self._planned = planned(operation.course, begun.lead.done, live, self._tolerance())
            self._held = self._hedge_live() + begun.hedge.done
        self._status = progress.intent_status
        if self._stop is None and self._status not in (None, IntentStatus.EXECUTING):
            self._stop = f"the intent is {self._status}"
        increments = progress.increments(self._sides, self._planned)
        self._last = increments
        way = remaining(operation.course, live, increments)
        return Turn(progress, increments, capped(increments, way), live)

    def _tolerance(self) -> Decimal:
        price = self._kit.view.reference_price(self._lead.instrument_id)
        dust = self._operation.course.from_quantity * fee_rate(self._kit.view, self._hedge)
        return naked_tolerance(self._lead, self._hedge, price, dust)

    def _unhealthy(self) -> bool:
        health = self._kit.view.account_snapshot().health_score
        return health < self._kit.limits.guard.reduce_below_health

    # --- waiting ------------------------------------------------------------------------------------------

    async def _yield_to_guard(self, turn: Turn) -> MoveResult:
        """Stop without another order; what rests is withdrawn, which only takes risk off."""
        row = turn.progress.open_lead()
        if row is not None and row.request.time_in_force is TimeInForce.POST_ONLY:
            await self._sender.cancel(row)
        return self._result(MoveEnd.FENCED, "the guard took the pair")

    async def _wait_until_sure(self, row: OrderRow) -> MoveResult | None:
        """Until the bookkeeper knows what became of an order, the next one could be one too many."""
        now = self._kit.clocks.monotonic_ns()
        if self._kit.worker.journal_failure is not None:
            # The outcome may be known and wait for a commit: that time does not count, and nothing may rest.
            self._unsure_since = None
            if row.request.time_in_force is TimeInForce.POST_ONLY:
                await self._sender.cancel(row)
            await self._sender.watch(row, SETTLE_NS)
            return None
        self._unsure_since = now if self._unsure_since is None else self._unsure_since
        if now - self._unsure_since >= UNSURE_NS:
            reason = f"nobody knows what became of {row.request.client_order_id}"
            return self._result(MoveEnd.STOPPED, reason)
        await self._sender.watch(row, SETTLE_NS)
        return None

    async def _settle(self, row: OrderRow, failures: Failures) -> MoveResult | None:
        if await self._sender.settle(row, failures):
            return None
        return self._result(MoveEnd.STOPPED, failures.detail)

    # --- hedging and taking back --------------------------------------------------------------------------

    def _hedge_quantity(self, turn: Turn) -> Decimal:
        instrument = self._hedge
        held = None
        if instrument.kind is InstrumentKind.SPOT and not self._entering:
            # An exit never takes a leg through zero, however much more the lead closed. Both counts, because
            # the venue's may be a moment behind the last fill.
            held = min(self._hedge_live(), self._held - turn.increments.hedge.most)
        rate = fee_rate(self._kit.view, instrument) if self._sides.hedge is Side.BUY else ZERO
        price = self._kit.view.reference_price(instrument.instrument_id)
        return next_hedge(turn.increments, instrument, price, fee_rate=rate, held=held)

    def _hedge_live(self) -> Decimal:
        """Coins of the hedge leg at the venue, positive on the side that an exit takes off."""
        return -self._sides.hedge.sign * self._kit.view.signed_holding(self._hedge.instrument_id)

    async def _cover(self, turn: Turn, quantity: Decimal) -> None:
        """Hedge what the lead filled, or decide to take it back."""
        failures = self._hedge_failures
        if failures.hopeless():
            self._take_back = f"the hedge was refused: {failures.detail}"
            return
        if self._entering and self._unhealthy():
            self._take_back = "health is below the guard's line"
            return
        side = self._sides.hedge
        bound = bound_of(self._operation.bounds, self._hedge.instrument_id)
        draft = Draft(
            instrument=self._hedge,
            side=side,
            quantity=quantity,
            number=turn.progress.hedge_next,
            price=self._sender.price(self._hedge, side, bound, failures.empty),
            order_class=OrderClass.HEDGE,
            closes=not self._entering,
        )
        await self._sender.take(draft, failures)

    async def _unwind(self, turn: Turn) -> MoveResult | None:
        """Take back the lead that no hedge covers."""
        reason = self._take_back = self._take_back or "taking back the lead was under way"
        row = turn.progress.open_lead()
        if row is not None:
            if row.request.time_in_force is TimeInForce.POST_ONLY:
                await self._sender.withdraw(row)
                return None
            return await self._settle(row, self._back_failures)
        price = self._kit.view.reference_price(self._lead.instrument_id)
        quantity = next_unwind(turn.increments, self._lead, price)
        if quantity == 0:
            return await self._end(MoveEnd.STOPPED, reason)
        failures = self._back_failures
        if failures.hopeless():
            # The naked-leg rule of the guard is next.
            return self._result(MoveEnd.STOPPED, f"{reason}; it cannot be taken back: {failures.detail}")
        side = self._sides.lead.opposite
        draft = Draft(
            instrument=self._lead,
            side=side,
            quantity=quantity,
            number=turn.progress.lead_next,
            price=self._sender.price(self._lead, side, None, failures.empty),
            # Re-opening what an exit closed reduces the delta of the coins it could not sell.
            order_class=OrderClass.REDUCE if self._entering else OrderClass.HEDGE,
            closes=self._entering,
        )
        await self._sender.take(draft, failures)
        return None

    # --- ending -------------------------------------------------------------------------------------------

    async def _count_repaid(self, turn: Turn) -> None:
        """After a hedged slice of an exit that frees margin for somebody: repay, then count it as freed."""
        hedged = turn.increments.hedge.done
        if self._entering or not self._operation.frees_margin or hedged <= self._repaid:
            return
        if await self._repay() is None:
            self._repaid = hedged

    async def _repay(self) -> str | None:
        coin = self._hedge.quote if self._sides.hedge is Side.SELL else self._hedge.base
        return await self._kit.repayer.settle(self._operation.operation_id, coin)

    async def _end(self, end: MoveEnd, reason: str) -> MoveResult:
        """Nothing is in flight any more: repay what an exit sold, and say how it ended.

        An entry may have bought coins that the pair's reverse owes; these are repaid as well.
        """
        if not self._entering and self._last is not None and self._last.hedge.done > 0:
            owing = await self._repay()
            if owing is None:
                self._repaid = self._last.hedge.done
            elif end is MoveEnd.REACHED:
                end, reason = MoveEnd.STOPPED, owing
        if self._entering and self._sides.hedge is Side.BUY and self._kit.view.debt(self._hedge.base) > 0:
            await self._repay()
        if end is MoveEnd.STOPPED and self._status is IntentStatus.CANCELLING:
            end = MoveEnd.CANCELLED
        return self._result(end, reason)

    def _result(self, end: MoveEnd, reason: str) -> MoveResult:
        increments = self._last
        return MoveResult(
            pair_id=self._pair.pair_id,
            end=end,
            reason=reason,
            planned=ZERO if increments is None else increments.planned,
            lead_done=ZERO if increments is None else increments.lead.done,
            hedge_done=ZERO if increments is None else increments.hedge.done,
        )
