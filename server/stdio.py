"""`carrydesk stdio`: bytes between an MCP client's pipes and agent.sock. Standard library only, starts fast.

It knows three things of the protocol: a request has an id and a method, an answer has an id, and an older
client opens with `initialize`. When the front or the desk restarts, every call in flight is answered with an
error that says its outcome is unknown, the handshake is repeated and its answer dropped. Nothing else is
ever sent twice: a lost call may have been carried out. Calls that the front did not let in, or that were
never sent, are answered with the reason instead. A line that is no JSON, or too long for the front, is
answered here and costs only itself.
"""

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from server.agent_lines import LINE_BYTES_MAX, TAIL_BYTES, is_id, no_json, request_id, rpc_error, too_long

CONNECT_SECONDS_MAX = 30.0
_RETRY_SECONDS = 0.2
_CHUNK_BYTES = 1 << 16
#: JSON-RPC codes of agent_door.py: a connection that was refused for good, and one that may come later.
_DENIED = -32001
_UNAVAILABLE = -32002
_LOST = -32000
#: A client that just started this has its first calls on the way (a newer one asks twice, in both generations
#: of the protocol): they get the reason, not only a closed pipe.
LAST_WORD_SECONDS_MAX = 2.0
EX_UNAVAILABLE = 69
EX_NOPERM = 77
_LOST_TEXT = (
    "Carrydesk restarted while this call was running: its outcome is unknown. Do not repeat it; "
    "call get_intent (with its intent_id or request_id) or get_portfolio first."
)


def _sentence(error: dict[str, Any]) -> str:
    """The same for a terminal."""
    said = _parsed(str(error.get("message")).encode())
    return f"{said.get('message')} {said.get('next') or ''}".strip() if said else str(error.get("message"))


def _refuses(error: object) -> bool:
    """Whether the door said this instead of letting us in."""
    return isinstance(error, dict) and error.get("code") in (_DENIED, _UNAVAILABLE)


class StartError(Exception):
    """Carrydesk was started and ended with this JSON-RPC error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _unreadable(line: bytes) -> dict[str, Any] | None:
    """Why the front could not read this line either; None: it may."""
    if len(line) > LINE_BYTES_MAX:
        return too_long()
    try:
        json.loads(line)
    except RecursionError:
        return no_json("it is nested too deep")
    except UnicodeDecodeError:
        return no_json("it is not UTF-8")
    except json.JSONDecodeError as error:
        return no_json(f"{error.msg} at character {error.pos}")
    except ValueError:
        return no_json("it has a number of too many digits")
    return None


class Bridge:
    """One client's conversation. `dial` gives a connected socket, or None when nobody listens."""

    def __init__(
        self,
        *,
        token: str,
        dial: Callable[[], socket.socket | None],
        write: Callable[[bytes], None],
        complain: Callable[[str], None],
        connect_seconds_max: float = CONNECT_SECONDS_MAX,
    ) -> None:
        self._token = token
        self._dial = dial
        self._write_raw = write
        self._complain = complain
        self._connect_seconds_max = connect_seconds_max
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._writing = threading.Lock()
        self._connection: socket.socket | None = None
        self._in_flight: dict[str, object] = {}
        self._handshake: list[bytes] = []
        self._swallow: set[str] = set()
        self._client_left = False
        #: Why the conversation is over.
        self._over: dict[str, Any] | None = None

    # --- from the client ----------------------------------------------------------------------------------

    def feed(self, line: bytes) -> bool:
        """Forward one line of the client; False when the conversation is over.

        A line beyond `LINE_BYTES_MAX` may come without its middle.
        """
        if not line.strip():
            return True
        unreadable = _unreadable(line)
        if unreadable is not None:
            self._answer([request_id(line)], unreadable)
            return True
        message = _parsed(line)
        with self._changed:
            if message.get("method") == "initialize":
                self._handshake = [line]
            elif message.get("method") == "notifications/initialized":
                self._handshake.append(line)
            while self._connection is None and self._over is None:
                self._changed.wait()
            connection, over = self._connection, self._over
            if connection is not None and "method" in message and is_id(message.get("id")):
                self._in_flight[json.dumps(message["id"])] = message["id"]
        if connection is None:
            self._answer([message["id"]] if "id" in message and "method" in message else [], over)
            return False
        with contextlib.suppress(OSError):  # the reading side notices and answers what was in flight
            connection.sendall(line)
        return True

    def hang_up(self) -> None:
        """The client closed its end: let the answers in flight come, then stop."""
        with self._changed:
            self._client_left = True
            self._changed.notify_all()
            if self._connection is not None:
                with contextlib.suppress(OSError):
                    self._connection.shutdown(socket.SHUT_WR)

    # --- from the front -----------------------------------------------------------------------------------

    def run(self) -> int:
        """Stay connected until the client leaves; the exit code."""
        over = rpc_error(_UNAVAILABLE, "unreachable", "The client left: this was not sent.", "Connect again.")
        try:
            while True:
                connection = self._connect()
                if connection is None and self._client_left:
                    return 0
                if connection is None:
                    over = rpc_error(
                        _UNAVAILABLE,
                        "unreachable",
                        "Carrydesk does not answer.",
                        "Start it with: carrydesk serve",
                    )
                    self._complain(_sentence(over))
                    return EX_UNAVAILABLE
                refused = self._listen(connection)
                connection.close()
                self._lose(refused)
                if refused is not None and refused["code"] == _DENIED:
                    over = refused
                    self._complain(f"Carrydesk refused this agent: {_sentence(over)}")
                    return EX_NOPERM
                if self._client_left:
                    return 0
                time.sleep(_RETRY_SECONDS)
        except StartError as error:
            over = error.error
            self._complain(f"Carrydesk did not start: {_sentence(over)}")
            return EX_UNAVAILABLE
        finally:
            self.end(over)

    def end(self, over: dict[str, Any]) -> None:
        """Answer with `over` whatever the client sends from now on."""
        with self._changed:
            self._over = over
            self._changed.notify_all()

    def last_word(self, seconds_max: float = LAST_WORD_SECONDS_MAX) -> None:
        """Wait a moment for the client to hear the reason and leave."""
        with self._changed:
            self._changed.wait_for(lambda: self._client_left, seconds_max)

    def _connect(self) -> socket.socket | None:
        deadline = time.monotonic() + self._connect_seconds_max
        while time.monotonic() < deadline and not self._client_left:
            connection = self._dial()
            if connection is not None and self._open(connection):
                return connection
            time.sleep(_RETRY_SECONDS)
        return None

    def _open(self, connection: socket.socket) -> bool:
        """Send the token and, after a restart, the handshake; then let the client's lines through."""
        with self._changed:
            hello = self._token.encode("ascii") + b"\n"
            if self._handshake:
                self._swallow = {json.dumps(_parsed(self._handshake[0]).get("id"))}
                hello += b"".join(self._handshake)
            try:
                connection.sendall(hello)
            except OSError:
                connection.close()
                return False
            self._connection = connection
            self._changed.notify_all()
        return True

    def _listen(self, connection: socket.socket) -> dict[str, Any] | None:
        """Forward answers until the connection ends; the door's error when it did not let us in."""
        with connection.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                message = _parsed(line)
                error: Any = message.get("error")
                if message.get("id") is None and "method" not in message and _refuses(error):
                    return dict(error)
                if self._expected(message):
                    self._write(line)
        return None

    def _expected(self, message: dict[str, Any]) -> bool:
        """Whether the client wants this line: not the answer to a handshake that we repeated."""
        if "id" not in message or "method" in message:
            return True
        key = json.dumps(message["id"])
        with self._lock:
            if key in self._swallow:
                self._swallow.discard(key)
                return False
            self._in_flight.pop(key, None)
        return True

    def _lose(self, refused: dict[str, Any] | None) -> None:
        """Answer what was in flight: with the door's reason if it let nothing in, else as unknown."""
        with self._changed:
            self._connection = None
            self._swallow.clear()
            lost = dict(self._in_flight)
            self._in_flight.clear()
            if self._handshake and json.dumps(_parsed(self._handshake[0]).get("id")) in lost:
                self._handshake = []  # the client hears that it failed, and may begin anew
        self._answer(list(lost.values()), refused or {"code": _LOST, "message": _LOST_TEXT})

    def _answer(self, ids: list[Any], error: dict[str, Any] | None) -> None:
        for number in ids:
            self._write(json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        with self._writing:
            self._write_raw(line)


def lines_of(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a stream, each ended; of one beyond `LINE_BYTES_MAX` only the beginning and the end."""
    while line := stream.readline(LINE_BYTES_MAX + 1):
        tail = line[-1:]
        while not tail.endswith(b"\n") and (more := stream.readline(_CHUNK_BYTES)):
            tail = (tail + more)[-TAIL_BYTES:]
        yield line[:-1] + tail + (b"" if tail.endswith(b"\n") else b"\n")


def _write_all(line: bytes) -> None:
    view = memoryview(line)
    while view:
        view = view[os.write(1, view) :]


def _dial(path: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        return None
    return connection


def _mode(home: Path) -> str:
    """The mode line of the settings; anything but paper is never started from here."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in (home / "carrydesk.toml").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "mode":
                return value.partition("#")[0].strip().strip("\"'")
            if line.strip().startswith("["):
                break
    return ""


def start_paper(home: Path) -> None:
    """Start `carrydesk serve` in a session of its own, once, if the mode is paper and nobody did.

    Raises:
        StartError: it ended at once and said why.
    """
    if _mode(home) != "paper":
        return
    with contextlib.suppress(OSError), (home / "run" / "autostart.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # many clients may start at once
        if _listens(home):
            return
        path = home / "logs" / "autostart.log"
        with path.open("ab") as log:
            begun = log.tell()
            serving = subprocess.Popen(
                [sys.executable, "-P", "-m", "server.cli", "serve", "--json"],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                close_fds=True,
            )
        deadline = time.monotonic() + CONNECT_SECONDS_MAX
        while time.monotonic() < deadline and not _listens(home):
            if serving.poll() is not None:
                _raise_what_it_said(path, begun)
                return
            time.sleep(_RETRY_SECONDS)


def _listens(home: Path) -> bool:
    probe = _dial(home / "run" / "agent.sock")
    if probe is not None:
        probe.close()
    return probe is not None


def _raise_what_it_said(log: Path, begun: int) -> None:
    """The error in the last line; none if somebody else serves this home, or is about to."""
    lines = log.read_bytes()[begun:].splitlines()
    error = _parsed(lines[-1]).get("error") if lines else None
    if not isinstance(error, dict):
        raise StartError(
            rpc_error(_UNAVAILABLE, "not_started", "Carrydesk ended while it started.", f"See {log}.")
        )
    if error.get("code") != "refused":
        raise StartError({"code": _UNAVAILABLE, "message": json.dumps(error, ensure_ascii=False)})


def _home() -> Path:
    given = os.environ.get("CARRYDESK_HOME")
    return Path(given) if given else Path(os.path.expanduser("~")) / ".carrydesk"


def _token(home: Path) -> str:
    """CARRYDESK_TOKEN, else the default agent's token file; empty: there is none."""
    given = os.environ.get("CARRYDESK_TOKEN")
    if given:
        return given.strip()
    try:
        return (home / "agent.token").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _bad_token(home: Path, token: str) -> dict[str, Any] | None:
    """Why a text cannot be a token; the text itself is not repeated."""
    if not token:
        return rpc_error(
            _DENIED,
            "access_denied",
            f"There is no agent token in {home}.",
            "The operator runs: carrydesk init",
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        return rpc_error(
            _DENIED,
            "access_denied",
            "The agent token (CARRYDESK_TOKEN, or agent.token in the home) is no token: those are ASCII.",
            "Set CARRYDESK_TOKEN to the text that `carrydesk token add` printed, and nothing else.",
        )
    return None


def main() -> int:
    """Bridge stdin and stdout to the home's agent.sock."""
    os.umask(0o077)  # what is made here, and by what is started from here, is this user's alone
    home = _home()

    def complain(text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    token = _token(home)
    path = home / "run" / "agent.sock"
    started = False

    def dial() -> socket.socket | None:
        nonlocal started
        connection = _dial(path)
        if connection is None and not started:
            started = True
            start_paper(home)
            connection = _dial(path)
        return connection

    bridge = Bridge(token=token, dial=dial, write=_write_all, complain=complain)

    def upward() -> None:
        for line in lines_of(sys.stdin.buffer):
            bridge.feed(line)
        bridge.hang_up()

    threading.Thread(target=upward, daemon=True).start()
    bad = _bad_token(home, token)
    if bad is None:
        code = bridge.run()
    else:
        bridge.end(bad)
        complain(_sentence(bad))
        code = EX_NOPERM
    if code:
        bridge.last_word()
    return code


if __name__ == "__main__":
    sys.exit(main())
