"""One websocket that is kept open: connect, greet, read, ping, and connect again with a growing pause.

Runs under asyncio only (the websockets library needs it); everything above it is anyio. The handler learns of
every loss before the next attempt, so that it can mark what it fed as stale.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.protocol import State

from exchanges.errors import socket_error, socket_reason
from exchanges.fields import Row, decode
from portfolio.core.errors import VenueError

#: The library would log frames, signatures included, at DEBUG: its logger here never goes below INFO.
_LOGGER = logging.getLogger("carrydesk.websocket")
_LOGGER.setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Timing of one connection, in seconds on the wire clock."""

    ping_every_s: float = 20.0
    #: A connection on which nothing arrives for this long after a ping is dead.
    answer_within_s: float = 5.0
    connect_within_s: float = 5.0
    greet_within_s: float = 5.0
    pause_first_s: float = 0.1
    pause_max_s: float = 10.0


class Connection:
    """An open websocket that speaks JSON objects."""

    def __init__(self, raw: ClientConnection, what: str) -> None:
        self._raw = raw
        self._what = what
        self.received = 0

    @property
    def is_open(self) -> bool:
        """A frame written now would go out."""
        return self._raw.state is State.OPEN

    async def send(self, frame: Mapping[str, object]) -> None:
        """Write one frame.

        Raises:
            VenueError: not_sent when the connection was closed before, unknown when it broke meanwhile.
        """
        if not self.is_open:
            raise socket_error(ConnectionError("closed"), self._what, written=False)
        try:
            await self._raw.send(json.dumps(frame, separators=(",", ":")))
        except (WebSocketException, OSError) as error:
            raise socket_error(error, self._what, written=True) from None

    async def receive(self) -> Row:
        """The next frame.

        Raises:
            VenueError: the connection is over, or the frame is not a JSON object.
        """
        try:
            text = await self._raw.recv()
        except (WebSocketException, OSError) as error:
            raise socket_error(error, self._what, written=True) from None
        self.received += 1
        return decode(text, self._what)

    async def drop(self) -> None:
        """Close it from our side."""
        await self._raw.close()


class Handler(Protocol):
    """What one kind of stream does with its connection."""

    async def greet(self, connection: Connection) -> None:
        """Log in and subscribe on a fresh connection; a VenueError drops it."""
        ...

    def take(self, frame: Row) -> None:
        """Handle one frame at once; a VenueError drops the connection."""
        ...

    def lost(self, reason: str) -> None:
        """The connection, or an attempt at one, ended."""
        ...


async def keep_open(
    url: str, handler: Handler, *, what: str, options: StreamOptions | None = None, ping: Row | None = None
) -> None:
    """Serve one websocket until cancelled. `what` names it in errors; `ping` is the venue's ping."""
    settings = options or StreamOptions()
    pause = settings.pause_first_s
    while True:
        greeted, reason = await _session(url, handler, what, settings, ping or {"op": "ping"})
        handler.lost(reason)
        pause = settings.pause_first_s if greeted else min(pause * 2, settings.pause_max_s)
        await anyio.sleep(pause)


async def _session(
    url: str, handler: Handler, what: str, options: StreamOptions, ping: Row
) -> tuple[bool, str]:
    """One connection from open to lost: whether the greeting succeeded, and why it ended."""
    try:
        with anyio.fail_after(options.connect_within_s):
            raw = await connect(
                url,
                open_timeout=None,
                close_timeout=1,
                ping_interval=None,
                compression=None,
                proxy=None,
                max_size=2**22,
                max_queue=1024,
                logger=_LOGGER,
            )
    except (WebSocketException, OSError, EOFError) as error:
        return False, socket_reason(error)
    try:
        return await _serve(Connection(raw, what), handler, options, ping)
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(2):
            await raw.close()


async def _serve(
    connection: Connection, handler: Handler, options: StreamOptions, ping: Row
) -> tuple[bool, str]:
    try:
        with anyio.fail_after(options.greet_within_s):
            await handler.greet(connection)
    except VenueError as error:
        return False, error.message
    except TimeoutError:
        return False, "no answer to the greeting in time"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_ping, connection, options, ping)
        reason = await _read(connection, handler)
        tasks.cancel_scope.cancel()
    return True, reason


async def _read(connection: Connection, handler: Handler) -> str:
    try:
        while True:
            handler.take(await connection.receive())
    except VenueError as error:
        return error.message


async def _ping(connection: Connection, options: StreamOptions, ping: Row) -> None:
    while True:
        await anyio.sleep(options.ping_every_s)
        before = connection.received
        try:
            await connection.send(ping)
        except VenueError:
            return  # the reader sees the same end and reports it
        await anyio.sleep(options.answer_within_s)
        if connection.received == before:
            try:
                await connection.drop()
            except (ConnectionClosed, OSError):
                return
