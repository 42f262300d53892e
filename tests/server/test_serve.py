"""The whole stack of one home: paper venue, desk and front as processes, an agent over stdio, an operator."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from typer.testing import CliRunner

from server.cli import app
from server.process import read_pid

WITHIN = 50.0
PASSPHRASE = "correct horse battery"


class Stack:
    """One home and its commands."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.passphrase = home.with_suffix(".pass")
        self.environment = {**os.environ, "CARRYDESK_HOME": str(home)}
        self.serving: subprocess.Popen[str] | None = None

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-P", "-m", "server.cli", *arguments]

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """A command's exit code and its JSON, without the cost of a process."""
        result = CliRunner().invoke(app, [*arguments, "--json"], env=self.environment)
        assert result.stdout, result.stderr
        found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return result.exit_code, found

    def run_apart(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """The same as a process without a terminal."""
        run = subprocess.run(
            self.command(*arguments, "--json"),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=WITHIN,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # no terminal
        )
        lines = run.stdout.splitlines()
        assert lines, run.stderr
        found: dict[str, Any] = json.loads(lines[-1])
        return run.returncode, found

    def ok(self, *arguments: str) -> dict[str, Any]:
        code, found = self.run(*arguments)
        assert code == 0, found
        return found

    def serve(self) -> dict[str, Any]:
        self.serving = subprocess.Popen(
            self.command("serve", "--json"),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self.serving.stdout is not None
        line = self.serving.stdout.readline()
        found: dict[str, Any] = json.loads(line)
        return found

    def pid(self, role: str) -> int | None:
        return read_pid(self.home / "run" / f"{role}.pid")

    def status(self) -> dict[str, Any]:
        """Waits for a desk that is just being started again."""
        deadline = time.monotonic() + WITHIN
        while True:
            code, found = self.run("status")
            if code == 0:
                return found
            assert time.monotonic() < deadline, found

    def calm(self) -> None:
        """Wait until nothing is missing, old or frozen."""
        deadline = time.monotonic() + WITHIN
        while self.status()["warnings"]:
            assert time.monotonic() < deadline, self.status()["warnings"]

    def parameters(self) -> StdioServerParameters:
        command = self.command("stdio")
        return StdioServerParameters(command=command[0], args=command[1:], env=self.environment)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Runs once for this file; a home under /tmp because a socket's path is short."""
    folder = Path(tempfile.mkdtemp(prefix="cd-"))
    stack = Stack(folder / "h")
    stack.passphrase.write_text(PASSPHRASE)
    stack.ok("init", "--passphrase-file", str(stack.passphrase))
    settings = stack.home / "carrydesk.toml"
    settings.write_text(
        settings.read_text()
        .replace('move_mode = "normal"', 'move_mode = "urgent"')
        .replace("speed = 1 ", "speed = 10 ")  # entries wait out the settlement at midnight
    )
    try:
        stack.serve()
        yield stack
    finally:
        stack.run("stop")
        if stack.serving is not None:
            assert stack.serving.stdout is not None
            stack.serving.stdout.close()
            stack.serving.wait(WITHIN)
        shutil.rmtree(folder)


def test_status_says_everything_that_scripts_rely_on(stack: Stack) -> None:
    found = stack.ok("status")
    for key in (
        *("mode", "install", "accounts", "health_score", "margin_usage", "utilisation"),
        *("pairs", "guard", "intents"),
    ):
        assert key in found
    assert (found["mode"], found["install"], found["accounts"][0]["account"]) == (
        "paper",
        "same-user",
        "bybit:main",
    )
    assert len(found["pairs"]) == 7


def test_a_second_serve_of_the_home_is_refused(stack: Stack) -> None:
    code, found = stack.run_apart("serve")
    assert code != 0
    assert "runs already" in found["error"]["message"]


def test_tokens_are_issued_once_listed_and_revoked(stack: Stack) -> None:
    issued = stack.ok("token", "add", "script", "--scopes", "read")
    assert issued["token"].startswith("cda_")
    names = {row["name"]: row for row in stack.ok("token", "list")["tokens"]}
    assert set(names) == {"agent", "script"}
    assert issued["token"] not in json.dumps(names)
    stack.ok("token", "revoke", "script")
    assert {row["name"]: row for row in stack.ok("token", "list")["tokens"]}["script"]["revoked"]
    assert stack.run("token", "revoke", "script")[1]["error"]["code"] == "unknown_name"
    assert stack.run("token", "add", "x", "--scopes", "approve")[1]["error"]["code"] == "bad_input"


def test_only_the_operator_resumes_and_only_with_the_passphrase(stack: Stack, tmp_path: Path) -> None:
    stack.ok("halt", "--note", "for the test")
    try:
        assert stack.ok("status")["guard"]["halted"]
        wrong = tmp_path / "wrong"
        wrong.write_text("wrong horse battery")
        code, found = stack.run("resume", "--passphrase-file", str(wrong))
        assert (code, found["error"]["code"]) == (1, "bad_approval")
        code, found = stack.run_apart("resume")
        assert "no terminal" in found["error"]["message"]
    finally:
        stack.ok("resume", "--passphrase-file", str(stack.passphrase))
    assert not stack.ok("status")["guard"]["halted"]


async def _propose(client: Client, **arguments: object) -> dict[str, Any]:
    result = await client.call_tool("propose_rebalance", {"reason": "the test wants it", **arguments})
    assert not result.is_error, result.content
    found: dict[str, Any] = result.structured_content or {}
    return found


async def _book(stack: Stack, client: Client) -> dict[str, Any]:
    """The book as the agent sees it, once the desk's data is complete: it refuses proposals before."""
    await anyio.to_thread.run_sync(stack.calm)
    result = await client.call_tool("get_portfolio", {})
    assert not result.is_error, result.content
    return result.structured_content or {}


async def _replaced(stack: Stack, role: str, before: int | None) -> None:
    with anyio.fail_after(WITHIN):
        while stack.pid(role) in (None, before):
            await anyio.lowlevel.checkpoint()


def test_an_agent_proposes_a_human_approves_and_the_book_is_hedged(stack: Stack) -> None:
    async def main() -> None:
        async with Client(stack.parameters()) as client:
            await _book(stack, client)
            target = {"pair": "SOL@bybit", "notional_usd": 5000}
            proposal = await _propose(client, kind="changes", targets=[target], request_id="one")
            intent_id, digest = proposal["intent_id"], proposal["digest"]
            again = await _propose(client, kind="changes", targets=[target], request_id="one")
            assert (again["intent_id"], again["repeated"]) == (intent_id, True)
            call = {"intent_id": intent_id, "digest": digest}
            asked = await client.call_tool("execute_intent", call)
            assert (asked.structured_content or {})["status"] == "requested"
            approve = ("approve", intent_id, "--passphrase-file", str(stack.passphrase))
            approved = await anyio.to_thread.run_sync(lambda: stack.ok(*approve))
            assert "Asked by token" in approved["text"]
            unasked = ("approve", intent_id, "--passphrase-file", str(stack.home / "nowhere"))
            replayed = await anyio.to_thread.run_sync(lambda: stack.run(*unasked))
            assert replayed[1]["error"]["code"] == "conflict"  # said before the passphrase is asked
            end = await client.call_tool("get_intent", {"intent_id": intent_id, "wait_s": 25})
            found = end.structured_content or {}
            assert (found["status"], found["unknown_orders"]) == ("done", 0), found
        assert abs(float(found["pairs"][0]["unhedged_coins"])) < 0.1

    anyio.run(main)
    book = {pair["pair"]: pair for pair in stack.status()["pairs"]}
    assert 4_500 < float(book["SOL@bybit"]["notional_usd"]) < 5_500


def test_a_rejection_carries_its_note_to_the_agent(stack: Stack) -> None:
    async def main() -> None:
        async with Client(stack.parameters(), mode="legacy") as client:
            await _book(stack, client)
            target = {"pair": "XRP@bybit", "notional_usd": 1000}
            intent_id = (await _propose(client, kind="changes", targets=[target]))["intent_id"]
            await anyio.to_thread.run_sync(lambda: stack.ok("reject", intent_id, "--note", "not today"))
            found = (await client.call_tool("get_intent", {"intent_id": intent_id})).structured_content or {}
            assert (found["status"], found["operator_note"]) == ("rejected", "not today")

    anyio.run(main)


def test_a_killed_desk_comes_back_with_its_book_and_the_agent_stays_connected(stack: Stack) -> None:
    async def main() -> None:
        async with Client(stack.parameters()) as client:
            await _book(stack, client)
            before = stack.pid("desk")
            assert before is not None
            os.kill(before, signal.SIGKILL)
            await _replaced(stack, "desk", before)
            book = await _book(stack, client)
            assert [pair["pair"] for pair in book["pairs"]] == ["SOL@bybit"]

    anyio.run(main)


def test_a_killed_front_is_replaced_and_the_desk_does_not_notice(stack: Stack) -> None:
    desk, front = stack.pid("desk"), stack.pid("front")

    async def main() -> None:
        async with Client(stack.parameters()) as client:
            await _book(stack, client)
            os.kill(front or 0, signal.SIGKILL)
            await _replaced(stack, "front", front)
            await _book(stack, client)

    anyio.run(main)
    assert stack.pid("desk") == desk


def test_a_faulty_settings_file_and_a_loose_token_keep_away_neither_halt_nor_guard(stack: Stack) -> None:
    settings, token = stack.home / "carrydesk.toml", stack.home / "agent.token"
    log = stack.home / "logs" / "front.log"
    written, desk, front = settings.read_text(), stack.pid("desk"), stack.pid("front")
    settings.write_text("foo = 1\n" + written)
    try:
        stack.ok("halt", "--note", "with a faulty file")
        os.kill(front or 0, signal.SIGKILL)
        deadline = time.monotonic() + WITHIN
        while log.read_text().count("SettingsError: ") < 2:  # it refuses to start, again and again
            assert time.monotonic() < deadline
        assert stack.ok("status")["guard"]["halted"]
        assert stack.pid("desk") == desk
        stack.ok("resume", "--passphrase-file", str(stack.passphrase))
    finally:
        settings.write_text(written)
    token.chmod(0o644)
    try:
        os.kill(desk or 0, signal.SIGKILL)
        anyio.run(_replaced, stack, "desk", desk)
        stack.calm()
        assert "SOL@bybit" in {pair["pair"] for pair in stack.status()["pairs"]}
    finally:
        token.chmod(0o600)
    anyio.run(_replaced, stack, "front", front)


def test_the_desk_outlives_its_supervisor_and_the_next_serve_adopts_it(stack: Stack) -> None:
    desk = stack.pid("desk")
    assert stack.serving is not None
    stack.serving.kill()
    stack.serving.wait(WITHIN)
    assert stack.serving.stdout is not None
    stack.serving.stdout.close()
    assert stack.ok("status")["mode"] == "paper"
    found = stack.serve()
    assert found["pids"]["desk"] == desk


def test_a_desk_that_was_restarted_too_often_is_frozen_until_the_operator_resumes(stack: Stack) -> None:
    before = stack.pid("desk")
    (stack.home / "run" / "freeze-entries").touch()  # what the supervisor leaves behind
    os.kill(before or 0, signal.SIGKILL)
    anyio.run(_replaced, stack, "desk", before)
    freezes = {row["source"]: row["lifted_by"] for row in stack.status()["guard"]["freezes"]}
    assert freezes["restarts"] == "operator"
    stack.ok("resume", "--passphrase-file", str(stack.passphrase))
    stack.calm()


def test_no_log_and_no_file_for_others_holds_a_secret(stack: Stack) -> None:
    token = (stack.home / "agent.token").read_text().strip()
    secret = json.loads((stack.home / "run" / "paper.ready").read_text())["api_secret"]
    for path in (stack.home / "logs").iterdir():
        text = path.read_text()
        assert token not in text
        assert secret not in text
        assert PASSPHRASE not in text
    readable = [path for path in stack.home.rglob("*") if path.stat().st_mode & 0o007]
    assert readable == []


def test_stop_ends_everything_in_good_order(stack: Stack) -> None:
    found = stack.ok("stop")
    assert set(found["stopped"]) == {"paper", "desk", "front", "serve"}
    assert [stack.pid(role) for role in ("paper", "desk", "front", "serve")] == [None] * 4
    assert stack.run("status")[1]["error"]["code"] == "unreachable"
    assert stack.ok("stop")["stopped"] == []
