from dataclasses import replace
from decimal import Decimal

from portfolio.core.guard.freezes import aged, orphan_freeze, stale_freeze, unexplained
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import FreezeWanted, GuardInput, Holding
from portfolio.core.limits import SECOND_NS
from tests.portfolio.core.guard.cases import NOW, D, tick


def holding(
    actual: str | int, explained: str | int, *, unsettled: bool = False, name: str = "SOL"
) -> Holding:
    tolerance = max(D("0.1"), abs(D(explained)) / 100)
    return Holding(name, D(actual), D(explained), tolerance, least=D("0.1"), unsettled=unsettled)


def after_three_seconds(inp: GuardInput) -> FreezeWanted | None:
    state = aged(GuardState(), inp)
    return orphan_freeze(replace(inp, now_wire_ns=NOW + 3 * SECOND_NS), state)


def test_an_input_late_for_three_seconds_freezes_entries_and_is_named() -> None:
    late = tick(stale=("prices", "tables"))
    state = aged(GuardState(), late)
    assert state.stale_since == NOW
    assert stale_freeze(late, state) is None
    later = replace(late, now_wire_ns=NOW + 3 * SECOND_NS)
    assert aged(state, later).stale_since == NOW
    assert stale_freeze(later, state) == FreezeWanted("staleness", "too old: prices, tables", "self")


def test_one_episode_keeps_its_first_reason_and_ends_with_it() -> None:
    state = GuardState(frozen={"staleness": "too old: prices"}, stale_since=NOW)
    freeze = stale_freeze(tick(stale=("account",)), state)
    assert freeze is not None
    assert freeze.reason == "too old: prices"
    assert stale_freeze(tick(), aged(state, tick())) is None


def test_more_than_is_explained_or_the_wrong_side_is_an_orphan_and_less_is_not() -> None:
    for row in (holding(5, 0), holding("5.2", 5), holding(-5, 3), holding("-5.2", -5)):
        assert unexplained(row)
    for row in (holding("5.1", 5), holding(3, 5), holding("-0.1", 5), holding(0, 5)):
        assert not unexplained(row)


def test_drift_that_a_large_leg_may_have_excuses_nothing_on_the_other_side_of_zero() -> None:
    assert not unexplained(holding("500.3", 500))
    assert not unexplained(holding("-0.1", 500))
    assert unexplained(holding("-0.3", 500))
    assert unexplained(holding("0.3", -500))


def test_a_holding_with_an_order_in_flight_is_no_orphan_yet() -> None:
    assert not unexplained(holding(5, 0, unsettled=True))


def test_what_stays_unexplained_for_three_seconds_freezes_entries_and_is_named() -> None:
    inp = tick(holdings=(holding(7, 5),))
    assert orphan_freeze(inp, aged(GuardState(), inp)) is None
    freeze = after_three_seconds(inp)
    assert freeze is not None
    assert freeze.reason == "no pair or treasury entry explains SOL 2"
    assert after_three_seconds(tick(holdings=(holding(5, 5),))) is None


def test_many_orphans_are_named_five_at_a_time() -> None:
    freeze = after_three_seconds(tick(holdings=tuple(holding(7, 5, name=f"C{n}") for n in range(7))))
    assert freeze is not None
    assert freeze.reason.endswith("C4 2 and 2 more")


def test_an_old_account_read_neither_finds_nor_forgets_orphans() -> None:
    old = tick(holdings=(holding(7, 5),), account_age_ns=None)
    assert aged(GuardState(), old).orphan_since == {}
    assert orphan_freeze(old, GuardState()) is None
    standing = orphan_freeze(replace(old, holdings=()), GuardState(frozen={"orphan": "seen before"}))
    assert standing is not None
    assert standing.reason == "seen before"


def test_a_standing_freeze_goes_on_at_once_with_what_is_there_after_a_restart() -> None:
    inp = tick(holdings=(holding(7, 5),))
    state = aged(GuardState(frozen={"orphan": "SOL 2"}), inp)
    assert orphan_freeze(inp, state) is not None
    explained = tick(holdings=(holding(5, 5),))
    assert orphan_freeze(explained, aged(state, explained)) is None


def test_quantities_in_reasons_are_plain_numbers() -> None:
    freeze = after_three_seconds(
        tick(holdings=(Holding("SOL", Decimal("1E-7"), D(0), D(0), D(0), unsettled=False),))
    )
    assert freeze is not None
    assert "0.0000001" in freeze.reason
