from decimal import Decimal

from hypothesis import given

from portfolio.core.increments import Increments, LegProgress
from portfolio.core.reconcile import Course, capped, planned, remaining
from tests.portfolio.core.trading import D, amounts


def progress(done: str | Decimal, reserved: str = "0", back: str = "0") -> LegProgress:
    return LegProgress(D(done), D(reserved), D(back))


def increments(plan: str, lead: LegProgress) -> Increments:
    return Increments(D(plan), lead, progress("0"))


def test_an_entry_plans_the_distance_to_its_target() -> None:
    course = Course(D(10), D(25))
    assert course.entering
    assert not course.closing
    assert planned(course, D(0), D(99), D(1)) == 15


def test_a_closing_move_takes_the_dust_of_its_lead_along_within_the_tolerance() -> None:
    course = Course(D("99.9"), D(0))
    assert planned(course, D(0), D(100), D("0.5")) == 100
    assert planned(course, D(40), D(60), D("0.5")) == 100
    assert planned(course, D(100), D(100), D("0.5")) == D("100.4")
    assert planned(course, D(0), D(50), D("0.5")) == D("99.9")


def test_what_is_left_counts_working_orders_as_done() -> None:
    course = Course(D(0), D(100))
    assert remaining(course, D(40), increments("100", progress("40", reserved="25"))) == 35


def test_a_late_position_cannot_make_an_entry_repeat_itself() -> None:
    assert remaining(Course(D(0), D(100)), D(0), increments("100", progress("100"))) == 0


def test_somebody_elses_trade_lessens_what_is_left() -> None:
    assert remaining(Course(D(0), D(100)), D(80), increments("100", progress("40"))) == 20
    assert remaining(Course(D(100), D(0)), D(30), increments("100", progress("40"))) == 30


def test_an_order_that_takes_back_is_counted_as_if_it_filled() -> None:
    assert remaining(Course(D(0), D(100)), D(90), increments("100", progress("90", back="10"))) == 10


@given(start=amounts(), end=amounts(), live=amounts(), lead_done=amounts())
def test_what_is_left_never_passes_the_plan_or_the_target(
    start: Decimal, end: Decimal, live: Decimal, lead_done: Decimal
) -> None:
    course = Course(start, end)
    left = remaining(course, live, Increments(course.distance, progress(lead_done), progress("0")))
    assert 0 <= left <= max(D(0), course.distance - lead_done)
    if left > 0:
        assert live + left <= end if course.entering else live - left >= end


def test_capping_leaves_no_more_room_than_asked_for() -> None:
    cut = capped(increments("100", progress("40", reserved="10")), D(5))
    assert cut.lead_room == 5
    assert capped(cut, D(500)).lead_room == 5
