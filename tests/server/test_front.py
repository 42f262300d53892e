import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import MCPError
from mcp_types import TextContent, TextResourceContents

from portfolio.core.errors import AccessError
from portfolio.service import Principal
from server.agent_lines import LINE_BYTES_MAX
from server.callers import current
from server.throttle import BURST, CALLS_PER_SECOND, IN_FLIGHT_MAX
from tests.server.front_client import (
    ERAS,
    MODERN,
    FixedClock,
    agent_door,
    in_memory,
    refusal_of,
    wire,
)
from tests.tools.sample_desk import SampleDesk, snapshot
from tools.registry import TOOLS

DEEP = b"[" * 100_000 + b"]" * 100_000
LONG = b"x" * LINE_BYTES_MAX
pytestmark = pytest.mark.anyio
SNAPSHOTS = Path(__file__).parents[1] / "tools" / "snapshots"
CALLS: dict[str, dict[str, Any]] = {
    "get_portfolio": {"detail": "full"},
    "get_market_scores": {"limit": 2},
    "simulate_margin": {"targets": [{"pair": "SOL@bybit", "notional_usd": "30000"}]},
    "propose_rebalance": {
        "kind": "changes",
        "targets": [{"pair": "SOL@bybit", "notional_usd": 30000.5}],
        "reason": "funding is high",
    },
    "execute_intent": {"intent_id": "i7f3a", "digest": "ef" * 32},
    "get_intent": {"intent_id": "i7f3a"},
    "cancel_intent": {"intent_id": "i7f3a", "reason": "no more"},
    "backtest_policy": {"from": "2023-01-01", "to": "2023-12-31", "venue": "binance"},
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("era", ERAS)
async def test_the_tools_are_offered_in_a_fixed_order_with_all_four_hints(era: str) -> None:
    async with in_memory(SampleDesk(), era) as client:
        tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == list(CALLS)
    for tool in tools:
        assert tool.description
        assert tool.output_schema is not None
        assert tool.input_schema["additionalProperties"] is False
        hints = tool.annotations
        assert hints is not None
        assert None not in (
            hints.read_only_hint,
            hints.destructive_hint,
            hints.idempotent_hint,
            hints.open_world_hint,
        )


@pytest.mark.parametrize("name", CALLS)
async def test_a_tools_schema_changes_only_on_purpose(name: str) -> None:
    async with in_memory(SampleDesk(), "auto") as client:
        tool = next(t for t in (await client.list_tools()).tools if t.name == name)
    found = json.dumps(tool.model_dump(mode="json", by_alias=True, exclude_none=True), indent=1) + "\n"
    path = anyio.Path(SNAPSHOTS / f"{name}.json")
    assert await path.exists(), f"write the new snapshot to {path}:\n{found}"
    assert found == await path.read_text(), "if this is meant, delete the snapshot and run again"


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("name", CALLS)
async def test_every_tool_answers_in_both_generations_with_the_common_part(era: str, name: str) -> None:
    async with in_memory(SampleDesk(), era) as client:
        result = await client.call_tool(name, CALLS[name])
    assert not result.is_error, result.content
    found = result.structured_content
    assert found is not None
    for key in ("summary", "mode", "account", "as_of", "data_age_s", "warnings", "next"):
        assert key in found
    data = result.content[-1]
    assert isinstance(data, TextContent)
    assert json.loads(data.text) == found
    # What a person reads comes first, where a tool has such a text.
    assert len(result.content) == (2 if name in ("simulate_margin", "backtest_policy") else 1)


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_argument_is_refused_and_named(era: str) -> None:
    async with in_memory(SampleDesk(), era) as client:
        result = await client.call_tool("get_portfolio", {"detial": "full"})
    error = refusal_of(result)
    assert (error["code"], error["field"]) == ("bad_input", "detial")
    assert error["allowed"] == "detail, pnl_window"


async def test_a_bad_nested_argument_names_its_path_and_is_not_repeated() -> None:
    bad = {"targets": [{"pair": "SOL@bybit", "notional_usd": "sk-secret"}]}
    async with in_memory(SampleDesk(), "auto") as client:
        result = await client.call_tool("simulate_margin", bad)
    error = refusal_of(result)
    assert error["field"] == "targets.0.notional_usd"


async def test_lists_sent_as_json_texts_are_taken_as_meant() -> None:
    targets = json.dumps([{"pair": "SOL@bybit", "notional_usd": 30000}])
    async with in_memory(SampleDesk(), "auto") as client:
        result = await client.call_tool("simulate_margin", {"targets": targets})
    assert not result.is_error


@pytest.mark.parametrize("era", ERAS)
async def test_refusals_of_the_desk_are_errors_with_what_to_do_next(era: str) -> None:
    async with in_memory(SampleDesk(), era, token="cda_reader") as client:
        result = await client.call_tool("cancel_intent", {"intent_id": "i7f3a", "reason": "x"})
    assert refusal_of(result)["code"] == "access_denied"
    async with in_memory(SampleDesk(), era) as client:
        result = await client.call_tool("cancel_intent", {"intent_id": "nope", "reason": "x"})
    error = refusal_of(result)
    assert (error["code"], error["next"]) == ("unknown_name", "Call get_portfolio.")


async def test_a_crash_says_nothing_of_its_cause() -> None:
    book = snapshot()
    broken = replace(book, pairs=book.pairs * 2, legs={})
    desk = SampleDesk(book=replace(broken, intents=(None,)))  # type: ignore[arg-type]
    async with in_memory(desk, "auto") as client:
        result = await client.call_tool("get_portfolio", {})
    error = refusal_of(result)
    assert error["code"] == "internal"
    assert "NoneType" not in json.dumps(error)


async def test_a_revoked_token_opens_nothing_at_once() -> None:
    desk = SampleDesk()
    async with in_memory(desk, "auto") as client:
        assert not (await client.call_tool("get_portfolio", {})).is_error
        del desk.tokens["cda_all"]
        assert refusal_of(await client.call_tool("get_portfolio", {}))["code"] == "access_denied"


async def test_one_token_cannot_flood_and_gets_its_rate_back_with_time() -> None:
    clock = FixedClock()
    async with in_memory(SampleDesk(), "auto", clock=clock) as client:
        call = ("get_intent", {"intent_id": "i7f3a"})
        for _ in range(BURST):
            assert not (await client.call_tool(*call)).is_error
        error = refusal_of(await client.call_tool(*call))
        assert (error["code"], "Too many calls" in error["message"]) == ("refused", True)
        clock.now_ns += 1_000_000_000
        for _ in range(CALLS_PER_SECOND):
            assert not (await client.call_tool(*call)).is_error
        assert (await client.call_tool(*call)).is_error


async def test_only_so_many_calls_of_a_token_run_at_the_same_time() -> None:
    desk = SampleDesk(gate=anyio.Event())
    answers: list[bool] = []

    async with in_memory(desk, "auto") as client, anyio.create_task_group() as tasks:

        async def ask() -> None:
            answers.append((await client.call_tool("get_intent", {"intent_id": "i7f3a"})).is_error)

        for _ in range(IN_FLIGHT_MAX + 3):
            tasks.start_soon(ask)
        while len(answers) < 3:
            await anyio.lowlevel.checkpoint()
        assert answers == [True, True, True]
        assert desk.gate is not None
        desk.gate.set()
    assert answers.count(False) == IN_FLIGHT_MAX


@pytest.mark.parametrize("era", ERAS)
async def test_the_portfolio_and_the_limits_are_resources(era: str) -> None:
    async with in_memory(SampleDesk(), era) as client:
        uris = {str(resource.uri) for resource in (await client.list_resources()).resources}
        assert uris == {"carrydesk://portfolio", "carrydesk://limits"}
        book = (await client.read_resource("carrydesk://portfolio")).contents[0]
        limits = (await client.read_resource("carrydesk://limits")).contents[0]
    assert isinstance(book, TextResourceContents)
    assert json.loads(book.text)["pairs"][2]["pair"] == "SOL@bybit"
    assert isinstance(limits, TextResourceContents)
    assert json.loads(limits.text)["book"]["health_min"] == "0.84"


async def test_a_resource_needs_the_same_scope_as_its_tool() -> None:
    desk = SampleDesk(tokens={"cda_p": Principal("p", ("propose",))})
    async with in_memory(desk, "auto", token="cda_p") as client:
        with pytest.raises(MCPError, match="access_denied"):
            await client.read_resource("carrydesk://portfolio")


@pytest.mark.parametrize("era", ERAS)
async def test_the_prompts_come_from_markdown(era: str) -> None:
    async with in_memory(SampleDesk(), era) as client:
        prompts = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
        assert set(prompts) == {"daily_review", "rebalance_review"}
        assert all(prompt.description for prompt in prompts.values())
        text = (await client.get_prompt("rebalance_review", {"goal": "less SOL"})).messages[0].content
    assert isinstance(text, TextContent)
    assert 'The user\'s words: "less SOL"' in text.text


async def test_the_server_says_its_name_version_and_rules() -> None:
    async with in_memory(SampleDesk(), "legacy") as client:
        assert client.server_info is not None
        assert client.server_info.name == "carrydesk"
        assert client.server_info.version == version("carrydesk")
        assert client.instructions is not None
        assert "get_portfolio first" in client.instructions


@pytest.mark.parametrize("era", ERAS)
async def test_over_the_socket_a_token_opens_both_generations(tmp_path: Path, era: str) -> None:
    path = tmp_path / "a.sock"
    async with agent_door(path, SampleDesk()), wire(path) as client:
        opened = await client.open(era)
        assert "result" in opened, opened
        params: dict[str, Any] = {"name": "get_portfolio", "arguments": {}}
        if era == "auto":
            params["_meta"] = MODERN
        answer = await client.ask("tools/call", params)
        assert answer["result"]["structuredContent"]["account"] == "bybit:main"
        assert (await anyio.Path(path).stat()).st_mode & 0o777 == 0o660


@pytest.mark.parametrize("first", ["cda_forged", '{"carrydesk": "operator"}', "", "x" * 5000])
async def test_without_a_valid_token_first_nothing_is_served(tmp_path: Path, first: str) -> None:
    path = tmp_path / "a.sock"
    async with agent_door(path, SampleDesk()), wire(path, first) as client:
        answer = await client.receive()
        assert answer["error"]["code"] == -32001
        assert json.loads(answer["error"]["message"])["code"] == "access_denied"
        with pytest.raises((anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError)):
            await client.receive()


async def test_two_agents_on_two_tokens_do_not_share_rights(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    call = {"name": "cancel_intent", "arguments": {"intent_id": "i7f3a", "reason": "x"}, "_meta": MODERN}
    async with agent_door(path, SampleDesk()), wire(path) as one, wire(path, "cda_reader") as other:
        await one.open("auto")
        await other.open("auto")
        assert (
            "isError" not in (await one.ask("tools/call", call))["result"]
            or not (await one.ask("tools/call", call))["result"]["isError"]
        )
        assert (await other.ask("tools/call", call))["result"]["isError"]


@pytest.mark.parametrize(
    ("line", "number", "code", "why"),
    [
        (b'{"jsonrpc":"2.0","id":5,"method":', 5, -32700, "EOF while parsing"),
        (b"\xff\x00 not json", None, -32700, "cannot be read as JSON"),
        (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":{"a":"\\ud800"}}', 5, -32700, "hex escape"),
        (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":{"a":1%b}}' % (b"0" * 5000), 5, -32700, "range"),
        (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":%b}' % DEEP, 5, -32700, "recursion limit"),
        (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":"%b"}' % LONG, 5, -32600, "longer than"),
        (b'{"method":"ping","params":"%b","jsonrpc":"2.0","id":5}' % LONG, 5, -32600, "longer than"),
        (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":["sk-secret"]}', 5, -32600, "params: Input"),
        (b'{"id":"a","method":"ping"}', "a", -32600, "jsonrpc: Field required"),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', None, -32600, "id: Input"),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', None, -32600, "id: Input"),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', None, -32600, "id: Input"),
        (b'{"jsonrpc":"2.0","id":7,"result":3}', None, -32600, "Field required"),
        (b"[]", None, -32600, "Input should be an object"),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.parametrize("era", ERAS)
async def test_a_line_that_is_no_request_is_answered_once_and_the_connection_goes_on(
    tmp_path: Path, era: str, line: bytes, number: int | str | None, code: int, why: str
) -> None:
    path = tmp_path / "a.sock"
    async with agent_door(path, SampleDesk()), wire(path) as client:
        await client.stream.send(line + b"\n")  # before the generation is known, and after
        early = await client.receive()
        assert "result" in await client.open(era)
        await client.stream.send(line + b"\n")
        late = await client.receive()
        assert early == late
        assert (late["id"], late["error"]["code"]) == (number, code)
        said = json.loads(late["error"]["message"])
        assert why in said["message"]
        assert "secret" not in said["message"]
        await client.send({"id": 99, "method": "tools/list", "params": {"_meta": MODERN}})
        assert (await client.receive())["id"] == 99


async def test_a_notification_with_an_empty_id_is_still_a_notification(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    async with agent_door(path, SampleDesk()), wire(path) as client:
        await client.open("legacy")
        await client.stream.send(b'\n{"jsonrpc":"2.0","id":null,"method":"notifications/initialized"}\n')
        assert "result" in await client.ask("ping", {})
        await client.send({"id": 9, "method": "ping"})
        assert (await client.receive())["id"] == 9


async def test_rubbish_on_one_connection_leaves_the_others_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    async with agent_door(path, SampleDesk()), wire(path) as bad, wire(path) as good:
        await bad.stream.send(b"\xff\x00 not json\n" * 100)
        await good.open("auto")
        call = {"name": "get_portfolio", "arguments": {}, "_meta": MODERN}
        assert "result" in await good.ask("tools/call", call)


def test_without_a_connection_there_is_no_caller() -> None:
    with pytest.raises(AccessError):
        current()


def test_a_front_that_runs_no_backtests_has_the_same_other_tools_first() -> None:
    assert [tool.name for tool in TOOLS] == list(CALLS)[:-1]
