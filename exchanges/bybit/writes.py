"""What changes something at Bybit: place, cancel, repay. One outcome per item, never an error.

Every write is stamped so that the venue refuses it after the deadline. The trade websocket goes first; REST
is tried only when the websocket certainly did not send.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from exchanges.bybit.client import Answer, BybitClient, LimitSeen, limit_seen
from exchanges.bybit.parse_orders import batch_outcomes, cancel_item, order_item
from exchanges.bybit.symbols import to_venue
from exchanges.bybit.trade import TradeSocket
from portfolio.core.decimals import plain
from portfolio.core.errors import Effect, InputError, VenueError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import ClientOrderId, Coin, InstrumentId, VenueOrderId
from portfolio.core.orders import (
    Accepted,
    CancelRequest,
    NotSent,
    OrderRequest,
    Outcome,
    Rejected,
    Unknown,
)
from portfolio.ports import Clocks, VenueTraits

_PATHS = {"create": "/v5/order/create-batch", "cancel": "/v5/order/cancel-batch"}
#: Called with (operation, kind, what the answer said of the limit).
LimitListener = Callable[[str, InstrumentKind, LimitSeen], None]


class Writes:
    """The writing half of the adapter."""

    def __init__(
        self,
        client: BybitClient,
        trade: TradeSocket | None,
        clocks: Clocks,
        traits: VenueTraits,
        on_limit: LimitListener,
    ) -> None:
        self._client = client
        self._trade = trade
        self._clocks = clocks
        self._traits = traits
        self._on_limit = on_limit

    async def place(self, orders: Sequence[OrderRequest], deadline_wire_ns: int) -> tuple[Outcome, ...]:
        """One batch of one kind."""
        kind = self._kind([order.instrument_id for order in orders])
        items = [order_item(order) for order in orders]
        links = [order.client_order_id for order in orders]
        return await self._batch("create", kind, items, links, deadline_wire_ns)

    async def cancel(self, cancels: Sequence[CancelRequest], deadline_wire_ns: int) -> tuple[Outcome, ...]:
        """One batch of one kind."""
        kind = self._kind([cancel.instrument_id for cancel in cancels])
        items = [cancel_item(cancel) for cancel in cancels]
        links = [cancel.client_order_id for cancel in cancels]
        return await self._batch("cancel", kind, items, links, deadline_wire_ns)

    def _kind(self, names: Sequence[InstrumentId]) -> InstrumentKind:
        kinds = {to_venue(name)[0] for name in names}
        if len(kinds) != 1:
            raise InputError("A batch holds orders of exactly one kind.", field="orders", allowed="1 kind")
        kind = kinds.pop()
        if len(names) > self._traits.batch_max[kind]:
            raise InputError(
                f"A batch of {len(names)} {kind} orders is too large.",
                field="orders",
                allowed=f"at most {self._traits.batch_max[kind]}",
            )
        return kind

    async def _batch(
        self,
        operation: str,
        kind: InstrumentKind,
        items: list[dict[str, object]],
        links: Sequence[ClientOrderId],
        deadline_wire_ns: int,
    ) -> tuple[Outcome, ...]:
        try:
            answer = await self._send(operation, {"category": kind.value, "request": items}, deadline_wire_ns)
        except VenueError as error:
            return (_outcome(error),) * len(items)
        seen = limit_seen(answer.headers)
        if seen is not None:
            self._on_limit("place" if operation == "create" else "cancel", kind, seen)
        try:
            return batch_outcomes(answer.result, answer.extra, links)
        except VenueError as error:
            return (Unknown(error.message),) * len(items)

    async def _send(self, operation: str, body: Mapping[str, object], deadline_wire_ns: int) -> Answer:
        if self._trade is not None:
            window = self._window_ms(deadline_wire_ns)
            try:
                return await self._trade.request(f"order.{operation}-batch", body, recv_window_ms=window)
            except VenueError as error:
                if error.effect is not Effect.NOT_SENT:
                    raise
        window = self._window_ms(deadline_wire_ns)
        return await self._client.post(_PATHS[operation], body, recv_window_ms=window)

    def _window_ms(self, deadline_wire_ns: int) -> int:
        left = min(deadline_wire_ns - self._clocks.wire_ns(), self._traits.send_deadline_ns)
        if left < 1_000_000:
            raise VenueError("The deadline has passed.", effect=Effect.NOT_SENT, venue_code="deadline")
        return left // 1_000_000

    async def repay(self, coin: Coin, quantity: Decimal | None, deadline_wire_ns: int) -> Outcome:
        """Repay without converting; None repays all that is possible."""
        amount = None if quantity is None else plain(quantity)
        try:
            status = await self._client.repay(coin, amount, self._window_ms(deadline_wire_ns))
        except VenueError as error:
            return _outcome(error)
        if status == "FA":
            return Rejected("FA", "The venue reports that the repayment failed.")
        if status in ("SU", "P"):
            return Accepted(VenueOrderId(f"repay:{coin}"))
        return Unknown(f"The venue reports repayment status {status!r}.")


def _outcome(error: VenueError) -> Outcome:
    match error.effect:
        case Effect.NOT_SENT:
            return NotSent(error.message)
        case Effect.REJECTED:
            return Rejected(error.venue_code or "", error.message)
        case Effect.UNKNOWN:
            return Unknown(error.message)
