"""The pump against a toy front: a socket that is told what to answer and when to die."""

import io
import json
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp import Client as McpClient
from mcp import MCPError, StdioServerParameters

from server.agent_lines import LINE_BYTES_MAX
from server.stdio import EX_NOPERM, EX_UNAVAILABLE, Bridge, lines_of, start_paper

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


DENIED = {"code": -32001, "message": '{"message": "this token opens nothing", "next": "ask for one"}'}
NOT_YET = {"code": -32002, "message": '{"message": "the desk does not listen", "next": "wait"}'}
INITIALIZE = {"id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}


def test_a_refused_token_ends_the_bridge_and_every_call_gets_the_reason(front: ToyFront) -> None:
    client = Client(front)
    session = front.accept()
    session.read()
    client.say(INITIALIZE)
    session.read()
    session.say({"id": None, "error": DENIED})
    session.die()
    client.thread.join(WITHIN)
    assert client.code == EX_NOPERM
    assert client.complaints == ["Carrydesk refused this agent: this token opens nothing ask for one"]
    assert client.hear() == {"jsonrpc": "2.0", "id": 0, "error": DENIED}
    assert not client.say({"id": 1, "method": "tools/list"})
    assert client.hear() == {"jsonrpc": "2.0", "id": 1, "error": DENIED}


def test_a_call_to_a_desk_that_is_not_there_yet_is_not_called_lost(front: ToyFront) -> None:
    client = Client(front)
    early = front.accept()
    early.read()
    client.say(INITIALIZE)
    early.read()
    early.say({"id": None, "error": NOT_YET})
    early.die()
    assert client.hear() == {"jsonrpc": "2.0", "id": 0, "error": NOT_YET}
    later = front.accept()
    assert later.read() == "cda_all\n"
    client.say({**INITIALIZE, "id": 1})  # the client begins anew: its first try is not repeated before it
    assert json.loads(later.read())["id"] == 1
    later.say({"id": 1, "result": {}})
    assert client.hear() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    later.die()
    client.end()
    assert client.complaints == []


DEEP = b'{"jsonrpc":"2.0","id":5,"method":"x","params":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
MANY_DIGITS = b'{"jsonrpc":"2.0","id":5,"method":"x","params":{"a":1' + b"0" * 5000 + b"}}\n"
LONG = b'{"jsonrpc":"2.0","id":5,"method":"x","params":{"a":"' + b"x" * LINE_BYTES_MAX + b'"}}\n'


@pytest.mark.parametrize(
    ("line", "code", "why"),
    [
        (DEEP, -32700, "nested too deep"),
        (MANY_DIGITS, -32700, "too many digits"),
        (b'{"jsonrpc":"2.0","id":5,"method":\n', -32700, "Expecting value at character"),
        (b'{"jsonrpc":"2.0","id":5,"method":"\xff"}\n', -32700, "not UTF-8"),
        (LONG, -32600, f"longer than {LINE_BYTES_MAX} bytes"),
    ],
    ids=["deep", "digits", "broken", "bytes", "long"],
)
def test_a_line_the_front_cannot_take_is_answered_and_costs_only_itself(
    front: ToyFront, line: bytes, code: int, why: str
) -> None:
    client = Client(front)
    session = front.accept()
    session.read()
    client.say({"id": 1, "method": "tools/call"})
    assert client.bridge.feed(line)
    refused = client.hear()
    assert (refused["id"], refused["error"]["code"]) == (5, code)
    assert why in json.loads(refused["error"]["message"])["message"]
    assert client.bridge.feed(b"\n")
    client.say({"id": 2, "method": "tools/list"})
    assert [json.loads(session.read())["id"] for _ in range(2)] == [1, 2]
    session.say({"id": 1, "result": {}})
    assert client.hear() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    session.die()
    client.end()


def test_a_request_without_a_usable_id_is_never_told_to_be_lost(front: ToyFront) -> None:
    client = Client(front)
    session = front.accept()
    session.read()
    for number in (None, 1.5, True, "\ud800", 2):
        client.say({"id": number, "method": "tools/list"})
        session.read()
    session.say({"id": None, "error": {"code": -32600, "message": "id: neither"}})
    assert client.hear()["error"]["code"] == -32600
    session.die()
    assert client.hear()["id"] == 2
    client.end()
    assert client.heard.empty()


@pytest.mark.parametrize("spare", [-1, 0, 1, 100_000])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_the_lines_of_a_stream_come_whole_and_an_overlong_one_without_its_middle(
    spare: int, end: bytes
) -> None:
    text = b"<" + b"x" * (LINE_BYTES_MAX - 2 - len(end) + spare) + b">" + end
    *before, found = lines_of(io.BytesIO(b"a\n\n" + text))
    assert before == [b"a\n", b"\n"]
    whole = text.removesuffix(b"\n") + b"\n"
    assert found == whole if spare <= 0 else LINE_BYTES_MAX < len(found) < LINE_BYTES_MAX + 1000
    assert found.startswith(b"<x")
    assert found.endswith(b"x>\n")


def test_after_an_overlong_line_the_next_line_is_whole() -> None:
    assert list(lines_of(io.BytesIO(b"x" * (LINE_BYTES_MAX * 2) + b"\nb\n")))[1:] == [b"b\n"]


def test_when_nobody_ever_answers_it_says_what_to_start(tmp_path: Path) -> None:
    complaints: list[str] = []
    heard: list[bytes] = []
    bridge = Bridge(
        token="t",
        dial=lambda: None,
        write=heard.append,
        complain=complaints.append,
        connect_seconds_max=0.0,
    )
    assert bridge.run() == EX_UNAVAILABLE
    assert complaints == ["Carrydesk does not answer. Start it with: carrydesk serve"]
    assert not bridge.feed(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n')
    error = json.loads(heard[0])["error"]
    assert error["code"] == -32002
    assert json.loads(error["message"])["next"] == "Start it with: carrydesk serve"


@pytest.mark.parametrize(
    "settings", ['mode = "live"\n', 'mode = "testnet" # not paper\n', "", '[paper]\nmode = "paper"\n']
)
def test_only_paper_is_ever_started_from_here(tmp_path: Path, settings: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "carrydesk.toml").write_text(settings)
    start_paper(tmp_path)
    assert list((tmp_path / "run").iterdir()) == []


def bridged(home: Path, said: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The command with a client that says one thing and leaves."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "server.stdio"],
        env={"CARRYDESK_HOME": str(home), "PATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        input=said,
    )


@contextmanager
def denying_home(folder: Path) -> Iterator[Path]:
    """A home whose door lets nobody in."""
    (folder / "run").mkdir()
    door = ToyFront(folder / "run" / "agent.sock")

    def deny() -> None:
        session = door.accept()
        session.read()
        session.say({"id": None, "error": DENIED})
        session.die()

    thread = threading.Thread(target=deny, daemon=True)
    thread.start()
    yield folder
    thread.join(WITHIN)
    door.listener.close()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_mcp_client_of_either_generation_hears_why_it_was_refused(
    tmp_path: Path, mode: Literal["auto", "legacy"]
) -> None:
    with denying_home(tmp_path) as home:
        command = StdioServerParameters(
            command=sys.executable,
            args=["-P", "-m", "server.stdio"],
            env={"CARRYDESK_HOME": str(home), "CARRYDESK_TOKEN": "cda_wrong"},
        )
        with pytest.RaisesGroup(
            pytest.RaisesExc(MCPError, match="opens nothing"), allow_unwrapped=True, flatten_subgroups=True
        ):
            async with McpClient(command, mode=mode):
                pytest.fail("the door denies everybody")


def reason(run: subprocess.CompletedProcess[str]) -> tuple[int, dict[str, Any]]:
    """The code and the reason of the error that the client's only call got."""
    answer = json.loads(run.stdout)
    assert answer["id"] == 0
    return answer["error"]["code"], json.loads(answer["error"]["message"])


def test_without_a_token_file_client_and_terminal_hear_what_to_run(tmp_path: Path) -> None:
    run = bridged(tmp_path, json.dumps(INITIALIZE) + "\n")
    assert run.returncode == EX_NOPERM
    assert "carrydesk init" in run.stderr
    code, said = reason(run)
    assert (code, said["code"]) == (-32001, "access_denied")
    assert "carrydesk init" in said["next"]
    assert bridged(tmp_path).stdout == ""


@pytest.mark.parametrize("token", ["wr\u00f6ng", "two words", "two\nlines"])
def test_a_text_that_is_no_token_is_named_as_the_reason_and_not_repeated(tmp_path: Path, token: str) -> None:
    run = bridged(tmp_path, json.dumps(INITIALIZE) + "\n", CARRYDESK_TOKEN=token)
    assert run.returncode == EX_NOPERM
    assert "Traceback" not in run.stderr
    assert token not in run.stdout + run.stderr
    code, said = reason(run)
    assert code == -32001
    assert "CARRYDESK_TOKEN" in said["message"]


def test_a_start_that_fails_is_told_to_the_client_at_once(tmp_path: Path) -> None:
    for name in ("run", "logs"):
        (tmp_path / name).mkdir()
    (tmp_path / "carrydesk.toml").write_text('mode = "paper"\nnonsense = 1\n')
    run = bridged(tmp_path, json.dumps(INITIALIZE) + "\n", CARRYDESK_TOKEN="cda_all")
    assert run.returncode == EX_UNAVAILABLE
    code, said = reason(run)
    assert (code, said["code"]) == (-32002, "bad_settings")
    assert "unknown key nonsense" in said["message"]
    assert "unknown key nonsense" in run.stderr


def test_the_pump_loads_nothing_but_the_standard_library() -> None:
    script = (
        "import sys, server.stdio; "
        "sys.exit(any(name in sys.modules for name in ('anyio', 'pydantic', 'typer', 'mcp', 'portfolio')))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=50)
