"""Weights are the fixed point of the formula, reached from anywhere, and say how closely."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.allocation import AllocationPolicy, softmax_weights, z_scores
from portfolio.core.carry import DAY_NS, Floats, carry_series
from portfolio.core.covariance import daily_returns, ewma_correlation
from portfolio.core.errors import InputError
from tests.portfolio.core.scores import settlements

sizes = st.integers(1, 40)
POLICY = AllocationPolicy()


def random_correlation(rng: np.random.Generator, count: int, common: float) -> Floats:
    """Positive semi-definite; `common` 1 makes all pairs the same."""
    factors = common * rng.normal(size=(1, 60)) + (1 - common) * rng.normal(size=(count, 60))
    return np.atleast_2d(np.corrcoef(factors))


@settings(max_examples=150, deadline=None)
@given(sizes, st.integers(0, 10_000), st.floats(0, 1), st.floats(0.2, 5), st.floats(0, 5))
def test_weights_satisfy_the_formula_they_claim_to_a_billionth(
    count: int, seed: int, common: float, temperature: float, penalty: float
) -> None:
    rng = np.random.default_rng(seed)
    sharpes, stability = rng.normal(2, 2, count), rng.uniform(1, 2, count)
    correlation = random_correlation(rng, count, common)
    policy = AllocationPolicy(temperature, penalty)
    solved = softmax_weights(sharpes, stability, correlation, policy)
    pull = (z_scores(sharpes) - penalty * correlation @ solved.weights) / temperature
    raw = stability * np.exp(pull - pull.max())
    assert np.max(np.abs(solved.weights - raw / raw.sum())) < 1e-9
    assert solved.residual < 1e-9
    assert solved.weights.sum() == pytest.approx(1)
    assert np.all(solved.weights > 0)


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(0, 10_000), st.floats(0.2, 3), st.floats(0, 3))
def test_the_distance_to_the_solution_shrinks_at_least_as_fast_as_the_bound_says(
    count: int, seed: int, temperature: float, penalty: float
) -> None:
    rng = np.random.default_rng(seed)
    policy = AllocationPolicy(temperature, penalty)
    sharpes, stability = rng.normal(2, 2, count), rng.uniform(1, 2, count)
    solved = softmax_weights(sharpes, stability, random_correlation(rng, count, 0.5), policy)
    # A Kullback-Leibler distance of at most log n + the range of the pulls, down to far below the residual.
    start = np.log(count) + 6 / temperature + np.log(2) + penalty / temperature
    shrink = np.log1p(temperature / penalty) if penalty > 0 else np.inf
    assert solved.iterations <= 2 + (start + np.log(1e22)) / shrink


def test_a_correlation_of_one_a_single_pair_and_no_pairs_have_defined_weights() -> None:
    ones = np.ones((4, 4))
    assert np.allclose(softmax_weights(np.ones(4), np.ones(4), ones, POLICY).weights, 0.25)
    ranked = softmax_weights(np.arange(4.0), np.ones(4), ones, POLICY).weights
    assert np.all(np.diff(ranked) > 0)
    assert softmax_weights(np.array([-3.0]), np.ones(1), np.eye(1), POLICY).weights.tolist() == [1.0]
    assert softmax_weights(np.zeros(0), np.zeros(0), np.zeros((0, 0)), POLICY).weights.shape == (0,)


def test_only_differences_of_sharpe_matter_so_negative_ones_are_no_special_case() -> None:
    sharpes = np.array([1.0, 2.0, 4.0])
    up = softmax_weights(sharpes, np.ones(3), np.eye(3), POLICY).weights
    assert softmax_weights(sharpes - 100, np.ones(3), np.eye(3), POLICY).weights == pytest.approx(up)


def test_equal_sharpes_up_to_rounding_have_no_spread() -> None:
    assert not np.any(z_scores(np.array([0.1 + 0.2, 0.3, 0.3])))
    assert np.max(z_scores(np.array([0.0] * 30 + [1.0]))) == 3.0


def test_correlated_pairs_are_penalised_against_an_independent_one() -> None:
    correlation = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    weights = softmax_weights(np.ones(3), np.ones(3), correlation, POLICY).weights
    assert weights[2] > weights[0] == pytest.approx(weights[1])
    ignored = softmax_weights(np.ones(3), np.ones(3), correlation, replace(POLICY, penalty=0.0)).weights
    assert np.allclose(ignored, 1 / 3)


def test_each_part_of_the_formula_can_be_left_out() -> None:
    sharpes, stability = np.array([1.0, 2.0]), np.array([1.0, 2.0])
    flat = AllocationPolicy(temperature=float("inf"))
    assert softmax_weights(sharpes, stability, np.eye(2), flat).weights == pytest.approx([1 / 3, 2 / 3])
    equal = AllocationPolicy(temperature=float("inf"), stability=False)
    assert softmax_weights(sharpes, stability, np.eye(2), equal).weights == pytest.approx([0.5, 0.5])


def test_what_cannot_be_solved_is_an_error_and_not_a_guess() -> None:
    impossible = np.array([[1.0, -9.0], [-9.0, 1.0]])
    with pytest.raises(InputError, match="did not settle"):
        softmax_weights(np.array([1.0, 2.0]), np.ones(2), impossible, AllocationPolicy(1e-4, 1e2))
    with pytest.raises(InputError, match="not finite"):
        softmax_weights(np.array([1.0, np.nan]), np.ones(2), np.eye(2), POLICY)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 25), st.integers(0, 10_000), st.integers(2, 90))
def test_correlation_is_symmetric_positive_definite_with_unit_diagonal(
    count: int, seed: int, days: int
) -> None:
    rng = np.random.default_rng(seed)
    correlation = ewma_correlation(rng.normal(size=(days, 1)) + rng.normal(size=(days, count)) * 0.1)
    assert np.allclose(correlation, correlation.T)
    assert np.allclose(np.diag(correlation), 1)
    assert np.linalg.eigvalsh(correlation).min() > 0


def test_a_series_without_variance_is_uncorrelated_and_short_history_claims_nothing() -> None:
    returns = np.column_stack([np.zeros(50), np.random.default_rng(1).normal(size=50)])
    assert np.allclose(ewma_correlation(returns), np.eye(2))
    assert np.allclose(ewma_correlation(returns[:1]), np.eye(2))


def test_pairs_with_different_intervals_are_compared_day_by_day() -> None:
    fast = carry_series(settlements(["0.0001"] * 60, hours=4), short_perpetual=True)
    slow = carry_series(settlements(["0.0002"] * 30, hours=8), short_perpetual=True)
    daily = daily_returns([fast, slow])
    assert daily.shape[1] == 2
    assert daily[1:-1, 0] == pytest.approx(0.0006)
    assert daily[1:-1, 1] == pytest.approx(0.0006)


def test_pairs_without_a_common_day_have_no_rows() -> None:
    old = carry_series(settlements(["0.0001"] * 6, end_ns=100 * DAY_NS), short_perpetual=True)
    new = carry_series(settlements(["0.0001"] * 6), short_perpetual=True)
    assert daily_returns([old, new]).shape == (0, 2)
    assert daily_returns([]).shape == (0, 0)
