"""One entry for risk: the next observation from the past alone, and what had to fall back on EWMA."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.carry_panel import thirty_pairs
from portfolio.core.carry import Floats
from portfolio.core.dcc import fit_dcc
from portfolio.core.errors import InputError
from portfolio.core.forecast import ASKED_FOR, Method, RiskState, advance, forecast, forecast_risk, refit
from portfolio.core.garch import fit_garch


def made(seed: int, days: int, pairs: int) -> Floats:
    rng = np.random.default_rng(seed)
    swing = np.exp(0.5 * np.sin(np.arange(days) / 25.0))[:, None]
    return (rng.normal(size=(days, 1)) + rng.normal(size=(days, pairs))) * swing * 1e-3


def walked(state: RiskState, rows: Floats) -> RiskState:
    for row in rows:
        state = advance(state, row)
    return state


def test_real_pairs_that_start_midway_get_one_forecast_of_all() -> None:
    found = forecast_risk(thirty_pairs())
    assert found.method == "dcc-garch"
    assert found.reason is None
    assert sum(why is None for why in found.pair_reasons) == 28
    assert np.all((found.volatility > 5e-5) & (found.volatility < 1e-2))
    assert np.linalg.eigvalsh(found.correlation)[0] > 0.01
    assert np.allclose(np.diag(found.covariance), found.volatility**2)


def test_volatility_is_garchs_and_correlation_dccs() -> None:
    rows = made(1, 400, 3)
    fit, found = fit_garch(rows), forecast_risk(rows)
    dcc = fit_dcc(fit.residuals)
    assert not isinstance(dcc, str)
    assert np.allclose(found.volatility, np.sqrt(fit.garch.variance))
    assert np.allclose(found.correlation, dcc.correlation())


@pytest.mark.parametrize("method", ["dcc-garch", "ewma"])
def test_a_step_moves_the_state_as_the_model_says(method: Method) -> None:
    rows = made(2, 500, 4)
    rows[300:, 1] = np.nan
    rows[:400, 2] = np.nan
    state = walked(refit(rows[:450], method=method), rows[450:])
    if method == "ewma":
        whole = forecast_risk(rows, method="ewma")
        assert np.allclose(forecast(state).volatility, whole.volatility, rtol=1e-9)
        assert np.allclose(forecast(state).correlation, whole.correlation, atol=1e-9)
        return
    start, garch, dcc = refit(rows[:450]), state.garch, state.dcc
    assert start.garch is not None
    assert start.dcc is not None
    expected_garch, expected_dcc, moments = start.garch, start.dcc, start.moments
    for row in rows[450:]:
        of_garch, of_ewma = expected_garch.residuals(row), moments.residuals(row)
        expected_dcc = expected_dcc.advance(np.where(np.isnan(expected_garch.mu), of_ewma, of_garch))
        expected_garch, moments = expected_garch.advance(row), moments.advance(row)
    assert garch is not None
    assert dcc is not None
    assert np.array_equal(garch.variance, expected_garch.variance, equal_nan=True)
    assert np.array_equal(dcc.q, expected_dcc.q)
    assert garch.reasons[2] == "50 observations, 250 are needed"


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_no_forecast_knows_what_comes_after_it(seed: int) -> None:
    rows = made(3, 330, 3)
    other = rows.copy()
    other[300:] = np.random.default_rng(seed).permutation(rows[300:]) * 5.0
    histories = [rows, other]
    states = [walked(refit(table[:280]), table[280:300]) for table in histories]
    first, second = forecast(states[0]), forecast(states[1])
    assert np.array_equal(first.volatility, second.volatility)
    assert np.array_equal(first.correlation, second.correlation)


def test_a_state_is_a_value_that_an_advance_leaves_alone() -> None:
    rows = made(4, 300, 2)
    state = refit(rows)
    before = forecast(state)
    advance(state, rows[0] * 10)
    after = forecast(state)
    assert np.array_equal(before.volatility, after.volatility)
    assert np.array_equal(before.correlation, after.correlation)


def test_a_large_move_raises_the_next_volatility_and_a_common_one_the_correlation() -> None:
    state = refit(made(5, 600, 2))
    calm, moved = forecast(state), forecast(advance(state, np.array([0.02, 0.02])))
    assert np.all(moved.volatility > calm.volatility)
    assert moved.correlation[0, 1] > calm.correlation[0, 1]


def test_ewma_on_request_fits_nothing_and_says_so() -> None:
    found = forecast_risk(made(6, 300, 2), method="ewma")
    assert (found.method, found.reason, found.pair_reasons) == ("ewma", ASKED_FOR, (ASKED_FOR, ASKED_FOR))


def test_a_young_or_constant_pair_falls_back_alone_with_its_reason() -> None:
    rows = made(7, 400, 4)
    rows[:350, 1] = np.nan
    rows[:, 2] = 1e-4
    rows[:, 3] = 0.0
    found = forecast_risk(np.column_stack([rows, made(8, 400, 1)]))
    assert found.method == "dcc-garch"
    assert found.pair_reasons == (
        None,
        "50 observations, 250 are needed",
        "the series is constant",
        "the series is constant",
        None,
    )
    assert found.volatility[2] == pytest.approx(1e-4)
    assert found.volatility[3] == 0.0
    assert np.linalg.eigvalsh(found.correlation)[0] > 0


def test_when_no_fit_is_possible_everything_is_ewma_with_the_reason() -> None:
    few = forecast_risk(made(9, 100, 3))
    assert (few.method, few.reason) == ("ewma", "no pair has a GARCH fit")
    assert few.pair_reasons == ("100 observations, 250 are needed",) * 3
    apart = made(9, 600, 2)
    apart[300:, 0] = np.nan
    apart[:300, 1] = np.nan
    found = forecast_risk(apart)
    assert (found.method, found.reason) == ("ewma", "no two pairs share 250 observations")
    assert found.pair_reasons == (None, None)
    moved = forecast(advance(refit(apart), np.array([0.05, np.nan])))
    assert moved.volatility[0] > found.volatility[0]
    assert moved.volatility[1] == found.volatility[1]


def test_pairs_that_move_as_one_and_more_pairs_than_days_stay_positive_definite() -> None:
    same = np.repeat(made(10, 400, 1), 5, axis=1)
    wide = made(11, 260, 300)
    for rows in (same, wide):
        found = forecast_risk(rows)
        assert found.method == "dcc-garch"
        assert np.linalg.eigvalsh(found.correlation)[0] > 0
    assert forecast_risk(same).correlation[0, 1] > 0.9


def test_a_pair_without_two_observations_has_no_volatility_and_no_pairs_no_forecast() -> None:
    rows = np.array([[1e-3, np.nan], [2e-3, 1e-3]])
    found = forecast_risk(rows)
    assert np.isnan(found.volatility).tolist() == [False, True]
    assert np.isnan(found.covariance[1]).all()
    assert forecast_risk(np.zeros((300, 0))).correlation.shape == (0, 0)


def test_one_pair_alone_has_a_garch_volatility() -> None:
    found = forecast_risk(made(12, 300, 1))
    assert (found.method, found.correlation.tolist()) == ("dcc-garch", [[1.0]])


def test_what_is_not_a_table_of_finite_returns_is_refused() -> None:
    with pytest.raises(InputError):
        refit(np.zeros(3))
    with pytest.raises(InputError):
        refit(np.full((3, 2), np.inf))
    state = refit(np.zeros((3, 2)))
    for row in (np.zeros(3), np.array([0.0, np.inf])):
        with pytest.raises(InputError):
            advance(state, row)


def test_over_a_horizon_volatility_returns_from_the_next_days_to_the_long_run() -> None:
    rows = thirty_pairs()
    state = refit(rows)
    assert state.garch is not None
    near, far = forecast(state).volatility, forecast(state, horizon=1e12).volatility
    long_run = np.sqrt(state.garch.omega / (1 - state.garch.alpha - state.garch.beta))
    fitted = ~np.isnan(state.garch.omega)
    assert np.allclose(far[fitted], long_run[fitted], rtol=1e-2)
    month = forecast(state, horizon=30.0).volatility
    between = np.sort(np.stack((near, long_run))[:, fitted], axis=0)
    assert np.all((month[fitted] >= between[0] * (1 - 1e-9)) & (month[fitted] <= between[1] * (1 + 1e-9)))
    variance = state.garch.variance
    total = np.zeros_like(variance)
    for _ in range(30):
        total += variance
        variance = state.garch.omega + (state.garch.alpha + state.garch.beta) * variance
    assert np.allclose(month[fitted] ** 2, total[fitted] / 30)
