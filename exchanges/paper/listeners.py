"""Who listens to an in-memory venue: one bounded stream each, with Gap and Reset when it cannot keep up."""

from collections import deque
from collections.abc import Callable

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from portfolio.core.events import Gap, Reset, VenueEvent


class Listener:
    """One subscription. What does not fit is dropped, said with a Gap, and mended with a Reset later."""

    def __init__(self, buffer_max: int) -> None:
        self._send: MemoryObjectSendStream[VenueEvent]
        self._send, self.receive = anyio.create_memory_object_stream[VenueEvent](buffer_max)
        #: Events were dropped since the last Reset.
        self.behind = False
        self._gap_told = False

    def put(self, event: VenueEvent) -> None:
        """Hand over one event, or fall behind."""
        if self.behind:
            return
        try:
            self._send.send_nowait(event)
        except anyio.WouldBlock:
            self.behind = True
            self._gap_told = False
        except anyio.BrokenResourceError:
            # The reader closed its end; the subscription ends with its context.
            self.behind = True

    def mend(self, reset: Callable[[], Reset]) -> None:
        """Tell the gap and send a fresh read, once the reader has made room for both."""
        if not self.behind or self._send.statistics().open_receive_streams == 0:
            return
        statistics = self._send.statistics()
        if statistics.max_buffer_size - statistics.current_buffer_used < 2:
            return
        fresh = reset()
        if not self._gap_told:
            self._send.send_nowait(Gap("all", "the reader was too slow", fresh.seen_wire_ns))
        self._send.send_nowait(fresh)
        self.behind, self._gap_told = False, False

    def cut(self, gap: Gap) -> None:
        """The stream breaks: tell the gap now, drop everything until `mend`."""
        self.put(gap)
        self._gap_told = not self.behind
        self.behind = True

    def close(self) -> None:
        """End the subscription."""
        self._send.close()
        self.receive.close()


class Listeners:
    """All subscriptions of a venue, fed through a line that delays every event by the same wire time."""

    def __init__(self, *, buffer_max: int, delay_ns: int) -> None:
        self._buffer_max = buffer_max
        self._delay_ns = delay_ns
        self._listeners: list[Listener] = []
        self._on_the_way: deque[tuple[int, VenueEvent]] = deque()
        #: While set, nothing is delivered and nothing is mended.
        self.down = False

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, reset: Reset) -> Listener:
        """A new subscription, which starts with a Reset."""
        listener = Listener(self._buffer_max)
        listener.put(reset)
        if self.down:
            listener.cut(Gap("all", "disconnected", reset.seen_wire_ns))
        self._listeners.append(listener)
        return listener

    def remove(self, listener: Listener) -> None:
        """End a subscription."""
        self._listeners.remove(listener)
        listener.close()

    def send(self, event: VenueEvent, wire_ns: int) -> None:
        """Put an event on its way."""
        if self._delay_ns:
            self._on_the_way.append((wire_ns + self._delay_ns, event))
        else:
            self._give(event)

    def deliver(self, wire_ns: int, reset: Callable[[], Reset]) -> None:
        """Hand over what has arrived by now, and mend who fell behind."""
        while self._on_the_way and self._on_the_way[0][0] <= wire_ns:
            self._give(self._on_the_way.popleft()[1])
        if not self.down:
            for listener in self._listeners:
                listener.mend(reset)

    def next_arrival(self) -> int | None:
        """Wire time of the next event on its way."""
        return self._on_the_way[0][0] if self._on_the_way else None

    def disconnect(self, reason: str, wire_ns: int) -> None:
        """Break every stream; what was on its way is lost."""
        self.down = True
        self._on_the_way.clear()
        for listener in self._listeners:
            listener.cut(Gap("all", reason, wire_ns))

    def reconnect(self) -> None:
        """The next `deliver` mends every stream."""
        self.down = False

    def _give(self, event: VenueEvent) -> None:
        for listener in self._listeners:
            listener.put(event)


Stream = MemoryObjectReceiveStream[VenueEvent]
