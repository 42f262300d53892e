"""The pump against a toy front: a socket that is told what to answer and when to die."""

import json
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.stdio import EX_NOPERM, EX_UNAVAILABLE, Bridge, start_paper

WITHIN = 20.0


class ToyFront:
    """Listens at a path; each accepted connection is a `Session`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.settimeout(WITHIN)

    def accept(self) -> "Session":
        connection, _ = self.listener.accept()
        return Session(connection)

    def dial(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.path))
        return connection


class Session:
    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(WITHIN)
        self.connection = connection
        self.lines = connection.makefile("rb")

    def read(self) -> str:
        return self.lines.readline().decode()

    def say(self, message: dict[str, Any]) -> None:
        self.connection.sendall(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def die(self) -> None:
        self.lines.close()
        self.connection.close()


class Client:
    """The MCP client's side of a bridge."""

    def __init__(self, front: ToyFront) -> None:
        self.heard: queue.Queue[dict[str, Any]] = queue.Queue()
        self.complaints: list[str] = []
        self.code: int | None = None
        self.bridge = Bridge(
            token="cda_all",
            dial=front.dial,
            write=lambda line: self.heard.put(json.loads(line)),
            complain=self.complaints.append,
            connect_seconds_max=WITHIN,
        )
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.code = self.bridge.run()

    def say(self, message: dict[str, Any]) -> bool:
        return self.bridge.feed(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def hear(self) -> dict[str, Any]:
        return self.heard.get(timeout=WITHIN)

    def end(self) -> int | None:
        self.bridge.hang_up()
        self.thread.join(WITHIN)
        return self.code


@pytest.fixture
def front(tmp_path: Path) -> Iterator[ToyFront]:
    front = ToyFront(tmp_path / "a.sock")
    yield front
    front.listener.close()


def test_the_token_goes_first_and_bytes_pass_unchanged_both_ways(front: ToyFront) -> None:
    client = Client(front)
    session = front.accept()
    assert session.read() == "cda_all\n"
    line = b'{"jsonrpc":"2.0",  "method":"notifications/x","params":{"\xc3\xbc":1.50}}\n'
    client.bridge.feed(line)
    assert session.lines.readline() == line
    session.say({"method": "notifications/progress", "params": {"progress": 1}})
    assert client.hear()["method"] == "notifications/progress"
    client.say({"id": 1, "method": "tools/list"})
    assert json.loads(session.read())["id"] == 1
    session.say({"id": 1, "result": {}})
    assert client.hear() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    client.bridge.hang_up()
    assert session.read() == ""
    session.die()
    assert client.end() == 0


def test_a_restart_answers_calls_in_flight_as_unknown_and_sends_none_again(front: ToyFront) -> None:
    client = Client(front)
    first = front.accept()
    first.read()
    client.say({"id": 7, "method": "tools/call", "params": {"name": "execute_intent"}})
    client.say({"id": "a", "method": "tools/call", "params": {"name": "get_portfolio"}})
    first.read()
    first.read()
    first.say({"id": "a", "result": {}})
    assert client.hear()["id"] == "a"
    first.die()
    lost = client.hear()
    assert (lost["id"], lost["error"]["code"]) == (7, -32000)
    assert "outcome is unknown" in lost["error"]["message"]
    assert "get_intent" in lost["error"]["message"]
    second = front.accept()
    assert second.read() == "cda_all\n"
    client.say({"id": 8, "method": "tools/list"})
    assert json.loads(second.read())["id"] == 8  # nothing of the first connection came before it
    second.die()
    assert client.hear()["id"] == 8
    client.end()


def test_the_handshake_of_an_older_client_is_repeated_and_its_answer_dropped(front: ToyFront) -> None:
    client = Client(front)
    first = front.accept()
    first.read()
    client.say({"id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}})
    first.read()
    first.say({"id": 0, "result": {"serverInfo": {"name": "one"}}})
    assert client.hear()["id"] == 0
    client.say({"method": "notifications/initialized"})
    first.read()
    first.die()
    second = front.accept()
    assert second.read() == "cda_all\n"
    assert json.loads(second.read())["method"] == "initialize"
    assert json.loads(second.read())["method"] == "notifications/initialized"
    second.say({"id": 0, "result": {"serverInfo": {"name": "two"}}})
    client.say({"id": 1, "method": "tools/list"})
    second.read()
    second.say({"id": 1, "result": {}})
    assert client.hear()["id"] == 1
    second.die()
    client.end()


def test_a_refused_token_ends_the_bridge_and_is_not_tried_again(front: ToyFront) -> None:
    client = Client(front)
    session = front.accept()
    session.read()
    session.say({"id": None, "error": {"code": -32001, "message": "this token opens nothing"}})
    session.die()
    client.thread.join(WITHIN)
    assert client.code == EX_NOPERM
    assert "opens nothing" in client.complaints[0]
    assert not client.say({"id": 1, "method": "tools/list"})
    assert client.hear()["error"]["code"] == -32000


def test_a_desk_that_is_not_there_yet_is_waited_for(front: ToyFront) -> None:
    client = Client(front)
    early = front.accept()
    early.read()
    early.say({"id": None, "error": {"code": -32002, "message": "the desk does not listen"}})
    early.die()
    later = front.accept()
    assert later.read() == "cda_all\n"
    later.die()
    client.end()
    assert client.complaints == []


def test_when_nobody_ever_answers_it_says_what_to_start(tmp_path: Path) -> None:
    complaints: list[str] = []
    bridge = Bridge(
        token="t",
        dial=lambda: None,
        write=lambda _: None,
        complain=complaints.append,
        connect_seconds_max=0.0,
    )
    assert bridge.run() == EX_UNAVAILABLE
    assert "carrydesk serve" in complaints[0]


@pytest.mark.parametrize(
    "settings", ['mode = "live"\n', 'mode = "testnet" # not paper\n', "", '[paper]\nmode = "paper"\n']
)
def test_only_paper_is_ever_started_from_here(tmp_path: Path, settings: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "carrydesk.toml").write_text(settings)
    start_paper(tmp_path)
    assert list((tmp_path / "run").iterdir()) == []


def test_without_a_token_file_the_command_says_what_to_run(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-P", "-m", "server.stdio"],
        env={"CARRYDESK_HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == EX_NOPERM
    assert "carrydesk init" in run.stderr


def test_the_pump_loads_nothing_but_the_standard_library() -> None:
    script = (
        "import sys, server.stdio; "
        "sys.exit(any(name in sys.modules for name in ('anyio', 'pydantic', 'typer', 'mcp', 'portfolio')))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=50)
