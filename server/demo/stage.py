"""The demo's stage: a throw-away home, the real processes, and the ways in that each actor has.

Everything is used as its users would: the operator through the command line, the agent through `carrydesk
stdio` and an MCP client. Only the venue's own operator door (shocks) and reading the venue's books are
special.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp import Client, StdioServerParameters

from portfolio.core.errors import CarrydeskError, RefusedError
from portfolio.service import DeskSnapshot
from server.clients import OPERATOR_DOOR, OperatorClient
from server.home import Home, write_private
from server.process import read_pid
from server.rpc_client import open_link

#: Mid-November 2024: funding at its default or above, hours away from a settlement.
MARKET_START = "2024-11-15T09:10:00"
EQUITY_USDT = 90_000
PASSPHRASE = "demo only passphrase"  # noqa: S105 - of a throw-away key over paper money
SETTINGS = f"""\
mode = "paper"
account = "main"
[paper]
from = {MARKET_START}
equity = {EQUITY_USDT}
"""
UP_SECONDS_MAX = 60.0
CLOSE_SECONDS_MAX = 45.0


class Stage:
    """Owns the home and the supervisor's process. Use as an async context manager."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._folder = Path(tempfile.mkdtemp(prefix="carrydesk-"))
        self.home = Home(self._folder / "home")
        self._passphrase_file = self._folder / "passphrase"
        self._supervisor: subprocess.Popen[bytes] | None = None
        self.venue: dict[str, Any] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What every command of this demo runs with."""
        return {**os.environ, "CARRYDESK_HOME": str(self.home.root)}

    async def __aenter__(self) -> "Stage":
        write_private(self._passphrase_file, PASSPHRASE)
        self.home.root.mkdir(mode=0o700)
        write_private(self.home.settings_file, SETTINGS)
        await self.command("init", "--passphrase-file", str(self._passphrase_file))
        log = (self._folder / "serve.log").open("wb")
        self._supervisor = subprocess.Popen(  # noqa: ASYNC220, S603 - returns at once; our own program
            [*carrydesk(), "serve", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=self.environment,
        )
        log.close()
        try:
            await self._until_up()
        except BaseException:
            # The logs stay: the error names them.
            with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS_MAX):
                await self._stop()
            raise
        self.venue = json.loads(self.home.ready_file("paper").read_text(encoding="utf-8").splitlines()[0])
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS_MAX):
            await self.close()

    async def close(self) -> None:
        """Stop what was started, and nothing else; remove the folder."""
        await self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _stop(self) -> None:
        supervisor = self._supervisor
        if supervisor is not None and supervisor.poll() is None:
            supervisor.send_signal(signal.SIGTERM)
            await anyio.to_thread.run_sync(supervisor.wait)
        if supervisor is not None and supervisor.stdout is not None:
            supervisor.stdout.close()

    async def _until_up(self) -> None:
        """Until the desk answers its operator and has its prices.

        Raises:
            RefusedError: it did not come up in time, or a process refused to start.
        """
        with anyio.move_on_after(UP_SECONDS_MAX):
            while True:
                assert self._supervisor is not None
                if self._supervisor.poll() is not None:
                    break
                if self.home.agent_socket.exists():
                    try:
                        snapshot = await self.snapshot()
                    except CarrydeskError:
                        snapshot = None
                    if snapshot is not None and not snapshot.stale and snapshot.recovered:
                        return
                await anyio.sleep(0.2)
        raise RefusedError(
            "The processes did not come up.",
            next_step=f"Read {self._folder / 'serve.log'} and the logs in {self.home.logs_dir}.",
        )

    # --- the operator -------------------------------------------------------------------------------------

    async def command(self, *arguments: str, check: bool = True) -> dict[str, Any]:
        """Run one command with `--json`; what it prints for people goes to our listener.

        Raises:
            RefusedError: it failed and `check` is set.
        """
        done = await anyio.run_process(
            [*carrydesk(), *arguments, "--json"], check=False, env=self.environment, stdin=subprocess.DEVNULL
        )
        for line in done.stderr.decode().splitlines():
            self._say(f"    {line}")
        lines = done.stdout.decode().strip().splitlines()
        result: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        if check and done.returncode != 0:
            why = result.get("error") or {"message": f"exit code {done.returncode}.", "next": ""}
            raise RefusedError(f"carrydesk {arguments[0]} failed: {why['message']}", next_step=why["next"])
        return {**result, "exit_code": done.returncode}

    async def approve(self, intent_id: str) -> dict[str, Any]:
        """Read the full text, unlock the key, sign: the operator's own command."""
        return await self.command("approve", intent_id, "--passphrase-file", str(self._passphrase_file))

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[OperatorClient]:
        """The operator's socket."""
        async with open_link(self.home.operator_socket, OPERATOR_DOOR, seconds_max=5.0) as link:
            yield OperatorClient(link)

    async def snapshot(self) -> DeskSnapshot:
        """The desk as the operator sees it."""
        async with self.operator() as operator:
            return await operator.status()

    # --- the agent ----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[Client]:
        """An MCP client over the stdio bridge, as any agent session is."""
        program, *arguments = [*carrydesk(), "stdio"]
        parameters = StdioServerParameters(
            command=program, args=arguments, env={"CARRYDESK_HOME": str(self.home.root)}
        )
        async with Client(parameters) as client:
            yield client

    # --- the venue ----------------------------------------------------------------------------------------

    async def venue_operator(self, action: str, **values: object) -> dict[str, Any]:
        """The paper venue's own operator door: shocks, and a look into its books."""
        async with httpx2.AsyncClient(timeout=15.0, trust_env=False) as client:
            answer = await client.post(
                f"{self.venue['rest']}/paper/{action}",
                json=values,
                headers={"x-paper-secret": str(self.venue["api_secret"])},
            )
        found: dict[str, Any] = answer.json()
        if not found.get("ok"):
            raise RefusedError(f"The venue refused {action}: {found.get('message')}")
        return found

    def kill_desk(self) -> int:
        """Kill -9 of the desk process, the one whose number the supervisor wrote down."""
        pid = read_pid(self.home.pid_file("desk"))
        if pid is None:
            raise RefusedError("The desk does not run.")
        os.kill(pid, signal.SIGKILL)
        return pid


def carrydesk() -> list[str]:
    """How this very installation is called."""
    return [sys.executable, "-P", "-m", "server.cli"]
