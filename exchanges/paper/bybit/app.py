"""The ASGI application: REST under /v5, four websockets, and the operator's /paper."""

import json
from urllib.parse import unquote

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from exchanges.paper.bybit.auth import check_request
from exchanges.paper.bybit.control import control
from exchanges.paper.bybit.endpoints import ENDPOINTS, Endpoint, Limited, limited
from exchanges.paper.bybit.faults import Fault, refuse_if_planned
from exchanges.paper.bybit.limits import Taken
from exchanges.paper.bybit.sockets import serve_private, serve_public, serve_trade
from exchanges.paper.bybit.venue import PaperVenue
from exchanges.paper.bybit.wire import Answer, Call, Refusal


class RestFacade:
    """Requests in, envelopes out."""

    def __init__(self, venue: PaperVenue) -> None:
        self._venue = venue

    async def __call__(self, request: Request) -> Response:
        """Half of the latency before, half after; a planned fault may come between."""
        name = request.path_params["path"]
        body = await request.body()
        await anyio.sleep(self._venue.latency_s / 2)
        fault = self._venue.faults.meet(name)
        if fault is not None and fault.effect == "lose_request":
            return Response(status_code=504)
        if fault is not None and fault.effect == "http":
            return Response(status_code=fault.status)
        answer, taken, status = self._answer(name, request, body, fault)
        await anyio.sleep(self._venue.latency_s / 2 + (fault.late_ms / 1000 if fault is not None else 0))
        if fault is not None and fault.effect == "lose_answer":
            return Response(status_code=504)
        return self._response(answer, taken, status)

    def _answer(
        self, name: str, request: Request, body: bytes, fault: Fault | None
    ) -> tuple[Answer, Taken | None, int]:
        taken: Taken | None = None
        try:
            endpoint = _endpoint(name, request.method)
            signed = self._check(endpoint, request, body)
            refuse_if_planned(fault)
            call = Call(_query(request) if request.method == "GET" else _body(body))
            if signed:
                call, taken = limited(self._venue, name, call)
            return endpoint.handler(self._venue, call), taken, 200
        except Limited as full:
            return Answer({}, message=full.message, code=full.code), full.taken, 200
        except Refusal as refusal:
            return Answer({}, message=refusal.message, code=refusal.code), taken, refusal.status

    def _check(self, endpoint: Endpoint, request: Request, body: bytes) -> bool:
        """Whether the request was signed; refuses where it had to be and was not, or was wrongly."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        if endpoint.public or (endpoint.either and "x-bapi-sign" not in headers):
            return False
        payload = request.scope["query_string"] if request.method == "GET" else body
        key = self._venue.key
        now_ms = self._venue.clock.wire_ms()
        check_request(headers, payload, key=key.api_key, secret=key.api_secret, now_ms=now_ms)
        return True

    def _response(self, answer: Answer, taken: Taken | None, status: int) -> Response:
        now_ms = self._venue.clock.wire_ms()
        envelope = {
            "retCode": int(answer.code),
            "retMsg": answer.message,
            "result": answer.result,
            "retExtInfo": answer.extra,
            "time": now_ms,
        }
        headers = {"Timenow": str(now_ms), "Ret_code": answer.code, **(taken.headers() if taken else {})}
        text = json.dumps(envelope, separators=(",", ":"))
        return Response(text, status_code=status, headers=headers, media_type="application/json")


def _endpoint(name: str, method: str) -> Endpoint:
    endpoint = ENDPOINTS.get(name)
    if endpoint is None or endpoint.method != method:
        raise Refusal("404", "Path not found", status=404)
    return endpoint


def _query(request: Request) -> dict[str, str]:
    """Parameters of the raw query. Only values are decoded, and "+" stays what it is."""
    found: dict[str, str] = {}
    for part in request.scope["query_string"].decode(errors="replace").split("&"):
        name, _, value = part.partition("=")
        if name:
            found[name] = unquote(value)
    return found


def _body(body: bytes) -> dict[str, object]:
    try:
        value: object = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise Refusal("10001", "Request parameter error: not JSON") from None
    if not isinstance(value, dict):
        raise Refusal("10001", "Request parameter error: not an object")
    return value


def build_app(venue: PaperVenue) -> ASGIApp:
    """The application of one venue."""
    rest = RestFacade(venue)

    async def rest_endpoint(request: Request) -> Response:
        return await rest(request)

    async def control_endpoint(request: Request) -> Response:
        return await control(venue, request)

    return Starlette(
        routes=[
            WebSocketRoute("/v5/public/{category}", lambda socket: serve_public(venue, socket)),
            WebSocketRoute("/v5/private", lambda socket: serve_private(venue, socket)),
            WebSocketRoute("/v5/trade", lambda socket: serve_trade(venue, socket)),
            Route("/v5/{path:path}", rest_endpoint, methods=["GET", "POST"]),
            Route("/paper/{action}", control_endpoint, methods=["GET", "POST"]),
        ]
    )
