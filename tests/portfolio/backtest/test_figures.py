import numpy as np
import pytest

from portfolio.backtest.figures import (
    daily_returns,
    day_ends,
    drawdown_of,
    figures_of,
    last_at,
    sharpe_interval,
    sharpe_of,
    weighted_mean,
    years_of,
)
from portfolio.core.carry import DAY_NS


def made(
    count: int, mean: float, spread: float, seed: int = 1
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray(np.random.default_rng(seed).normal(mean, spread, count))


def test_sharpe_is_mean_over_deviation_of_daily_returns_a_year() -> None:
    returns = np.array([0.01, 0.0, 0.02, -0.01])
    assert sharpe_of(returns) == pytest.approx(returns.mean() / returns.std() * np.sqrt(365))
    assert sharpe_of(returns[:1]) is None
    assert sharpe_of(np.zeros(10)) is None


def test_a_curve_has_its_growth_a_year_and_its_drawdown() -> None:
    curve = np.array([100.0, 110.0, 99.0, 121.0])
    found = figures_of(curve, float(drawdown_of(curve).max()))
    assert found.apr == pytest.approx(1.21 ** (365 / 3) - 1)
    assert found.max_drawdown == pytest.approx(0.1)
    assert daily_returns(curve)[0] == pytest.approx(0.1)
    assert figures_of(np.array([100.0]), 0.0).sharpe is None
    assert figures_of(np.array([100.0, -1.0]), 1.0).apr == -1.0


def test_the_interval_contains_the_ratio_is_seeded_and_narrows_with_time() -> None:
    long, short = made(2_000, 0.0003, 0.001), made(300, 0.0003, 0.001)
    first = sharpe_interval(long, np.random.default_rng(3))
    assert first == sharpe_interval(long, np.random.default_rng(3))
    again = sharpe_interval(short, np.random.default_rng(3))
    ratio = sharpe_of(long)
    assert first is not None
    assert again is not None
    assert ratio is not None
    assert first.low < ratio < first.high
    assert again.high - again.low > first.high - first.low
    assert sharpe_interval(np.zeros(50), np.random.default_rng(3)) is None


def test_years_take_their_own_days_and_a_midnight_belongs_to_the_day_before() -> None:
    start = int(np.datetime64("2023-12-30", "ns").astype(np.int64))
    times = start + np.arange(5, dtype=np.int64) * DAY_NS
    curve = np.array([100.0, 101.0, 102.0, 104.0, 103.0])
    years = years_of(times, curve, np.array([0.0, 1.0, 1.0, 2.0, 2.0]))
    assert [(row.year, row.days) for row in years] == [(2023, 2), (2024, 2)]
    assert years[0].utilisation_mean == 1.0
    assert years[1].figures.max_drawdown == pytest.approx(1 - 103 / 104)


def test_points_are_the_start_every_midnight_and_the_end() -> None:
    ends = day_ends(DAY_NS // 2, 3 * DAY_NS)
    assert (ends / DAY_NS).tolist() == [0.5, 1.0, 2.0, 3.0]
    assert last_at(np.array([10, 20]), np.array([5, 10, 15, 25])).tolist() == [-1, 0, 0, 1]
    assert weighted_mean([1.0], [0.0]) is None
