import pytest

from portfolio.core.guard.forced import forced_reductions, noticed, was_cut
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import ActionKind, PairAction, PairFacts, Rule
from portfolio.core.limits import SECOND_NS
from tests.portfolio.core.guard.cases import NOW, D, facts, pair_id, tick

SOL = pair_id("SOL")
CUT_TO_60 = (PairAction(SOL, ActionKind.REDUCE, D(60), (Rule.FORCED,)),)
SEEN = GuardState(forced_since={SOL: NOW - SECOND_NS})


@pytest.mark.parametrize(
    "row", [facts("SOL", 100, 60, expected=(100, 100)), facts("SOL", 60, 100, expected=(100, 100))]
)
def test_a_leg_that_the_venue_cut_takes_the_other_one_down_with_it(row: PairFacts) -> None:
    assert forced_reductions(tick(row), SEEN) == CUT_TO_60


def test_it_must_stay_unexplained_for_longer_than_streams_are_apart() -> None:
    row = facts("SOL", 100, 60, expected=(100, 100))
    state = noticed(GuardState(), tick(row))
    assert state.forced_since == {SOL: NOW}
    assert forced_reductions(tick(row), state) == ()
    later = tick(row, now_wire_ns=NOW + SECOND_NS)
    assert noticed(state, later).forced_since == {SOL: NOW}
    assert forced_reductions(later, state) == CUT_TO_60
    assert noticed(state, tick(facts("SOL", 100, 100, expected=(100, 100)))).forced_since == {}


@pytest.mark.parametrize("read_wire_ns", [None, NOW - SECOND_NS, NOW, NOW + SECOND_NS - 1])
def test_what_the_journal_said_before_never_counts_however_late_it_answers(read_wire_ns: int | None) -> None:
    row = facts("SOL", 100, 60, expected=(100, 100))
    state = noticed(GuardState(), tick(row))
    hour = tick(row, now_wire_ns=NOW + 3600 * SECOND_NS, journal_read_wire_ns=read_wire_ns)
    assert forced_reductions(hour, state) == ()


@pytest.mark.parametrize(
    "row",
    [
        facts("SOL", 100, 60),
        facts("SOL", 100, 60, expected=(100, 60)),
        facts("SOL", 100, 60, expected=(100, "60.1")),
        facts("SOL", 100, 60, expected=(100, 100), unsettled=True),
        facts("SOL", 100, 60, expected=(100, 100), unknown=True),
        facts("SOL", 60, 60, expected=(100, 100)),
        facts("SOL", 100, 0, expected=(100, -5)),
    ],
)
def test_what_our_fills_explain_or_may_still_explain_is_not_forced(row: PairFacts) -> None:
    assert not was_cut(row)
    assert noticed(SEEN, tick(row)).forced_since == {}


def test_it_needs_a_fresh_account() -> None:
    old = tick(facts("SOL", 100, 60, expected=(100, 100)), account_age_ns=4 * SECOND_NS)
    assert forced_reductions(old, SEEN) == ()
    assert noticed(SEEN, old) is SEEN
