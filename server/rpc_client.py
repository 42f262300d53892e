"""The asking end of a private socket: one connection, many calls at once, dialled again when it broke."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from portfolio.coders import Data, Misfit
from portfolio.core.errors import AccessError, CarrydeskError, InputError
from server.rpc_wire import (
    LINE_BYTES_MAX,
    InternalError,
    Method,
    OutcomeUnknownError,
    UnreachableError,
    error_from,
    line_of,
    message_of,
)

_GONE = (
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    anyio.IncompleteRead,
    OSError,
)


class _Waiting:
    """One call without an answer yet."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.answer: dict[str, Data] | None = None


class RpcLink:
    """Calls over one socket. Made by `open_link`."""

    def __init__(self, path: Path, door: str, tasks: anyio.abc.TaskGroup, seconds_max: float) -> None:
        self._path = path
        self._door = door
        self._tasks = tasks
        self._seconds_max = seconds_max
        self._stream: anyio.abc.SocketStream | None = None
        self._dialling = anyio.Lock()
        self._sending = anyio.Lock()
        self._waiting: dict[int, _Waiting] = {}
        self._number = 0

    async def call(self, method: Method, arguments: Mapping[str, object], token: str | None = None) -> Any:
        """The method's result.

        Raises:
            UnreachableError: nobody listens there; nothing was sent.
            OutcomeUnknownError: no answer came; it may have been carried out.
            CarrydeskError: what the other side raised.
        """
        stream = await self._connected()
        self._number += 1
        number, waiting = self._number, _Waiting()
        request = {"id": number, "method": method.name, "arguments": method.encode_arguments(arguments)}
        self._waiting[number] = waiting
        try:
            with anyio.move_on_after(self._seconds_max):
                await self._send(stream, line_of(request | ({} if token is None else {"token": token})))
                await waiting.done.wait()
        finally:
            self._waiting.pop(number, None)
        if waiting.answer is None:
            raise OutcomeUnknownError(
                "The desk did not answer; what was asked may have been done.",
                next_step="Look at the state (get_intent, get_portfolio) before repeating it.",
            )
        return self._result(method, waiting.answer)

    def _result(self, method: Method, answer: dict[str, Data]) -> Any:
        if "error" in answer:
            raise error_from(answer["error"])
        try:
            return method.result[1](answer.get("result"))
        except Misfit as bad:
            path = ".".join(reversed(bad.path))
            raise InternalError(
                f"The answer to {method.name} does not fit ({path}: {bad.message}).",
                next_step="The processes are of different versions: `carrydesk stop`, then serve.",
            ) from None

    async def _send(self, stream: anyio.abc.SocketStream, line: bytes) -> None:
        with suppress(*_GONE):  # the reader notices and ends every call that waits
            async with self._sending:
                await stream.send(line)

    async def _connected(self) -> anyio.abc.SocketStream:
        async with self._dialling:
            if self._stream is None:
                self._stream = await self._tasks.start(self._run)
            return self._stream

    async def _run(self, *, task_status: anyio.abc.TaskStatus[anyio.abc.SocketStream]) -> None:
        stream, lines = await dial(self._path, self._door)
        async with stream:
            task_status.started(stream)
            with suppress(*_GONE, InputError, anyio.DelimiterNotFound):
                while True:
                    answer = message_of(await lines.receive_until(b"\n", LINE_BYTES_MAX))
                    waiting = self._waiting.get(answer.get("id", 0))
                    if waiting is not None:
                        waiting.answer = answer
                        waiting.done.set()
        self._stream = None
        for waiting in self._waiting.values():
            waiting.done.set()


async def dial(path: Path, door: str) -> tuple[anyio.abc.SocketStream, BufferedByteReceiveStream]:
    """Connect and greet.

    Raises:
        UnreachableError: nobody listens there.
        AccessError: it is another door, or it does not want us.
    """
    next_step = "Start it with `carrydesk serve`; its log is in the home's logs folder."
    try:
        stream = await anyio.connect_unix(path)
    except OSError as error:
        raise UnreachableError(
            f"The desk does not listen at {path} ({error.strerror}).", next_step=next_step
        ) from None
    lines = BufferedByteReceiveStream(stream)
    try:
        with anyio.fail_after(5):
            await stream.send(line_of({"carrydesk": door}))
            answer = message_of(await lines.receive_until(b"\n", 65_536))
    except (*_GONE, TimeoutError, InputError, anyio.DelimiterNotFound):
        await anyio.aclose_forcefully(stream)
        raise UnreachableError(f"The desk at {path} does not answer.", next_step=next_step) from None
    if answer != {"carrydesk": door}:
        await anyio.aclose_forcefully(stream)
        refusal = answer.get("error")
        raise error_from(refusal) if isinstance(refusal, dict) else AccessError(f"{path} is another socket.")
    return stream, lines


@asynccontextmanager
async def open_link(path: Path, door: str, *, seconds_max: float = 35.0) -> AsyncIterator[RpcLink]:
    """A link for as long as the block runs; it dials at the first call and again after a break."""
    failure: CarrydeskError | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield RpcLink(path, door, tasks, seconds_max)
        except CarrydeskError as error:
            failure = error  # leave the task group first: it would wrap the error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
