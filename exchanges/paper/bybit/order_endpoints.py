"""Orders and executions, for REST and the trade socket alike."""

from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from uuid import NAMESPACE_OID, uuid5

from exchanges.paper.bybit import intake, render_account
from exchanges.paper.bybit.market_endpoints import named
from exchanges.paper.bybit.paging import DAY_MS, by_window, page
from exchanges.paper.bybit.venue import PaperVenue
from exchanges.paper.bybit.wire import MS_NS, Answer, Call, Refusal, Row
from exchanges.paper.commands import AmendOrder, CancelOrder, PlaceOrder, Reply
from exchanges.paper.rows import VenueOrder, VenueOrderStatus
from portfolio.core.instrument import InstrumentKind

#: Most items of a batch by kind.
BATCH_MAX = {InstrumentKind.PERPETUAL: 20, InstrumentKind.SPOT: 10}
RECENT_MAX = 500
_GONE_AFTER_A_DAY = (VenueOrderStatus.CANCELLED, VenueOrderStatus.REJECTED)

OrderCommand = PlaceOrder | CancelOrder | AmendOrder


def _single(venue: PaperVenue, call: Call, read: Callable[[Call], OrderCommand]) -> Answer:
    named(venue, call)
    reply = venue.handle(read(call))
    if not reply.ok:
        raise Refusal(reply.code, reply.message)
    return Answer({"orderId": reply.order_id, "orderLinkId": reply.order_link_id})


def create(venue: PaperVenue, call: Call) -> Answer:
    """Acceptance only; what it matched is pushed."""
    return _single(venue, call, intake.create)


def pre_check(venue: PaperVenue, call: Call) -> Answer:
    """Rates of the account without and with the order, in 1e-4; a refusal still says what they would be."""
    named(venue, call)
    command = intake.create(call)
    found = venue.now().pre_check(command)
    if isinstance(found, Reply):
        raise Refusal(found.code, found.message)
    rates, refusal = found.rates, found.refusal
    order_id = str(uuid5(NAMESPACE_OID, f"{venue.core.config.uid} {venue.clock.wire_ns()}"))
    if refusal is not None:
        extra: Row = {
            "future_order_id": order_id,
            "future_order_link_id": command.order_link_id,
            "post_imr_e4": _e4(rates.im_rate_after),
            "post_mmr_e4": _e4(rates.mm_rate_after),
        }
        return Answer({}, extra, refusal.message, refusal.code)
    return Answer(
        {
            "orderId": order_id,
            "orderLinkId": command.order_link_id,
            "preImrE4": _e4(rates.im_rate_before),
            "preMmrE4": _e4(rates.mm_rate_before),
            "postImrE4": _e4(rates.im_rate_after),
            "postMmrE4": _e4(rates.mm_rate_after),
        }
    )


def _e4(rate: Decimal) -> int:
    return int(rate.scaleb(4).to_integral_value(rounding=ROUND_DOWN))


def amend(venue: PaperVenue, call: Call) -> Answer:
    """New price or total quantity."""
    return _single(venue, call, intake.amend)


def cancel(venue: PaperVenue, call: Call) -> Answer:
    """By id."""
    return _single(venue, call, intake.cancel)


def _batch(venue: PaperVenue, call: Call, read: Callable[[Call], OrderCommand], *, created: bool) -> Answer:
    """Item by item: ids in result.list, codes in retExtInfo.list; the whole answer is a success."""
    kind, items = call.kind(), call.items()
    if len(items) > BATCH_MAX[kind]:
        raise Refusal("10001", f"params error: at most {BATCH_MAX[kind]} orders per request")
    rows: list[Row] = []
    verdicts: list[Row] = []
    for index, item in enumerate(items):
        row: Row = {
            "category": kind.value,
            "symbol": item.text("symbol", ""),
            "orderId": "",
            "orderLinkId": item.text("orderLinkId", ""),
        }
        code, message, stamp = "0", "OK", ""
        if call.allowed is not None and index >= call.allowed:
            code, message = "10006", "Too many visits!"
        else:
            try:
                done = _single(venue, item, read).result
                row |= {"orderId": done["orderId"], "orderLinkId": done["orderLinkId"]}
                stamp = str(venue.clock.wire_ms())
            except Refusal as refusal:
                code, message = refusal.code, refusal.message
        rows.append(row | ({"createAt": stamp} if created else {}))
        verdicts.append({"code": int(code), "msg": message})
    return Answer({"list": rows}, extra={"list": verdicts})


def create_batch(venue: PaperVenue, call: Call) -> Answer:
    """Up to 20 linear or 10 spot orders."""
    return _batch(venue, call, intake.create, created=True)


def amend_batch(venue: PaperVenue, call: Call) -> Answer:
    """The same for changes."""
    return _batch(venue, call, intake.amend, created=False)


def cancel_batch(venue: PaperVenue, call: Call) -> Answer:
    """The same for cancels."""
    return _batch(venue, call, intake.cancel, created=False)


def cancel_all(venue: PaperVenue, call: Call) -> Answer:
    """Everything of a symbol or a category."""
    reply = venue.handle(intake.cancel_all(call))
    if not reply.ok:
        raise Refusal(reply.code, reply.message)
    rows = [{"orderId": order_id, "orderLinkId": link} for order_id, link in reply.cancelled]
    return Answer({"list": rows, "success": "1"})


def realtime(venue: PaperVenue, call: Call) -> Answer:
    """Working orders; by id, or with openOnly=1, recently closed ones too."""
    if call.text("category") in ("inverse", "option"):
        return Answer({"category": call.text("category"), "list": [], "nextPageCursor": ""})
    kind = call.kind()
    core = venue.now()
    named_ids = call.text("orderId", "") or call.text("orderLinkId", "")
    if kind is InstrumentKind.PERPETUAL and not named_ids and not call.text("symbol", ""):
        call.text("settleCoin" if not call.text("baseCoin", "") else "baseCoin")
    found = list(core.open_orders(kind))
    if named_ids or call.integer("openOnly", 0) == 1:
        found = [*core.closed_orders(kind)[-RECENT_MAX:], *found]
    rows = [render_account.order(row, pushed=False) for row in reversed(found) if _matches(row, call)]
    return page(rows, call, limit=20, most=50, category=kind.value)


def history(venue: PaperVenue, call: Call) -> Answer:
    """Closed orders of the window; those that ended without a fill are gone after a day."""
    kind = call.kind()
    core = venue.now()
    day_ago = core.now_ns - DAY_MS * MS_NS
    first = call.integer("startTime", core.now_ns // MS_NS - 7 * DAY_MS) * MS_NS
    last = call.integer("endTime", core.now_ns // MS_NS) * MS_NS
    rows = [
        render_account.order(row, pushed=False)
        for row in reversed(core.closed_orders(kind))
        if _matches(row, call)
        and first <= row.created_ns <= last + MS_NS
        and (row.filled or row.status not in _GONE_AFTER_A_DAY or row.updated_ns >= day_ago)
    ]
    return page(rows, call, limit=20, most=50, category=kind.value)


def executions(venue: PaperVenue, call: Call) -> Answer:
    """Fills and funding payments, newest first; ids are looked up whatever the window."""
    kind = call.kind()
    core = venue.now()
    link, order_id = call.text("orderLinkId", ""), call.text("orderId", "")
    word, symbol = call.text("execType", ""), call.text("symbol", "")
    found = core.executions(0)
    window = (
        list(reversed(found)) if link or order_id else by_window(found, call, core.now_ns, default_days=7)
    )
    rows = [
        render_account.execution(row, pushed=False)
        for row in window
        if render_account.category(row.instrument_id) == kind.value
        and symbol in ("", render_account.symbol(row.instrument_id))
        and link in ("", row.order_link_id)
        and order_id in ("", row.order_id)
        and word in ("", row.kind.value)
    ]
    return page(rows, call, limit=50, most=100, category=kind.value)


def _matches(row: VenueOrder, call: Call) -> bool:
    order_id, link = call.text("orderId", ""), call.text("orderLinkId", "")
    if order_id:
        return row.order_id == order_id
    if link:
        return row.order_link_id == link
    symbol, base = call.text("symbol", ""), call.text("baseCoin", "")
    name = render_account.symbol(row.instrument_id)
    status = call.text("orderStatus", "")
    return symbol in ("", name) and name.startswith(base) and status in ("", row.status.value)
