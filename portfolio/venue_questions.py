"""Asks the venue what single orders would do, and says what we think of the same orders at the same moment.

Never on the guard's path, and bounded in every direction: few orders a call, few questions a second for all
callers together (the venue allows ten), one short time for everything. A question without an answer is an
absent answer with its reason, never an error.
"""

from collections import deque
from collections.abc import Sequence
from decimal import Decimal

import anyio

from portfolio.core.account import MarginFigures
from portfolio.core.decimals import round_toward_zero_to_step
from portfolio.core.errors import InputError, MissingDataError, UnknownNameError, VenueError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.limits import SECOND_NS
from portfolio.core.margin.apply import trade
from portfolio.core.margin.pairing import narrowed
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import ClientOrderId, InstrumentId, IntentId, PairId
from portfolio.core.orders import OrderClass, OrderRequest, Side, TimeInForce
from portfolio.core.venue_check import VenueCheck
from portfolio.ports import Clocks, Exchange
from portfolio.service import CHECKS_MAX, LegChange, OrderCheck
from portfolio.view import AccountView

#: Questions per second, all callers together.
ASKED_PER_SECOND = 4
#: For all questions of one call.
WITHIN_NS = SECOND_NS


class VenueQuestions:
    """See the module. One per account."""

    def __init__(self, *, exchange: Exchange, view: AccountView, sim: MarginSim, clocks: Clocks) -> None:
        self._exchange = exchange
        self._view = view
        self._sim = sim
        self._clocks = clocks
        self._asked: deque[int] = deque(maxlen=ASKED_PER_SECOND)

    async def check(self, changes: Sequence[LegChange]) -> tuple[OrderCheck, ...]:
        """One row per change, in their order.

        Raises:
            InputError: too many changes at once.
            UnknownNameError: an instrument that no pair of this desk trades.
        """
        if len(changes) > CHECKS_MAX:
            raise InputError(
                f"{len(changes)} orders are too many to ask about.",
                field="changes",
                allowed=f"at most {CHECKS_MAX}",
            )
        orders = [(change, self._order(change)) for change in changes]
        rows: dict[int, OrderCheck] = {}
        with anyio.move_on_after(WITHIN_NS / SECOND_NS):
            for number, (change, order) in enumerate(orders):
                rows[number] = await self._ask(change, order)
        late = "the venue did not answer in time"
        return tuple(
            rows.get(number) or OrderCheck(change.instrument_id, change.quantity, None, None, late)
            for number, change in enumerate(changes)
        )

    async def _ask(self, change: LegChange, order: OrderRequest) -> OrderCheck:
        def answer(venue: VenueCheck | None, note: str) -> OrderCheck:
            return OrderCheck(change.instrument_id, change.quantity, self._ours(order), venue, note)

        if order.quantity == 0:
            return answer(None, "less than one lot")
        if not self._may_ask():
            return answer(None, "the venue was asked often enough this second")
        try:
            found = await self._exchange.check_order(order)
        except VenueError as error:
            return answer(None, error.message)
        return answer(found, "" if found is not None else "the venue answers no such question")

    def _may_ask(self) -> bool:
        now = self._clocks.monotonic_ns()
        if len(self._asked) == ASKED_PER_SECOND and now - self._asked[0] < SECOND_NS:
            return False
        self._asked.append(now)
        return True

    def _ours(self, order: OrderRequest) -> VenueCheck | None:
        """Our rates without and with the order filled at the mark; None while they cannot be computed."""
        delta = {order.instrument_id: order.side.sign * order.quantity}
        try:
            state = narrowed(self._view.margin_state(), delta)
            before = self._sim.rule(state, extrapolate=True).figures
            after = self._sim.rule(trade(state, delta), extrapolate=True).figures
        except (MissingDataError, InputError):
            return None
        return _rates(before, after)

    def _order(self, change: LegChange) -> OrderRequest:
        name = change.instrument_id
        instrument = self._view.instrument(name)
        if instrument.kind is not InstrumentKind.PERPETUAL:
            raise InputError(f"{name} is not a perpetual.", field="changes")
        return OrderRequest(
            client_order_id=ClientOrderId(f"q{self._clocks.wire_ns():x}"),
            instrument_id=name,
            side=Side.BUY if change.quantity > 0 else Side.SELL,
            quantity=abs(round_toward_zero_to_step(change.quantity, instrument.lot_size)),
            limit_price=None,
            time_in_force=TimeInForce.IOC,
            reduce_only=False,
            borrow=False,
            order_class=OrderClass.ENTRY,
            pair_id=self._pair_of(name),
            intent_id=IntentId("question"),
        )

    def _pair_of(self, name: InstrumentId) -> PairId:
        for pair in self._view.pairs.values():
            if name in (pair.long_leg, pair.short_leg):
                return pair.pair_id
        raise UnknownNameError(f"No pair of this desk trades {name}.", field="changes")


def _rates(before: MarginFigures, after: MarginFigures) -> VenueCheck | None:
    if before.adjusted_equity <= 0 or after.adjusted_equity <= 0:
        return None

    def rate(margin: Decimal, figures: MarginFigures) -> Decimal:
        return margin / figures.adjusted_equity

    return VenueCheck(
        im_rate_before=rate(before.initial_margin, before),
        mm_rate_before=rate(before.maintenance_margin, before),
        im_rate_after=rate(after.initial_margin, after),
        mm_rate_after=rate(after.maintenance_margin, after),
    )
