"""Frames of the websockets as events. Pure; the stateful part (books, tickers) is in `book`."""

from collections.abc import Sequence

from exchanges.bybit.parse_account import position, wallet
from exchanges.bybit.parse_orders import fill, order_rows, order_state
from exchanges.errors import unreadable
from exchanges.fields import Row, integer, rows, text
from portfolio.core.events import BalanceUpdate, FillUpdate, OrderUpdate, PositionUpdate, VenueEvent

MS_NS = 1_000_000
PRIVATE_TOPICS = ("order", "execution", "position", "wallet")


def private_events(frame: Row, seen_wire_ns: int) -> tuple[VenueEvent, ...]:
    """Events of one frame of a private topic, in its order.

    Raises:
        VenueError: a topic that was not subscribed to, or rows that cannot be read.
    """
    topic = text(frame, "topic")
    at = integer(frame, "creationTime") * MS_NS
    match topic:
        case "order":
            return tuple(
                OrderUpdate(order_state(category, row), seen_wire_ns) for category, row in order_rows(frame)
            )
        case "execution":
            fills = (fill(category, row) for category, row in order_rows(frame))
            return tuple(FillUpdate(one, seen_wire_ns) for one in fills if one is not None)
        case "position":
            found = (position(row, "entryPrice") for _, row in order_rows(frame))
            return tuple(PositionUpdate(name, row, at, seen_wire_ns) for name, row in found)
        case "wallet":
            return tuple(_wallet_event(row, at, seen_wire_ns) for row in rows(frame, "data"))
        case _:
            raise unreadable("private socket", "topic", topic)


def _wallet_event(row: Row, market_ns: int, seen_wire_ns: int) -> BalanceUpdate:
    balances, figures = wallet(row)
    return BalanceUpdate(balances, figures, market_ns, seen_wire_ns)


def subscription(request_id: str, topics: Sequence[str], op: str = "subscribe") -> dict[str, object]:
    """The frame that subscribes to (or leaves) topics."""
    return {"req_id": request_id, "op": op, "args": list(topics)}


def accepted(frame: Row) -> bool:
    """Whether the answer to auth, subscribe or unsubscribe says yes."""
    return frame.get("success") is True
