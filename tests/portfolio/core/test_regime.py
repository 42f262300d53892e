"""Regimes: not one print ends them, how long they last is learnt from those seen, and carry reverts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from portfolio.core.regime import (
    HOLDING_DAYS_MAX,
    HOLDING_PRIOR_DAYS,
    PERSISTENCE_PRIOR,
    TEST_PERIODS,
    age_days,
    holding_days,
    paying,
    persistence,
    reverting_sum,
)

KNOWN = np.ones((1, 60), dtype=np.bool_)


@given(arrays(np.float64, 60, elements=st.floats(1e-4, 2e-4)), st.integers(20, 59), st.floats(1e-6, 1e6))
def test_one_negative_print_of_any_size_ends_no_regime(
    rates: np.ndarray[tuple[int], np.dtype[np.float64]], place: int, size: float
) -> None:
    rates[place] = -size
    assert np.all(paying(rates[None, :])[:, 10:])


def test_three_days_of_the_other_sign_do_end_it() -> None:
    net = np.full((1, 60), 1e-4)
    net[:, 40:] = -1e-4
    pays = paying(net)
    assert pays[0, 40 + TEST_PERIODS // 2 - 1]
    assert not pays[0, 40 + TEST_PERIODS // 2]
    assert age_days(pays, KNOWN).tolist() == [0.0]


def test_a_regime_is_as_old_as_its_run_or_as_the_history() -> None:
    net = np.full((2, 60), 1e-4)
    net[0, :30] = -1e-4
    net[1, :10] = np.nan
    age = age_days(paying(net), ~np.isnan(net))
    assert age.tolist() == pytest.approx([(60 - 34) / 3, 50 / 3])


def test_the_running_regime_counts_as_time_survived_and_not_as_an_end() -> None:
    pays = np.ones((3, 60), dtype=np.bool_)
    pays[1, 20] = pays[1, 40] = False
    pays[2, :] = False
    known = np.ones((3, 60), dtype=np.bool_)
    days = holding_days(pays, known)
    assert days[0] == pytest.approx(20 + HOLDING_PRIOR_DAYS)
    assert holding_days(np.ones((1, 600), dtype=np.bool_), np.ones((1, 600), dtype=np.bool_)) == [
        HOLDING_DAYS_MAX
    ]
    assert days[1] == pytest.approx((58 / 3 + HOLDING_PRIOR_DAYS) / 3)
    assert days[2] == pytest.approx(HOLDING_PRIOR_DAYS)


def test_a_regime_that_fades_into_a_hole_was_not_seen_to_end() -> None:
    pays = np.ones((1, 60), dtype=np.bool_)
    pays[0, 20:40] = False
    hole = KNOWN.copy()
    hole[0, 20:40] = False
    assert holding_days(pays, hole)[0] > holding_days(pays, KNOWN)[0]


def test_the_estimate_recovers_the_length_of_made_regimes() -> None:
    draw = np.random.default_rng(5)
    pays = np.zeros((1, 30_000), dtype=np.bool_)
    at = 0
    while at < 30_000:
        run = int(draw.geometric(1 / 30))
        pays[0, at : at + run] = True
        at += run + 3
    found = holding_days(pays, np.ones_like(pays))
    assert found[0] == pytest.approx(10, rel=0.1)


def test_persistence_recovers_an_autoregression_and_is_modest_on_little_data() -> None:
    draw = np.random.default_rng(7)
    series = np.zeros(3000)
    for day in range(1, 3000):
        series[day] = 0.9 * series[day - 1] + draw.normal()
    assert persistence(series[None, :])[0] == pytest.approx(0.9, abs=0.03)
    assert persistence(np.full((1, 90), 3.0))[0] == pytest.approx(PERSISTENCE_PRIOR)
    assert persistence(np.full((1, 90), np.nan))[0] == pytest.approx(PERSISTENCE_PRIOR)
    noise = persistence(draw.normal(size=(1, 3000)))
    assert noise[0] < 0.15


@given(st.floats(-1e-2, 1e-2), st.floats(-1e-3, 1e-3), st.floats(0.1, 0.98), st.floats(0.1, 100))
def test_the_forecast_lies_between_todays_carry_for_ever_and_the_mean_at_once(
    level: float, mean: float, persistent: float, days: float
) -> None:
    found = float(
        reverting_sum(np.array([level]), np.array([mean]), np.array([persistent]), np.array([days]))[0]
    )
    low, high = sorted((level * days, mean * days))
    assert low - 1e-12 <= found <= high + 1e-12


def test_the_forecast_is_the_integral_it_claims() -> None:
    steps = np.linspace(0, 10, 100_001)
    path = 0.001 + (0.005 - 0.001) * 0.8**steps
    found = reverting_sum(np.array([0.005]), np.array([0.001]), np.array([0.8]), np.array([10.0]))
    assert found[0] == pytest.approx(np.trapezoid(path, steps), rel=1e-6)
