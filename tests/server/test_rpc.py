import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest

from portfolio.core.errors import AccessError, ConflictError, Effect, InputError, UnknownNameError, VenueError
from portfolio.core.names import InstrumentId, IntentId, PairId
from portfolio.service import ProposalRequest, WantedTarget
from server.clients import DESK_DOOR, DESK_METHODS, OPERATOR_DOOR, OPERATOR_METHODS, DeskClient
from server.rpc_client import open_link
from server.rpc_server import RpcLimits, RpcServer
from server.rpc_wire import (
    InternalError,
    OutcomeUnknownError,
    UnreachableError,
    error_data,
    error_from,
    line_of,
    message_of,
)
from tests.tools.sample_desk import D, SampleDesk, settled, snapshot

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def serving(path: Path, desk: SampleDesk, limits: RpcLimits | None = None) -> AsyncIterator[None]:
    server = RpcServer(
        door=DESK_DOOR,
        service=desk,
        methods=DESK_METHODS,
        authenticator=desk,
        heavy=frozenset({"read"}),
        limits=limits,
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(server.serve, path)
        yield
        await anyio.wait_all_tasks_blocked()  # the server has seen its clients leave
        tasks.cancel_scope.cancel()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "d.sock"


def request(pair: str = "SOL@bybit") -> ProposalRequest:
    return ProposalRequest(
        "changes", (WantedTarget(PairId(pair), D("30000.50")),), "why", None, 30, False, D("0.9")
    )


async def test_every_method_of_the_desk_comes_back_equal(path: Path) -> None:
    desk = SampleDesk()
    async with serving(path, desk), open_link(path, DESK_DOOR) as link:
        client = DeskClient(link, "cda_all")
        who = await client.authenticate("cda_all")
        assert who == await desk.authenticate("cda_all")
        assert await client.read(who) == snapshot()
        rows = await client.settlements(who, InstrumentId("bybit:linear:SOLUSDT"), 0)
        assert rows == settled("SOL")
        proposal = await client.propose(who, request())
        assert desk.proposals == [request()]
        assert proposal == await desk.propose(who, request())
        assert proposal.row is not None
        digest = proposal.row.intent.digest
        assert (await client.request_execution(who, IntentId("i7f3a"), digest)).intent.digest == digest
        assert (await client.intent(who, None, "r1", 0)).fees_usd == D("3.25")
        assert (await client.cancel(who, IntentId("i7f3a"), "no more")).note == "no more"


async def test_the_token_decides_not_the_principal_that_the_client_claims(path: Path) -> None:
    desk = SampleDesk()
    async with serving(path, desk), open_link(path, DESK_DOOR) as link:
        claimed = await desk.authenticate("cda_all")
        with pytest.raises(AccessError, match="propose"):
            await DeskClient(link, "cda_reader").propose(claimed, request())
        with pytest.raises(AccessError, match="opens nothing"):
            await DeskClient(link, "cda_forged").read(claimed)
        with pytest.raises(AccessError, match="A token is needed"):
            await link.call(DESK_METHODS["read"], {})
        assert desk.proposals == []


async def test_errors_keep_their_class_and_what_to_do_next(path: Path) -> None:
    async with serving(path, SampleDesk()), open_link(path, DESK_DOOR) as link:
        client = DeskClient(link, "cda_all")
        who = await client.authenticate("cda_all")
        with pytest.raises(UnknownNameError) as unknown:
            await client.cancel(who, IntentId("nope"), "x")
        assert (unknown.value.field, unknown.value.next_step) == ("intent_id", "Call get_portfolio.")
        with pytest.raises(ConflictError):
            await client.request_execution(who, IntentId("i7f3a"), "00")


def test_a_venue_error_keeps_whether_it_may_have_happened() -> None:
    back = error_from(error_data(VenueError("late", effect=Effect.UNKNOWN, venue_code="10016")))
    assert isinstance(back, VenueError)
    assert (back.effect, back.venue_code, back.message) == (Effect.UNKNOWN, "10016", "late")
    assert isinstance(error_from({"code": "from the future", "message": "m"}), InternalError)


async def test_a_crash_of_one_call_says_nothing_secret_and_the_next_call_works(path: Path) -> None:
    class Broken(SampleDesk):
        async def cancel(self, principal: object, intent_id: object, reason: str) -> object:  # type: ignore[override]
            raise KeyError("the secret")

    async with serving(path, Broken()), open_link(path, DESK_DOOR) as link:
        client = DeskClient(link, "cda_all")
        who = await client.authenticate("cda_all")
        with pytest.raises(InternalError) as caught:
            await client.cancel(who, IntentId("i7f3a"), "x")
        assert "secret" not in str(caught.value)
        assert await client.read(who) == snapshot()


async def test_one_socket_does_not_work_in_place_of_another(path: Path) -> None:
    async with serving(path, SampleDesk()):
        async with open_link(path, OPERATOR_DOOR) as link:
            with pytest.raises(AccessError, match="This is the desk socket"):
                await link.call(OPERATOR_METHODS["status"], {})
        stream = await anyio.connect_unix(path)
        async with stream:
            await stream.send(b"cda_all\n")
            answer = message_of(await stream.receive())
        assert answer["error"]["code"] == "access_denied"


async def test_a_method_that_the_door_does_not_have_or_wrong_arguments_are_refused(path: Path) -> None:
    async with serving(path, SampleDesk()), open_link(path, DESK_DOOR) as link:
        with pytest.raises(InputError, match="no method 'halt'"):
            await link.call(OPERATOR_METHODS["halt"], {"note": "x"}, "cda_all")
        with pytest.raises(InputError, match="the arguments are token"):
            await link.call(DESK_METHODS["authenticate"], {})


async def test_a_link_without_a_desk_says_that_nothing_was_sent_and_works_once_there_is_one(
    path: Path,
) -> None:
    async with open_link(path, DESK_DOOR) as link:
        client = DeskClient(link, "cda_all")
        with pytest.raises(UnreachableError, match="carrydesk serve"):
            await client.authenticate("cda_all")
        async with serving(path, SampleDesk()):
            assert (await client.authenticate("cda_all")).name == "agent"


async def test_a_desk_that_dies_with_a_call_in_flight_leaves_its_outcome_unknown(path: Path) -> None:
    desk = SampleDesk(gate=anyio.Event())
    async with open_link(path, DESK_DOOR) as link:
        client = DeskClient(link, "cda_all")

        async def ask() -> None:
            who = await client.authenticate("cda_all")
            with pytest.raises(OutcomeUnknownError):
                await client.intent(who, IntentId("i7f3a"), None, 0)

        async with anyio.create_task_group() as tasks, serving(path, desk):
            tasks.start_soon(ask)
            while "read" not in desk.calls:
                await anyio.lowlevel.checkpoint()
        async with serving(path, SampleDesk()):
            assert (await client.authenticate("cda_all")).name == "agent"


async def test_a_call_that_takes_too_long_is_answered_as_unknown(path: Path) -> None:
    desk = SampleDesk(gate=anyio.Event())
    async with serving(path, desk, RpcLimits(call_seconds_max=0.01)), open_link(path, DESK_DOOR) as link:
        client = DeskClient(link, "cda_all")
        who = await client.authenticate("cda_all")
        with pytest.raises(OutcomeUnknownError):
            await client.intent(who, IntentId("i7f3a"), None, 0)


async def test_a_client_that_floods_and_never_reads_does_not_hold_up_the_others(path: Path) -> None:
    desk = SampleDesk()
    async with serving(path, desk, RpcLimits(in_flight_max=4)), open_link(path, DESK_DOOR) as link:
        flood = socket.socket(socket.AF_UNIX)
        flood.setblocking(False)
        flood.connect(str(path))
        flood.send(line_of({"carrydesk": DESK_DOOR}))
        one = line_of({"id": 1, "method": "read", "token": "cda_all", "arguments": {}})
        sent = 0
        with suppress(BlockingIOError):
            while sent < 1 << 30:  # the server stops reading when its answers are not taken
                sent += flood.send(one * 10)
                await anyio.lowlevel.checkpoint()
        assert sent < 1 << 30
        client = DeskClient(link, "cda_all")
        who = await client.authenticate("cda_all")
        for _ in range(5):
            assert (await client.read(who)).uid == "100001"
        assert desk.calls.count("read") < sent // len(one)
        flood.close()


async def test_more_connections_than_allowed_are_turned_away(path: Path) -> None:
    async with serving(path, SampleDesk(), RpcLimits(connections_max=1)), open_link(path, DESK_DOOR) as link:
        await DeskClient(link, "cda_all").authenticate("cda_all")
        async with open_link(path, DESK_DOOR) as second:
            with pytest.raises(AccessError, match="Too many connections"):
                await DeskClient(second, "cda_all").authenticate("cda_all")


async def test_a_line_that_is_too_long_or_not_json_ends_the_connection_with_an_error(path: Path) -> None:
    async with serving(path, SampleDesk(), RpcLimits(line_bytes_max=1000)):
        for bad in (b"x" * 2_000 + b"\n", b"not json\n", b"[1]\n"):
            async with await anyio.connect_unix(path) as stream:
                await stream.send(line_of({"carrydesk": DESK_DOOR}))
                assert message_of(await stream.receive()) == {"carrydesk": DESK_DOOR}
                await stream.send(bad)
                assert json.loads(await stream.receive())["error"]["code"] == "bad_input"


async def test_the_socket_is_for_this_user_only(path: Path) -> None:
    async with serving(path, SampleDesk()):
        found = await anyio.Path(path).stat()
        assert found.st_mode & 0o777 == 0o600
