"""The answering end of a private socket: calls come in as lines and go to a service's methods.

Bounded in every direction, so that no client can hold up the desk: connections, calls in flight per
connection, bytes per line, seconds per call, seconds per answer. What was received is carried out even if the
client leaves; the answer is then dropped.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.abc
import anyio.to_thread
from anyio.streams.buffered import BufferedByteReceiveStream

from portfolio.coders import Data
from portfolio.core.errors import AccessError, CarrydeskError, InputError
from portfolio.service import Principal
from server.rpc_wire import (
    LINE_BYTES_MAX,
    InternalError,
    Method,
    OutcomeUnknownError,
    check_same_user,
    error_data,
    line_of,
    message_of,
)

logger = logging.getLogger(__name__)

_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, anyio.IncompleteRead)


@dataclass(frozen=True, slots=True)
class RpcLimits:
    """Bounds of one server."""

    connections_max: int = 32
    in_flight_max: int = 16
    line_bytes_max: int = LINE_BYTES_MAX
    call_seconds_max: float = 30.0
    answer_seconds_max: float = 10.0
    hello_seconds_max: float = 5.0


class Authenticator(Protocol):
    """Knows whose token it is."""

    async def authenticate(self, token: str) -> Principal:
        """Raises AccessError."""
        ...


class RpcServer:
    """One door. `authenticator` is given where methods take a principal; the desk asks it at every call."""

    def __init__(
        self,
        *,
        door: str,
        service: object,
        methods: Mapping[str, Method],
        authenticator: Authenticator | None = None,
        heavy: frozenset[str] = frozenset(),
        limits: RpcLimits | None = None,
    ) -> None:
        self._door = door
        self._service = service
        self._methods = methods
        self._authenticator = authenticator
        #: Methods whose large results a worker thread writes, so that the guard does not wait for it.
        self._heavy = heavy
        self._limits = limits or RpcLimits()
        self._connections = 0
        self._writer = anyio.CapacityLimiter(1)

    async def serve(
        self, path: Path, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen at `path` (mode 0600) until cancelled."""
        async with await anyio.create_unix_listener(path, mode=0o600) as listener:
            task_status.started()
            await listener.serve(self._accept)

    async def _accept(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            if self._connections >= self._limits.connections_max:
                await self._refuse(stream, AccessError("Too many connections.", next_step="Close some."))
                return
            self._connections += 1
            try:
                await self._converse(stream)
            except _GONE:
                pass  # the peer left; what it had asked for was carried out
            except CarrydeskError as error:
                await self._refuse(stream, error)
            except Exception:
                logger.exception("a connection to %s failed", self._door)
            finally:
                self._connections -= 1

    async def _refuse(self, stream: anyio.abc.SocketStream, error: CarrydeskError) -> None:
        logger.info("refused on %s: %s", self._door, error.code)
        with anyio.move_on_after(self._limits.answer_seconds_max), suppress(*_GONE):
            await stream.send(line_of({"error": error_data(error)}))

    async def _converse(self, stream: anyio.abc.SocketStream) -> None:
        check_same_user(stream)
        lines = BufferedByteReceiveStream(stream)
        await self._hello(stream, lines)
        peer = _Peer(stream, self._limits)
        mistake: InputError | None = None
        async with anyio.create_task_group() as calls:
            while mistake is None:
                await peer.slots.acquire()
                try:
                    message = await self._next(lines)
                except InputError as error:
                    mistake = error
                    continue
                if message is None:
                    break
                calls.start_soon(self._call, peer, message)
        if mistake is not None:
            raise mistake

    async def _next(self, lines: BufferedByteReceiveStream) -> dict[str, Data] | None:
        """The next message; None when the peer has left."""
        try:
            return message_of(await lines.receive_until(b"\n", self._limits.line_bytes_max))
        except anyio.DelimiterNotFound:
            raise InputError("This line is too long.") from None
        except _GONE:
            return None

    async def _hello(self, stream: anyio.abc.SocketStream, lines: BufferedByteReceiveStream) -> None:
        try:
            with anyio.fail_after(self._limits.hello_seconds_max):
                line = await lines.receive_until(b"\n", 4096)
            greeting = message_of(line)
        except (TimeoutError, anyio.DelimiterNotFound, InputError):
            greeting = {}
        if greeting != {"carrydesk": self._door}:
            raise AccessError(
                f"This is the {self._door} socket.",
                next_step="Agents use agent.sock with a token; operators use the carrydesk command.",
            )
        await stream.send(line_of({"carrydesk": self._door}))

    async def _call(self, peer: "_Peer", message: dict[str, Data]) -> None:
        number = message.get("id")
        try:
            answer: dict[str, Data] = {"id": number, "result": await self._answer(message)}
        except CarrydeskError as error:
            answer = {"id": number, "error": error_data(error)}
        except TimeoutError:
            late = OutcomeUnknownError(
                "The call took too long and was abandoned.",
                next_step="Look at the state before repeating it.",
            )
            answer = {"id": number, "error": error_data(late)}
        except Exception:
            logger.exception("%s failed on %s", message.get("method"), self._door)
            broken = InternalError("The desk failed on this call.", next_step="See its log.")
            answer = {"id": number, "error": error_data(broken)}
        try:
            line = await self._written(message, answer)
            await peer.send(line)
        finally:
            peer.slots.release()

    async def _answer(self, message: dict[str, Data]) -> Any:
        method = self._methods.get(str(message.get("method")))
        if method is None:
            raise InputError(f"There is no method {message.get('method')!r} here.")
        arguments = method.decode_arguments(message.get("arguments"))
        with anyio.fail_after(self._limits.call_seconds_max):
            if method.principal:
                arguments = {"principal": await self._principal(message), **arguments}
            result = await getattr(self._service, method.name)(**arguments)
        return method.result[0](result) if method.name not in self._heavy else result

    async def _principal(self, message: dict[str, Data]) -> Principal:
        token = message.get("token")
        if self._authenticator is None or not isinstance(token, str):
            raise AccessError("A token is needed.", next_step="Use the token that the operator gave you.")
        return await self._authenticator.authenticate(token)

    async def _written(self, message: dict[str, Data], answer: dict[str, Data]) -> bytes:
        name = str(message.get("method"))
        if "result" not in answer or name not in self._heavy:
            return line_of(answer)
        encode = self._methods[name].result[0]

        def work() -> bytes:
            return line_of({"id": answer["id"], "result": encode(answer["result"])})

        return await anyio.to_thread.run_sync(work, limiter=self._writer)


class _Peer:
    """One connection: its free slots and its writing end."""

    def __init__(self, stream: anyio.abc.SocketStream, limits: RpcLimits) -> None:
        self.slots = anyio.Semaphore(limits.in_flight_max)
        self._stream = stream
        self._limits = limits
        self._lock = anyio.Lock()

    async def send(self, line: bytes) -> None:
        """Write one answer; a peer that does not read in time loses its connection."""
        with suppress(*_GONE):
            async with self._lock:
                with anyio.move_on_after(self._limits.answer_seconds_max) as scope:
                    await self._stream.send(line)
                if scope.cancelled_caught:
                    await anyio.aclose_forcefully(self._stream)
