"""Stamps are never ahead of the venue's clock, and none is made while the difference is unknown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.bybit.server_time import AGE_MAX_NS, UNCERTAINTY_MAX_NS, ServerTime, TimeSample, measure
from portfolio.core.errors import Effect, VenueError

MS = 1_000_000
WIRE = 1_700_000_000_000 * MS


@given(
    offset=st.integers(-5000, 5000),
    there=st.integers(0, 400),
    back=st.integers(0, 400),
    later=st.integers(0, 60_000),
)
def test_a_stamp_is_at_most_one_round_trip_behind_the_venue_and_never_ahead(
    offset: int, there: int, back: int, later: int
) -> None:
    sample = measure(
        sent_wire_ns=WIRE,
        server_ns=WIRE + (there + offset) * MS,
        sent_monotonic_ns=0,
        answered_monotonic_ns=(there + back) * MS,
    )
    clock = ServerTime()
    clock.learn((sample,))
    true_now = WIRE + (later + offset) * MS
    stamp = clock.earliest_ns(WIRE + later * MS, (there + back) * MS)
    assert true_now - (there + back) * MS <= stamp <= true_now


def test_the_surest_sample_counts() -> None:
    clock = ServerTime()
    clock.learn((TimeSample(5, 90, 0), TimeSample(7, 10, 0), TimeSample(9, 50, 0)))
    assert clock.offset_ns(0) == 7


@pytest.mark.parametrize(
    ("sample", "now"),
    [
        (TimeSample(0, UNCERTAINTY_MAX_NS + 1, 0), 0),
        (TimeSample(0, 0, 0), AGE_MAX_NS + 1),
    ],
    ids=["too uncertain", "too old"],
)
def test_no_stamp_is_made_from_a_difference_that_cannot_be_trusted(sample: TimeSample, now: int) -> None:
    clock = ServerTime()
    clock.learn((sample,))
    assert not clock.known(now)
    with pytest.raises(VenueError) as caught:
        clock.earliest_ns(WIRE, now)
    assert caught.value.effect is Effect.NOT_SENT


def test_what_the_venue_refused_is_forgotten() -> None:
    clock = ServerTime()
    clock.learn((TimeSample(0, 0, 0),))
    assert clock.known(0)
    clock.forget()
    assert not clock.known(0)
