from dataclasses import replace
from decimal import Decimal

from portfolio.core.guard.freezes import aged, orphan_freeze, orphans, stale_freeze
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import Holding
from portfolio.core.limits import SECOND_NS
from tests.portfolio.core.guard.cases import NOW, D, tick


def holding(
    actual: str | int, explained: str | int, *, unsettled: bool = False, name: str = "SOL"
) -> Holding:
    return Holding(name, D(actual), D(explained), D("0.1"), unsettled)


def test_a_stale_input_freezes_entries_and_names_what_is_late() -> None:
    freeze = stale_freeze(tick(stale=("prices", "tables")), GuardState())
    assert freeze is not None
    assert (freeze.source, freeze.reason, freeze.lifted_by) == (
        "staleness",
        "too old: prices, tables",
        "self",
    )


def test_one_episode_keeps_its_first_reason() -> None:
    state = GuardState(frozen={"staleness": "too old: prices"})
    freeze = stale_freeze(tick(stale=("account",)), state)
    assert freeze is not None
    assert freeze.reason == "too old: prices"


def test_the_freeze_ends_after_three_fresh_seconds() -> None:
    state = aged(GuardState(frozen={"staleness": "x"}), tick(stale=("prices",)))
    assert state.stale_at == NOW
    assert aged(state, tick()) is state
    assert stale_freeze(tick(now_wire_ns=NOW + 3 * SECOND_NS - 1), state) is not None
    assert stale_freeze(tick(now_wire_ns=NOW + 3 * SECOND_NS), state) is None


def test_fresh_inputs_freeze_nothing() -> None:
    assert stale_freeze(tick(), GuardState()) is None
    assert stale_freeze(tick(), GuardState(stale_at=NOW)) is None
    assert stale_freeze(tick(), GuardState(frozen={"staleness": "from before a restart"})) is None


def test_more_than_is_explained_or_the_wrong_side_is_an_orphan_and_less_is_not() -> None:
    assert orphans((holding(5, 0), holding("5.2", 5), holding(-5, 3), holding("-5.2", -5))) != ()
    assert len(orphans((holding(5, 0), holding("5.2", 5), holding(-5, 3), holding("-5.2", -5)))) == 4
    assert orphans((holding("5.1", 5), holding(3, 5), holding("-0.1", 5), holding(0, 5))) == ()


def test_a_holding_with_an_order_in_flight_is_no_orphan_yet() -> None:
    assert orphans((holding(5, 0, unsettled=True),)) == ()


def test_an_orphan_freezes_entries_and_says_how_much_is_unexplained() -> None:
    freeze = orphan_freeze(tick(holdings=(holding(7, 5),)), GuardState())
    assert freeze is not None
    assert freeze.reason == "no pair or treasury entry explains SOL 2"
    assert orphan_freeze(tick(holdings=(holding(5, 5),)), GuardState()) is None


def test_many_orphans_are_named_five_at_a_time() -> None:
    rows = tuple(holding(7, 5, name=f"C{n}") for n in range(7))
    freeze = orphan_freeze(tick(holdings=rows), GuardState())
    assert freeze is not None
    assert freeze.reason.endswith("C4 2 and 2 more")


def test_an_old_account_read_neither_finds_nor_forgets_orphans() -> None:
    old = tick(holdings=(holding(7, 5),), account_age_ns=None)
    assert orphan_freeze(old, GuardState()) is None
    standing = orphan_freeze(replace(old, holdings=()), GuardState(frozen={"orphan": "seen before"}))
    assert standing is not None
    assert standing.reason == "seen before"


def test_quantities_in_reasons_are_plain_numbers() -> None:
    freeze = orphan_freeze(tick(holdings=(holding("0.0000001", 0),)), GuardState())
    assert freeze is None
    tiny = Holding("SOL", Decimal("1E-7"), Decimal(0), Decimal(0), unsettled=False)
    freeze = orphan_freeze(tick(holdings=(tiny,)), GuardState())
    assert freeze is not None
    assert "0.0000001" in freeze.reason
