"""The websockets of the facade: public, private, trade. Each has its own casing and its own pong."""

from collections.abc import Awaitable, Callable

import anyio
from starlette.websockets import WebSocket

from exchanges.paper.bybit.auth import check_login, check_window
from exchanges.paper.bybit.endpoints import ENDPOINTS, Limited, limited
from exchanges.paper.bybit.faults import refuse_if_planned
from exchanges.paper.bybit.limits import Taken
from exchanges.paper.bybit.session import Session
from exchanges.paper.bybit.venue import PaperVenue
from exchanges.paper.bybit.wire import Answer, Call, Refusal, Row

_PRIVATE = ("order", "execution", "position", "wallet")
_SPOT_TOPICS_MAX = 10
REQUEST_ID_MAX = 36
#: Operations of the trade socket and the endpoints that do the same.
OPERATIONS = {
    f"order.{word}{tail}": f"order/{word}{tail}"
    for word in ("create", "amend", "cancel")
    for tail in ("", "-batch")
}
_Receiver = Callable[[Session, dict[str, object]], Awaitable[None]]


async def _serve(
    venue: PaperVenue, socket: WebSocket, among: set[Session], receive: _Receiver, category: str = ""
) -> None:
    session = Session(socket, category=category, latency_s=venue.latency_s)
    among.add(session)

    async def take(frame: dict[str, object]) -> None:
        if venue.latency_s:
            await anyio.sleep(venue.latency_s / 2)
        await receive(session, frame)

    try:
        await session.run(take)
    finally:
        among.discard(session)


def _echo(frame: dict[str, object], name: str) -> Row:
    return {name: frame[name]} if name in frame else {}


def _said(session: Session, frame: dict[str, object], problem: str = "", message: str = "") -> Row:
    """The yes or no to auth, subscribe and unsubscribe on public and private sockets."""
    return {
        "success": not problem,
        "ret_msg": problem or message,
        "conn_id": session.connection_id,
        **_echo(frame, "req_id"),
        "op": str(frame.get("op")),
    }


def _topics(frame: dict[str, object]) -> list[str]:
    args = frame.get("args")
    return [str(topic) for topic in args] if isinstance(args, list) else []


# --- public -----------------------------------------------------------------------------------------------


async def serve_public(venue: PaperVenue, socket: WebSocket) -> None:
    """/v5/public/{spot,linear}; other categories connect and have no topics."""
    category = socket.path_params["category"]

    async def receive(session: Session, frame: dict[str, object]) -> None:
        _public_frame(venue, session, frame)

    await _serve(venue, socket, venue.public, receive, category)


def _public_frame(venue: PaperVenue, session: Session, frame: dict[str, object]) -> None:
    op = frame.get("op")
    if op == "ping":
        pong = {"success": True, "ret_msg": "pong", "conn_id": session.connection_id, "op": "ping"}
        session.push({"req_id": "", **pong} if session.category == "linear" else pong)
        return
    topics = _topics(frame)
    if op == "unsubscribe":
        session.topics.difference_update(topics)
        session.push(_said(session, frame))
    elif op != "subscribe" or not topics:
        session.push(_said(session, frame, "Params Error"))
    elif session.category == "spot" and len(topics) > _SPOT_TOPICS_MAX:
        session.push(_said(session, frame, "args size >10"))
    else:
        _subscribe(venue, session, frame, topics)


def _subscribe(venue: PaperVenue, session: Session, frame: dict[str, object], topics: list[str]) -> None:
    before = set(session.topics)
    snapshots: list[Row] = []
    for topic in topics:
        snapshot = venue.subscribe(session, topic) if session.category in ("spot", "linear") else None
        if snapshot is None:
            session.topics = before
            session.push(_said(session, frame, f"Invalid symbol :[{topic}]"))
            return
        snapshots.append(snapshot)
    session.push(_said(session, frame, message="subscribe" if session.category == "spot" else ""))
    for snapshot in snapshots:
        if snapshot:
            session.push(snapshot)


# --- private ----------------------------------------------------------------------------------------------


async def serve_private(venue: PaperVenue, socket: WebSocket) -> None:
    """/v5/private."""

    async def receive(session: Session, frame: dict[str, object]) -> None:
        _private_frame(venue, session, frame)

    await _serve(venue, socket, venue.private, receive)


def _private_frame(venue: PaperVenue, session: Session, frame: dict[str, object]) -> None:
    op = frame.get("op")
    if op == "ping":
        now = str(venue.clock.wire_ms())
        pong: Row = {"op": "pong", "args": [now], "conn_id": session.connection_id}
        session.push(_echo(frame, "req_id") | pong)
    elif op == "auth":
        problem = _login(venue, frame)
        session.logged_in = problem is None
        session.push(_said(session, frame, problem.message if problem else ""))
    elif op == "unsubscribe":
        session.topics.difference_update(_topics(frame))
        session.push(_said(session, frame))
    elif op != "subscribe":
        session.push(_said(session, frame, "Params Error"))
    elif not session.logged_in:
        session.push(_said(session, frame, "Request not authorized"))
    else:
        _subscribe_private(session, frame)


def _subscribe_private(session: Session, frame: dict[str, object]) -> None:
    topics = _topics(frame)
    for topic in topics:
        head, _, category = topic.partition(".")
        if head not in _PRIVATE and head not in ("dcp", "greeks"):
            session.push(_said(session, frame, f"Invalid topic :[{topic}]"))
            return
        if category and head in topics:
            session.push(_said(session, frame, "Topic and its category cannot be subscribed together"))
            return
    session.topics.update(topics)
    session.push(_said(session, frame))


def _login(venue: PaperVenue, frame: dict[str, object]) -> Refusal | None:
    key = venue.key
    try:
        check_login(frame.get("args"), key=key.api_key, secret=key.api_secret, now_ms=venue.clock.wire_ms())
    except Refusal as refusal:
        return refusal
    return None


# --- trade ------------------------------------------------------------------------------------------------


async def serve_trade(venue: PaperVenue, socket: WebSocket) -> None:
    """/v5/trade. Requests are not serialised by the latency: each one travels on its own."""
    seen: set[str] = set()

    async def receive(session: Session, frame: dict[str, object]) -> None:
        _trade_frame(venue, session, frame, seen)

    session = Session(socket, latency_s=venue.latency_s)
    venue.trade.add(session)
    try:
        async with anyio.create_task_group() as tasks:

            async def take(frame: dict[str, object]) -> None:
                if venue.latency_s:
                    tasks.start_soon(_later, venue.latency_s / 2, receive, session, frame)
                else:
                    await receive(session, frame)

            await session.run(take)
            tasks.cancel_scope.cancel()
    finally:
        venue.trade.discard(session)


async def _later(delay_s: float, receive: _Receiver, session: Session, frame: dict[str, object]) -> None:
    await anyio.sleep(delay_s)
    await receive(session, frame)


def _trade_frame(venue: PaperVenue, session: Session, frame: dict[str, object], seen: set[str]) -> None:
    op = str(frame.get("op"))
    if op == "ping":
        session.push(
            {"retCode": 0, "retMsg": "OK", "op": "pong", "data": [str(venue.clock.wire_ms())]}
            | {"connId": session.connection_id}
        )
    elif op == "auth":
        problem = _login(venue, frame)
        if problem is None and session.logged_in:
            problem = Refusal("20001", "Repeat auth")
        session.logged_in = session.logged_in or problem is None
        session.push(
            {
                **_echo(frame, "reqId"),
                "retCode": int(problem.code) if problem else 0,
                "retMsg": problem.message if problem else "OK",
                "op": "auth",
                "connId": session.connection_id,
            }
        )
    else:
        _operate(venue, session, frame, seen)


def _operate(venue: PaperVenue, session: Session, frame: dict[str, object], seen: set[str]) -> None:
    op = str(frame.get("op"))
    endpoint = OPERATIONS.get(op, "")
    fault = venue.faults.meet(endpoint)
    if fault is not None and fault.effect == "lose_request":
        return
    taken: Taken | None = None
    answer: Answer
    try:
        refuse_if_planned(fault)
        call = _trade_call(venue, session, frame, seen, endpoint)
        call, taken = limited(venue, endpoint, call)
        answer = ENDPOINTS[endpoint].handler(venue, call)
    except Limited as full:
        answer, taken = Answer({}, message=full.message, code=full.code), full.taken
    except Refusal as refusal:
        answer = Answer({}, message=refusal.message, code=refusal.code)
    if fault is None or fault.effect != "lose_answer":
        session.push(_ack(venue, session, frame, answer, taken))


def _trade_call(
    venue: PaperVenue, session: Session, frame: dict[str, object], seen: set[str], endpoint: str
) -> Call:
    if not session.logged_in:
        raise Refusal("10003", "Not logged in")
    if not endpoint:
        raise Refusal("10404", "Unknown op")
    request_id = str(frame.get("reqId", ""))
    if len(request_id) > REQUEST_ID_MAX:
        raise Refusal("10001", "reqId is too long")
    if request_id and request_id in seen:
        raise Refusal("20006", "reqId duplicated")
    seen.add(request_id)
    header = frame.get("header")
    if not isinstance(header, dict):
        raise Refusal("10001", "header is required")
    check_window(header.get("X-BAPI-TIMESTAMP"), header.get("X-BAPI-RECV-WINDOW"), venue.clock.wire_ms())
    args = frame.get("args")
    if not isinstance(args, list) or len(args) != 1 or not isinstance(args[0], dict):
        raise Refusal("10001", "args must hold one object")
    if args[0].get("category") not in ("spot", "linear"):
        raise Refusal("10404", "category is not correct")
    return Call(args[0])


def _ack(
    venue: PaperVenue, session: Session, frame: dict[str, object], answer: Answer, taken: Taken | None
) -> Row:
    now = str(venue.clock.wire_ms())
    return {
        **_echo(frame, "reqId"),
        "retCode": int(answer.code),
        "retMsg": answer.message,
        "op": str(frame.get("op")),
        "data": answer.result,
        "retExtInfo": answer.extra,
        "header": {**(taken.headers() if taken else {}), "Traceid": "paper", "Timenow": now},
        "connId": session.connection_id,
    }
