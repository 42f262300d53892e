"""The demo's own judgement: the shock is solved, the venue's books are read right, nothing passes unshown."""

from decimal import Decimal

import pytest

from portfolio.core.errors import RefusedError
from portfolio.core.margin.sim import MarginSim
from server.demo.report import Report
from server.demo.shock import health_at, solve
from server.demo.truth import truth_of
from tests.portfolio.core.margin.accounts import account, balance, both, carry_pair, perp, position, spot

SIM = MarginSim()
SOL = carry_pair("SOL")
BOOK = account(
    balances=(balance("USDT", "0", "60000"), balance("SOL", "1000")),
    positions=(position(perp("SOL"), "-1000", "150"),),
    usd={"SOL": "150", "USDT": "1"},
    instruments=both("SOL"),
)


def test_the_solved_rally_brings_health_to_the_wanted_value() -> None:
    factor = solve(SIM, BOOK, Decimal("0.66"))
    assert factor > 1
    assert abs(health_at(SIM, BOOK, factor) - Decimal("0.66")) < Decimal("0.001")


def test_an_account_that_no_rally_hurts_has_no_solution() -> None:
    cash = account(balances=(balance("USDT", "1000"),), usd={"USDT": "1"}, instruments=both("SOL"))
    with pytest.raises(RefusedError, match="No rally"):
        solve(SIM, cash, Decimal("0.66"))


def trade(
    at: int, leg: str, side: str, quantity: str, link: str, fee: str = "0", coin: str = "USDT"
) -> dict[str, str]:
    return {
        "kind": "Trade",
        "instrument_id": leg,
        "side": side,
        "quantity": quantity,
        "fee": fee,
        "fee_coin": coin,
        "order_link_id": link,
        "at_ns": str(at * 10**9),
    }


def truth(*trades: dict[str, str], planned: tuple[str, ...], now: int = 100) -> tuple[int, float, int]:
    dump = {
        "orders": [{"order_link_id": row["order_link_id"]} for row in trades],
        "executions": list(trades),
        "now_ns": now * 10**9,
    }
    found = truth_of(dump, planned, {SOL.pair_id: SOL}, both("SOL"), {perp("SOL"): Decimal(150)})
    return found.duplicate_orders, found.naked_seconds_max, len(found.naked_at_end)


def test_a_hedged_pair_is_naked_only_between_its_legs() -> None:
    lead = trade(10, perp("SOL"), "sell", "10", "a")
    hedge = trade(13, spot("SOL"), "buy", "10", "b", fee="0.01", coin="SOL")
    assert truth(lead, hedge, planned=("a", "b")) == (0, 3.0, 0)


def test_a_leg_left_alone_is_naked_until_now() -> None:
    assert truth(trade(10, perp("SOL"), "sell", "10", "a"), planned=("a",), now=40) == (0, 30.0, 1)


def test_orders_that_are_doubled_or_that_nobody_planned_are_counted() -> None:
    lead = trade(10, perp("SOL"), "sell", "10", "a")
    hedge = trade(10, spot("SOL"), "buy", "10", "b")
    assert truth(lead, hedge, trade(11, perp("SOL"), "sell", "0.001", "a"), planned=("a",))[0] == 2


def test_a_report_fails_for_whatever_was_not_shown() -> None:
    assert len(Report().failures()) >= 9
    good = Report(
        pairs=7,
        utilisation=3.8,
        health_before=0.9,
        health_after_shock=0.66,
        health_end=0.8,
        guard_actions=1,
        refused=["a", "b", "c", "d", "e"],
        killed=1,
        recovered=True,
    )
    assert good.failures() == []
