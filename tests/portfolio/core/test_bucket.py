"""The bucket against a venue that counts arrivals in rolling windows."""

from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.bucket import BLOCK_MAX_NS, Grant, RateBucket
from portfolio.core.errors import InputError

PER_NS = 1_000
RESERVE = Decimal("0.20")


def bucket(count: int = 10, reserve: Decimal = RESERVE) -> RateBucket:
    return RateBucket("order", count, PER_NS, reserve)


@dataclass(frozen=True)
class Send:
    """One attempt: how long after the one before, how many, when it arrives and when the answer comes."""

    pause_ns: int
    wanted: int
    reserved: bool
    transit_ns: int
    back_ns: int


sends = st.lists(
    st.builds(
        Send,
        st.integers(0, 1_500),
        st.integers(1, 30),
        st.booleans(),
        st.integers(0, 700),
        st.integers(0, 700),
    ),
    max_size=40,
)


def play(subject: RateBucket, script: list[Send]) -> list[tuple[int, int]]:
    """Arrivals (time, items) at the venue while the bucket is asked and told as a worker would."""
    now = 0
    arrivals: list[tuple[int, int]] = []
    flying: list[tuple[int, Grant]] = []
    for send in script:
        now += send.pause_ns
        for answered_at, grant in [one for one in flying if one[0] <= now]:
            subject.answered(grant, answered_at)
        flying = [one for one in flying if one[0] > now]
        before = subject.available(now, reserved=send.reserved)
        taken = subject.take(send.wanted, now, reserved=send.reserved)
        assert (0 if taken is None else taken.items) == min(before, send.wanted)
        if taken is not None:
            arrivals.append((now + send.transit_ns, taken.items))
            flying.append((now + send.transit_ns + send.back_ns, taken))
    return arrivals


@given(st.integers(1, 20), sends)
def test_no_rolling_window_of_arrivals_holds_more_than_the_limit(count: int, script: list[Send]) -> None:
    arrivals = play(bucket(count), script)
    for start, _ in arrivals:
        # Both ends included: the strictest reading of "per second".
        assert sum(items for at, items in arrivals if start <= at <= start + PER_NS) <= count


@given(st.integers(1, 20), sends)
def test_entries_alone_never_touch_the_reserve(count: int, script: list[Send]) -> None:
    subject = bucket(count)
    entries = [Send(one.pause_ns, one.wanted, False, one.transit_ns, one.back_ns) for one in script]
    arrivals = play(subject, entries)
    for start, _ in arrivals:
        used = sum(items for at, items in arrivals if start <= at <= start + PER_NS)
        assert used <= count - subject.reserve


@given(sends, st.integers(1, 8), st.booleans())
def test_after_the_told_wait_the_items_may_go_and_a_moment_before_they_may_not(
    script: list[Send], cost: int, reserved: bool
) -> None:
    subject = bucket()
    now = 0
    for send in script:
        now += send.pause_ns
        taken = subject.take(send.wanted, now, reserved=send.reserved)
        if taken is not None:
            subject.answered(taken, now)
    wait = subject.wait_ns(cost, now, reserved=reserved)
    if wait:
        assert subject.available(now + wait - 1, reserved=reserved) < cost
    assert subject.available(now + wait, reserved=reserved) >= cost


def test_a_fifth_is_kept_for_what_takes_risk_off() -> None:
    subject = bucket(10)
    taken = subject.take(20, 0, reserved=False)
    assert taken is not None
    assert taken.items == 8
    assert subject.take(1, 0, reserved=False) is None
    rest = subject.take(5, 0, reserved=True)
    assert rest is not None
    assert rest.items == 2


def test_a_limit_of_one_still_lets_entries_pass() -> None:
    assert bucket(1).usable(reserved=False) == 1


def test_items_on_the_wire_count_until_a_window_after_their_answer() -> None:
    subject = bucket(2, Decimal(0))
    grant = subject.take(2, 0, reserved=True)
    assert grant is not None
    assert subject.available(10 * PER_NS, reserved=True) == 0
    subject.answered(grant, 10 * PER_NS)
    assert subject.wait_ns(1, 10 * PER_NS, reserved=True) == PER_NS + 1
    assert subject.available(11 * PER_NS, reserved=True) == 0
    assert subject.available(11 * PER_NS + 1, reserved=True) == 2


def test_the_wait_for_a_request_on_the_wire_is_at_least_one_window() -> None:
    subject = bucket(2, Decimal(0))
    assert subject.take(2, 0, reserved=True) is not None
    assert subject.wait_ns(1, 500, reserved=True) == PER_NS + 1


def test_what_never_left_the_process_is_given_back() -> None:
    subject = bucket(4, Decimal(0))
    grant = subject.take(4, 0, reserved=True)
    assert grant is not None
    subject.refund(grant, 3)
    assert subject.available(0, reserved=True) == 3
    subject.refund(grant, 1)
    assert subject.available(0, reserved=True) == 4
    with pytest.raises(InputError):
        subject.refund(grant, 1)


def test_what_others_sent_on_the_same_key_counts_once_the_venue_says_so() -> None:
    subject = bucket(10, Decimal(0))
    grant = subject.take(3, 0, reserved=True)
    assert grant is not None
    subject.answered(grant, 50)
    subject.correct(10, 2, 0, 50)
    assert subject.available(50, reserved=True) == 2
    subject.correct(10, 9, 0, 60)
    assert subject.available(60, reserved=True) == 2, "an older answer does not free what we know was sent"


def test_the_venue_can_widen_and_narrow_the_limit() -> None:
    subject = bucket(10)
    subject.correct(20, 20, 0, 0)
    assert subject.available(0, reserved=True) == 20
    assert subject.reserve == 4
    subject.correct(5, 5, 0, 0)
    assert subject.available(0, reserved=True) == 5
    subject.correct(0, 0, 0, 0)
    assert subject.available(0, reserved=True) == 5, "a limit of nothing is not believed"


def test_with_nothing_remaining_nothing_goes_until_the_reset() -> None:
    subject = bucket(10)
    subject.correct(10, 0, 3 * PER_NS, 0)
    assert subject.available(2 * PER_NS, reserved=True) == 0
    assert subject.wait_ns(1, 2 * PER_NS, reserved=True) == PER_NS
    assert subject.available(3 * PER_NS, reserved=True) == 10


def test_an_absurd_reset_does_not_silence_hedges_for_ever() -> None:
    subject = bucket(10)
    subject.correct(10, 0, 10**18, 0)
    assert subject.available(BLOCK_MAX_NS, reserved=True) == 10


def test_more_than_ever_fits_has_no_wait() -> None:
    with pytest.raises(InputError):
        bucket(10).wait_ns(9, 0, reserved=False)


@pytest.mark.parametrize(("count", "per_ns"), [(0, 1), (1, 0)])
def test_a_limit_that_lets_nothing_pass_is_refused(count: int, per_ns: int) -> None:
    with pytest.raises(InputError):
        RateBucket("none", count, per_ns, Decimal(0))


def test_a_limit_that_the_venue_calls_exceeded_stays_shut_for_a_whole_window() -> None:
    limit = bucket()
    limit.exceeded(100)
    assert limit.take(1, 100 + PER_NS - 1, reserved=True) is None
    assert limit.wait_ns(1, 100, reserved=True) == PER_NS
    assert limit.take(1, 100 + PER_NS, reserved=True) is not None


def test_what_somebody_else_sent_counts_for_a_whole_window() -> None:
    limit = bucket()
    limit.spent(9, 100)
    assert limit.available(100, reserved=True) == 1
    assert limit.available(101 + PER_NS, reserved=True) == 10
