"""backtest_policy through the front, with real children: little ones that say what a test needs."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from mcp import Client
from mcp_types import TextContent
from typer.testing import CliRunner

from portfolio.core.errors import UnknownNameError
from portfolio.service import Principal
from server.backtest_child import backtest_child
from server.backtest_jobs import KEPT_MAX, BacktestJobs, child_command
from server.cli import app
from server.process import identify
from tests.server.front_client import LITTLE, MODERN, agent_door, in_memory, little_jobs, refusal_of, wire
from tests.tools.sample_desk import ALL_SCOPES, SampleDesk
from tools.backtest_answer import read_answer
from tools.backtest_jobs import BacktestRequest, BacktestStatus

pytestmark = pytest.mark.anyio
ASKED = {"from": "2023-01-01", "to": "2023-12-31", "venue": "binance"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def ask(client: Client, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool("backtest_policy", arguments)
    assert not result.is_error, result.content
    found: dict[str, Any] = result.structured_content or {}
    return found


async def waiting(jobs: BacktestJobs, handle: str) -> int:
    """The child's process number, once it has said everything that it says before it waits."""
    with anyio.fail_after(30):
        while not (stage := (await jobs.look(handle)).stage).startswith("pid "):
            await anyio.lowlevel.checkpoint()
    return int(stage.removeprefix("pid "))


async def test_it_answers_at_once_with_a_handle_and_with_figures_when_it_is_done() -> None:
    async with little_jobs("answers") as jobs, in_memory(SampleDesk(), "auto", jobs=jobs) as client:
        started = await ask(client, **ASKED)
        assert (started["status"], started["final"], started["runs"]) == ("running", False, [])
        assert (started["period_from"], started["period_to"], started["venue"]) == tuple(ASKED.values())
        assert started["handle"] in started["summary"]
        done = await ask(client, handle=started["handle"], wait_s=25)
        again = await ask(client, handle=started["handle"])
    assert (done["status"], done["final"], done["progress"]) == ("finished", True, "1")
    assert done == again
    first = done["runs"][0]
    assert [run["run"] for run in done["runs"]] == ["portfolio", "single_pair", "btc_static", "equal_weight"]
    assert (first["sharpe"], first["sharpe_low"], first["sharpe_high"]) == ("2.1", "1.1", "3.2")
    assert (first["apr"], first["utilisation_paying"], first["costs_usd"]) == ("0.1235", None, "1234")
    assert done["runs"][2]["sharpe"] is done["runs"][2]["sharpe_low"] is None
    assert done["ratios"] == {"portfolio_to_single_pair": "1.4", "portfolio_to_btc_static": None}
    assert done["ablation"][0]["sharpe_change"] == "-0.25"
    assert done["doubts"] == ["Coins that were delisted are missing."]
    assert "static BTC not defined; 0 liquidations" in done["summary"]


async def test_the_figures_come_as_a_table_for_people_too() -> None:
    async with little_jobs("answers") as jobs, in_memory(SampleDesk(), "auto", jobs=jobs) as client:
        handle = (await ask(client))["handle"]
        result = await client.call_tool("backtest_policy", {"handle": handle, "wait_s": 25})
    text = result.content[0]
    assert isinstance(text, TextContent)
    lines = [line.split() for line in text.text.splitlines()]
    assert ["portfolio", "2.1", "1.1..3.2", "0.1235", "0.021", "2.5", "-", "0", "8.25", "1234"] in lines
    assert ["no_band", "2.1", "-0.25", "0.1235", "0.021"] in lines
    assert "- Coins that were delisted are missing." in text.text


async def test_the_child_has_the_lowest_priority_its_own_session_no_secret_and_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CARRYDESK_BYBIT_SECRET", "very secret")
    monkeypatch.setenv("CARRYDESK_HOME", "/nowhere")
    async with little_jobs("answers") as jobs, in_memory(SampleDesk(), "auto", jobs=jobs) as client:
        handle = (await ask(client, **ASKED))["handle"]
        report = (await ask(client, handle=handle, wait_s=25))["report"]
        facts = json.loads(await anyio.Path(report).read_text())
    assert (facts["nice"], facts["leads"], facts["request"]) == (19, True, list(ASKED.values()))
    assert not [name for name in facts["names"] if name.startswith("CARRYDESK")]
    assert "POLARS_MAX_THREADS" in facts["names"]


async def test_progress_is_the_childs_word_and_never_goes_back() -> None:
    async with little_jobs("waits") as jobs, in_memory(SampleDesk(), "auto", jobs=jobs) as client:
        handle = (await ask(client))["handle"]
        pid = await waiting(jobs, handle)
        found = await ask(client, handle=handle)
    assert (found["progress"], found["stage"], found["status"]) == ("0.5", f"pid {pid}", "running")
    assert "50 %" in found["summary"]


async def test_a_second_one_is_refused_with_what_to_do() -> None:
    async with little_jobs("waits") as jobs, in_memory(SampleDesk(), "auto", jobs=jobs) as client:
        handle = (await ask(client))["handle"]
        error = refusal_of(await client.call_tool("backtest_policy", ASKED))
        assert error["code"] == "refused"
        assert f"handle {handle}" in error["next"]
        assert "cancel true" in error["next"]
        await ask(client, handle=handle, cancel=True)
        assert (await ask(client, **ASKED))["handle"] != handle


async def test_a_cancelled_one_is_dead_when_the_answer_comes() -> None:
    async with little_jobs("waits") as jobs, in_memory(SampleDesk(), "auto", jobs=jobs) as client:
        handle = (await ask(client))["handle"]
        pid = await waiting(jobs, handle)
        found = await ask(client, handle=handle, cancel=True)
        assert identify(pid) is None
        again = await ask(client, handle=handle, cancel=True)
    assert found["status"] == again["status"] == "cancelled"


async def test_one_that_is_cancelled_before_its_child_exists_ends_too() -> None:
    async with little_jobs("waits") as jobs:
        job = await jobs.start("agent", BacktestRequest(None, None, None))
        assert (await jobs.cancel(job.handle, "agent")).status is BacktestStatus.CANCELLED


async def test_only_the_token_that_started_it_may_cancel_it_and_any_may_look() -> None:
    tokens = {"cda_all": Principal("agent", ALL_SCOPES), "cda_b": Principal("b", ("read", "simulate"))}
    desk = SampleDesk(tokens=tokens)
    async with little_jobs("waits") as jobs:
        async with in_memory(desk, "auto", jobs=jobs) as client:
            handle = (await ask(client))["handle"]
        async with in_memory(desk, "auto", token="cda_b", jobs=jobs) as other:
            assert (await ask(other, handle=handle))["status"] == "running"
            refused = await other.call_tool("backtest_policy", {"handle": handle, "cancel": True})
            assert refusal_of(refused)["code"] == "access_denied"


async def test_an_unknown_handle_is_named_as_such_with_those_that_exist() -> None:
    async with in_memory(SampleDesk(), "auto") as client:
        error = refusal_of(await client.call_tool("backtest_policy", {"handle": "bt0"}))
        assert (error["code"], error["field"]) == ("unknown_name", "handle")
        assert "no backtest was started" in error["allowed"]
        handle = (await ask(client))["handle"]
        error = refusal_of(await client.call_tool("backtest_policy", {"handle": "bt0"}))
        assert error["allowed"] == handle


@pytest.mark.parametrize(
    ("mode", "code", "words"),
    [
        ("dies", "internal", "ended by signal 9"),
        ("mumbles", "internal", "without an answer"),
        ("forgets", "internal", "cannot be read at single_pair"),
        ("floods", "internal", "wrote more than"),
        ("refuses", "bad_input", "The data ends on 2025-06-30."),
    ],
)
async def test_a_child_that_fails_is_an_answer_and_the_next_one_may_start(
    mode: str, code: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with little_jobs(mode, "answers") as jobs, in_memory(SampleDesk(), "auto", jobs=jobs) as client:
        handle = (await ask(client))["handle"]
        found = await ask(client, handle=handle, wait_s=25)
        assert (found["status"], found["final"], found["runs"]) == ("failed", True, [])
        assert (found["failure"]["code"], found["report"]) == (code, None)
        assert words in found["summary"]
        next_one = (await ask(client))["handle"]
        assert (await ask(client, handle=next_one, wait_s=25))["status"] == "finished"
    assert "a line for people" in caplog.text


async def test_a_refusal_of_the_backtest_keeps_its_field_and_what_is_allowed() -> None:
    async with little_jobs("refuses") as jobs, in_memory(SampleDesk(), "auto", jobs=jobs) as client:
        failure = (await ask(client, handle=(await ask(client))["handle"], wait_s=25))["failure"]
    assert (failure["field"], failure["allowed"]) == ("to", "2021-01-01 to 2025-06-30")
    assert failure["next"] == "Choose a day inside."


async def test_a_command_that_does_not_exist_is_a_failure() -> None:
    async with little_jobs("answers") as jobs, in_memory(SampleDesk(), "auto", jobs=jobs) as client:
        jobs._command = lambda request, report: ["/nowhere/python"]
        found = await ask(client, handle=(await ask(client))["handle"], wait_s=25)
    assert (found["status"], found["failure"]["code"]) == ("failed", "internal")


async def test_one_that_takes_too_long_is_ended() -> None:
    async with (
        little_jobs("waits", seconds_max=0) as jobs,
        in_memory(SampleDesk(), "auto", jobs=jobs) as client,
    ):
        found = await ask(client, handle=(await ask(client))["handle"], wait_s=25)
    assert found["status"] == "timed_out"
    assert "shorter period" in found["next"]


async def test_only_the_last_few_are_remembered_and_their_reports_kept() -> None:
    async with little_jobs("answers") as jobs:
        jobs._folder.mkdir()
        earlier = anyio.Path(jobs._folder / "bt0123456789ab.html")
        await earlier.write_text("of a front before this one")
        found = []
        for _ in range(KEPT_MAX + 2):
            job = await jobs.start("agent", BacktestRequest(None, None, None))
            found.append(await jobs.look(job.handle, 30))
        kept = [await anyio.Path(str(job.report)).exists() for job in found]
        assert kept == [False] + [True] * (KEPT_MAX + 1)
        assert not await earlier.exists()
        with pytest.raises(UnknownNameError):
            await jobs.look(found[0].handle)


async def test_the_front_answers_others_while_one_runs_and_its_end_kills_the_child(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    async with agent_door(path, SampleDesk(), mode="waits"), wire(path) as client:
        await client.open("auto")
        call: dict[str, Any] = {"name": "backtest_policy", "arguments": ASKED, "_meta": MODERN}
        handle = (await client.ask("tools/call", call))["result"]["structuredContent"]["handle"]
        stage = ""
        with anyio.fail_after(30):
            while not stage.startswith("pid "):
                call["arguments"] = {"handle": handle, "wait_s": 1}
                answer = await client.ask("tools/call", call)
                stage = answer["result"]["structuredContent"]["stage"]
        call = {"name": "get_portfolio", "arguments": {}, "_meta": MODERN}
        assert (await client.ask("tools/call", call))["result"]["structuredContent"]["account"]
        pid = int(stage.removeprefix("pid "))
        assert identify(pid) is not None
    assert identify(pid) is None


def test_a_child_ends_when_the_front_is_gone_without_a_word(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-P", LITTLE, "waits", tmp_path / "r"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stderr is not None
    for line in child.stderr:
        if b"pid" in line and b"nice" not in line:
            break
    child.stdin.close()  # as the system does when the front is killed
    assert child.wait(30) == -9
    child.stderr.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"from": "2023-01-01", "to": "2023-01-31"}, "must span 60 to 3660 days; they span 30"),
        ({"from": "2023-12-31", "to": "2023-01-01"}, "must span"),
        ({"from": "2015-01-01", "to": "2030-01-01"}, "must span"),
        ({"from": "1999-01-01"}, "from: send a day from 2015-01-01"),
        ({"from": "2023-02-30"}, "from"),
        ({"to": 1672531200}, "send a day such as '2023-01-01'"),
        ({"venue": "kraken"}, "venue"),
        ({"handle": "bt1", "from": "2023-01-01"}, "not both"),
        ({"handle": "../etc"}, "handle"),
        ({"cancel": True}, "cancel needs the handle"),
        ({"wait_s": 26}, "wait_s"),
        ({"first": "2023-01-01"}, "unknown argument first"),
        ({"data": "/etc"}, "unknown argument data"),
    ],
)
async def test_a_bad_request_is_refused_before_anything_starts(arguments: dict[str, Any], words: str) -> None:
    async with little_jobs("waits") as jobs, in_memory(SampleDesk(), "auto", jobs=jobs) as client:
        error = refusal_of(await client.call_tool("backtest_policy", arguments))
        assert error["code"] == "bad_input"
        assert words in error["message"]
        assert not jobs._records


async def test_an_unknown_argument_is_answered_with_the_names_that_exist() -> None:
    async with in_memory(SampleDesk(), "auto") as client:
        error = refusal_of(await client.call_tool("backtest_policy", {"start": "2023-01-01"}))
    assert error["allowed"] == "from, to, venue, handle, cancel, wait_s"


@pytest.mark.parametrize("scopes", [("read",), ("simulate",)])
async def test_it_needs_the_scopes_to_read_and_to_simulate(scopes: tuple[str, ...]) -> None:
    desk = SampleDesk(tokens={"cda_p": Principal("p", scopes)})
    async with little_jobs("waits") as jobs, in_memory(desk, "auto", token="cda_p", jobs=jobs) as client:
        assert refusal_of(await client.call_tool("backtest_policy", {}))["code"] == "access_denied"
        assert not jobs._records


def test_the_childs_command_names_what_was_asked_and_nothing_else() -> None:
    command = child_command(BacktestRequest(None, None, "okx"), Path("/r.html"))
    assert command[-5:] == ["run-backtest", "--venue", "okx", "--report", "/r.html"]
    assert os.path.basename(command[0]).startswith("python")


def test_the_childs_command_is_one_of_ours_with_all_its_options() -> None:
    day = date(2024, 1, 1)
    command = child_command(BacktestRequest(day, day, "okx"), Path("/r.html"))
    shown = CliRunner().invoke(app, [*command[command.index("run-backtest") :], "--help"])
    assert shown.exit_code == 0, shown.output


def test_the_child_runs_the_code_of_the_command_and_says_its_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "r.html"
    assert backtest_child("okx", "2024-01-01", "2024-01-21", report) == 0
    out, err = capsys.readouterr()
    answer = read_answer(json.loads(out.splitlines()[-1]))
    assert answer.portfolio.liquidations == 0
    assert "band_off" in answer.ablation
    shares = [json.loads(line)["progress"] for line in err.splitlines()]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert report.read_text().startswith("<!doctype html>")


def test_a_period_without_history_is_a_refusal_with_its_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backtest_child("okx", "2019-01-01", "2019-12-31", tmp_path / "r.html") == 1
    error = json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
    assert (error["code"], error["field"]) == ("bad_input", "from")
    assert not (tmp_path / "r.html").exists()
