"""The grid holds what was earned up to a moment and nothing later."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.carry import DAY_NS, HOUR_NS, carry_series
from portfolio.core.panel import carry_panel
from tests.portfolio.core.scores import settlements

NOW = 400 * DAY_NS


@given(st.sampled_from([1, 2, 4, 8]), st.integers(0, 40 * HOUR_NS), st.integers(1, 40))
def test_nothing_is_lost_or_counted_twice(hours: int, later: int, days: int) -> None:
    count = 24 // hours * 20
    series = carry_series(
        settlements([f"{n + 1}e-6" for n in range(count)], hours=hours), short_perpetual=True
    )
    panel = carry_panel([series], NOW + later, days)
    inside = series.between(NOW + later - days * DAY_NS, NOW + later)
    assert np.sum(panel.carry) == pytest.approx(np.sum(inside.carry[inside.spans_days > 0]), abs=1e-15)
    assert np.sum(panel.covered) == pytest.approx(np.sum(inside.spans_days), abs=1e-9)
    assert np.nansum(panel.returns) == pytest.approx(np.sum(inside.returns), abs=1e-15)
    assert panel.days == days


def test_different_intervals_meet_on_the_same_days() -> None:
    fast = carry_series(settlements(["0.0001"] * 240, hours=4), short_perpetual=True)
    slow = carry_series(settlements(["0.0002"] * 120, hours=8), short_perpetual=True)
    daily = carry_panel([fast, slow], NOW, 30).daily_returns()
    assert daily.shape == (30, 2)
    assert daily == pytest.approx(np.full((30, 2), 0.0006))


def test_a_period_without_settlements_is_unknown() -> None:
    rows = settlements(["0.0001"] * 30)
    panel = carry_panel([carry_series(rows[:20], short_perpetual=True)], NOW, 10)
    assert np.all(panel.covered[:, -10:] == 0)
    assert np.all(np.isnan(panel.returns[:, -10:]))
    assert np.all(np.isnan(panel.daily_returns()[-3:]))
    assert panel.last_ns.tolist() == [rows[19].market_ns]


def test_the_grid_of_some_pairs_and_of_none() -> None:
    first = carry_series(settlements(["0.0001"] * 30), short_perpetual=True)
    second = carry_series(settlements(["0.0002"] * 30), short_perpetual=True)
    empty = carry_series((), short_perpetual=True)
    panel = carry_panel([first, empty, second], NOW, 10)
    assert panel.last_ns.tolist() == [NOW, 0, NOW]
    assert panel.rows([2, 0]).carry[:, -1].tolist() == [0.0002, 0.0001]
    assert carry_panel([], NOW, 10).daily_returns().shape == (10, 0)
