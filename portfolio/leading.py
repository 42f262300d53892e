"""The lead of one operation: how large its next slice is, when it rests, when it takes, when it waits."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from portfolio.core.gates import Answer
from portfolio.core.increments import Increments
from portfolio.core.instrument import Instrument
from portfolio.core.limits import SECOND_NS
from portfolio.core.orders import OrderClass, Side, TimeInForce
from portfolio.core.pairs import PairSpec
from portfolio.core.planning import bound_of
from portfolio.core.pricing import maker_price
from portfolio.core.slicing import LeadLimits, last_lead, next_lead
from portfolio.legs import REST_NS, Draft, Failures, Kit, LegSender
from portfolio.operations import MoveMode, Operation
from portfolio.ports import OrderRow
from portfolio.progress import Progress, Sides

#: How long a gate that should open soon is waited for.
PATIENCE_NS = 30 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn of a move decides from."""

    progress: Progress
    #: Against the operation's plan, by booked fills and reservations.
    increments: Increments
    #: The same with the plan cut to what the venue says is left.
    room: Increments
    #: Coins of the lead leg at the venue.
    lead_live: Decimal


class Step(StrEnum):
    """What came of looking for the next slice."""

    #: Something was sent or waited for: read again.
    AGAIN = "again"
    #: Nothing but dust is left.
    REACHED = "reached"
    #: `Leader.stop` says why nothing more is sent.
    STOP = "stop"


class Leader:
    """Leads one operation on one pair."""

    def __init__(
        self,
        kit: Kit,
        pair: PairSpec,
        operation: Operation,
        sides: Sides,
        sender: LegSender,
    ) -> None:
        self.failures = Failures()
        self.stop: str | None = None
        self._kit = kit
        self._pair = pair
        self._operation = operation
        self._sides = sides
        self._sender = sender
        self._entering = operation.course.entering
        self._lead = kit.view.instrument(pair.lead_leg)
        self._hedge = kit.view.instrument(pair.hedge_leg)
        #: Until when the current slice rests before it takes, monotonic ns; None: no slice rests.
        self._rests_until: int | None = None
        #: Lead done when the current resting slice is complete.
        self._slice_end: Decimal | None = None
        self._waiting_since: int | None = None

    # --- an order that may still fill ---------------------------------------------------------------------

    async def attend(self, turn: Turn, row: OrderRow, *, stopping: bool) -> Step:
        """Let a resting order rest while it may, else withdraw it; wait for one that takes."""
        if row.request.time_in_force is not TimeInForce.POST_ONLY:
            if await self._sender.settle(row, self.failures):
                return Step.AGAIN
            self.stop = self.failures.detail
            return Step.STOP
        now = self._kit.clocks.monotonic_ns()
        if self._rests_until is None:
            self._rests_until = now + self._kit.limits.trade.maker_wait_ns
        left = self._rests_until - now
        if left > 0 and not stopping and self._may_rest(turn):
            await self._sender.watch(row, min(REST_NS, left))
        else:
            await self._sender.withdraw(row)
        return Step.AGAIN

    def _may_rest(self, turn: Turn) -> bool:
        if not self._operation.optional:
            return True
        verdict = self._kit.gates.standing(self._operation, self._pair, turn.progress)
        return verdict.answer is Answer.GO

    # --- the next slice -----------------------------------------------------------------------------------

    async def advance(self, turn: Turn) -> Step:
        """Send the next slice of the lead, or find that there is none or that it has to wait."""
        trade = self._kit.limits.trade
        if self._slice(turn, LeadLimits(trade.slice_notional_max)) == 0:
            return Step.REACHED
        if self.failures.hopeless():
            self.stop = self.failures.detail
            return Step.STOP
        self._next_slice(turn)
        permit = self._operation.permit
        if permit is not None and self._slice(turn, self._permitted()) == 0:
            return await self._wait_for_permit(final=permit.final())
        quantity = self._slice(turn, self._limits())
        if quantity == 0 and self._slice_end is not None:
            # The rest of a slice that has rested long enough is dust: on to the next one.
            self._slice_end = self._rests_until = None
            return Step.AGAIN
        if quantity == 0:
            return await self.patience("the books hold nothing within the price limits")
        if self._operation.optional:
            step = await self._gates(turn, quantity)
            if step is not None:
                return step
        self._waiting_since = None
        await self._send(turn, quantity)
        return Step.AGAIN

    def _next_slice(self, turn: Turn) -> None:
        if self._slice_end is not None and turn.increments.lead.most >= self._slice_end:
            self._slice_end = self._rests_until = None

    def _slice(self, turn: Turn, limits: LeadLimits) -> Decimal:
        price = self._kit.view.reference_price(self._lead.instrument_id)
        if self._operation.course.closing:
            return last_lead(turn.room, self._lead, price, limits)
        return next_lead(turn.room, self._lead, self._hedge, price, limits)

    def _permitted(self) -> LeadLimits:
        permit = self._operation.permit
        allowance = None if permit is None else permit.coins()
        return LeadLimits(self._kit.limits.trade.slice_notional_max, None, allowance)

    def _limits(self) -> LeadLimits:
        """What bounds the next slice beyond the plan."""
        allowance = self._permitted().allowance
        depth = self._depth(self._hedge, self._sides.hedge)
        if not self._rests():
            depth = min(depth, self._depth(self._lead, self._sides.lead))
            if self._slice_end is not None:
                allowance = self._slice_end if allowance is None else min(allowance, self._slice_end)
        return LeadLimits(self._kit.limits.trade.slice_notional_max, depth, allowance)

    def _depth(self, instrument: Instrument, side: Side) -> Decimal:
        return self._sender.depth(
            instrument, side, bound_of(self._operation.bounds, instrument.instrument_id)
        )

    def _rests(self) -> bool:
        """Whether the next lead order rests: in normal mode, until the slice has rested long enough."""
        if self._operation.mode is MoveMode.URGENT:
            return False
        return self._rests_until is None or self._kit.clocks.monotonic_ns() < self._rests_until

    async def _send(self, turn: Turn, quantity: Decimal) -> None:
        bound = bound_of(self._operation.bounds, self._lead.instrument_id)
        price = None
        if self._rests():
            quote = self._kit.view.quote(self._lead.instrument_id)
            price = maker_price(quote, self._sides.lead, self._lead.tick_size, bound)
        rests = price is not None
        draft = Draft(
            instrument=self._lead,
            side=self._sides.lead,
            quantity=quantity,
            number=turn.progress.lead_next,
            price=self._sender.price(self._lead, self._sides.lead, bound) if price is None else price,
            order_class=OrderClass.ENTRY if self._entering else OrderClass.REDUCE,
            closes=not self._entering,
            rests=rests,
            can_wait=self._operation.optional and self._operation.mode is MoveMode.NORMAL,
        )
        if not rests:
            self._rests_until = self._slice_end = None
            await self._sender.take(draft, self.failures)
            return
        if self._rests_until is None:
            self._rests_until = self._kit.clocks.monotonic_ns() + self._kit.limits.trade.maker_wait_ns
        self._slice_end = turn.increments.lead.most + quantity
        await self._sender.rest(draft, self.failures)

    # --- waiting ------------------------------------------------------------------------------------------

    async def _gates(self, turn: Turn, quantity: Decimal) -> Step | None:
        """None when every gate is open."""
        lead_after = turn.lead_live + (quantity if self._entering else -quantity)
        verdict = await self._kit.gates.before_slice(
            self._operation, self._pair, turn.progress, self._sides, lead_after
        )
        if verdict.answer is Answer.GO:
            return None
        if verdict.answer is Answer.STOP:
            self.stop = verdict.reason
            return Step.STOP
        if not verdict.ends_by_itself:
            return await self.patience(verdict.reason)
        await self._sender.pause(1)
        return Step.AGAIN

    async def _wait_for_permit(self, *, final: bool) -> Step:
        if final:
            self.stop = "the exits that pay for it did not free enough margin"
            return Step.STOP
        await self._sender.pause()
        return Step.AGAIN

    async def patience(self, reason: str) -> Step:
        """Wait a moment for what should come soon; stop once it has been too long."""
        now = self._kit.clocks.monotonic_ns()
        self._waiting_since = now if self._waiting_since is None else self._waiting_since
        if now - self._waiting_since >= PATIENCE_NS:
            self.stop = reason
            return Step.STOP
        await self._sender.pause()
        return Step.AGAIN
