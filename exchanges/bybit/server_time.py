"""The difference between the venue's clock and ours, and how sure of it we are.

Bybit refuses a stamp that is 1 s or more ahead of its clock whatever the window, and one older than the
window. So stamps are made from the earliest time the venue's clock can show, and none is made while the
difference is unknown, too uncertain or too old.
"""

from dataclasses import dataclass

from portfolio.core.errors import Effect, VenueError

SECOND_NS = 1_000_000_000
#: Half the round trip of the best sample may be at most this.
UNCERTAINTY_MAX_NS = SECOND_NS // 2
#: An older difference counts as unknown.
AGE_MAX_NS = 600 * SECOND_NS


@dataclass(frozen=True, slots=True)
class TimeSample:
    """One measurement: the venue's clock minus ours was `offset_ns` +- `uncertainty_ns` at `taken_ns`."""

    offset_ns: int
    uncertainty_ns: int
    #: Our monotonic clock.
    taken_ns: int


def measure(
    *, sent_wire_ns: int, server_ns: int, sent_monotonic_ns: int, answered_monotonic_ns: int
) -> TimeSample:
    """From one request: the venue read its clock somewhere between sending and answer."""
    half = (answered_monotonic_ns - sent_monotonic_ns) // 2
    return TimeSample(
        offset_ns=server_ns - (sent_wire_ns + half), uncertainty_ns=half, taken_ns=answered_monotonic_ns
    )


class ServerTime:
    """The best recent sample."""

    def __init__(self) -> None:
        self._sample: TimeSample | None = None

    def learn(self, samples: tuple[TimeSample, ...]) -> None:
        """Replace what is known by the surest of these."""
        self._sample = min(samples, key=lambda sample: sample.uncertainty_ns)

    def forget(self) -> None:
        """The venue refused a stamp: what we believed is wrong."""
        self._sample = None

    def known(self, monotonic_ns: int) -> bool:
        """Whether stamps can be made now."""
        return self._trusted(monotonic_ns) is not None

    def offset_ns(self, monotonic_ns: int) -> int:
        """Venue's clock minus ours.

        Raises:
            VenueError: not_sent: the difference is unknown.
        """
        return self._required(monotonic_ns).offset_ns

    def earliest_ns(self, wire_ns: int, monotonic_ns: int) -> int:
        """The earliest that the venue's clock can show when ours shows `wire_ns`.

        Raises:
            VenueError: not_sent: the difference is unknown.
        """
        sample = self._required(monotonic_ns)
        return wire_ns + sample.offset_ns - sample.uncertainty_ns

    def _trusted(self, monotonic_ns: int) -> TimeSample | None:
        sample = self._sample
        if sample is None or sample.uncertainty_ns > UNCERTAINTY_MAX_NS:
            return None
        return sample if monotonic_ns - sample.taken_ns <= AGE_MAX_NS else None

    def _required(self, monotonic_ns: int) -> TimeSample:
        sample = self._trusted(monotonic_ns)
        if sample is None:
            raise VenueError(
                "The difference to the venue's clock is unknown.",
                effect=Effect.NOT_SENT,
                venue_code="clock",
                next_step="Wait for the next time synchronisation.",
            )
        return sample
