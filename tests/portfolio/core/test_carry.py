"""Settled funding becomes float arrays at one door, and refuses what cannot be counted."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from portfolio.core.carry import DAY_NS, apr_over, carry_series
from portfolio.core.errors import MissingDataError
from tests.portfolio.core.scores import settlements

NOW = 400 * DAY_NS


def test_short_perpetual_receives_positive_rates_and_loses_when_the_basis_widens() -> None:
    series = carry_series(
        settlements(["0.0001", "0.0002"], basis=["0", "0.001"]), short_perpetual=True, now_market_ns=NOW
    )
    assert series.carry.tolist() == pytest.approx([0.0001, 0.0002])
    assert series.returns.tolist() == pytest.approx([0.0001, 0.0002 - 0.001])


def test_long_perpetual_is_the_mirror_image() -> None:
    rows = settlements(["0.0001", "-0.0003", "0.0002"], basis=["0", "0.001", "-0.002"])
    short = carry_series(rows, short_perpetual=True, now_market_ns=NOW)
    long = carry_series(rows, short_perpetual=False, now_market_ns=NOW)
    assert np.allclose(short.returns, -long.returns)


@pytest.mark.parametrize("hours", [1, 2, 4, 8])
def test_annualising_uses_the_symbols_own_interval(hours: int) -> None:
    rows = settlements(["0.0001"] * (24 // hours * 40), hours=hours)
    series = carry_series(rows, short_perpetual=True, now_market_ns=NOW)
    assert series.settlements_per_year == pytest.approx(365 * 24 / hours)
    assert apr_over(series, 7, NOW) == pytest.approx(0.0001 * 24 / hours * 365, rel=1e-9)


def test_an_interval_that_changes_midway_is_summed_not_assumed() -> None:
    early = settlements(["0.0001"] * 30, hours=8, end_ns=NOW - 10 * DAY_NS)
    late = settlements(["0.0001"] * 60, hours=4, end_ns=NOW)
    series = carry_series(early + late, short_perpetual=True, now_market_ns=NOW)
    assert apr_over(series, 5, NOW) == pytest.approx(0.0001 * 6 * 365, rel=1e-9)


def test_a_window_with_less_than_half_its_history_is_unknown() -> None:
    series = carry_series(settlements(["0.0001"] * 30), short_perpetual=True, now_market_ns=NOW)
    assert apr_over(series, 30, NOW) is None
    assert apr_over(series, 7, NOW) is not None


def test_too_few_unordered_future_or_priceless_settlements_are_refused() -> None:
    rows = settlements(["0.0001"] * 3)
    for bad in (
        rows[:1],
        rows[::-1],
        (*rows[:2], replace(rows[2], market_ns=NOW + 1)),
        (*rows[:2], replace(rows[2], spot_price=Decimal(0))),
    ):
        with pytest.raises(MissingDataError):
            carry_series(bad, short_perpetual=True, now_market_ns=NOW)
