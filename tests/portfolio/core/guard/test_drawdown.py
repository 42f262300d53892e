from dataclasses import replace

import pytest

from portfolio.core.guard.arbiter import acknowledged, decide
from portfolio.core.guard.drawdown import drawdown_freeze, measured, wind_down
from portfolio.core.guard.state import GuardState
from portfolio.core.guard.values import FreezeWanted, GuardInput, Transfer, Uncounted
from portfolio.core.limits import HOUR_NS, MINUTE_NS, SECOND_NS
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


def read(inp: GuardInput, ledger_read_wire_ns: int | None, *uncounted: Uncounted) -> GuardInput:
    return replace(inp, ledger_read_wire_ns=ledger_read_wire_ns, uncounted=uncounted)


FALLEN = replace(AT_PEAK, drawdown_since=NOW)
UNREAD = "equity is 30.0 % below its peak of 100000.00 USD, perhaps withdrawn: "


def fallen(after_ns: int, ledger_read_wire_ns: int | None, *uncounted: Uncounted) -> GuardInput:
    """30 % are gone since NOW, the ledger was last read at that time."""
    inp = replace(equity(70_000, state=FALLEN), now_wire_ns=NOW + after_ns)
    return read(inp, ledger_read_wire_ns, *uncounted)


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
    later = read(replace(low, now_wire_ns=NOW + 2 * MINUTE_NS), NOW + MINUTE_NS)
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


@pytest.mark.parametrize("ledger_read_wire_ns", [None, NOW - HOUR_NS, NOW, NOW + MINUTE_NS - 1])
def test_a_ledger_read_too_early_proves_no_loss_so_entries_freeze_and_the_book_waits(
    ledger_read_wire_ns: int | None,
) -> None:
    inp = fallen(HOUR_NS - 1, ledger_read_wire_ns)
    freeze = drawdown_freeze(inp, FALLEN)
    assert freeze == FreezeWanted("ledger", f"{UNREAD}the venue's ledger was not read since")
    assert freeze.lifted_by == "self"
    assert wind_down(replace(inp, pairs=tick(facts("SOL", 100)).pairs), freeze) == ()
    assert drawdown_freeze(fallen(2 * MINUTE_NS - 1, ledger_read_wire_ns), FALLEN) is None


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ((Uncounted("-3 PEPE", 51),), "-3 PEPE"),
        ((Uncounted("old", 50), Uncounted("-3 PEPE", 51), Uncounted("9 X", 60)), "-3 PEPE and 1 more"),
    ],
)
def test_a_row_of_unknown_worth_since_the_peak_may_be_the_withdrawal(
    rows: tuple[Uncounted, ...], named: str
) -> None:
    freeze = drawdown_freeze(fallen(3 * MINUTE_NS, NOW + 2 * MINUTE_NS, *rows), FALLEN)
    assert freeze == FreezeWanted("ledger", f"{UNREAD}the worth of {named} is not known")


def test_a_row_of_unknown_worth_from_before_the_peak_explains_nothing() -> None:
    freeze = drawdown_freeze(fallen(3 * MINUTE_NS, NOW + 2 * MINUTE_NS, Uncounted("-3 PEPE", 50)), FALLEN)
    assert freeze is not None
    assert freeze.source == "drawdown"


@pytest.mark.parametrize("rows", [(), (Uncounted("-3 PEPE", 51),)])
def test_after_an_hour_of_doubt_the_book_winds_down_all_the_same(rows: tuple[Uncounted, ...]) -> None:
    doubted = replace(FALLEN, frozen={"ledger": "it fell"})
    freeze = drawdown_freeze(fallen(HOUR_NS, None, *rows), doubted)
    assert freeze == FreezeWanted("drawdown", "equity is 30.0 % below its peak of 100000.00 USD", "operator")


def test_a_doubt_keeps_its_first_reason_and_stands_while_equity_is_not_known() -> None:
    doubted = replace(FALLEN, frozen={"ledger": "it fell"})
    assert drawdown_freeze(fallen(4 * MINUTE_NS, NOW), doubted) == FreezeWanted("ledger", "it fell")
    proven = fallen(4 * MINUTE_NS, NOW + 3 * MINUTE_NS)
    blind = replace(proven, venue_age_ns=None)
    assert drawdown_freeze(blind, doubted) == FreezeWanted("ledger", "it fell")
    freeze = drawdown_freeze(proven, doubted)
    assert freeze is not None
    assert freeze.source == "drawdown"


def test_a_reading_that_explains_the_fall_ends_the_doubt() -> None:
    doubted = replace(FALLEN, frozen={"ledger": "it fell"})
    inp = replace(fallen(4 * MINUTE_NS, NOW + 3 * MINUTE_NS), state=doubted)
    answer = decide(replace(inp, transfers=(Transfer(D(-30_000), event_market_ns=90),)), None)
    assert answer.thaw == ("ledger",)
    assert (answer.freeze, answer.actions, answer.state.drawdown_since) == ((), (), None)


def test_below_the_line_resting_entries_are_cancelled_at_once() -> None:
    answer = decide(replace(equity(70_000), state=AT_PEAK), None)
    assert answer.cancel_entries
    assert (answer.freeze, answer.actions) == ((), ())


def test_the_operator_may_end_the_doubt_and_the_peak_starts_anew() -> None:
    doubted = replace(FALLEN, frozen={"ledger": "it fell"})
    after = acknowledged(doubted)
    assert (after.peak_equity, after.drawdown_since) == (None, None)
    assert decide(replace(fallen(5 * MINUTE_NS, None), state=after), None).thaw == ("ledger",)
    assert acknowledged(doubted, ()) == doubted
