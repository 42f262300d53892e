"""QualityScore ranks what pays steadily above what pays now; its parts are bounded and reported."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.carry import DAY_NS, CarrySeries, carry_series
from portfolio.core.names import PairId
from portfolio.core.panel import carry_panel
from portfolio.core.scoring import PairFacts, PairScore, score_universe
from tests.portfolio.core.scores import settlements

NOW = 400 * DAY_NS
FACTS = PairFacts(predicted_apr=None, borrow_apr=0.0, staking_apr=0.0, basis_bps=0.0)
PAIR = PairId("SOL@bybit")


def score(series: CarrySeries, facts: PairFacts = FACTS, *, daily: float = 0.001) -> PairScore | None:
    scores = score_universe(carry_panel([series], NOW, 90), [facts], np.array([daily]))
    return scores.rows([PAIR])[0]


def scored(rates: list[str], facts: PairFacts = FACTS, *, daily: float = 0.001) -> PairScore:
    row = score(carry_series(settlements(rates), short_perpetual=True), facts, daily=daily)
    assert row is not None
    return row


def test_a_constant_rate_is_a_mature_stable_regime() -> None:
    row = scored(["0.0001"] * 120)
    assert row.net_carry_apr == pytest.approx(0.1095, rel=1e-6)
    assert row.share_positive == 1.0
    assert row.regime_age_days == pytest.approx(119 / 3)  # what the first settlement paid for is unknown
    assert row.stability == pytest.approx(2.0, abs=0.01)


def test_carry_that_does_not_pay_after_borrowing_scores_zero() -> None:
    costly = PairFacts(predicted_apr=None, borrow_apr=0.2, staking_apr=0.0, basis_bps=0.0)
    assert scored(["0.0001"] * 120, costly).quality == 0.0


def test_staking_yield_counts_against_the_borrow_cost() -> None:
    staked = PairFacts(predicted_apr=None, borrow_apr=0.05, staking_apr=0.03, basis_bps=0.0)
    assert scored(["0.0001"] * 120, staked).net_carry_apr == pytest.approx(0.1095 - 0.02)


def test_a_steady_payer_ranks_above_an_erratic_one_with_the_same_mean() -> None:
    steady = scored(["0.0001"] * 120)
    erratic = scored(["0.0004", "-0.0002"] * 60)
    assert erratic.apr_30d == pytest.approx(steady.apr_30d, rel=0.05)
    assert steady.quality > erratic.quality
    assert steady.sharpe > erratic.sharpe


def test_one_negative_print_does_not_end_a_regime() -> None:
    row = scored(["0.0001"] * 100 + ["-0.00005"] + ["0.0001"] * 19)
    assert row.regime_age_days > 30


def test_a_regime_that_turned_negative_has_no_age_and_a_fresh_one_is_young() -> None:
    assert scored(["0.0001"] * 100 + ["-0.0001"] * 20).regime_age_days == 0.0
    assert scored(["-0.0001"] * 60 + ["0.0002"] * 60).regime_age_days == pytest.approx(20, abs=2)


def test_a_known_prediction_moves_maturity_and_an_unknown_one_is_left_out() -> None:
    high = PairFacts(predicted_apr=0.3, borrow_apr=0.0, staking_apr=0.0, basis_bps=0.0)
    low = PairFacts(predicted_apr=-0.3, borrow_apr=0.0, staking_apr=0.0, basis_bps=0.0)
    rates = ["0.0001"] * 120
    assert scored(rates, low).maturity_part < scored(rates).maturity_part < scored(rates, high).maturity_part


def test_a_deep_discount_lowers_maturity() -> None:
    discount = PairFacts(predicted_apr=None, borrow_apr=0.0, staking_apr=0.0, basis_bps=-60.0)
    assert scored(["0.0001"] * 120, discount).maturity_part < scored(["0.0001"] * 120).maturity_part


def test_missing_history_gives_no_score_and_not_a_low_one() -> None:
    assert score(carry_series(settlements(["0.0001"] * 20), short_perpetual=True)) is None
    whole = carry_series(settlements(["0.0001"] * 120), short_perpetual=True)
    assert score(whole, daily=float("nan")) is None
    stopped = carry_series(settlements(["0.0001"] * 120, end_ns=NOW - 5 * DAY_NS), short_perpetual=True)
    assert score(stopped) is None


def test_all_zero_rates_score_zero_without_dividing_by_zero() -> None:
    row = scored(["0"] * 120)
    assert row.quality == 0.0
    assert row.sharpe == 0.0


def test_alternating_around_zero_is_as_unsteady_as_it_gets() -> None:
    assert scored(["0.0001", "-0.0001"] * 60).risk_part < 0.01


def test_a_volatile_pair_carries_more_risk_and_has_a_lower_sharpe() -> None:
    calm, wild = scored(["0.0001"] * 120, daily=0.0005), scored(["0.0001"] * 120, daily=0.01)
    assert calm.risk_part > wild.risk_part
    assert calm.sharpe == pytest.approx(20 * wild.sharpe)
    still = scored(["0.0001"] * 120, daily=0.0)
    assert np.isfinite(still.sharpe)


def test_sharpe_shrinks_the_mean_of_few_days_and_is_net_of_borrowing() -> None:
    days = 119 / 3
    row = scored(["0.0001"] * 120, PairFacts(None, borrow_apr=0.03, staking_apr=0.0, basis_bps=None))
    assert row.sharpe == pytest.approx((0.1095 * days / (days + 10) - 0.03) / (0.001 * 365**0.5))
    assert row.history_days == pytest.approx(days)


def test_what_only_leverage_costs_lowers_quality_and_not_what_the_pair_itself_earns() -> None:
    costly = scored(["0.0001"] * 120, PairFacts(None, 0.03, 0.0, None))
    levered = scored(["0.0001"] * 120, PairFacts(None, 0.03, 0.0, None, leverage_apr=0.03))
    free = scored(["0.0001"] * 120, PairFacts(None, 0.0, 0.0, None))
    assert levered.net_carry_apr == costly.net_carry_apr < free.net_carry_apr
    assert levered.sharpe == free.sharpe > costly.sharpe
    assert levered.quality == free.quality > costly.quality
    assert levered.expected_gain == free.expected_gain > costly.expected_gain


def test_carry_reverts_to_a_slow_mean_of_both_windows_once_they_are_known() -> None:
    old, new = ["0.0003"] * 360, ["0.0001"] * 180
    long = score_universe(
        carry_panel([carry_series(settlements(old + new), short_perpetual=True)], NOW, 180),
        [FACTS],
        np.array([0.001]),
    )
    mean = (0.1095 + (0.1095 * 180 + 0.3285 * 360) / 540) / 2
    shrunk = mean * (180 - 1 / 3) / (190 - 1 / 3)
    assert long.column("sharpe")[0] == pytest.approx(shrunk / (0.001 * 365**0.5), rel=1e-3)


def test_a_quarter_that_is_half_known_stands_for_itself_and_else_the_month_does() -> None:
    long = scored(["0.0003"] * 180 + ["0.0001"] * 90)
    assert long.apr_90d == pytest.approx((0.3285 * 179 + 0.1095 * 90) / 269, rel=1e-3)
    assert scored(["0.0003"] * 40 + ["0.0001"] * 90).apr_90d == pytest.approx(0.1095)


def test_the_forecast_of_a_month_lies_between_today_and_the_slow_mean() -> None:
    row = scored(["0.0001"] * 267 + ["0.0005"] * 3)
    assert 0.0985 < row.forecast_apr < row.apr_1d / 2


def test_what_a_spike_promises_decays_and_what_is_steady_stays() -> None:
    steady = scored(["0.0001"] * 270)
    spike = scored(["0.0001"] * 267 + ["0.001"] * 3)
    assert steady.expected_gain == pytest.approx(0.0003 * 90 / 100 * steady.holding_days, rel=0.1)
    assert spike.apr_1d == pytest.approx(10 * steady.apr_1d)
    assert steady.expected_gain < spike.expected_gain < 1.5 * steady.expected_gain


@pytest.mark.parametrize("hours", [1, 2, 4, 8])
def test_the_interval_of_a_symbol_changes_nothing_in_its_score(hours: int) -> None:
    per_day = 24 // hours
    rows = settlements([f"{0.0003 / per_day:.9f}"] * (40 * per_day), hours=hours)
    row = score(carry_series(rows, short_perpetual=True))
    eight = scored(["0.0001"] * 120)
    assert row is not None
    assert row.apr_30d == pytest.approx(eight.apr_30d)
    assert row.quality == pytest.approx(eight.quality, rel=0.01)
    assert row.holding_days == pytest.approx(eight.holding_days, rel=0.01)


def test_kept_positions_raise_maturity_and_churned_ones_lower_it() -> None:
    def maturity(ratio: float | None) -> float:
        facts = PairFacts(None, 0.0, 0.0, 0.0, open_interest_to_volume=ratio)
        return scored(["0.0001"] * 120, facts).maturity_part

    assert maturity(0.01) < maturity(None) < maturity(3.0)


def test_factors_of_unknown_inputs_are_reported_as_unknown() -> None:
    row = scored(["0.0001"] * 120, PairFacts(None, 0.0, 0.0, None))
    assert row.basis_factor is None
    assert row.predicted_factor is None
    assert row.open_interest_factor is None
    assert row.maturity_part == pytest.approx(row.regime_factor * row.momentum_factor)


def test_many_pairs_at_once_score_as_each_alone() -> None:
    draw = np.random.default_rng(3)
    rates = [[f"{rate}e-5" for rate in draw.integers(-10, 30, count)] for count in (95, 120, 200, 270)]
    series = [carry_series(settlements(row), short_perpetual=True) for row in rates]
    names = [PairId(f"P{number}") for number in range(len(rates))]
    together = score_universe(carry_panel(series, NOW, 90), [FACTS] * len(rates), np.full(len(rates), 0.001))
    for row, alone in zip(together.rows(names), (scored(row) for row in rates), strict=True):
        assert row is not None
        assert row.quality == pytest.approx(alone.quality)
        assert row.expected_gain == pytest.approx(alone.expected_gain)
        assert row.regime_age_days == alone.regime_age_days
    assert together.column("quality").shape == (len(rates),)


def test_no_pairs_have_no_scores() -> None:
    assert score_universe(carry_panel([], NOW, 90), [], np.zeros(0)).rows([]) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-300, 300), min_size=95, max_size=130), st.floats(-50, 50), st.floats(0, 5))
def test_every_part_is_bounded(rates: list[int], basis_bps: float, other: float) -> None:
    facts = PairFacts(other - 2, borrow_apr=other / 10, staking_apr=0.0, basis_bps=basis_bps)
    row = scored([f"{r}e-5" for r in rates], facts, daily=other)
    assert 0 <= row.yield_part <= 1
    assert 0 < row.risk_part <= 1
    assert 0 < row.maturity_part <= 1.5
    assert 1 <= row.stability <= 2
    assert row.quality >= 0
    assert 0 < row.steadiness <= 1
    assert 1 / 3 <= row.holding_days <= 90
    assert np.isfinite(row.sharpe)
    assert np.isfinite(row.expected_gain)


def test_an_unknown_staking_yield_is_not_counted_on() -> None:
    unknown = PairFacts(predicted_apr=None, borrow_apr=0.05, staking_apr=None, basis_bps=0.0)
    assert scored(["0.0001"] * 120, unknown).net_carry_apr == pytest.approx(0.1095 - 0.05)
