"""The least an MCP client can be: JSON-RPC lines over a Unix socket, so that what is timed is the server."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

LINE_BYTES_MAX = 4 << 20
_HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "carrydesk-bench", "version": "1"},
}


class Agent:
    """One connection. Calls may be pipelined with `send` and `receive`."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream = stream
        self._lines = BufferedByteReceiveStream(stream)
        self._number = 0

    async def send(self, method: str, params: dict[str, Any]) -> int:
        """A request; its number."""
        self._number += 1
        await self._write({"id": self._number, "method": method, "params": params})
        return self._number

    async def receive(self) -> dict[str, Any]:
        """The next answer, whichever request it is for."""
        while True:
            message: dict[str, Any] = json.loads(await self._lines.receive_until(b"\n", LINE_BYTES_MAX))
            if "id" in message and "method" not in message:
                return message

    async def call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """One tool call to its end.

        Raises:
            AssertionError: it failed.
        """
        number = await self.send("tools/call", {"name": tool, "arguments": arguments})
        answer = await self.receive()
        assert answer["id"] == number, answer
        assert succeeded(answer), answer
        result: dict[str, Any] = answer["result"]
        return result

    async def hello(self) -> None:
        """The handshake."""
        await self.send("initialize", _HELLO)
        answer = await self.receive()
        assert "result" in answer, answer
        await self._write({"method": "notifications/initialized"})

    async def _write(self, message: dict[str, Any]) -> None:
        await self._stream.send(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def succeeded(answer: dict[str, Any]) -> bool:
    """Whether the tool did what it was asked."""
    return "result" in answer and not answer["result"].get("isError", False)


@asynccontextmanager
async def connected(path: Path, token: str) -> AsyncIterator[Agent]:
    """An agent that shook hands."""
    async with await anyio.connect_unix(path) as stream:
        await stream.send(token.encode() + b"\n")
        agent = Agent(stream)
        await agent.hello()
        yield agent
