"""The demo's own judgement: the shock is solved, the venue's books are read right, nothing passes unshown."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from mcp import MCPError

from portfolio.core.errors import RefusedError
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import PairId
from portfolio.service import DeskSnapshot
from server.demo.book import guard_is_done, guard_is_quiet
from server.demo.report import Report
from server.demo.run import broken_off
from server.demo.shock import health_at, solve
from server.demo.truth import truth_of
from tests.portfolio.core.margin.accounts import account, balance, both, carry_pair, perp, position, spot
from tests.tools.sample_desk import guard_action, snapshot

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
        duplicate_orders=0,
        naked_at_end=[],
    )
    assert good.failures() == []


def test_what_was_not_measured_is_null_and_no_number() -> None:
    told = Report().data()
    assert {key for key, value in told.items() if value is not None} == {"mode", "refused", "killed"}


def after_the_shock(**guard: object) -> DeskSnapshot:
    """Health is back: the guard's one action is entry 41 of the journal."""
    book = snapshot()
    return replace(book, guard=replace(book.guard, **guard))  # type: ignore[arg-type]


def test_the_guard_is_done_once_it_acted_and_holds_nothing_any_more() -> None:
    before = guard_action().seq - 1
    assert guard_is_done(after_the_shock(), before)
    assert not guard_is_done(after_the_shock(last_actions=()), 0)
    assert not guard_is_done(after_the_shock(), before + 1)
    assert not guard_is_done(replace(after_the_shock(), stale=("account",)), before)


def test_a_guard_that_never_had_to_act_is_quiet() -> None:
    assert guard_is_quiet(after_the_shock(last_actions=()))
    assert not guard_is_quiet(after_the_shock(last_actions=(), held_pairs=(PairId("SOL@bybit"),)))


@pytest.mark.parametrize(
    "guard",
    [
        {"held_pairs": (PairId("SOL@bybit"),)},
        {"state": "reducing"},
        {"state": "flattening"},
        {"figures": None},
    ],
    ids=lambda guard: next(iter(guard)),
)
def test_the_guard_is_not_done_while_it_acts_even_when_health_is_back(guard: dict[str, object]) -> None:
    assert not guard_is_done(after_the_shock(**guard), 0)


def test_a_failure_inside_of_a_connection_is_a_reason_like_any_other() -> None:
    async def show() -> None:
        async with anyio.create_task_group():
            raise RefusedError("The tool failed.")

    assert anyio.run(broken_off, show) == ["The tool failed."]


def test_a_connection_that_breaks_is_a_reason_too() -> None:
    async def show() -> None:
        async with anyio.create_task_group(), anyio.create_task_group():
            raise MCPError(code=-32000, message="Connection closed")

    assert anyio.run(broken_off, show) == ["The agent's connection broke: Connection closed."]


def test_what_nobody_expected_is_named_and_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def show() -> None:
        raise KeyError("rows")

    assert anyio.run(broken_off, show) == ["KeyError: 'rows'"]
    assert caplog.records[0].exc_info is not None


def test_a_demo_that_cannot_start_still_prints_its_report(tmp_path: Path) -> None:
    far = tmp_path / ("x" * 100)  # no socket fits below it
    far.mkdir()
    run = subprocess.run(
        [sys.executable, "-P", "-m", "server.cli", "demo", "--json"],
        env={**os.environ, "TMPDIR": str(far)},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        stdin=subprocess.DEVNULL,
    )
    told = json.loads(run.stdout.splitlines()[-1])
    assert run.returncode == 1
    assert "must stay under 100" in told["failed"][0]
    assert (told["orders"], told["duplicate_orders"], told["health_end"]) == (None, None, None)
    assert "Traceback" not in run.stderr
