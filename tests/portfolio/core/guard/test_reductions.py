from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.account import MarginFigures
from portfolio.core.guard.margin_gap import Basis, basis
from portfolio.core.guard.reductions import Reduction, must_flatten, reduce, sources_agree
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import GuardInput, PriceCheck, Rule
from portfolio.core.limits import SECOND_NS
from tests.portfolio.core.guard.cases import D, facts, figures, pair_id, shrinking, tick

ROWS = (facts("SOL", 100, score="1"), facts("ETH", 100, score="2"), facts("BTC", 100, score="3"))
AGREEING = (PriceCheck("SOL", D(100), D(101), SECOND_NS),)


def at(now: MarginFigures, **changes: object) -> tuple[GuardInput, Basis]:
    inp = tick(*ROWS, ours=now, **changes)  # type: ignore[arg-type]
    return inp, basis(inp, GuardState(), shrinking(inp.pairs, now))


@pytest.mark.parametrize(("mm", "score"), [("16666.67", "0.8"), ("25000", "0.7"), ("41666.67", "0.5")])
def test_bybit_mm_rates_of_the_design_give_its_health_scores(mm: str, score: str) -> None:
    assert figures(mm).health_score.quantize(D("0.0001")) == D(score)


def test_at_health_of_exactly_seven_tenths_nothing_is_cut() -> None:
    assert reduce(*at(figures(25_000))) == Reduction()


def test_just_below_seven_tenths_the_whole_ladder_to_three_quarters_is_one_plan() -> None:
    result = reduce(*at(figures(25_003)))
    assert result.planned is not None
    assert result.planned.health_score >= D("0.75")
    assert [(row.pair_id, row.to_quantity) for row in result.actions] == [
        (pair_id("SOL"), D(50)),
        (pair_id("ETH"), D(50)),
    ]
    assert {row.rules for row in result.actions} == {(Rule.HEALTH,)}


def test_no_second_ladder_starts_while_one_is_on_its_way() -> None:
    assert reduce(*at(figures(30_000), ladder_out=True)) == Reduction()


def test_nobody_to_trust_means_no_reduction() -> None:
    inp, _ = at(figures(60_000))
    assert reduce(inp, Basis("none", None, None)) == Reduction()


def test_usage_of_sixty_five_percent_is_left_alone_and_more_goes_down_to_sixty() -> None:
    assert reduce(*at(figures(1, im=65_000))) == Reduction()
    result = reduce(*at(figures(1, im=65_001)))
    assert result.planned is not None
    assert result.planned.margin_usage is not None
    assert result.planned.margin_usage <= D("0.6")
    assert [(row.pair_id, row.to_quantity, row.rules) for row in result.actions] == [
        (pair_id("SOL"), D(50), (Rule.USAGE,))
    ]


def test_the_usage_ladder_goes_on_from_where_the_health_ladder_ends() -> None:
    result = reduce(*at(figures(25_003, im=90_000)))
    assert [(row.pair_id, row.to_quantity, row.rules) for row in result.actions] == [
        (pair_id("SOL"), D(50), (Rule.HEALTH,)),
        (pair_id("ETH"), D(50), (Rule.HEALTH,)),
    ]
    heavier = reduce(*at(figures(25_003, im=100_000)))
    assert [row.rules for row in heavier.actions] == [(Rule.HEALTH, Rule.USAGE), (Rule.HEALTH,)]
    heaviest = reduce(*at(figures(25_003, im=125_000)))
    assert heaviest.actions[2].rules == (Rule.USAGE,)


def test_below_one_half_everything_exits_in_rank_order_even_while_a_ladder_is_out() -> None:
    result = reduce(*at(figures(41_667), ladder_out=True))
    assert [(row.pair_id, row.to_quantity) for row in result.actions] == [
        (pair_id("SOL"), D(0)),
        (pair_id("ETH"), D(0)),
        (pair_id("BTC"), D(0)),
    ]
    assert {row.rules for row in result.actions} == {(Rule.FLATTEN,)}
    assert result.planned is not None
    assert result.planned.maintenance_margin == 0


def test_without_a_fresh_venue_figure_flatten_needs_two_price_sources_that_agree() -> None:
    low, old = figures(60_000), 4 * SECOND_NS
    assert must_flatten(*at(low))
    assert not must_flatten(*at(low, venue_age_ns=old))
    assert must_flatten(*at(low, venue_age_ns=old, price_checks=AGREEING))
    assert not must_flatten(*at(figures(41_666)))


def test_an_unconfirmed_collapse_still_runs_the_ladder() -> None:
    result = reduce(*at(figures(60_000), venue_age_ns=4 * SECOND_NS))
    assert {row.rules for row in result.actions} == {(Rule.HEALTH,)}
    assert result.planned is not None
    assert result.planned.health_score >= D("0.75")


@pytest.mark.parametrize(
    "check",
    [
        PriceCheck("SOL", D(100), D("103.01"), SECOND_NS),
        PriceCheck("SOL", None, D(100), SECOND_NS),
        PriceCheck("SOL", D(100), None, SECOND_NS),
        PriceCheck("SOL", D(100), D(100), None),
        PriceCheck("SOL", D(100), D(100), 2 * SECOND_NS + 1),
    ],
)
def test_a_price_confirms_nothing_when_it_is_missing_old_or_three_percent_off(check: PriceCheck) -> None:
    assert not sources_agree((*AGREEING, check), 2 * SECOND_NS)


def test_no_price_at_all_confirms_nothing() -> None:
    assert not sources_agree((), SECOND_NS)
    assert sources_agree(AGREEING, SECOND_NS)


def test_a_flat_account_without_equity_has_nothing_to_cut() -> None:
    now = figures(0, ecv=-1)
    inp = tick(ours=now)
    assert reduce(inp, basis(inp, GuardState(), shrinking({}, now))).actions == ()


def test_flatten_works_when_only_the_figures_are_known() -> None:
    inp, chosen = at(figures(60_000))
    result = reduce(inp, replace(chosen, simulate=None))
    assert len(result.actions) == 3
    assert result.planned is None


@given(st.integers(0, 25_000), st.integers(0, 65_000))
def test_nothing_is_ever_cut_above_the_lines(mm: int, im: int) -> None:
    assert reduce(*at(figures(mm, im=im))) == Reduction()


@given(st.integers(25_001, 41_666), st.integers(0, 200_000))
def test_below_a_line_the_plan_brings_the_account_behind_both(mm: int, im: int) -> None:
    planned = reduce(*at(figures(mm, im=im))).planned
    assert planned is not None
    assert planned.health_score >= D("0.75")
    assert planned.margin_usage is not None
    assert planned.margin_usage <= D("0.65")


def test_decimal_scores_never_become_floats() -> None:
    result = reduce(*at(figures(30_000)))
    assert all(isinstance(row.to_quantity, Decimal) for row in result.actions)
