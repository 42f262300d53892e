"""Killing a desk between any two steps, as kill -9 would.

A desk in the simulation reaches the venue and its journal only through a `Lifeline`. Every call passes two
gates, before and after; the crash is set to one of them. From then on every gate raises `Killed`, so that
no clean-up code of the dead desk can have an effect, and its tasks are cancelled. What was on the wire
stays on the wire.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio

from portfolio.core.entries import Entry
from portfolio.ports import Exchange, Journal, Recorded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.streams.memory import MemoryObjectReceiveStream

    from portfolio.core.events import VenueEvent

T = TypeVar("T")


class Killed(BaseException):
    """This desk is dead. Not an Exception: nothing may handle it and carry on."""


class Lifeline:
    """Counts gates and kills at one of them. `scope` is cancelled at death."""

    def __init__(self, *, crash_at_gate: int | None) -> None:
        self.scope = anyio.CancelScope()
        self.gates = 0
        self.dead = False
        self._crash_at_gate = crash_at_gate

    def kill(self) -> None:
        """Dead from now on."""
        self.dead = True
        self.scope.cancel()

    def gate(self) -> None:
        """Pass, or die here.

        Raises:
            Killed: the desk is dead.
        """
        if not self.dead:
            self.gates += 1
            if self.gates == self._crash_at_gate:
                self.kill()
        if self.dead:
            raise Killed

    async def passing(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await `call` between two gates.

        The call itself happens even if the desk dies while it is under way.
        """
        self.gate()
        result = await call()
        self.gate()
        return result


class MortalExchange:
    """An Exchange behind a lifeline."""

    def __init__(self, exchange: Exchange, lifeline: Lifeline) -> None:
        self._exchange = exchange
        self._lifeline = lifeline

    @asynccontextmanager
    async def events(self) -> "AsyncIterator[MemoryObjectReceiveStream[VenueEvent]]":
        """See Exchange."""
        self._lifeline.gate()
        async with self._exchange.events() as stream:
            yield stream

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._exchange, name)
        if not callable(attribute):
            return attribute

        async def passing(*args: Any, **kwargs: Any) -> Any:
            return await self._lifeline.passing(lambda: attribute(*args, **kwargs))

        return passing


class MortalJournal:
    """A Journal behind a lifeline: a dead desk writes nothing more."""

    def __init__(self, journal: Journal, lifeline: Lifeline) -> None:
        self._journal = journal
        self._lifeline = lifeline

    def append(self, entries: Sequence[Entry], wire_ns: int) -> tuple[Recorded, ...]:
        """See Journal.

        A crash before it loses the batch, a crash after it loses only the news of the commit.
        """
        self._lifeline.gate()
        recorded = self._journal.append(entries, wire_ns)
        self._lifeline.gate()
        return recorded

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


def mortal(exchange: Exchange, journal: Journal, lifeline: Lifeline) -> tuple[Exchange, Journal]:
    """Both ports behind one lifeline."""
    return (
        cast("Exchange", MortalExchange(exchange, lifeline)),
        cast("Journal", MortalJournal(journal, lifeline)),
    )
