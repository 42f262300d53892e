"""agent.sock: MCP in the stdio framing, after one line with the agent's token.

The SDK drops what is no message without a word, so such a line is answered here and the SDK never sees it.
"""

import json
import logging
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.server.mcpserver import MCPServer
from mcp.shared.message import SessionMessage
from mcp_types import (
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    jsonrpc_message_adapter,
)
from pydantic import TypeAdapter, ValidationError

from portfolio.core.errors import AccessError, CarrydeskError
from server.agent_lines import LINE_BYTES_MAX, TAIL_BYTES, no_json, no_request, request_id, too_long
from server.callers import CURRENT, Callers
from server.rpc_wire import check_same_user
from tools.failures import refusal

logger = logging.getLogger(__name__)

TOKEN_BYTES_MAX = 512
TOKEN_SECONDS_MAX = 5.0
CONNECTIONS_MAX = 64
#: JSON-RPC code of a connection that was not let in; the bridge does not try again on it.
DENIED = -32001
#: The same for a desk that is not there yet; the bridge tries again.
UNAVAILABLE = -32002
_MEMBERS = TypeAdapter(dict[str, Any])
_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, anyio.IncompleteRead)


class AgentDoor:
    """Accepts agents and serves MCP to each."""

    def __init__(
        self,
        server: MCPServer[Any],
        callers: Callers,
        *,
        same_user: bool = True,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._server = server._lowlevel_server  # the SDK offers no public way to serve one connection
        self._callers = callers
        self._same_user = same_user
        self._connections_max = connections_max
        self._connections = 0

    async def serve(
        self,
        path: Path,
        *,
        group: str = "",
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen at `path` (mode 0660, of `group` if given) until cancelled."""
        async with await anyio.create_unix_listener(path, mode=0o660) as listener:
            if group:
                await anyio.to_thread.run_sync(shutil.chown, path, None, group)
            task_status.started()
            await listener.serve(self._accept)

    async def _accept(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            if self._connections >= self._connections_max:
                await _deny(stream, AccessError("Too many connections.", next_step="Close some."))
                return
            self._connections += 1
            try:
                await self._admit(stream)
            except _GONE:
                pass  # the agent left
            except CarrydeskError as error:
                await _deny(stream, error)
            except Exception:
                logger.exception("an agent's connection failed")
            finally:
                self._connections -= 1

    async def _admit(self, stream: anyio.abc.SocketStream) -> None:
        if self._same_user:
            check_same_user(stream)
        lines = BufferedByteReceiveStream(stream)
        try:
            with anyio.fail_after(TOKEN_SECONDS_MAX):
                first = await lines.receive_until(b"\n", TOKEN_BYTES_MAX)
            token = first.decode("ascii").strip()
        except (TimeoutError, anyio.DelimiterNotFound, UnicodeDecodeError):
            token = ""
        if not token:
            raise AccessError(
                "The first line must be an agent token.",
                next_step="Use `carrydesk stdio`, or send the token that the operator gave you.",
            )
        caller = await self._callers.admit(token)
        CURRENT.set(caller)
        await self._serve_mcp(stream, lines)

    async def _serve_mcp(self, stream: anyio.abc.SocketStream, lines: BufferedByteReceiveStream) -> None:
        """One MCP connection; the client's first request decides the protocol's generation."""
        to_server, server_reads = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        server_writes, from_server = anyio.create_memory_object_stream[SessionMessage](0)
        answers = server_writes.clone()  # one task alone may write to the socket

        async def read() -> None:
            async with to_server, answers:
                with suppress(*_GONE):
                    while True:
                        line = await _next_line(lines)
                        message, fault = _message(line)
                        if message is not None:
                            await to_server.send(SessionMessage(message))
                        elif fault is not None:
                            refused = JSONRPCError(jsonrpc="2.0", id=request_id(line), error=fault)
                            await answers.send(SessionMessage(refused))

        async def write() -> None:
            async with from_server:
                with suppress(*_GONE):
                    async for outgoing in from_server:
                        text = outgoing.message.model_dump_json(by_alias=True, exclude_unset=True)
                        await stream.send(text.encode() + b"\n")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(write)
            await self._server.run(server_reads, server_writes, self._server.create_initialization_options())
            tasks.cancel_scope.cancel()


async def _next_line(lines: BufferedByteReceiveStream) -> bytes:
    """The next line; one beyond `LINE_BYTES_MAX` comes without its middle, and longer than that."""
    try:
        return await lines.receive_until(b"\n", LINE_BYTES_MAX)
    except anyio.DelimiterNotFound:
        line = await lines.receive_exactly(len(lines.buffer))
    while True:
        try:
            return line + (await lines.receive_until(b"\n", LINE_BYTES_MAX))[-TAIL_BYTES:]
        except anyio.DelimiterNotFound:
            await lines.receive_exactly(len(lines.buffer))


def _message(line: bytes) -> tuple[JSONRPCMessage | None, ErrorData | None]:
    """A line's message, or what is wrong with it; neither for a blank line."""
    if len(line) > LINE_BYTES_MAX:
        return None, ErrorData(**too_long())
    if not line.strip():
        return None, None
    try:
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError as error:
        # Of the kinds of message that it is not, the first is a request. The values are not repeated.
        first = error.errors(include_input=False, include_url=False)[0]
        if first["type"] == "json_invalid":
            return None, ErrorData(**no_json(first["msg"].removeprefix("Invalid JSON: ")))
        field = ".".join(str(part) for part in first["loc"][1:])
        return None, ErrorData(**no_request(": ".join(part for part in (field, first["msg"]) if part)))
    if isinstance(message, JSONRPCNotification) and _asks(line, message):
        return None, ErrorData(**no_request("id: Input should be an integer or a text"))
    return message, None


def _asks(line: bytes, notification: JSONRPCNotification) -> bool:
    """Whether a request with an id that is none was taken for a notification.

    Some clients write "id": null into their notifications; those are meant as such.
    """
    members = _MEMBERS.validate_json(line)
    return "id" in members and (
        members["id"] is not None or not notification.method.startswith("notifications/")
    )


async def _deny(stream: anyio.abc.SocketStream, error: CarrydeskError) -> None:
    """Say why, in JSON-RPC, and close. No request has an id yet."""
    code = DENIED if isinstance(error, AccessError) else UNAVAILABLE
    answer = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": refusal(error)}}
    with suppress(*_GONE), anyio.move_on_after(TOKEN_SECONDS_MAX):
        await stream.send(json.dumps(answer).encode() + b"\n")
