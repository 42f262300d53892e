"""Lists in pages by cursor, and lists in windows of time."""

from collections.abc import Sequence
from typing import Protocol, TypeVar
from urllib.parse import quote, unquote

from exchanges.paper.bybit.wire import MS_NS, Answer, Call, Refusal, Row
from portfolio.core.decimals import parse_integer
from portfolio.core.errors import NumberError

DAY_MS = 86_400_000
SPAN_MAX_DAYS = 7


class Timed(Protocol):
    """A row with its market time."""

    @property
    def at_ns(self) -> int:
        """Market time, ns."""
        ...


R = TypeVar("R", bound=Timed)


def page(rows: Sequence[Row], call: Call, *, limit: int, most: int, category: str = "") -> Answer:
    """One page of `rows`. The cursor holds an encoded character, as the venue's do, and ends with ""."""
    count = max(1, min(call.integer("limit", limit), most))
    text = unquote(call.text("cursor", "page:0"))
    head, _, number = text.partition(":")
    try:
        first = parse_integer(number)
    except NumberError:
        first = -1
    if head != "page" or first < 0:
        raise Refusal("10001", "params error: cursor is invalid")
    more = quote(f"page:{first + count}", safe="") if first + count < len(rows) else ""
    result: Row = {"list": list(rows[first : first + count]), "nextPageCursor": more}
    return Answer(result | ({"category": category} if category else {}))


def by_window(rows: Sequence[R], call: Call, now_ns: int, *, default_days: int) -> list[R]:
    """Rows between startTime and endTime, newest first; a start alone reaches forward, an end alone back."""
    span = default_days * DAY_MS
    start, end = call.text("startTime", ""), call.text("endTime", "")
    if start:
        first = call.integer("startTime", 0)
        last = call.integer("endTime", first + span)
    else:
        last = call.integer("endTime", now_ns // MS_NS) if end else now_ns // MS_NS
        first = last - span
    if last < first or last - first > SPAN_MAX_DAYS * DAY_MS:
        raise Refusal("10001", f"params error: the window is longer than {SPAN_MAX_DAYS} days or negative")
    return [row for row in reversed(rows) if first <= row.at_ns // MS_NS <= last]
