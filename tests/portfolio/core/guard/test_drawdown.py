from dataclasses import replace

from portfolio.core.guard.drawdown import drawdown_freeze, measured, wind_down
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import FreezeWanted
from portfolio.core.limits import SECOND_NS
from tests.portfolio.core.guard.cases import D, facts, figures, pair_id, tick

AT_PEAK = GuardState(peak_equity=D(100_000))
STANDING = replace(AT_PEAK, frozen={"drawdown": "it fell"})


def test_the_first_reading_is_the_peak_and_higher_ones_raise_it() -> None:
    state = measured(GuardState(), tick(ours=figures(1, ecv=100_000)))
    assert state.peak_equity == 100_000
    assert measured(state, tick(ours=figures(1, ecv=99_000))).peak_equity == 100_000
    assert measured(state, tick(ours=figures(1, ecv=101_000))).peak_equity == 101_000


def test_an_old_or_missing_venue_figure_measures_nothing() -> None:
    old = tick(ours=figures(1, ecv=1_000), venue_age_ns=4 * SECOND_NS)
    assert measured(GuardState(), old).peak_equity is None
    assert drawdown_freeze(old, AT_PEAK) is None
    assert drawdown_freeze(replace(old, venue=None), AT_PEAK) is None


def test_the_peak_does_not_rise_while_ours_and_the_venue_disagree() -> None:
    doubtful = replace(AT_PEAK, gap=D("0.02"))
    assert measured(doubtful, tick(ours=figures(1, ecv=150_000))).peak_equity == 100_000
    agreed = replace(AT_PEAK, gap=D("0.01"))
    assert measured(agreed, tick(ours=figures(1, ecv=150_000))).peak_equity == 150_000


def test_a_deposit_raises_no_peak_and_a_withdrawal_is_no_drawdown() -> None:
    deposit = tick(ours=figures(1, ecv=150_000), transfers_usd=D(50_000))
    state = measured(AT_PEAK, deposit)
    assert (state.peak_equity, state.transfers_usd) == (D(100_000), D(50_000))
    withdrawal = tick(ours=figures(1, ecv=50_000), transfers_usd=D(-100_000))
    state = measured(state, withdrawal)
    assert drawdown_freeze(withdrawal, state) is None


def test_ten_percent_below_the_peak_is_tolerated_and_more_freezes_until_the_operator_lifts_it() -> None:
    assert drawdown_freeze(tick(ours=figures(1, ecv=90_000)), AT_PEAK) is None
    freeze = drawdown_freeze(tick(ours=figures(1, ecv=89_999)), AT_PEAK)
    assert freeze is not None
    assert freeze.lifted_by == "operator"
    assert freeze.reason == "equity is 10.0 % below its peak of 100000.00 USD"
    recovered = drawdown_freeze(tick(ours=figures(1, ecv=120_000)), STANDING)
    assert recovered == FreezeWanted("drawdown", "it fell", "operator")


def test_a_peak_at_or_below_zero_says_nothing() -> None:
    assert drawdown_freeze(tick(), GuardState()) is None
    assert drawdown_freeze(tick(ours=figures(1, ecv=-9)), GuardState(peak_equity=D(0))) is None


def test_the_book_winds_down_one_pair_at_a_time_lowest_score_first() -> None:
    rows = (facts("SOL", 100, score="2"), facts("ETH", 100, score="1"), facts("BTC", "0.05", score="0"))
    freeze = FreezeWanted("drawdown", "it fell", "operator")
    actions = wind_down(tick(*rows), freeze)
    assert [(row.pair_id, row.to_quantity) for row in actions] == [(pair_id("ETH"), D(0))]
    assert wind_down(tick(*rows), None) == ()
    assert wind_down(tick(), freeze) == ()
