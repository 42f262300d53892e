from collections.abc import Mapping
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.account import MarginFigures
from portfolio.core.guard.ladder import (
    LadderPlan,
    Rung,
    climb,
    health_measure,
    ranked,
    rungs,
    usage_measure,
)
from portfolio.core.guard.values import PairFacts
from portfolio.core.limits import GuardLimits
from portfolio.core.names import PairId
from tests.portfolio.core.guard.cases import D, book, facts, figures, pair_id, shrinking

HALF = D("0.5")
GOAL = D("0.75")


def plan(pairs: Mapping[PairId, PairFacts], now: MarginFigures, goal: Decimal = GOAL) -> LadderPlan:
    return climb(rungs(pairs, GuardLimits()), shrinking(pairs, now), health_measure, goal, HALF)


def test_pairs_without_a_score_go_first_then_the_lowest_then_by_name() -> None:
    pairs = book(
        facts("BTC", score="2"), facts("SOL", score="1"), facts("ADA", score=None), facts("ETH", score="1")
    )
    assert [row.spec.coin for row in ranked(pairs)] == ["ADA", "ETH", "SOL", "BTC"]


def test_flat_pairs_and_dust_are_not_on_the_ladder() -> None:
    assert ranked(book(facts("SOL", 0), facts("ETH", "0.1"))) == ()


def test_the_lowest_score_is_halved_first_and_the_ladder_stops_at_the_goal() -> None:
    pairs = book(facts("SOL", 100, score="1"), facts("ETH", 100, score="2"), facts("BTC", 100, score="3"))
    # Health 0.7 is an MM rate of 25 %, 0.75 one of 20.83 %: a sixth of the book must go, half of SOL is it.
    result = plan(pairs, figures(25_000))
    assert result.targets == {pair_id("SOL"): 50}
    assert result.reached
    assert result.figures.health_score == D("0.75")


def test_the_ladder_goes_round_again_until_the_goal_is_reached() -> None:
    pairs = book(facts("SOL", 100, score="1"), facts("ETH", 100, score="2"))
    result = plan(pairs, figures(41_600))
    # Half of both leaves 20 800: 0.7504.
    assert result.targets == {pair_id("SOL"): 50, pair_id("ETH"): 50}
    deeper = plan(pairs, figures(50_000))
    assert deeper.targets == {pair_id("SOL"): 25, pair_id("ETH"): 50}


def test_a_rest_under_one_percent_of_the_book_is_closed_fully() -> None:
    pairs = book(facts("SOL", "1.9", score="1"), facts("ETH", 100, score="2"))
    result = plan(pairs, figures(25_100))
    assert result.targets[pair_id("SOL")] == 0


def test_a_rest_under_five_minimum_orders_is_closed_fully() -> None:
    pairs = book(facts("SOL", "0.4", tolerance="0.01"))
    result = plan(pairs, figures(25_100))
    # Half of it is 20 USD, five times the minimum order is 25 USD.
    assert result.targets == {pair_id("SOL"): 0}


def test_a_pair_without_a_price_is_closed_whole() -> None:
    assert rungs(book(facts("SOL", 7, price=None)), GuardLimits()) == (Rung(pair_id("SOL"), D(7), D(7)),)


def test_steps_that_do_not_raise_simulated_health_are_skipped() -> None:
    pairs = book(facts("SOL", 100, score="1"), facts("ETH", 100, score="2"))

    def only_eth_helps(targets: Mapping[PairId, Decimal]) -> MarginFigures:
        return figures(30_000 if targets.get(pair_id("ETH"), D(100)) == 100 else 10_000)

    result = climb(rungs(pairs, GuardLimits()), only_eth_helps, health_measure, GOAL, HALF)
    assert result.targets == {pair_id("ETH"): 50}


def test_a_ladder_that_nothing_helps_cuts_nothing_and_says_so() -> None:
    pairs = book(facts("SOL"))
    result = climb(rungs(pairs, GuardLimits()), lambda _: figures(30_000), health_measure, GOAL, HALF)
    assert (result.targets, result.reached) == ({}, False)


def test_without_equity_every_cut_counts_as_help() -> None:
    pairs = book(facts("SOL", 100), facts("ETH", 100))
    result = climb(rungs(pairs, GuardLimits()), lambda _: figures(1, ecv=-5), health_measure, GOAL, HALF)
    assert set(result.targets.values()) == {0}
    assert not result.reached


def test_a_cut_that_would_wipe_out_equity_is_no_help() -> None:
    pairs = book(facts("SOL", 100))

    def worse(targets: Mapping[PairId, Decimal]) -> MarginFigures:
        return figures(30_000, ecv=-1 if targets else 100_000)

    assert climb(rungs(pairs, GuardLimits()), worse, health_measure, GOAL, HALF).targets == {}


def test_steps_count_on_an_account_whose_health_is_clamped_at_zero() -> None:
    pairs = book(facts("SOL", 100), facts("ETH", 100))
    assert plan(pairs, figures(95_000)).reached


def test_usage_is_measured_downwards_and_has_no_value_without_equity() -> None:
    assert usage_measure(figures(1, im=60_000)) == D("-0.6")
    assert usage_measure(figures(1, ecv=0)) is None


def test_targets_decided_before_stay_in_the_plan() -> None:
    pairs = book(facts("SOL", 100, score="1"), facts("ETH", 100, score="2"))
    result = climb(
        rungs(pairs, GuardLimits()),
        shrinking(pairs, figures(1, im=100_000)),
        usage_measure,
        D("-0.6"),
        HALF,
        {pair_id("SOL"): D(50)},
    )
    assert result.targets == {pair_id("SOL"): 25, pair_id("ETH"): 50}


sizes = st.decimals(min_value="0.2", max_value=10_000, places=2)
scores = st.one_of(st.none(), st.integers(0, 5).map(str))
books = st.lists(st.tuples(sizes, scores), min_size=1, max_size=8).map(
    lambda rows: book(*(facts(f"C{n}", str(size), score=score) for n, (size, score) in enumerate(rows)))
)


@given(books, st.integers(0, 200_000))
def test_a_ladder_reaches_its_goal_or_closes_everything_and_no_leg_ever_grows(
    pairs: dict[PairId, PairFacts], mm: int
) -> None:
    result = plan(pairs, figures(mm))
    assert result.reached or all(result.targets.get(key) == 0 for key in pairs)
    assert all(0 <= target < pairs[key].larger for key, target in result.targets.items())


@given(books, st.integers(20_834, 200_000))
def test_without_its_last_step_a_ladder_would_miss_its_goal(pairs: dict[PairId, PairFacts], mm: int) -> None:
    now = figures(mm)
    trials: list[dict[PairId, Decimal]] = []
    simulate = shrinking(pairs, now)

    def watched(targets: Mapping[PairId, Decimal]) -> MarginFigures:
        trials.append(dict(targets))
        return simulate(targets)

    result = climb(rungs(pairs, GuardLimits()), watched, health_measure, GOAL, HALF)
    assert trials[-1] == result.targets
    # Every step before the last was simulated and was not enough.
    assert all(simulate(trial).health_score < GOAL for trial in trials[:-1])
