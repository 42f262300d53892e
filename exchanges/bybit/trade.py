"""The trade websocket: one login, then a request and its answer by id. Prefer it: no signature per order.

A request that certainly was not sent raises with effect not_sent, and only then may REST be tried instead.
"""

from collections.abc import Mapping
from itertools import count

import anyio

from exchanges.bybit import codes
from exchanges.bybit.client import Answer, BybitClient, code_error
from exchanges.bybit.sign import ApiKey, socket_auth
from exchanges.errors import socket_error
from exchanges.fields import Row, mapping
from exchanges.stream import Connection, StreamOptions, keep_open
from portfolio.core.errors import Effect, VenueError
from portfolio.ports import Clocks

#: The login frame must reach the venue within this.
AUTH_WITHIN_MS = 5000
#: An answer may be this much later than the deadline after which the venue would refuse.
ANSWER_GRACE_S = 1.0
#: The node restarts: it answers what is in flight and takes nothing new.
_RESTARTING = "10019"
_ALREADY_LOGGED_IN = "20001"


class _Waiting:
    """One request on the wire."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.frame: Row | None = None


class TradeSocket:
    """One connection for orders and cancels."""

    def __init__(
        self, url: str, key: ApiKey, client: BybitClient, clocks: Clocks, options: StreamOptions | None = None
    ) -> None:
        self._url = url
        self._key = key
        self._client = client
        self._options = options
        self._connection: Connection | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._prefix = f"{clocks.wire_ns():x}"
        self._numbers = count(1)
        #: Set while logged in; replaced on a loss.
        self.ready = anyio.Event()

    async def serve(self) -> None:
        """Keep it open until cancelled."""
        await keep_open(self._url, self, what="trade socket", options=self._options)

    async def greet(self, connection: Connection) -> None:
        """Log in."""
        await connection.send(socket_auth(self._key, expires_ms=self._client.stamp_ms() + AUTH_WITHIN_MS))
        while True:
            frame = await connection.receive()
            if frame.get("op") == "auth":
                break
        code = str(frame.get("retCode"))
        if code not in (codes.OK, _ALREADY_LOGGED_IN):
            raise code_error("trade socket login", code, str(frame.get("retMsg")))
        self._connection = connection
        self.ready.set()

    def take(self, frame: Row) -> None:
        """Hand an answer to whoever waits for it."""
        waiting = self._waiting.pop(str(frame.get("reqId")), None)
        if waiting is not None:
            waiting.frame = frame
            waiting.done.set()
        if str(frame.get("retCode")) == _RESTARTING:
            raise code_error("trade socket", _RESTARTING, str(frame.get("retMsg")))

    def lost(self, reason: str) -> None:
        """Whoever waits does not know: what was sent may have arrived."""
        self._connection = None
        if self.ready.is_set():
            self.ready = anyio.Event()
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            one.done.set()

    async def request(self, op: str, argument: Mapping[str, object], *, recv_window_ms: int) -> Answer:
        """Send one operation and wait for its answer.

        Raises:
            VenueError: not_sent (no connection), rejected or unknown by its code, unknown without an answer.
        """
        connection = self._connection
        if connection is None or not connection.is_open:
            raise socket_error(ConnectionError("closed"), op, written=False)
        request_id = f"{self._prefix}-{next(self._numbers)}"
        frame = {
            "reqId": request_id,
            "header": {
                "X-BAPI-TIMESTAMP": str(self._client.stamp_ms()),
                "X-BAPI-RECV-WINDOW": str(recv_window_ms),
            },
            "op": op,
            "args": [argument],
        }
        waiting = self._waiting[request_id] = _Waiting()
        try:
            await connection.send(frame)
            with anyio.move_on_after(recv_window_ms / 1000 + ANSWER_GRACE_S):
                await waiting.done.wait()
        finally:
            self._waiting.pop(request_id, None)
        if waiting.frame is None:
            raise VenueError(f"{op}: no answer came.", effect=Effect.UNKNOWN, venue_code="socket")
        return self._read(op, waiting.frame)

    def _read(self, op: str, frame: Row) -> Answer:
        code = str(frame.get("retCode"))
        if code != codes.OK:
            if code == codes.CLOCK:
                self._client.server_time.forget()
            raise code_error(op, code, str(frame.get("retMsg")))
        extra, header = frame.get("retExtInfo"), frame.get("header")
        return Answer(
            mapping(frame, "data"),
            extra if isinstance(extra, dict) else {},
            {str(name).lower(): str(value) for name, value in header.items()}
            if isinstance(header, dict)
            else {},
        )
