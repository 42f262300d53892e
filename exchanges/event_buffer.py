"""Between sockets that must not wait and a reader that may: prices are conflated, account events are not.

A slow reader sees fewer prices, always the newest, and every account event in order. When more account
events pile up than the bound, they are dropped together and `overflowed` is called, which must bring a Reset.
Memory is bounded by the number of instruments and that bound.
"""

from collections import deque
from collections.abc import Callable, Hashable

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from portfolio.core.events import VenueEvent

ACCOUNT_EVENTS_MAX = 10_000


class EventBuffer:
    """Sockets put, one pump takes."""

    def __init__(self, overflowed: Callable[[], None], account_max: int = ACCOUNT_EVENTS_MAX) -> None:
        self._overflowed = overflowed
        self._account_max = account_max
        self._account: deque[VenueEvent] = deque()
        self._prices: dict[Hashable, Callable[[], VenueEvent | None]] = {}
        self._ready = anyio.Event()

    def put_account(self, event: VenueEvent) -> None:
        """Append an event that must not be lost or reordered."""
        if len(self._account) >= self._account_max:
            self._account.clear()
            self._overflowed()
        self._account.append(event)
        self._ready.set()

    def put_first(self, event: VenueEvent) -> None:
        """Let an event precede everything that waits."""
        self._account.appendleft(event)
        self._ready.set()

    def put_price(self, key: Hashable, build: Callable[[], VenueEvent | None]) -> None:
        """Replace what waits under `key`; `build` runs when the reader is there (None: nothing to say)."""
        self._prices[key] = build
        self._ready.set()

    async def pump(self, out: MemoryObjectSendStream[VenueEvent]) -> None:
        """Hand everything over, account events first, until cancelled or the reader is gone."""
        while True:
            await self._ready.wait()
            self._ready = anyio.Event()
            while self._account or self._prices:
                while self._account:
                    await out.send(self._account.popleft())
                key = next(iter(self._prices), None)
                if key is not None:
                    event = self._prices.pop(key)()
                    if event is not None:
                        await out.send(event)
