from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.names import PairId
from portfolio.core.proportional import Funding, MoveMargin, entry_allowance, match_swaps
from tests.portfolio.core.trading import D, amounts

OLD, NEW, OTHER = PairId("OLD@bybit"), PairId("NEW@bybit"), PairId("OTHER@bybit")


@st.composite
def margins(draw: st.DrawFn) -> list[MoveMargin]:
    values = draw(st.lists(amounts("0", "1000", places=2), max_size=4))
    return [MoveMargin(PairId(f"{index}"), usd) for index, usd in enumerate(values)]


def test_a_swap_enters_as_far_as_the_old_pair_has_left() -> None:
    funding = match_swaps([MoveMargin(OLD, D(100))], [MoveMargin(NEW, D(100))])[NEW]
    assert entry_allowance(D(10), funding, {}) == 0
    assert entry_allowance(D(10), funding, {OLD: D("0.3")}) == 3
    assert entry_allowance(D(10), funding, {OLD: D(1)}) == 10


def test_growth_beyond_the_exits_waits_for_nothing() -> None:
    funding = match_swaps([MoveMargin(OLD, D(40))], [MoveMargin(NEW, D(100))])[NEW]
    assert funding == Funding(D(100), D(60), (MoveMargin(OLD, D(40)),))
    assert entry_allowance(D(10), funding, {}) == 6


def test_an_entry_without_exits_may_go_whole() -> None:
    funding = match_swaps([], [MoveMargin(NEW, D(100))])[NEW]
    assert entry_allowance(D(10), funding, {}) == 10


def test_an_entry_that_takes_no_margin_waits_for_nothing() -> None:
    funding = match_swaps([MoveMargin(OLD, D(40))], [MoveMargin(NEW, D(0))])[NEW]
    assert entry_allowance(D(10), funding, {}) == 10


def test_two_entries_never_spend_the_same_freed_margin() -> None:
    fundings = match_swaps([MoveMargin(OLD, D(100))], [MoveMargin(NEW, D(70)), MoveMargin(OTHER, D(70))])
    assert fundings[NEW].from_exits == (MoveMargin(OLD, D(30)),)
    assert fundings[OTHER] == Funding(D(70), D(0), (MoveMargin(OLD, D(70)),))


@given(exits=margins(), entries=margins(), data=st.data())
def test_margin_in_use_never_grows_beyond_what_was_approved_at_any_point_of_the_swap(
    exits: list[MoveMargin], entries: list[MoveMargin], data: st.DataObject
) -> None:
    fundings = match_swaps(exits, entries)
    freed = {row.pair_id: data.draw(st.sampled_from([D(0), D("0.25"), D("0.5"), D(1)])) for row in exits}
    growth = max(D(0), sum((row.usd for row in entries), D(0)) - sum((row.usd for row in exits), D(0)))
    given_back = sum((row.usd * freed[row.pair_id] for row in exits), D(0))
    used = sum((row.usd * entry_allowance(D(1), fundings[row.pair_id], freed) for row in entries), start=D(0))
    assert used <= growth + given_back + D("1e-12")
    whole: dict[PairId, Decimal] = {row.pair_id: D(1) for row in exits}
    assert all(entry_allowance(D(7), fundings[row.pair_id], whole) > D("6.999999") for row in entries)
