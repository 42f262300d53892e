"""One websocket of the facade: frames go out in order, each no earlier than the latency allows."""

import json
from collections.abc import Awaitable, Callable, Mapping
from itertools import count

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect

#: A client that lets this many frames pile up is cut off.
QUEUED_MAX = 4096
_NUMBERS = count(1)
#: 1012: service restart, which clients answer with a reconnect.
_CLOSE_CODE = 1012

Receiver = Callable[[dict[str, object]], Awaitable[None]]


class Session:
    """A connected client."""

    def __init__(self, socket: WebSocket, *, category: str = "", latency_s: float = 0.0) -> None:
        self.category = category
        self.connection_id = f"paper-{next(_NUMBERS)}"
        self.topics: set[str] = set()
        self.logged_in = False
        self.latency_s = latency_s
        self._socket = socket
        self._scope = anyio.CancelScope()
        self._out, self._queue = anyio.create_memory_object_stream[tuple[float, str]](QUEUED_MAX)

    def push(self, frame: Mapping[str, object]) -> None:
        """Queue one frame; half of the round trip is on this way."""
        text = json.dumps(frame, separators=(",", ":"))
        try:
            self._out.send_nowait((anyio.current_time() + self.latency_s / 2, text))
        except anyio.WouldBlock:
            self.drop()
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return

    def drop(self) -> None:
        """Cut the connection off."""
        self._scope.cancel()

    async def run(self, receive: Receiver) -> None:
        """Serve it until either side ends it. `receive` is awaited for every frame that is a JSON object."""
        await self._socket.accept()
        with self._out, self._queue, self._scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._send)
                await self._receive(receive)
                tasks.cancel_scope.cancel()
        if self._scope.cancel_called:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await self._socket.close(_CLOSE_CODE)

    async def _receive(self, receive: Receiver) -> None:
        while True:
            try:
                text = await self._socket.receive_text()
            except (WebSocketDisconnect, KeyError):
                return
            try:
                frame: object = json.loads(text)
            except (ValueError, RecursionError):
                frame = None
            if isinstance(frame, dict):
                await receive(frame)
            else:
                self.push(
                    {"success": False, "ret_msg": "Invalid JSON", "op": "", "conn_id": self.connection_id}
                )

    async def _send(self) -> None:
        async for due, text in self._queue:
            await anyio.sleep_until(due)
            try:
                await self._socket.send_text(text)
            except (WebSocketDisconnect, RuntimeError):
                self.drop()
                return
