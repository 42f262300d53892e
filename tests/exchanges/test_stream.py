"""One websocket that is kept open: it reconnects, notices silence, and tells every loss."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from websockets.asyncio.server import ServerConnection, serve

from exchanges.fields import Row
from exchanges.stream import Connection, StreamOptions, keep_open
from portfolio.core.errors import Effect, VenueError

pytestmark = pytest.mark.anyio
FAST = StreamOptions(
    ping_every_s=0.05,
    answer_within_s=0.05,
    connect_within_s=2.0,
    greet_within_s=0.2,
    pause_first_s=0.01,
    pause_max_s=0.02,
)
Behaviour = Callable[[ServerConnection], Awaitable[None]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Recorder:
    """Greets by waiting for one frame; keeps what it took and every loss."""

    def __init__(self) -> None:
        self.taken: list[Row] = []
        self.losses: list[str] = []
        self.connection: Connection | None = None
        self._changed = anyio.Event()

    async def greet(self, connection: Connection) -> None:
        await connection.send({"op": "hello"})
        await connection.receive()
        self.connection = connection

    def take(self, frame: Row) -> None:
        if frame.get("bad"):
            raise VenueError("unreadable", effect=Effect.UNKNOWN)
        self.taken.append(frame)
        self._wake()

    def lost(self, reason: str) -> None:
        self.losses.append(reason)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def until(self, done: Callable[[], bool]) -> None:
        with anyio.fail_after(10):
            while not done():
                await self._changed.wait()


@asynccontextmanager
async def kept(behave: Behaviour) -> AsyncIterator[Recorder]:
    async def handler(raw: ServerConnection) -> None:
        await raw.recv()
        await behave(raw)

    recorder = Recorder()
    async with serve(handler, "127.0.0.1", 0, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with anyio.create_task_group() as tasks:

            async def keep() -> None:
                await keep_open(f"ws://127.0.0.1:{port}", recorder, what="test", options=FAST)

            tasks.start_soon(keep)
            yield recorder
            tasks.cancel_scope.cancel()


async def welcome(raw: ServerConnection) -> None:
    await raw.send(json.dumps({"op": "welcome"}))


async def test_a_cut_connection_is_told_and_opened_again() -> None:
    async def behave(raw: ServerConnection) -> None:
        await welcome(raw)
        await raw.send(json.dumps({"n": 1}))
        await raw.close(1012)

    async with kept(behave) as recorder:
        await recorder.until(lambda: len(recorder.taken) >= 2 and len(recorder.losses) >= 2)
        assert recorder.taken[:2] == [{"n": 1}, {"n": 1}]
        assert "1012" in recorder.losses[0]


async def test_a_connection_that_stays_silent_after_a_ping_is_given_up() -> None:
    async def behave(raw: ServerConnection) -> None:
        await welcome(raw)
        await raw.wait_closed()

    async with kept(behave) as recorder:
        await recorder.until(lambda: len(recorder.losses) >= 1)


async def test_a_connection_that_answers_pings_stays() -> None:
    async def behave(raw: ServerConnection) -> None:
        await welcome(raw)
        async for _ in raw:
            await raw.send(json.dumps({"op": "pong"}))

    async with kept(behave) as recorder:
        await recorder.until(lambda: len(recorder.taken) >= 4)
        assert recorder.losses == []


async def test_a_greeting_without_an_answer_is_a_loss() -> None:
    async def behave(raw: ServerConnection) -> None:
        await raw.wait_closed()

    async with kept(behave) as recorder:
        await recorder.until(lambda: len(recorder.losses) >= 1)
        assert "greeting" in recorder.losses[0]


@pytest.mark.parametrize("text", ['{"bad": true}', "no json", "[]"])
async def test_a_frame_that_cannot_be_read_drops_the_connection(text: str) -> None:
    async def behave(raw: ServerConnection) -> None:
        await welcome(raw)
        await raw.send(text)
        await raw.wait_closed()

    async with kept(behave) as recorder:
        await recorder.until(lambda: len(recorder.losses) >= 1)


async def test_a_frame_for_a_closed_connection_is_certainly_not_sent() -> None:
    async def behave(raw: ServerConnection) -> None:
        await welcome(raw)
        await raw.close()

    async with kept(behave) as recorder:
        await recorder.until(lambda: len(recorder.losses) >= 1)
        assert recorder.connection is not None
        dead = recorder.connection
        while dead.is_open:
            await recorder.until(lambda: len(recorder.losses) >= 2)
            dead = recorder.connection
        with pytest.raises(VenueError) as caught:
            await dead.send({"op": "order.create"})
        assert caught.value.effect is Effect.NOT_SENT


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    recorder = Recorder()
    async with anyio.create_task_group() as tasks:

        async def keep() -> None:
            await keep_open("ws://127.0.0.1:9", recorder, what="test", options=FAST)

        tasks.start_soon(keep)
        await recorder.until(lambda: len(recorder.losses) >= 3)
        tasks.cancel_scope.cancel()
