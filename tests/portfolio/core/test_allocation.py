"""Weights are the fixed point of the formula; caps hold and their cut weight is redistributed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.allocation import PENALTY, TEMPERATURE, cap_weights, softmax_weights, z_scores
from portfolio.core.carry import DAY_NS, Floats, carry_series
from portfolio.core.covariance import daily_returns, ewma_correlation
from tests.portfolio.core.scores import settlements

sizes = st.integers(1, 25)


def random_correlation(rng: np.random.Generator, count: int) -> Floats:
    return ewma_correlation(rng.normal(size=(60, count)))


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(0, 10_000))
def test_weights_satisfy_the_formula_they_claim(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sharpes, stability = rng.normal(2, 2, count), rng.uniform(1, 2, count)
    correlation = random_correlation(rng, count)
    weights = softmax_weights(sharpes, stability, correlation)
    raw = stability * np.exp((z_scores(sharpes) - PENALTY * correlation @ weights) / TEMPERATURE)
    assert np.allclose(weights, raw / raw.sum(), atol=1e-9)
    assert weights.sum() == pytest.approx(1)


def test_equal_pairs_get_equal_weights_and_no_pairs_get_none() -> None:
    assert np.allclose(softmax_weights(np.ones(4), np.ones(4), np.eye(4)), 0.25)
    assert softmax_weights(np.zeros(0), np.zeros(0), np.zeros((0, 0))).shape == (0,)


def test_correlated_pairs_are_penalised_against_an_independent_one() -> None:
    correlation = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    weights = softmax_weights(np.ones(3), np.ones(3), correlation)
    assert weights[2] > weights[0] == pytest.approx(weights[1])


@settings(max_examples=100, deadline=None)
@given(sizes, st.integers(0, 10_000), st.floats(0.01, 1.0))
def test_caps_hold_and_nothing_is_lost_while_any_pair_has_room(count: int, seed: int, cap: float) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(count))
    caps = np.full(count, cap) * rng.uniform(0.5, 1, count)
    out = cap_weights(weights, caps)
    assert np.all(out.weights <= caps + 1e-12)
    assert np.all(out.weights >= 0)
    assert out.weights.sum() + out.unplaced == pytest.approx(1)
    if out.unplaced > 1e-9:
        assert np.allclose(out.weights, caps)
        assert all(out.capped)


def test_without_a_binding_cap_weights_pass_unchanged() -> None:
    out = cap_weights(np.array([0.5, 0.5]), np.array([1.0, 1.0]))
    assert out.weights.tolist() == [0.5, 0.5]
    assert out.capped == (False, False)


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
