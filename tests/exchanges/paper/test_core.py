import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.paper.bybit_tables import BYBIT
from exchanges.paper.commands import AutoDeleverage, FreezeBook, Repay, Shock
from exchanges.paper.config import HOUR_NS, MINUTE_NS, SECOND_NS, VenueConfig
from exchanges.paper.core import VenueCore
from exchanges.paper.replay import ParquetReplay
from exchanges.paper.rows import EndOfDataNotice, Notice
from exchanges.paper.synthetic import DEFAULT_COINS, SyntheticReplay
from portfolio.core.errors import InputError, MissingDataError, UnknownNameError
from portfolio.core.margin.bybit_uta import value
from portfolio.core.names import InstrumentId
from portfolio.core.orders import Side, TimeInForce
from tests.exchanges.paper.venues import (
    BTC,
    BTC_PERP,
    BTC_SPOT,
    START,
    USDT,
    best,
    do,
    order,
    refused,
    run,
    venue,
)


def busy(seed: int) -> VenueCore:
    replay = SyntheticReplay(seed=seed, start_ns=START, hours=48, coins=DEFAULT_COINS)
    return VenueCore(
        VenueConfig(uid="u1", start_ns=START, balances={USDT: Decimal(100000)}), replay, seed=seed
    )


def day(core: VenueCore, step_ns: int = 8 * HOUR_NS) -> list[Notice]:
    """A day with a carry pair, a resting order, a shock and a repayment; looked at every `step_ns`."""
    told: list[Notice] = []
    core.handle(order(BTC_SPOT, Side.BUY, "2", link="d1", borrow=True), START + 1)
    core.handle(order(BTC_PERP, Side.SELL, "2", link="d2"), START + 2)
    bid = best(core, BTC_PERP, Side.BUY)
    core.handle(order(BTC_PERP, Side.BUY, "0.5", bid, link="d3", tif=TimeInForce.POST_ONLY), START + 3)
    core.handle(Shock({BTC: Decimal("1.1")}, ramp_ns=HOUR_NS), START + 2 * HOUR_NS)
    core.handle(Repay(USDT), START + 3 * HOUR_NS)
    at = core.now_ns
    while at < START + 24 * HOUR_NS:
        at = min(at + step_ns, START + 24 * HOUR_NS)
        told.extend(core.advance(at))
    return told


def test_the_same_seed_and_commands_give_the_same_trace() -> None:
    one, two = busy(3), busy(3)
    assert day(one) == day(two)
    assert one.dump() == two.dump()
    assert day(busy(4)) != day(busy(3))


@settings(max_examples=8, deadline=None)
@given(st.integers(MINUTE_NS, 5 * HOUR_NS))
def test_it_does_not_matter_how_often_the_market_is_looked_at(step_ns: int) -> None:
    one, two = busy(3), busy(3)
    assert day(one, step_ns) == day(two)
    assert one.dump() == two.dump()


def test_a_stored_run_continues_as_if_it_had_not_stopped() -> None:
    one, two = busy(5), busy(5)
    day(one)
    core = busy(5)
    day(core)
    core.handle(FreezeBook(BTC_PERP, HOUR_NS), core.now_ns)
    core.handle(AutoDeleverage(BTC_PERP, Decimal("0.1")), core.now_ns)
    core.advance(core.now_ns)
    two.load(json.loads(json.dumps(core.dump())))
    assert two.dump() == core.dump()
    assert run(two, hours=5) == run(core, hours=5)
    assert two.dump() == core.dump()


def test_state_of_another_run_is_refused() -> None:
    stored = venue(uid="u1").dump()
    with pytest.raises(InputError, match="uid"):
        venue(uid="u2").load(stored)
    with pytest.raises(InputError, match="seed"):
        venue(seed=8).load(stored)


def test_the_venue_says_when_its_data_ends_and_then_stands_still() -> None:
    core = venue(hours=2)
    do(core, order(BTC_PERP, Side.BUY, "1"))
    notices = run(core, hours=5)
    assert notices[-1] == EndOfDataNotice(START + 2 * HOUR_NS)
    assert core.ended
    assert core.next_due() is None
    assert core.now_ns == START + 2 * HOUR_NS
    assert "end of its data" in core.handle(order(BTC_PERP, Side.SELL, "1"), core.now_ns).message
    assert run(core, hours=1) == ()
    assert core.figures().total_equity > 0


def test_a_start_outside_the_data_is_refused() -> None:
    replay = SyntheticReplay(seed=1, start_ns=START, hours=1)
    with pytest.raises(MissingDataError):
        VenueCore(VenueConfig(uid="u", start_ns=START - 1, balances={}), replay, seed=1)


def test_an_unknown_symbol_is_refused_and_unknown_queries_raise() -> None:
    core = venue()
    nobody = InstrumentId("bybit:linear:NOPEUSDT")
    assert refused(core, order(nobody, Side.BUY, "1")).code == "10001"
    with pytest.raises(UnknownNameError):
        core.ticker(nobody)


def test_time_never_goes_back() -> None:
    core = venue()
    core.advance(START + SECOND_NS)
    core.advance(START)
    core.handle(order(BTC_PERP, Side.BUY, "0.1"), START)
    assert core.executions()[0].at_ns == START + SECOND_NS


def test_the_next_due_moment_is_what_the_venue_does_by_itself() -> None:
    core = venue()
    assert core.next_due() == START + 5 * MINUTE_NS
    core.advance(START + 5 * MINUTE_NS)
    assert core.next_due() == START + HOUR_NS
    do(core, order(BTC_PERP, Side.BUY, "0.1", "59500"))
    assert core.next_due() == START + 5 * MINUTE_NS + 5 * SECOND_NS


def test_the_reported_figures_are_those_of_the_margin_rule() -> None:
    core = busy(6)
    day(core)
    assert core.figures() == value(core.margin_state()).figures
    assert core.valuation().figures == core.figures()


def test_candles_of_the_past_can_be_read_and_too_many_cannot() -> None:
    core = venue()
    run(core, hours=3)
    rows = core.candles(BTC_PERP, HOUR_NS, START, core.now_ns, of="mark")
    assert [row.start_ns for row in rows] == [START + hour * HOUR_NS for hour in range(4)]
    assert all(row.low <= row.open <= row.high and row.low <= row.close <= row.high for row in rows)
    with pytest.raises(InputError):
        core.candles(BTC_PERP, SECOND_NS, START, core.now_ns)
    with pytest.raises(InputError):
        core.candles(BTC_PERP, HOUR_NS, START, core.now_ns, of="nonsense")


def test_real_history_runs_for_a_week_with_a_carry_pair_and_pays_its_funding() -> None:
    replay = ParquetReplay(BYBIT, seed=2)
    config = VenueConfig(uid="real", start_ns=START, balances={USDT: Decimal(200000)})
    core = VenueCore(config, replay, seed=2)
    do(core, order(BTC_SPOT, Side.BUY, "1"))
    do(core, order(BTC_PERP, Side.SELL, "1"))
    equity = core.figures().total_equity
    run(core, hours=24 * 7)
    settled = core.settlements(BTC_PERP, START)
    paid = [row for row in core.ledger() if row.funding]
    assert [row.at_ns for row in paid] == [row.market_ns for row in settled if row.market_ns > START]
    assert abs(core.figures().total_equity - equity) < equity / 50
    assert core.settlements(BTC_PERP, START - 30 * 24 * HOUR_NS, START)


def test_a_config_is_a_value() -> None:
    config = VenueConfig(uid="a", start_ns=START, balances={})
    assert replace(config, uid="b") != config
