"""DCC(1,1): as pymgarch estimates it, positive definite whatever comes, and online what the path says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.carry import Floats
from portfolio.core.correlation_target import AVERAGE_MAX, SHRINKAGE_MIN, correlation_target
from portfolio.core.dcc import IDENTITY_WEIGHT, Dcc, correlation_path, fit_dcc, log_likelihood
from portfolio.core.garch import fit_garch
from tests.portfolio.core import risk_golden
from tests.portfolio.core.risk_golden import BPS


def fitted(residuals: Floats) -> Dcc:
    fit = fit_dcc(residuals)
    assert isinstance(fit, Dcc)
    return fit


def moving(seed: int, steps: int, count: int, a: float = 0.05, b: float = 0.9) -> Floats:
    """Residuals of a DCC with a constant target of 0.4."""
    rng = np.random.default_rng(seed)
    target = np.full((count, count), 0.4) + 0.6 * np.eye(count)
    q, out = target.copy(), np.zeros((steps, count))
    for step in range(steps):
        spread = np.sqrt(np.diag(q))
        out[step] = np.linalg.cholesky(q / np.outer(spread, spread)) @ rng.normal(size=count)
        q = (1 - a - b) * target + a * np.outer(out[step], out[step]) + b * q
    return out


def test_ten_real_series_agree_with_pymgarch() -> None:
    returns, golden = risk_golden.returns(), risk_golden.recorded()
    garch = fit_garch(returns)
    fit = fitted(garch.residuals)
    volatility = (returns - garch.garch.mu) / garch.residuals * BPS
    path = correlation_path(fit, garch.residuals)
    joint = log_likelihood(path, garch.residuals) - np.sum(np.log(volatility))
    same, full = golden["all"], golden["full"]
    # The same estimator on all pairs: what is left is our shrunk target and a few bounded residuals.
    assert fit.a == pytest.approx(same["a"], abs=5e-4)
    assert fit.b == pytest.approx(same["b"], abs=2e-3)
    assert joint == pytest.approx(same["log_likelihood"], abs=5.0)
    assert np.max(np.abs(fit.correlation() - same["correlation"])) < 0.02
    # The full likelihood is another estimator.
    assert abs(joint - full["log_likelihood"]) < 0.005 * abs(full["log_likelihood"])
    assert np.max(np.abs(fit.correlation() - full["correlation"])) < 0.15


def test_parameters_of_simulated_residuals_are_found_again() -> None:
    fit = fitted(moving(2, 6000, 4))
    assert fit.a == pytest.approx(0.05, abs=0.015)
    assert fit.b == pytest.approx(0.9, abs=0.04)
    assert fit.target.average == pytest.approx(0.4, abs=0.05)


def test_residuals_whose_correlation_never_moves_get_hardly_any_dynamics() -> None:
    fit = fitted(np.random.default_rng(4).normal(size=(1500, 5)))
    assert fit.a < 0.02
    assert np.max(np.abs(fit.correlation() - np.eye(5))) < 0.2


def test_the_online_recursion_is_the_path() -> None:
    residuals = moving(3, 500, 5)
    fit = fitted(residuals)
    path = correlation_path(fit, residuals)
    state = Dcc(fit.a, fit.b, fit.target, fit.target.matrix, fit.pairs, fit.log_likelihood)
    for row, expected in zip(residuals, path, strict=True):
        assert np.allclose(state.correlation(), expected, atol=2 * IDENTITY_WEIGHT)
        state = state.advance(row)
    assert np.allclose(state.correlation(), fit.correlation(), atol=1e-4)


def test_without_gaps_the_likelihood_is_the_textbooks() -> None:
    residuals = moving(9, 3, 2)
    matrices = np.array([[[1.0, r], [r, 1.0]] for r in (0.1, -0.5, 0.8)])
    expected = sum(
        -np.log(2 * np.pi) - 0.5 * np.log(np.linalg.det(m)) - 0.5 * e @ np.linalg.inv(m) @ e
        for m, e in zip(matrices, residuals, strict=True)
    )
    assert log_likelihood(matrices, residuals) == pytest.approx(expected)


def test_one_print_moves_correlations_no_more_than_ten_standard_deviations_do() -> None:
    fit = fitted(moving(6, 400, 3))
    print_, ten = np.array([0.5, 4000.0, -3000.0]), np.array([0.5, 10.0, -10.0])
    assert np.array_equal(fit.advance(print_).q, fit.advance(ten).q)


def test_an_absent_residual_enters_by_its_expectation_and_an_empty_row_not_at_all() -> None:
    fit = fitted(moving(6, 400, 3))
    assert fit.advance(np.full(3, np.nan)) is fit
    row = np.array([1.5, np.nan, -0.5])
    after, correlation = fit.advance(row), fit.correlation()
    weights = np.linalg.solve(correlation[np.ix_([0, 2], [0, 2])], correlation[[0, 2], 1])
    guess = weights @ row[[0, 2]]
    filled = np.array([1.5, guess, -0.5])
    product = np.outer(filled, filled)
    product[1, 1] += 1.0 - weights @ correlation[[0, 2], 1]
    expected = (1 - fit.a - fit.b) * fit.target.matrix + fit.a * product + fit.b * fit.q
    assert np.allclose(after.q, expected)


def test_pairs_that_start_and_end_midway_are_compared_on_the_days_that_both_have() -> None:
    residuals = moving(7, 1200, 6)
    residuals[:500, 0] = np.nan
    residuals[900:, 1] = np.nan
    residuals[::7, 2] = np.nan
    gappy, whole = fitted(residuals), fitted(moving(7, 1200, 6))
    assert gappy.a == pytest.approx(whole.a, abs=0.03)
    assert gappy.b == pytest.approx(whole.b, abs=0.06)
    assert np.max(np.abs(gappy.target.matrix - whole.target.matrix)) < 0.1


def test_one_series_needs_no_fit_and_too_little_in_common_gives_a_reason() -> None:
    assert fitted(moving(1, 50, 2)[:, :1]).correlation().tolist() == [[1.0]]
    apart = moving(1, 600, 2)
    apart[:300, 0] = np.nan
    apart[320:, 1] = np.nan
    assert fit_dcc(apart) == "no two pairs share 250 observations"


def test_of_many_series_the_likelihood_takes_the_nearest_pairs() -> None:
    fit = fitted(moving(8, 300, 20))
    assert fit.pairs == 120


def test_a_search_that_does_not_settle_gives_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portfolio.core.ascent.TOLERANCE", 0.0)  # never close enough
    assert fit_dcc(moving(8, 300, 3)) == "the likelihood search of the correlation did not settle"


def test_an_unknown_correlation_is_the_average_of_the_known() -> None:
    residuals = moving(5, 900, 4)
    residuals[:, 3] = np.nan
    target = correlation_target(residuals)
    assert np.allclose(target.matrix[3, :3], target.average)
    assert 0.2 < target.average < 0.6
    nothing = correlation_target(np.full((10, 2), np.nan))
    assert np.allclose(nothing.matrix, np.eye(2))


def test_the_target_of_few_observations_is_shrunk_more() -> None:
    residuals = moving(5, 2000, 6)
    few, many = correlation_target(residuals[:60]), correlation_target(residuals)
    assert SHRINKAGE_MIN <= many.shrinkage < few.shrinkage <= 1.0


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(2, 12),
    st.sampled_from(["one", "minus one", "more than observations", "huge", "gaps", "independent"]),
)
def test_every_forecast_is_a_positive_definite_correlation(seed: int, count: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    residuals = rng.normal(size=(260, count))
    if kind in ("one", "minus one"):
        residuals[:] = residuals[:, :1]
        residuals[:, ::2] *= 1.0 if kind == "one" else -1.0
    if kind == "more than observations":
        residuals[:-count] = np.nan
        residuals[:, :2] = rng.normal(size=(260, 2))
    if kind == "huge":
        residuals *= 10.0 ** rng.integers(-3, 6, size=(260, 1))
    if kind == "gaps":
        residuals[rng.random(residuals.shape) < 0.005] = np.nan
    fit = fit_dcc(residuals)
    if isinstance(fit, str):
        return
    assert fit.a >= 0
    assert fit.b >= 0
    assert fit.a + fit.b < 1
    assert fit.target.average <= AVERAGE_MAX
    for row in (np.full(count, 1e4), np.where(np.arange(count) == 0, np.nan, 3.0), -residuals[0]):
        fit = fit.advance(row)
        correlation = fit.correlation()
        assert np.linalg.eigvalsh(correlation)[0] >= IDENTITY_WEIGHT / 2
        assert np.all(np.abs(correlation) <= 1.0)
        assert np.allclose(np.diag(correlation), 1.0)
        assert np.array_equal(correlation, correlation.T)
