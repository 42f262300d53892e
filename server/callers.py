"""Who is calling the front, and the desk as this caller sees it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import anyio

from portfolio.core.errors import AccessError
from portfolio.core.market import Settlement
from portfolio.core.names import InstrumentId, IntentId
from portfolio.ports import IntentRow
from portfolio.service import (
    DeskService,
    DeskSnapshot,
    IntentProgress,
    LegChange,
    OrderCheck,
    Principal,
    Proposal,
    ProposalRequest,
    Scope,
)
from server.throttle import Throttle

#: The front reads the desk at most this often; every call still asks the desk whose token it is.
SNAPSHOT_AGE_NS_MAX = 100_000_000
#: Settled history changes once per interval; a fast paper market moves 5 minutes quickly.
HISTORY_WIRE_NS_MAX = 60_000_000_000
HISTORY_MARKET_NS_MAX = 300_000_000_000
#: Distinct tokens that are remembered at a time.
TOKENS_MAX = 256


@dataclass
class _History:
    rows: tuple[Settlement, ...]
    since_market_ns: int
    market_ns: int
    monotonic_ns: int


class Shelf:
    """What all callers of the front share: the last snapshot and settled history."""

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self.monotonic_ns = monotonic_ns
        self.reading = anyio.Lock()
        self.snapshot: tuple[int, DeskSnapshot] | None = None
        self.history: dict[InstrumentId, _History] = {}


class ShelvedDesk:
    """`DeskService` for one token, with short-lived reads shared among all tokens."""

    def __init__(self, desk: DeskService, shelf: Shelf) -> None:
        self._desk = desk
        self._shelf = shelf

    async def authenticate(self, token: str) -> Principal:
        """See `DeskService`."""
        return await self._desk.authenticate(token)

    async def read(self, principal: Principal) -> DeskSnapshot:
        """The desk's snapshot, at most 0.1 s old."""
        if Scope.READ not in principal.scopes:
            return await self._desk.read(principal)  # the desk says why not
        shelf = self._shelf
        async with shelf.reading:
            now = shelf.monotonic_ns()
            if shelf.snapshot is None or now - shelf.snapshot[0] > SNAPSHOT_AGE_NS_MAX:
                shelf.snapshot = (now, await self._desk.read(principal))
            return shelf.snapshot[1]

    async def settlements(
        self, principal: Principal, instrument_id: InstrumentId, since_market_ns: int
    ) -> tuple[Settlement, ...]:
        """Settled history, at most a minute old."""
        shelf, now = self._shelf, self._shelf.monotonic_ns()
        market_ns = 0 if shelf.snapshot is None else shelf.snapshot[1].market_ns
        known = shelf.history.get(instrument_id)
        if (
            known is None
            or known.since_market_ns > since_market_ns
            or now - known.monotonic_ns > HISTORY_WIRE_NS_MAX
            or market_ns - known.market_ns > HISTORY_MARKET_NS_MAX
        ):
            rows = await self._desk.settlements(principal, instrument_id, since_market_ns)
            known = shelf.history[instrument_id] = _History(rows, since_market_ns, market_ns, now)
        return tuple(row for row in known.rows if row.market_ns >= since_market_ns)

    async def check_orders(
        self, principal: Principal, changes: tuple[LegChange, ...]
    ) -> tuple[OrderCheck, ...]:
        """See `DeskService`."""
        return await self._desk.check_orders(principal, changes)

    async def propose(self, principal: Principal, request: ProposalRequest) -> Proposal:
        """See `DeskService`."""
        proposal = await self._desk.propose(principal, request)
        self._shelf.snapshot = None
        return proposal

    async def request_execution(self, principal: Principal, intent_id: IntentId, digest: str) -> IntentRow:
        """See `DeskService`."""
        row = await self._desk.request_execution(principal, intent_id, digest)
        self._shelf.snapshot = None
        return row

    async def intent(
        self, principal: Principal, intent_id: IntentId | None, request_id: str | None, wait_ns: int
    ) -> IntentProgress:
        """See `DeskService`."""
        return await self._desk.intent(principal, intent_id, request_id, wait_ns)

    async def cancel(self, principal: Principal, intent_id: IntentId, reason: str) -> IntentRow:
        """See `DeskService`."""
        row = await self._desk.cancel(principal, intent_id, reason)
        self._shelf.snapshot = None
        return row


@dataclass(frozen=True, slots=True)
class Caller:
    """One authenticated connection."""

    token: str
    desk: DeskService
    throttle: Throttle

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[Principal]:
        """Count the call and ask the desk once more who this is.

        Raises:
            RefusedError: too many calls.
            AccessError: the token was revoked.
        """
        with self.throttle.pass_through():
            yield await self.desk.authenticate(self.token)


#: Set by the connection's task; the SDK runs handlers in tasks below it.
CURRENT: ContextVar[Caller] = ContextVar("carrydesk_caller")


def current() -> Caller:
    """The caller of the running request.

    Raises:
        AccessError: nobody authenticated on this connection.
    """
    try:
        return CURRENT.get()
    except LookupError:
        raise AccessError("This connection has no token.", next_step="Send the token first.") from None


class Callers:
    """Makes callers; one token has one throttle, whatever its number of connections."""

    def __init__(self, desk_for: Callable[[str], DeskService], monotonic_ns: Callable[[], int]) -> None:
        self._desk_for = desk_for
        self._shelf = Shelf(monotonic_ns)
        self._throttles: dict[str, Throttle] = {}

    async def admit(self, token: str) -> Caller:
        """Check a token with the desk.

        Raises:
            AccessError: it opens nothing.
            UnreachableError: the desk is not there.
        """
        desk = ShelvedDesk(self._desk_for(token), self._shelf)
        await desk.authenticate(token)
        if token not in self._throttles:
            if len(self._throttles) >= TOKENS_MAX:
                del self._throttles[next(iter(self._throttles))]
            self._throttles[token] = Throttle(self._shelf.monotonic_ns)
        return Caller(token, desk, self._throttles[token])
