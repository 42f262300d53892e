"""One entry for risk: the next observation from the past alone, and what had to fall back on EWMA."""

import numpy as np
import pytest

from portfolio.core.errors import InputError
from portfolio.core.forecast import advance, forecast, forecast_risk, refit


def test_rows_one_by_one_come_to_what_all_rows_at_once_come_to() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(80, 4)) * 1e-3
    rows[:30, 1] = np.nan
    rows[60:, 2] = np.nan
    state = refit(rows[:50], method="ewma")
    for row in rows[50:]:
        state = advance(state, row)
    stepped, whole = forecast(state), forecast_risk(rows, method="ewma")
    assert np.allclose(stepped.volatility, whole.volatility, rtol=1e-12)
    assert np.allclose(stepped.correlation, whole.correlation, atol=1e-12)


def test_a_pair_without_two_observations_has_no_volatility() -> None:
    rows = np.array([[1e-3, np.nan], [2e-3, 1e-3]])
    assert np.isnan(forecast_risk(rows).volatility).tolist() == [False, True]


def test_what_is_not_a_table_of_finite_returns_is_refused() -> None:
    with pytest.raises(InputError):
        refit(np.zeros(3))
    with pytest.raises(InputError):
        refit(np.full((3, 2), np.inf))
    state = refit(np.zeros((3, 2)))
    for row in (np.zeros(3), np.array([0.0, np.inf])):
        with pytest.raises(InputError):
            advance(state, row)
