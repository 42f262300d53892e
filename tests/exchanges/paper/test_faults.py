from collections import Counter
from decimal import Decimal

from exchanges.paper.config import HOUR_NS
from exchanges.paper.faults import NO_FAULTS, FaultPlan, NoticeFault, RequestFault, seeded_plan
from tests.exchanges.paper.venues import venue


def test_the_empty_plan_has_no_faults() -> None:
    assert not any(
        NO_FAULTS.request(n) or NO_FAULTS.notice(n) or NO_FAULTS.read_fails(n) for n in range(1000)
    )


def test_a_plan_says_the_same_every_time_and_another_seed_says_something_else() -> None:
    instruments = venue().instruments()
    one, same, other = (seeded_plan(seed, instruments, HOUR_NS) for seed in (1, 1, 2))
    assert one == same
    assert [one.request(n) for n in range(500)] == [same.request(n) for n in range(500)]
    assert [one.request(n) for n in range(500)] != [other.request(n) for n in range(500)]


def test_faults_come_about_as_often_as_planned_and_every_kind_comes() -> None:
    plan = seeded_plan(1, venue().instruments(), HOUR_NS)
    seen = Counter(plan.request(number) for number in range(10_000))
    for fault, share in plan.requests.items():
        assert 0.6 < seen[fault] / 10_000 / float(share) < 1.4
    assert set(RequestFault) <= set(seen)
    assert set(NoticeFault) <= {plan.notice(number) for number in range(1000)}


def test_explicit_faults_come_before_drawn_ones() -> None:
    plan = FaultPlan(requests={RequestFault.REJECT: Decimal(1)}, explicit={2: RequestFault.LOST_ANSWER})
    assert [plan.request(number) for number in (1, 2, 3)] == [
        RequestFault.REJECT,
        RequestFault.LOST_ANSWER,
        RequestFault.REJECT,
    ]


def test_planned_commands_lie_inside_the_day_in_order() -> None:
    plan = seeded_plan(9, venue().instruments(), HOUR_NS)
    times = [at for at, _ in plan.commands]
    assert times == sorted(times)
    assert all(0 <= at <= HOUR_NS + 20 * 10**9 for at in times)
