"""Killing a desk between any two steps, as kill -9 would.

A desk in the simulation reaches the venue and its journal only through a `Lifeline`. Every call passes two
gates, before and after, named after what is done; a `Death` says at which of them the crash comes. From then
on every gate raises `Killed`, so that no clean-up code of the dead desk can have an effect, and its tasks are
cancelled. What was on the wire stays on the wire.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio

from portfolio.core.entries import KINDS, Entry
from portfolio.ports import Exchange, Journal, Recorded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.streams.memory import MemoryObjectReceiveStream

    from portfolio.core.events import VenueEvent

T = TypeVar("T")


class Killed(BaseException):
    """This desk is dead. Not an Exception: nothing may handle it and carry on."""


@dataclass(frozen=True, slots=True)
class Death:
    """A desk dies `then` gates after the `occurrence`-th (from 1) gate with this name.

    The name is a method of the exchange, "events", or the kind of a journal entry; None: any gate.
    """

    at: str | None
    occurrence: int
    then: int = 0


class Lifeline:
    """Counts gates and kills at one of them. `scope` is cancelled at death."""

    def __init__(self, *, death: Death | None) -> None:
        self.scope = anyio.CancelScope()
        self.gates = 0
        self.dead = False
        self._death = death
        self._seen = 0
        #: Gates left to live; None: the one that counts has not come.
        self._left: int | None = None

    def kill(self) -> None:
        """Dead from now on."""
        self.dead = True
        self.scope.cancel()

    def gate(self, names: Collection[str] = ()) -> None:
        """Pass, or die here.

        Raises:
            Killed: the desk is dead.
        """
        if not self.dead:
            self.gates += 1
            if self._ends_at(names):
                self.kill()
        if self.dead:
            raise Killed

    def _ends_at(self, names: Collection[str]) -> bool:
        death = self._death
        if death is None:
            return False
        if self._left is None:
            self._seen += death.at is None or death.at in names
            if self._seen < death.occurrence:
                return False
            self._left = death.then
        else:
            self._left -= 1
        return self._left <= 0

    async def passing(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        """Await `call` between two gates.

        The call itself happens even if the desk dies while it is under way.
        """
        self.gate((name,))
        result = await call()
        self.gate((name,))
        return result


class MortalExchange:
    """An Exchange behind a lifeline."""

    def __init__(self, exchange: Exchange, lifeline: Lifeline) -> None:
        self._exchange = exchange
        self._lifeline = lifeline

    @asynccontextmanager
    async def events(self) -> "AsyncIterator[MemoryObjectReceiveStream[VenueEvent]]":
        """See Exchange."""
        self._lifeline.gate(("events",))
        async with self._exchange.events() as stream:
            yield stream

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._exchange, name)
        if not callable(attribute):
            return attribute

        async def passing(*args: Any, **kwargs: Any) -> Any:
            return await self._lifeline.passing(name, lambda: attribute(*args, **kwargs))

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
        names = {KINDS[type(entry)] for entry in entries}
        self._lifeline.gate(names)
        recorded = self._journal.append(entries, wire_ns)
        self._lifeline.gate(names)
        return recorded

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


def mortal(exchange: Exchange, journal: Journal, lifeline: Lifeline) -> tuple[Exchange, Journal]:
    """Both ports behind one lifeline."""
    return (
        cast("Exchange", MortalExchange(exchange, lifeline)),
        cast("Journal", MortalJournal(journal, lifeline)),
    )
