from dataclasses import replace

from portfolio.core.guard.drawdown import drawdown_freeze, measured, wind_down
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import FreezeWanted, GuardInput, Transfer
from portfolio.core.limits import MINUTE_NS, SECOND_NS
from tests.portfolio.core.guard.cases import NOW, D, facts, figures, pair_id, tick

AT_PEAK = GuardState(peak_equity=D(100_000), peak_market_ns=50, measured_from_market_ns=10)
STANDING = replace(AT_PEAK, frozen={"drawdown": "it fell"})


def equity(value: int, *transfers: Transfer, at: int = 100, **changes: object) -> GuardInput:
    return tick(
        ours=figures(1, ecv=value),
        transfers=transfers,
        venue_market_ns=at,
        **changes,  # type: ignore[arg-type]
    )


def test_the_first_reading_is_the_peak_and_higher_ones_raise_it() -> None:
    state = measured(GuardState(), equity(100_000, at=7))
    assert (state.peak_equity, state.peak_market_ns, state.measured_from_market_ns) == (D(100_000), 7, 7)
    assert measured(state, equity(99_000)) == state
    state = measured(state, equity(101_000, at=9))
    assert (state.peak_equity, state.peak_market_ns, state.measured_from_market_ns) == (D(101_000), 9, 7)


def test_an_old_or_missing_venue_figure_measures_nothing() -> None:
    old = equity(1_000, venue_age_ns=4 * SECOND_NS)
    assert measured(GuardState(), old).peak_equity is None
    assert measured(AT_PEAK, old) == AT_PEAK
    falling = replace(AT_PEAK, drawdown_since=NOW - 9 * MINUTE_NS)
    assert drawdown_freeze(old, falling) is None
    assert drawdown_freeze(replace(old, venue=None), falling) is None


def test_the_peak_does_not_rise_while_ours_and_the_venue_disagree() -> None:
    doubtful = replace(AT_PEAK, gap=D("0.02"))
    assert measured(doubtful, equity(150_000)).peak_equity == 100_000
    agreed = replace(AT_PEAK, gap=D("0.01"))
    assert measured(agreed, equity(150_000)).peak_equity == 150_000


def test_a_transfer_from_before_the_first_reading_is_in_it_already() -> None:
    first_deposit = Transfer(D(100_000), event_market_ns=10)
    state = measured(AT_PEAK, equity(100_000, first_deposit))
    assert (state.transfers_usd, state.drawdown_since) == (D(0), None)
    assert measured(GuardState(), equity(100_000, first_deposit)).transfers_usd == 0


def test_a_deposit_booked_after_it_raised_the_peak_is_taken_out_of_it_again() -> None:
    state = measured(AT_PEAK, equity(150_000, at=200))
    assert state.peak_equity == 150_000
    state = measured(state, equity(150_000, Transfer(D(50_000), event_market_ns=150)))
    assert (state.peak_equity, state.transfers_usd) == (D(100_000), D(50_000))
    assert state.drawdown_since is None


def test_a_deposit_booked_before_it_is_seen_raises_nothing() -> None:
    state = measured(AT_PEAK, equity(150_000, Transfer(D(50_000), event_market_ns=150)))
    assert (state.peak_equity, state.transfers_usd) == (D(100_000), D(50_000))


def test_a_withdrawal_that_the_ledger_shows_in_time_is_no_drawdown() -> None:
    gone = equity(50_000)
    state = measured(AT_PEAK, gone)
    assert state.drawdown_since == NOW
    assert drawdown_freeze(replace(gone, now_wire_ns=NOW + 2 * MINUTE_NS - 1), state) is None
    state = measured(state, equity(50_000, Transfer(D(-50_000), event_market_ns=90)))
    assert state.drawdown_since is None


def test_ten_percent_below_the_peak_is_tolerated_and_more_for_two_minutes_freezes() -> None:
    assert measured(AT_PEAK, equity(90_000)).drawdown_since is None
    low = equity(89_999)
    state = measured(AT_PEAK, low)
    later = replace(low, now_wire_ns=NOW + 2 * MINUTE_NS)
    assert measured(state, later).drawdown_since == NOW
    freeze = drawdown_freeze(later, state)
    assert freeze is not None
    assert freeze.lifted_by == "operator"
    assert freeze.reason == "equity is 10.0 % below its peak of 100000.00 USD"


def test_a_drawdown_stands_until_the_operator_lifts_it_whatever_equity_does() -> None:
    recovered = drawdown_freeze(equity(120_000), STANDING)
    assert recovered == FreezeWanted("drawdown", "it fell", "operator")


def test_a_peak_at_or_below_zero_says_nothing() -> None:
    broke = GuardState(peak_equity=D(0))
    assert measured(broke, equity(-9)).drawdown_since is None
    assert drawdown_freeze(equity(-9), replace(broke, drawdown_since=NOW - 9 * MINUTE_NS)) is None


def test_the_book_winds_down_one_pair_at_a_time_lowest_score_first() -> None:
    rows = (facts("SOL", 100, score="2"), facts("ETH", 100, score="1"), facts("BTC", "0.05", score="0"))
    freeze = FreezeWanted("drawdown", "it fell", "operator")
    actions = wind_down(tick(*rows), freeze)
    assert [(row.pair_id, row.to_quantity) for row in actions] == [(pair_id("ETH"), D(0))]
    assert wind_down(tick(*rows), None) == ()
    assert wind_down(tick(*rows, ladder_out=True), freeze) == ()
    assert wind_down(tick(), freeze) == ()
