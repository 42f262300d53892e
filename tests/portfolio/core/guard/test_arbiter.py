from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.account import MarginFigures
from portfolio.core.guard.arbiter import acknowledged, decide, merge, planned_health
from portfolio.core.guard.state import GuardState, from_text, to_text
from portfolio.core.guard.values import (
    ActionKind,
    GuardDecision,
    GuardInput,
    Holding,
    PairAction,
    PairFacts,
    Rule,
    Word,
)
from portfolio.core.limits import MINUTE_NS, SECOND_NS
from portfolio.core.names import Coin
from tests.portfolio.core.guard.cases import NOW, D, book, facts, figures, pair_id, shrinking, tick

SOL, ETH = pair_id("SOL"), pair_id("ETH")


def decided(
    *rows: PairFacts, now: MarginFigures | None = None, state: GuardState | None = None, **changes: object
) -> GuardDecision:
    inp = tick(*rows, ours=now, state=state, **changes)  # type: ignore[arg-type]
    return answer(inp)


def answer(inp: GuardInput) -> GuardDecision:
    assert inp.ours is not None
    return decide(inp, shrinking(inp.pairs, inp.ours))


def test_a_healthy_account_is_left_alone() -> None:
    result = decided(facts("SOL"))
    assert result.word is Word.OK
    assert (result.actions, result.freeze, result.thaw, result.cancel_entries) == ((), (), (), False)
    assert result.basis == "ours"
    assert planned_health(result) == D("0.88")


def test_a_ladder_takes_its_pairs_cools_their_coins_and_cancels_entries() -> None:
    result = decided(facts("SOL", score="1"), facts("ETH", score="2"), now=figures(27_000))
    assert result.word is Word.REDUCING
    assert result.cancel_entries
    assert result.state.held == {SOL: "ranking_reduction"}
    assert result.state.cooldown_until == {Coin("SOL"): NOW + 60 * MINUTE_NS}
    assert result.state.reductions == {SOL: 1}
    assert result.state.operations == 1
    assert planned_health(result) == D("0.757")


def test_deciding_again_while_the_orders_are_on_their_way_does_nothing_twice() -> None:
    first = decided(facts("SOL"), now=figures(27_000))
    again = decided(
        facts("SOL"), now=figures(27_000), state=first.state, busy=frozenset({SOL}), ladder_out=True
    )
    assert again.actions == ()
    assert again.word is Word.REDUCING
    assert again.state.operations == 1


def test_naked_legs_come_before_ladders_and_forced_cuts_after_them() -> None:
    rows = (
        facts("SOL", 200, score="1"),
        facts("ETH", 100, 50, score="3"),
        facts("BTC", 100, 60, score="4", expected=(100, 100)),
    )
    state = GuardState(naked_since={ETH: NOW - 6 * SECOND_NS}, forced_since={pair_id("BTC"): NOW - SECOND_NS})
    result = decided(*rows, now=figures(26_000), state=state)
    assert [row.pair_id for row in result.actions] == [ETH, SOL, pair_id("BTC")]
    assert [row.rules for row in result.actions] == [(Rule.NAKED_LEG,), (Rule.HEALTH,), (Rule.FORCED,)]


def test_actions_on_one_pair_merge_to_the_largest_cut() -> None:
    pairs = book(facts("SOL", 100, 60))
    half = PairAction(SOL, ActionKind.REDUCE, D(50), (Rule.HEALTH,))
    whole = PairAction(SOL, ActionKind.REDUCE, D(60), (Rule.FORCED,))
    assert merge((half, whole), pairs) == (
        PairAction(SOL, ActionKind.REDUCE, D(50), (Rule.HEALTH, Rule.FORCED)),
    )
    assert merge((half, half), pairs) == (half,)
    assert merge((half,), pairs, frozenset({SOL})) == ()


def test_a_cut_wins_over_a_hedge_and_takes_the_naked_part_along() -> None:
    pairs = book(facts("SOL", 100, 60))
    hedge = PairAction(SOL, ActionKind.HEDGE, D(100), (Rule.NAKED_LEG,))
    cut = PairAction(SOL, ActionKind.REDUCE, D(80), (Rule.USAGE,))
    merged = PairAction(SOL, ActionKind.REDUCE, D(60), (Rule.NAKED_LEG, Rule.USAGE))
    assert merge((hedge, cut), pairs) == (merged,)


def test_an_unwound_leg_counts_as_a_reduction_and_a_hedged_one_does_not() -> None:
    state = GuardState(naked_since={SOL: NOW - 6 * SECOND_NS})
    hedged = decided(facts("SOL", 50, 100, wanted="200"), state=state)
    assert hedged.actions[0].kind is ActionKind.HEDGE
    assert (hedged.state.reductions, hedged.state.cooldown_until) == ({}, {})
    assert (hedged.state.naked_attempts, hedged.state.held) == ({SOL: 1}, {SOL: "naked_leg"})
    second = decided(facts("SOL", 50, 100, wanted="200"), state=hedged.state)
    assert second.actions[0].kind is ActionKind.REDUCE
    assert second.state.reductions == {SOL: 1}


def test_rounds_of_one_ladder_count_once_and_a_later_reduction_again() -> None:
    first = decided(facts("SOL"), now=figures(27_000)).state
    soon = decided(facts("SOL"), now=figures(27_000), state=first, now_wire_ns=NOW + 59 * SECOND_NS).state
    assert soon.reductions == {SOL: 1}
    later = decided(facts("SOL"), now=figures(27_000), state=soon, now_wire_ns=NOW + 60 * SECOND_NS).state
    assert later.reductions == {SOL: 2}
    assert later.operations == 3


def test_cooldowns_end_by_themselves() -> None:
    state = GuardState(cooldown_until={Coin("SOL"): NOW, Coin("ETH"): NOW + 1})
    assert decided(state=state).state.cooldown_until == {Coin("ETH"): NOW + 1}


def test_a_held_pair_is_given_back_when_a_fresh_account_shows_it_whole() -> None:
    held = GuardState(held={SOL: "naked_leg"}, naked_since={SOL: NOW})
    assert decided(facts("SOL", 100, 50), state=held).released == ()
    assert decided(facts("SOL"), state=held, busy=frozenset({SOL})).released == ()
    assert decided(facts("SOL"), state=held, account_age_ns=None).released == ()
    result = decided(facts("SOL"), state=held)
    assert result.released == (SOL,)
    assert result.state.held == {}


def test_a_pair_that_is_cut_further_is_not_given_back() -> None:
    result = decided(facts("SOL"), now=figures(27_000), state=GuardState(held={SOL: "ranking_reduction"}))
    assert result.released == ()
    assert result.state.held == {SOL: "ranking_reduction"}


def test_freezes_start_once_and_end_when_their_reason_does() -> None:
    blip = decided(stale=("prices",))
    assert (blip.freeze, blip.word, blip.cancel_entries) == ((), Word.FROZEN, True)
    late = decided(stale=("prices",), state=blip.state, now_wire_ns=NOW + 3 * SECOND_NS)
    assert [row.source for row in late.freeze] == ["staleness"]
    later = decided(stale=("prices",), state=late.state, now_wire_ns=NOW + 4 * SECOND_NS)
    assert (later.freeze, later.thaw) == ((), ())
    over = decided(state=later.state, now_wire_ns=NOW + 5 * SECOND_NS)
    assert (over.freeze, over.thaw, over.word) == ((), ("staleness",), Word.OK)


def test_an_orphan_freezes_and_leaves_the_position_to_the_operator() -> None:
    found = (Holding("bybit:linear:XRPUSDT", D(50), D(0), D(1), D(1), unsettled=False),)
    state = GuardState(orphan_since={"bybit:linear:XRPUSDT": NOW - 3 * SECOND_NS})
    result = decided(holdings=found, state=state)
    assert [row.source for row in result.freeze] == ["orphan"]
    assert result.actions == ()


def test_a_halt_cancels_entries_and_leaves_reductions_alive() -> None:
    calm = decided(facts("SOL"), halted=True)
    assert (calm.word, calm.cancel_entries, calm.actions) == (Word.HALTED, True, ())
    assert decided(facts("SOL"), now=figures(27_000), halted=True).actions != ()


def test_stale_data_stops_entries_but_not_the_ladder() -> None:
    result = decided(facts("SOL"), now=figures(27_000), stale=("prices", "account"), account_age_ns=None)
    assert result.actions != ()


def test_a_collapse_flattens_everything_but_what_is_on_its_way() -> None:
    rows = (facts("SOL", score="1"), facts("ETH", score="2"))
    result = decided(*rows, now=figures(60_000), busy=frozenset({SOL}), ladder_out=True)
    assert result.word is Word.FLATTENING
    assert [(row.pair_id, row.to_quantity) for row in result.actions] == [(ETH, D(0))]


def test_an_account_flattened_to_dust_is_not_flattening_any_more() -> None:
    dust = facts("SOL", "0.05", "0.05")
    result = decided(dust, now=figures(60_000))
    assert (result.word, result.actions) == (Word.OK, ())


def test_a_drawdown_freezes_and_winds_down_one_pair_after_the_other() -> None:
    rows = (facts("SOL", score="1"), facts("ETH", score="2"))
    state = GuardState(peak_equity=D(200_000), drawdown_since=NOW - 2 * MINUTE_NS)
    first = decided(*rows, state=state)
    assert [row.source for row in first.freeze] == ["drawdown"]
    assert [(row.pair_id, row.rules) for row in first.actions] == [(SOL, (Rule.DRAWDOWN,))]
    waiting = decided(*rows, state=first.state, busy=frozenset({SOL}), ladder_out=True)
    assert waiting.actions == ()


def test_a_bug_of_ours_does_not_sell_the_book() -> None:
    wrong = tick(facts("SOL"), ours=figures(70_000), venue=figures(10_000), venue_is_new=True)
    result = answer(wrong)
    assert (result.basis, result.actions) == ("venue", ())
    blind = answer(replace(wrong, venue_age_ns=4 * SECOND_NS))
    assert (blind.basis, blind.actions) == ("none", ())
    assert planned_health(blind) is None


def test_the_operator_acknowledges_pairs_and_the_drawdown() -> None:
    state = GuardState(
        peak_equity=D(200_000),
        reductions={SOL: 2, ETH: 1},
        reduced_at={SOL: 1, ETH: 2},
        frozen={"drawdown": "x", "orphan": "y"},
    )
    one = acknowledged(state, [SOL])
    assert (one.reductions, one.reduced_at, one.frozen) == ({ETH: 1}, {ETH: 2}, state.frozen)
    everything = acknowledged(state)
    assert (everything.reductions, everything.peak_equity) == ({}, None)
    assert everything.frozen == {"orphan": "y"}
    assert acknowledged(GuardState(peak_equity=D(1))).peak_equity == 1


legs = st.tuples(st.integers(0, 1000), st.integers(0, 1000), st.sampled_from([None, "0", "1", "2"]))


@given(st.lists(legs, max_size=6), st.integers(0, 150_000), st.integers(0, 150_000), st.booleans())
def test_no_decision_ever_grows_a_pair_beyond_its_larger_leg_or_names_one_twice(
    sizes: list[tuple[int, int, str | None]], mm: int, im: int, late: bool
) -> None:
    rows = [facts(f"C{n}", long, short, score=score) for n, (long, short, score) in enumerate(sizes)]
    state = GuardState(naked_since={row.spec.pair_id: NOW - 9 * SECOND_NS for row in rows} if late else {})
    result = decided(*rows, now=figures(mm, im=im), state=state)
    assert len({row.pair_id for row in result.actions}) == len(result.actions)
    for action in result.actions:
        larger = {row.spec.pair_id: row.larger for row in rows}[action.pair_id]
        assert 0 <= action.to_quantity <= larger
        assert action.kind is ActionKind.HEDGE or action.to_quantity < larger
    assert from_text(to_text(result.state)) == result.state


@given(st.integers(0, 25_000), st.integers(0, 65_000))
def test_above_all_lines_a_hedged_book_is_never_touched(mm: int, im: int) -> None:
    assert decided(facts("SOL"), facts("ETH"), now=figures(mm, im=im)).actions == ()
