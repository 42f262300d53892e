import pytest

from portfolio.core.guard.forced import forced_reductions
from portfolio.core.guard.values import ActionKind, PairAction, PairFacts, Rule
from portfolio.core.limits import SECOND_NS
from tests.portfolio.core.guard.cases import D, facts, pair_id, tick

SOL = pair_id("SOL")
CUT_TO_60 = (PairAction(SOL, ActionKind.REDUCE, D(60), (Rule.FORCED,)),)


def test_a_perpetual_that_the_venue_cut_takes_the_spot_down_with_it_at_once() -> None:
    assert forced_reductions(tick(facts("SOL", 100, 60, expected=(100, 100)))) == CUT_TO_60


def test_spot_that_the_venue_sold_takes_the_perpetual_down_with_it() -> None:
    assert forced_reductions(tick(facts("SOL", 60, 100, expected=(100, 100)))) == CUT_TO_60


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
    assert forced_reductions(tick(row)) == ()


def test_it_needs_a_fresh_account_and_acts_once() -> None:
    row = facts("SOL", 100, 60, expected=(100, 100))
    assert forced_reductions(tick(row, account_age_ns=4 * SECOND_NS)) == ()
    assert forced_reductions(tick(row, busy=frozenset({SOL}))) == ()
