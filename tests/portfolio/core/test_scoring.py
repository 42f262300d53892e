"""QualityScore ranks what pays steadily above what pays now; its parts are bounded and reported."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.carry import DAY_NS, carry_series
from portfolio.core.errors import MissingDataError
from portfolio.core.names import PairId
from portfolio.core.scoring import PairFacts, PairScore, ewma_volatility, expected_holding_days, score
from tests.portfolio.core.scores import settlements

NOW = 400 * DAY_NS
FACTS = PairFacts(predicted_apr=None, borrow_apr=0.0, staking_apr=0.0, basis_bps=0.0)
PAIR = PairId("SOL@bybit")


def scored(rates: list[str], facts: PairFacts = FACTS, basis: list[str] | None = None) -> PairScore:
    series = carry_series(settlements(rates, basis=basis), short_perpetual=True)
    return score(PAIR, series, facts, NOW)


def test_a_constant_rate_is_a_mature_stable_regime() -> None:
    row = scored(["0.0001"] * 120)
    assert row.net_carry_apr == pytest.approx(0.1095, rel=1e-6)
    assert row.share_positive == 1.0
    assert row.regime_age_days == pytest.approx(119 / 3)
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
    assert scored(["-0.0001"] * 60 + ["0.0002"] * 60).regime_age_days == pytest.approx(20, abs=1)


def test_a_known_prediction_moves_maturity_and_an_unknown_one_is_left_out() -> None:
    high = PairFacts(predicted_apr=0.3, borrow_apr=0.0, staking_apr=0.0, basis_bps=0.0)
    low = PairFacts(predicted_apr=-0.3, borrow_apr=0.0, staking_apr=0.0, basis_bps=0.0)
    rates = ["0.0001"] * 120
    assert scored(rates, low).maturity_part < scored(rates).maturity_part < scored(rates, high).maturity_part


def test_a_deep_discount_lowers_maturity() -> None:
    discount = PairFacts(predicted_apr=None, borrow_apr=0.0, staking_apr=0.0, basis_bps=-60.0)
    assert scored(["0.0001"] * 120, discount).maturity_part < scored(["0.0001"] * 120).maturity_part


def test_missing_history_is_an_error_not_a_low_score() -> None:
    with pytest.raises(MissingDataError, match="30 days"):
        scored(["0.0001"] * 20)


def test_expected_holding_is_the_mean_length_of_paying_runs() -> None:
    rates = (["0.0001"] * 9 + ["-0.0001"] * 3) * 10
    series = carry_series(settlements(rates), short_perpetual=True)
    assert expected_holding_days(series) == pytest.approx(3.0)
    never = carry_series(settlements(["-0.0001"] * 12), short_perpetual=True)
    assert expected_holding_days(never) == pytest.approx(1 / 3)


def test_all_zero_rates_score_zero_without_dividing_by_zero() -> None:
    row = scored(["0"] * 120)
    assert row.quality == 0.0
    assert row.sharpe == 0.0


def test_alternating_around_zero_is_as_unsteady_as_it_gets() -> None:
    assert scored(["0.0001", "-0.0001"] * 60).risk_part < 0.01


def test_volatility_weighs_the_newest_most() -> None:
    calm_then_wild = carry_series(
        settlements(["0"] * 200, basis=["0"] * 190 + ["0", "0.01"] * 5),
        short_perpetual=True,
    )
    wild_then_calm = carry_series(
        settlements(["0"] * 200, basis=["0", "0.01"] * 5 + ["0"] * 190),
        short_perpetual=True,
    )
    assert ewma_volatility(calm_then_wild.returns) > 2 * ewma_volatility(wild_then_calm.returns)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-300, 300), min_size=95, max_size=130), st.floats(-50, 50), st.floats(0, 0.3))
def test_every_part_is_bounded(rates: list[int], basis_bps: float, borrow: float) -> None:
    facts = PairFacts(predicted_apr=None, borrow_apr=borrow, staking_apr=0.0, basis_bps=basis_bps)
    row = scored([f"{r}e-5" for r in rates], facts)
    assert 0 <= row.yield_part <= 1
    assert 0 < row.risk_part <= 1
    assert 0 < row.maturity_part <= 1.5
    assert 1 <= row.stability <= 2
    assert row.quality >= 0


def test_an_unknown_staking_yield_is_not_counted_on() -> None:
    unknown = PairFacts(predicted_apr=None, borrow_apr=0.05, staking_apr=None, basis_bps=0.0)
    assert scored(["0.0001"] * 120, unknown).net_carry_apr == pytest.approx(0.1095 - 0.05)
