"""`python -m benchmarks.empty_tool SOCKET`: a tool that does nothing, behind the door of the front."""

import sys
import time
from pathlib import Path
from typing import Any, cast

import anyio
from mcp.server.mcpserver import MCPServer

from portfolio.service import DeskService, Principal
from server.agent_door import AgentDoor
from server.callers import Callers


class Anybody:
    """The part of a desk that the door asks."""

    async def authenticate(self, token: str) -> Principal:
        """Let everybody in."""
        return Principal(token, ())


async def serve(path: Path) -> None:
    """Until terminated."""
    server: MCPServer[Any] = MCPServer("empty", log_level="WARNING")

    @server.tool()
    async def empty() -> str:
        return ""

    desk = cast(DeskService, Anybody())
    await AgentDoor(server, Callers(lambda _: desk, time.monotonic_ns)).serve(path)


if __name__ == "__main__":
    anyio.run(serve, Path(sys.argv[1]))
