"""Queues by rank, and the bound that batches of them are measured against."""

from decimal import Decimal

import anyio
import pytest

from exchanges.paper.traits import BYBIT_TRAITS
from portfolio.core.bucket import RateBucket
from portfolio.core.errors import InputError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.limits import SECOND_NS
from portfolio.core.names import ClientOrderId, InstrumentId
from portfolio.core.orders import CancelRequest, NotSent, Unknown
from portfolio.lanes import Job, Lane, Lanes, Rank, lower_bound_ns

RTT_NS = 50_000_000
LINEAR, SPOT = ("place", InstrumentKind.PERPETUAL), ("place", InstrumentKind.SPOT)


def lane(count: int = 10, batch_max: int = 4) -> Lane[CancelRequest]:
    return Lane(batch_max, RateBucket("test", count, SECOND_NS, Decimal("0.2")))


def job(name: str, rank: Rank) -> Job[CancelRequest]:
    return Job(CancelRequest(ClientOrderId(name), InstrumentId("x")), rank, anyio.Event(), 0)


def names(taken: object) -> list[str]:
    return [one.request.client_order_id for one in getattr(taken, "jobs", ())]


def test_a_batch_holds_the_most_urgent_rank_only_and_in_the_order_asked() -> None:
    subject = lane()
    asked = [
        ("e1", Rank.ENTRY),
        ("x1", Rank.EXIT),
        ("h1", Rank.HEDGE),
        ("d1", Rank.DERISK),
        ("d2", Rank.DERISK),
    ]
    for name, rank in (*asked, ("g1", Rank.GUARD)):
        subject.put(job(name, rank))
    assert [names(subject.take(0)) for _ in range(6)] == [["g1"], ["d1", "d2"], ["h1"], ["x1"], ["e1"], []]


def test_a_queue_of_exits_that_can_wait_leaves_the_reserve_to_the_guard() -> None:
    subject = lane(batch_max=20)
    for number in range(20):
        subject.put(job(f"x{number}", Rank.EXIT))
    assert len(names(subject.take(0))) == 8
    assert subject.take(0) is None
    assert subject.wait_ns(0) == SECOND_NS + 1
    subject.put(job("g", Rank.GUARD))
    assert subject.wait_ns(0) == 0
    assert names(subject.take(0)) == ["g"]


def test_while_the_most_urgent_waits_for_its_limit_nothing_less_urgent_goes() -> None:
    subject = lane(count=2)
    for number in range(3):
        subject.put(job(f"d{number}", Rank.DERISK))
    subject.put(job("e", Rank.ENTRY))
    first = subject.take(0)
    assert first is not None
    assert names(first) == ["d0", "d1"]
    assert subject.take(0) is None
    subject.bucket.answered(first.grant, 0)
    assert subject.wait_ns(0) == SECOND_NS + 1
    assert names(subject.take(SECOND_NS + 1)) == ["d2"]


def test_a_withdrawn_job_is_answered_and_a_taken_one_is_not_withdrawn() -> None:
    subject = lane(batch_max=1)
    first, second = job("a", Rank.ENTRY), job("b", Rank.ENTRY)
    subject.put(first)
    subject.put(second)
    subject.take(0)
    subject.withdraw(first)
    subject.withdraw(second)
    assert first.outcome is None
    assert isinstance(second.outcome, NotSent)
    assert subject.head() is None
    subject.withdraw(second)


def test_the_first_answer_of_a_job_stands() -> None:
    one = job("a", Rank.ENTRY)
    one.finish(NotSent("first"))
    one.finish(Unknown("second"))
    assert one.answer() == NotSent("first")


def test_an_abandoned_lane_answers_everything_that_waits() -> None:
    lanes = Lanes(BYBIT_TRAITS, Decimal("0.2"))
    waiting = job("a", Rank.CANCEL)
    lanes.cancel[InstrumentKind.SPOT].put(waiting)
    assert lanes.wait_ns(0) == 0
    lanes.abandon("over")
    assert waiting.answer() == NotSent("over")
    assert lanes.wait_ns(0) is None


def test_the_bound_counts_windows_and_one_round_trip() -> None:
    assert lower_bound_ns({}, BYBIT_TRAITS, RTT_NS) == 0
    assert lower_bound_ns({LINEAR: 0}, BYBIT_TRAITS, RTT_NS) == 0
    assert lower_bound_ns({LINEAR: 10, SPOT: 20}, BYBIT_TRAITS, RTT_NS) == RTT_NS
    assert lower_bound_ns({LINEAR: 20, SPOT: 20}, BYBIT_TRAITS, RTT_NS) == SECOND_NS + RTT_NS
    assert lower_bound_ns({LINEAR: 21}, BYBIT_TRAITS, RTT_NS) == 2 * SECOND_NS + RTT_NS
    assert lower_bound_ns({LINEAR: 9}, BYBIT_TRAITS, RTT_NS, Decimal("0.2")) == SECOND_NS + RTT_NS


def test_an_operation_without_a_limit_has_no_bound() -> None:
    with pytest.raises(InputError):
        lower_bound_ns({("amend", InstrumentKind.SPOT): 1}, BYBIT_TRAITS, RTT_NS)
