"""Settled funding becomes float arrays at one door, and refuses what cannot be counted."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from portfolio.core.carry import DAY_NS, apr_over, carry_series
from portfolio.core.errors import MissingDataError
from tests.portfolio.core.scores import settlements

NOW = 400 * DAY_NS


def test_short_perpetual_receives_positive_rates_and_loses_when_the_basis_widens() -> None:
    series = carry_series(settlements(["0.0001", "0.0002"], basis=["0", "0.001"]), short_perpetual=True)
    assert series.carry.tolist() == pytest.approx([0.0001, 0.0002])
    assert series.returns.tolist() == pytest.approx([0.0001, 0.0002 - 0.001])


def test_long_perpetual_is_the_mirror_image() -> None:
    rows = settlements(["0.0001", "-0.0003", "0.0002"], basis=["0", "0.001", "-0.002"])
    short = carry_series(rows, short_perpetual=True)
    long = carry_series(rows, short_perpetual=False)
    assert np.allclose(short.returns, -long.returns)


@pytest.mark.parametrize("hours", [1, 2, 4, 8])
def test_annualising_uses_the_symbols_own_interval(hours: int) -> None:
    rows = settlements(["0.0001"] * (24 // hours * 40), hours=hours)
    series = carry_series(rows, short_perpetual=True)
    assert series.spans_days[1:] == pytest.approx(hours / 24)
    assert apr_over(series, 7, NOW) == pytest.approx(0.0001 * 24 / hours * 365, rel=1e-9)


def test_an_interval_that_changes_midway_is_summed_not_assumed() -> None:
    early = settlements(["0.0001"] * 30, hours=8, end_ns=NOW - 10 * DAY_NS)
    late = settlements(["0.0001"] * 60, hours=4, end_ns=NOW)
    series = carry_series(early + late, short_perpetual=True)
    assert apr_over(series, 5, NOW) == pytest.approx(0.0001 * 6 * 365, rel=1e-9)


def test_a_hole_is_unknown_and_not_zero() -> None:
    rows = settlements(["0.0001"] * 30)
    series = carry_series(rows[:12] + rows[17:], short_perpetual=True)
    assert np.flatnonzero(series.spans_days == 0).tolist() == [0, 12]
    assert apr_over(series, 10, NOW) == pytest.approx(0.0001 * 3 * 365, rel=1e-9)


def test_days_without_settlements_stay_unknown_however_many_there_are() -> None:
    daily = carry_series(settlements(["0.0001"] * 30, hours=24), short_perpetual=True)
    assert not np.any(daily.spans_days)
    assert apr_over(daily, 10, NOW) is None


def test_a_window_with_less_than_half_its_history_is_unknown() -> None:
    series = carry_series(settlements(["0.0001"] * 30), short_perpetual=True)
    assert apr_over(series, 30, NOW) is None
    assert apr_over(series, 7, NOW) is not None


def test_the_past_is_a_view_of_the_whole_history() -> None:
    series = carry_series(settlements(["0.0001"] * 30), short_perpetual=True)
    past = series.until(int(series.times_ns[9]))
    assert past.carry.tolist() == series.carry[:10].tolist()
    assert np.shares_memory(past.returns, series.returns)
    assert series.between(int(series.times_ns[3]), int(series.times_ns[5])).times_ns.tolist() == list(
        series.times_ns[4:6]
    )
    assert len(series.until(0).times_ns) == 0


def test_what_the_past_looks_like_does_not_depend_on_what_comes_after() -> None:
    rows = settlements(["0.0001"] * 20) + settlements(["0.0002"] * 20, hours=1, end_ns=NOW + DAY_NS)
    whole = carry_series(rows, short_perpetual=True)
    for count in range(len(rows) + 1):
        alone = carry_series(rows[:count], short_perpetual=True)
        for name in ("times_ns", "spans_days", "carry", "basis", "returns"):
            assert np.array_equal(getattr(alone, name), getattr(whole, name)[:count])


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("market_ns", 0, "time"),
        ("rate", Decimal("NaN"), "rate"),
        ("perpetual_price", Decimal(0), "perpetual price"),
        ("spot_price", Decimal("NaN"), "spot price"),
    ],
)
def test_an_unusable_settlement_is_named_with_its_row(field: str, value: Decimal | int, why: str) -> None:
    rows = settlements(["0.0001"] * 3)
    broken: dict[str, Any] = {field: value}
    with pytest.raises(MissingDataError, match=f"Settlement 2 cannot be used: its {why}"):
        carry_series((*rows[:2], replace(rows[2], **broken)), short_perpetual=True)
