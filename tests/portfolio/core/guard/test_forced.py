import pytest

from portfolio.core.guard.forced import forced_reductions, noticed, was_cut
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import ActionKind, PairAction, PairFacts, Rule
from portfolio.core.limits import SECOND_NS
from portfolio.guard_memory import READ_EVERY_NS, READ_GAP_NS
from tests.portfolio.core.guard.cases import NOW, D, facts, pair_id, tick

SOL = pair_id("SOL")
CUT_TO_60 = (PairAction(SOL, ActionKind.REDUCE, D(60), (Rule.FORCED,)),)
SEEN = GuardState(forced_since={SOL: NOW - 2 * SECOND_NS})


@pytest.mark.parametrize(
    "row", [facts("SOL", 100, 60, expected=(100, 100)), facts("SOL", 60, 100, expected=(100, 100))]
)
def test_a_leg_that_the_venue_cut_takes_the_other_one_down_with_it(row: PairFacts) -> None:
    assert forced_reductions(tick(row), SEEN) == CUT_TO_60


def test_it_must_stay_unexplained_for_longer_than_the_journal_goes_unread() -> None:
    row = facts("SOL", 100, 60, expected=(100, 100))
    state = noticed(GuardState(), tick(row))
    assert state.forced_since == {SOL: NOW}
    assert forced_reductions(tick(row), state) == ()
    unread = READ_EVERY_NS + READ_GAP_NS
    assert forced_reductions(tick(row, now_wire_ns=NOW + unread), state) == ()
    later = tick(row, now_wire_ns=NOW + 2 * SECOND_NS)
    assert noticed(state, later).forced_since == {SOL: NOW}
    assert forced_reductions(later, state) == CUT_TO_60
    assert noticed(state, tick(facts("SOL", 100, 100, expected=(100, 100)))).forced_since == {}


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
