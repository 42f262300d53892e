"""Ways to talk MCP to a front in tests: in memory, and over agent.sock as a byte stream."""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client
from mcp_types import CallToolResult, TextContent

from portfolio.service import DeskService
from server.agent_door import AgentDoor
from server.backtest_jobs import BacktestJobs, backtest_jobs
from server.callers import CURRENT, Callers, current
from server.front import build_server
from tests.tools.sample_desk import SampleDesk
from tools.backtest_jobs import BacktestRequest

ERAS = ("legacy", "auto")
TOKEN = "cda_all"
LITTLE = Path(__file__).with_name("little_backtest.py")


class FixedClock:
    """Monotonic time that moves only when told."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


@asynccontextmanager
async def little_jobs(*modes: str, seconds_max: float = 60) -> AsyncIterator[BacktestJobs]:
    """Backtests whose n-th child does what the n-th mode says, and the last mode from then on."""
    left = list(modes)

    def command(request: BacktestRequest, report: Path) -> list[str]:
        mode = left.pop(0) if len(left) > 1 else left[0]
        asked = [str(part) for part in (request.first, request.last, request.venue)]
        return [sys.executable, "-P", str(LITTLE), mode, str(report), *asked]

    with TemporaryDirectory() as folder:
        async with backtest_jobs(
            command, Path(folder) / "reports", FixedClock(), os.environ, seconds_max=seconds_max
        ) as jobs:
            yield jobs


@asynccontextmanager
async def in_memory(
    desk: SampleDesk,
    era: str,
    *,
    token: str = TOKEN,
    clock: Callable[[], int] | None = None,
    jobs: BacktestJobs | None = None,
) -> AsyncIterator[Client]:
    callers = Callers(lambda _: desk, clock or FixedClock())
    reset = CURRENT.set(await callers.admit(token))
    try:
        async with (
            little_jobs("answers") as own,
            Client(build_server(current, jobs or own), mode=era) as client,
        ):
            yield client
    finally:
        CURRENT.reset(reset)


@asynccontextmanager
async def agent_door(
    path: Path, desk: DeskService, clock: Callable[[], int] | None = None, *, mode: str = "answers"
) -> AsyncIterator[None]:
    async with little_jobs(mode) as jobs, anyio.create_task_group() as tasks:
        door = AgentDoor(build_server(current, jobs), Callers(lambda _: desk, clock or FixedClock()))
        await tasks.start(door.serve, path)
        yield
        await anyio.wait_all_tasks_blocked()  # the door has seen its clients leave
        tasks.cancel_scope.cancel()


class Wire:
    """A raw client: JSON-RPC lines."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.stream = stream
        self.lines = BufferedByteReceiveStream(stream)
        self.number = 0

    async def send(self, message: dict[str, Any]) -> None:
        await self.stream.send(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.lines.receive_until(b"\n", 1 << 24))
        return message

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.number += 1
        await self.send({"id": self.number, "method": method, "params": params})
        while True:
            message = await self.receive()
            if message.get("id") == self.number:
                return message

    async def open(self, era: str) -> dict[str, Any]:
        """The first exchange of a legacy or a modern client."""
        if era == "legacy":
            params = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            }
            answer = await self.ask("initialize", params)
            await self.send({"method": "notifications/initialized"})
            return answer
        return await self.ask("server/discover", {"_meta": MODERN})


MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
}


@asynccontextmanager
async def wire(path: Path, token: str = TOKEN) -> AsyncIterator[Wire]:
    async with await anyio.connect_unix(path) as stream:
        await stream.send(token.encode() + b"\n")
        yield Wire(stream)


def refusal_of(result: CallToolResult) -> dict[str, Any]:
    """The error object of a failed call."""
    assert result.is_error
    content = result.content[0]
    assert isinstance(content, TextContent)
    error: dict[str, Any] = json.loads(content.text)
    assert set(error) == {"code", "message", "field", "allowed", "next"}
    return error
