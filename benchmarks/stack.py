"""The real processes in a throw-away home: supervisor, paper venue, probed desk, front."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio

from portfolio.core.errors import CarrydeskError
from server.clients import OPERATOR_DOOR, OperatorClient
from server.home import Home, read_token, write_private
from server.rpc_client import open_link
from server.settings import Settings, load
from server.supervisor import Supervisor, commands

SETTINGS = """\
mode = "paper"
account = "main"
move_mode = "urgent"
[paper]
from = 2024-11-15T09:10:00
equity = 200000
"""
UP_SECONDS_MAX = 60.0


class Stack:
    """A home whose processes run."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.token = read_token(home)

    def add_token(self, name: str) -> str:
        """One more agent."""
        return str(_carrydesk(self.home, "token", "add", name)["token"])


@contextmanager
def running() -> Iterator[Stack]:
    """Everything, from when the desk sees fresh prices; stopped and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="cd-bench-"))  # under /tmp: a socket's path is short
    try:
        home = Home(folder / "home")
        settings = _init(home, folder / "passphrase")
        roles = {**commands(settings), "desk": [sys.executable, "-P", "-m", "benchmarks.probed_desk"]}
        supervisor = Supervisor(settings, os.environ, roles=roles)
        ended: list[BaseException] = []
        thread = threading.Thread(target=_supervise, args=(supervisor, ended), name="supervisor")
        thread.start()
        try:
            _until_up(home, thread)
            yield Stack(home)
        finally:
            supervisor.stopping.set()
            thread.join(60)
        if ended:
            raise ended[0]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _init(home: Home, passphrase: Path) -> Settings:
    write_private(passphrase, "benchmark operator")
    home.root.mkdir(mode=0o700)
    write_private(home.settings_file, SETTINGS)
    _carrydesk(home, "init", "--passphrase-file", str(passphrase))
    return load(home.root)


def _supervise(supervisor: Supervisor, ended: list[BaseException]) -> None:
    try:
        supervisor.run(lambda pids: None)
    except CarrydeskError as error:
        ended.append(error)


def _until_up(home: Home, supervising: threading.Thread) -> None:
    deadline = time.monotonic() + UP_SECONDS_MAX
    while time.monotonic() < deadline and supervising.is_alive():
        if home.agent_socket.exists() and anyio.run(_fresh, home):
            return
        time.sleep(0.1)
    logs = {path.name: path.read_text(encoding="utf-8")[-500:] for path in home.logs_dir.glob("*.log")}
    raise TimeoutError(f"the processes did not come up: {logs}")


async def _fresh(home: Home) -> bool:
    try:
        async with open_link(home.operator_socket, OPERATOR_DOOR, seconds_max=5.0) as link:
            snapshot = await OperatorClient(link).status()
    except CarrydeskError:
        return False
    return not snapshot.stale and snapshot.recovered


def _carrydesk(home: Home, *arguments: str) -> dict[str, Any]:
    """One command's JSON."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-m", "server.cli", *arguments, "--json"],
        env={**os.environ, "CARRYDESK_HOME": str(home.root)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
