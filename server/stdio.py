"""`carrydesk stdio`: bytes between an MCP client's pipes and agent.sock. Standard library only, starts fast.

It knows three things of the protocol: a request has an id and a method, an answer has an id, and an older
client opens with `initialize`. When the front or the desk restarts, every call in flight is answered with an
error that says its outcome is unknown, the handshake is repeated and its answer dropped. Nothing else is
ever sent twice: a lost call may have been carried out.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONNECT_SECONDS_MAX = 30.0
_RETRY_SECONDS = 0.2
#: JSON-RPC codes of agent_door.py: a connection that was refused for good, and one that may come later.
_DENIED = -32001
_UNAVAILABLE = -32002
_LOST = -32000
EX_UNAVAILABLE = 69
EX_NOPERM = 77
_LOST_TEXT = (
    "Carrydesk restarted while this call was running: its outcome is unknown. Do not repeat it; "
    "call get_intent (with its intent_id or request_id) or get_portfolio first."
)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


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
        self._over = False

    # --- from the client ----------------------------------------------------------------------------------

    def feed(self, line: bytes) -> bool:
        """Forward one line of the client; False when the conversation is over."""
        message = _parsed(line)
        with self._changed:
            if message.get("method") == "initialize":
                self._handshake = [line]
            elif message.get("method") == "notifications/initialized":
                self._handshake.append(line)
            while self._connection is None and not self._over:
                self._changed.wait()
            if self._over or self._connection is None:
                self._answer_lost([message["id"]] if "id" in message and "method" in message else [])
                return False
            if "id" in message and "method" in message:
                self._in_flight[json.dumps(message["id"])] = message["id"]
            connection = self._connection
        with contextlib.suppress(OSError):  # the reading side notices and answers what was in flight
            connection.sendall(line)
        return True

    def hang_up(self) -> None:
        """The client closed its end: let the answers in flight come, then stop."""
        with self._changed:
            self._client_left = True
            if self._connection is not None:
                with contextlib.suppress(OSError):
                    self._connection.shutdown(socket.SHUT_WR)

    # --- from the front -----------------------------------------------------------------------------------

    def run(self) -> int:
        """Stay connected until the client leaves; the exit code."""
        try:
            while True:
                connection = self._connect()
                if connection is None and self._client_left:
                    return 0
                if connection is None:
                    self._complain("Carrydesk does not answer. Start it with: carrydesk serve")
                    return EX_UNAVAILABLE
                refused = self._listen(connection)
                connection.close()
                self._lose()
                if refused is not None:
                    self._complain(f"Carrydesk refused this agent: {refused}")
                    return EX_NOPERM
                if self._client_left:
                    return 0
                time.sleep(_RETRY_SECONDS)
        finally:
            self._end()

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

    def _listen(self, connection: socket.socket) -> str | None:
        """Forward answers until the connection ends; the reason when it was refused for good."""
        with connection.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                message = _parsed(line)
                error = message.get("error")
                if message.get("id") is None and "method" not in message and isinstance(error, dict):
                    if error.get("code") == _DENIED:
                        return str(error.get("message"))
                    if error.get("code") == _UNAVAILABLE:
                        continue
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

    def _lose(self) -> None:
        with self._changed:
            self._connection = None
            self._swallow.clear()
            lost = list(self._in_flight.values())
            self._in_flight.clear()
        self._answer_lost(lost)

    def _answer_lost(self, ids: list[Any]) -> None:
        for number in ids:
            error = {"code": _LOST, "message": _LOST_TEXT}
            self._write(json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode() + b"\n")

    def _end(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _write(self, line: bytes) -> None:
        with self._writing:
            self._write_raw(line)


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
    """Start `carrydesk serve` in a session of its own, once, if the mode is paper and nobody did."""
    if _mode(home) != "paper":
        return
    with contextlib.suppress(OSError), (home / "run" / "autostart.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # many clients may start at once
        probe = _dial(home / "run" / "agent.sock")
        if probe is not None:
            probe.close()
            return
        with (home / "logs" / "autostart.log").open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-P", "-m", "server.cli", "serve"],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                close_fds=True,
            )
        deadline = time.monotonic() + CONNECT_SECONDS_MAX
        while time.monotonic() < deadline:
            probe = _dial(home / "run" / "agent.sock")
            if probe is not None:
                probe.close()
                return
            time.sleep(_RETRY_SECONDS)


def _home() -> Path:
    given = os.environ.get("CARRYDESK_HOME")
    return Path(given) if given else Path(os.path.expanduser("~")) / ".carrydesk"


def _token(home: Path) -> str | None:
    """CARRYDESK_TOKEN, else the default agent's token file."""
    given = os.environ.get("CARRYDESK_TOKEN")
    if given:
        return given.strip()
    try:
        return (home / "agent.token").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def main() -> int:
    """Bridge stdin and stdout to the home's agent.sock."""
    os.umask(0o077)  # what is made here, and by what is started from here, is this user's alone
    home = _home()

    def complain(text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    token = _token(home)
    if token is None:
        complain(f"There is no agent token in {home}. Run: carrydesk init")
        return EX_NOPERM
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
        for line in sys.stdin.buffer:
            if not bridge.feed(line):
                return
        bridge.hang_up()

    threading.Thread(target=upward, daemon=True).start()
    return bridge.run()


if __name__ == "__main__":
    sys.exit(main())
