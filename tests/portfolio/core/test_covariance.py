"""Exponentially weighted moments: day by day what they are at once, and no claim without data."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.carry import Floats
from portfolio.core.covariance import (
    HALFLIFE_DAYS,
    RESIDUALS_MIN,
    SHRINKAGE,
    EwmaMoments,
    ewma_correlation,
    ewma_moments,
    ewma_residuals,
    nearest_correlation,
)


def gappy(seed: int, days: int, pairs: int, share: float) -> Floats:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(days, pairs)) * 1e-3
    rows[rng.random(rows.shape) < share] = np.nan
    return rows


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.sampled_from([0.0, 0.2, 0.9]))
def test_day_by_day_gives_what_all_days_at_once_give(seed: int, pairs: int, share: float) -> None:
    rows = gappy(seed, 90, pairs, share)
    whole = ewma_moments(rows)
    state, residuals = ewma_moments(rows[:0]), []
    for row in rows:
        residuals.append(state.residuals(row))
        state = state.advance(row)
    assert np.allclose(state.products, whole.products, rtol=1e-10, atol=1e-20)
    assert np.allclose(state.variances(), whole.variances(), rtol=1e-10, equal_nan=True)
    assert np.allclose(ewma_residuals(rows), residuals, rtol=1e-9, equal_nan=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(0, 40), st.sampled_from([0.0, 0.3, 0.95]))
def test_correlation_is_positive_definite_with_any_gaps(
    seed: int, pairs: int, days: int, share: float
) -> None:
    correlation = ewma_correlation(gappy(seed, days, pairs, share))
    assert np.linalg.eigvalsh(correlation)[0] > SHRINKAGE / 2
    assert np.allclose(np.diag(correlation), 1.0)


def test_weights_halve_in_a_half_life() -> None:
    rows = np.zeros((int(HALFLIFE_DAYS) + 1, 1))
    rows[0], rows[-1] = 2.0, 1.0
    moments = ewma_moments(rows)
    assert np.allclose(moments.products, 4.0 * 0.5 + 1.0)


def test_volatility_is_unknown_below_two_days_and_divides_nothing_below_thirty() -> None:
    rows = np.full((RESIDUALS_MIN + 1, 2), 1e-3)
    rows[1:, 1] = np.nan
    assert np.isnan(ewma_moments(rows).variances()).tolist() == [False, True]
    found = ewma_residuals(rows)
    assert np.isnan(found[:RESIDUALS_MIN]).all()
    assert np.allclose(found[RESIDUALS_MIN], [1.0, np.nan], equal_nan=True)


def test_a_pair_that_never_moved_has_no_residuals() -> None:
    rows = np.zeros((60, 1))
    assert np.isnan(ewma_residuals(rows)).all()
    moments = ewma_moments(rows)
    assert moments.variances()[0] == 0.0
    assert np.isnan(moments.residuals(np.array([1e-3]))[0])


def test_an_impossible_matrix_becomes_the_nearest_possible_and_a_possible_one_stays() -> None:
    impossible = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    near = nearest_correlation(impossible)
    assert np.linalg.eigvalsh(near)[0] > 0
    assert np.all(np.sign(near) == np.sign(impossible))
    assert nearest_correlation(np.eye(3)) is not None
    assert np.array_equal(nearest_correlation(np.eye(3)), np.eye(3))


def test_moments_are_values() -> None:
    moments = ewma_moments(np.ones((3, 2)))
    assert isinstance(moments.advance(np.zeros(2)), EwmaMoments)
    assert moments.counts.tolist() == [3, 3]
