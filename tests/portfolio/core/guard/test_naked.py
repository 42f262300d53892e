from dataclasses import replace

import pytest

from portfolio.core.guard.margin_gap import Basis
from portfolio.core.guard.naked import naked_legs, watched
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import ActionKind, GuardInput, PairAction, PairFacts, Rule
from portfolio.core.limits import SECOND_NS
from tests.portfolio.core.guard.cases import NOW, D, facts, figures, pair_id, tick

SOL = pair_id("SOL")
SINCE = GuardState(naked_since={SOL: NOW - 5 * SECOND_NS})
HEALTHY = Basis("ours", figures(10_000), None)


def acted(
    row: PairFacts, *, state: GuardState = SINCE, source: Basis = HEALTHY, **changes: object
) -> tuple[PairAction, ...]:
    return naked_legs(tick(row, state=state, **changes), state, source)  # type: ignore[arg-type]


def hedge(quantity: int) -> tuple[PairAction, ...]:
    return (PairAction(SOL, ActionKind.HEDGE, D(quantity), (Rule.NAKED_LEG,)),)


def unwind(quantity: int) -> tuple[PairAction, ...]:
    return (PairAction(SOL, ActionKind.REDUCE, D(quantity), (Rule.NAKED_LEG,)),)


def test_net_delta_beyond_tolerance_starts_a_clock_that_runs_on() -> None:
    inp = tick(facts("SOL", 100, "99.8"))
    state = watched(GuardState(), inp)
    assert state.naked_since == {SOL: NOW}
    later = replace(inp, now_wire_ns=NOW + SECOND_NS)
    assert watched(state, later).naked_since == {SOL: NOW}


def test_net_delta_within_tolerance_is_no_naked_leg_and_clears_clock_and_attempts() -> None:
    state = replace(SINCE, naked_attempts={SOL: 2})
    cleared = watched(state, tick(facts("SOL", 100, "99.9")))
    assert (cleared.naked_since, cleared.naked_attempts) == ({}, {})


def test_attempts_are_kept_while_the_leg_is_naked() -> None:
    state = replace(SINCE, naked_attempts={SOL: 2})
    assert watched(state, tick(facts("SOL", 100, 50))).naked_attempts == {SOL: 2}


def test_an_old_account_read_neither_starts_nor_clears_the_clock_nor_acts() -> None:
    inp = tick(facts("SOL", 100, 50), account_age_ns=4 * SECOND_NS)
    assert watched(SINCE, inp) is SINCE
    assert naked_legs(inp, SINCE, HEALTHY) == ()


def test_a_leg_is_left_to_its_engine_for_five_seconds() -> None:
    young = GuardState(naked_since={SOL: NOW - 5 * SECOND_NS + 1})
    assert acted(facts("SOL", 100, 50), state=young) == ()
    assert acted(facts("SOL", 100, 50)) != ()


def test_a_pair_whose_orders_are_on_their_way_is_left_alone() -> None:
    assert acted(facts("SOL", 100, 50), busy=frozenset({SOL})) == ()


def test_an_entry_at_work_is_hedged_and_an_exit_at_work_is_completed() -> None:
    assert acted(facts("SOL", 50, 100, wanted="200")) == hedge(100)
    assert acted(facts("SOL", 100, 50, wanted="0")) == unwind(50)


def test_without_an_operation_the_cheaper_leg_is_traded() -> None:
    # Taking the perpetual costs 5.5 bps here and the spot 10 bps.
    assert acted(facts("SOL", 100, 50)) == hedge(100)
    assert acted(facts("SOL", 50, 100)) == unwind(50)


def test_on_equal_cost_the_book_gets_smaller() -> None:
    assert acted(facts("SOL", 100, 50, long_cost="0.001", short_cost="0.001")) == unwind(50)


def test_a_hedge_that_was_tried_in_vain_is_unwound() -> None:
    assert acted(
        facts("SOL", 50, 100, wanted="200"), state=replace(SINCE, naked_attempts={SOL: 1})
    ) == unwind(50)


@pytest.mark.parametrize(
    "changes",
    [
        {"stale": ("prices",)},
        {"stale": ("funding", "account")},
        {"source": Basis("ours", figures(25_003), None)},
        {"source": Basis("ours", figures(1, im=65_001), None)},
        {"source": Basis("ours", figures(0, ecv=0), None)},
        {"source": Basis("none", None, None)},
    ],
)
def test_a_hedge_adds_a_position_so_stale_data_or_thin_margin_unwinds_instead(
    changes: dict[str, object],
) -> None:
    assert acted(facts("SOL", 50, 100, wanted="200"), **changes) == unwind(50)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "row",
    [
        facts("SOL", 50, 100, wanted="200", unknown=True),
        facts("SOL", 50, 100, wanted="200", long_cost=None),
        facts("SOL", 100, 50, wanted="200", short_cost=None),
        facts("SOL", 100, 50, long_cost=None),
    ],
)
def test_what_cannot_be_hedged_is_unwound(row: PairFacts) -> None:
    assert acted(row) == unwind(50)


def test_late_funding_and_borrow_rates_do_not_turn_a_hedge_into_an_unwind() -> None:
    assert acted(facts("SOL", 50, 100, wanted="200"), stale=("funding", "borrow")) == hedge(100)


def test_an_account_without_usage_is_never_hedged() -> None:
    # Health 1 with no equity cannot happen; usage None alone must be enough to say no.
    odd: GuardInput = tick(facts("SOL", 50, 100, wanted="200"))
    thin = Basis("venue", figures(0, ecv=0), None)
    assert naked_legs(odd, SINCE, thin) == unwind(50)
