import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from benchmarks import (
    backtest,
    breach,
    dcc,
    front,
    guard_wake,
    journal,
    made,
    margin,
    margin_speed,
    random_accounts,
    rebalance,
    scores,
    tick,
)
from benchmarks.__main__ import main
from benchmarks.measure import Result, noise, spread
from benchmarks.stack import running
from benchmarks.table import lines
from portfolio.core.margin.bybit_uta import value

SPREAD = {"n", "min", "p50", "p95", "p99", "max"}


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def numbers(result: Mapping[str, object]) -> Iterator[float]:
    for item in result.values():
        if isinstance(item, Mapping):
            yield from numbers(item)
        elif isinstance(item, int | float):
            yield item


def check(result: Result, *promised: str) -> None:
    assert set(promised) <= set(result)
    found = list(numbers(result))
    assert found
    assert all(math.isfinite(number) for number in found)


def test_percentiles_are_samples_by_nearest_rank() -> None:
    assert spread([3, 1, 2]) == {"n": 3, "min": 1, "p50": 2, "p95": 3, "p99": 3, "max": 3}
    hundred = spread(list(range(1, 201)))
    assert (hundred["p50"], hundred["p95"], hundred["p99"]) == (100, 190, 198)


def test_noise_is_a_result_like_any_other() -> None:
    check(noise(3), "fixed_work_ms", "sleep_1ms_late_ms", "load")


def test_margin_measures_a_valuation_what_ifs_and_a_headroom_search() -> None:
    result = margin.run(tiny=True)
    check(result, "positions", "value_ms", "simulate_2_pairs_ms", "stresses_2_pairs", "stress_set_2_pairs_ms")
    check(result, "max_size_ms", "max_size_bisections", "headroom_valuations", "headroom_bound_by")
    worst = result["golden_max_rel_error"]
    assert isinstance(worst, float)
    assert 0 < worst <= 1e-4


def test_margin_measures_ticks_scenarios_their_agreement_and_the_liquidation_search() -> None:
    result = margin_speed.run(tiny=True)
    check(result, "tick_us", "full_ms", "scenarios_10_ms", "liquidation_exact_ms", "liquidation_screened_ms")
    check(result, "batch_vs_exact_max_rel", "batch_vs_exact_accounts")
    gap = result["batch_vs_exact_max_rel"]
    assert isinstance(gap, float)
    assert gap <= 1e-9


def test_random_accounts_come_from_their_seed_and_can_be_valued() -> None:
    made_twice = [random_accounts.account(random_accounts.Draw(7)) for _ in range(2)]
    assert made_twice[0] == made_twice[1]
    assert value(made_twice[0], extrapolate=True).coins


def test_the_large_account_has_the_positions_coins_and_orders_that_it_claims() -> None:
    account = made.large_account(100, 30)
    assert (len(account.positions), len(account.balances), len(account.orders)) == (100, 31, 10)
    assert account == made.large_account(100, 30)
    figures = value(account).figures
    assert figures.adjusted_equity > figures.maintenance_margin > 0


def test_journal_measures_batches_beside_a_bare_fsync() -> None:
    check(journal.run(tiny=True), "append_batch_ms", "entries_per_second", "bare_write_fsync_ms")


def test_tick_measures_the_view_the_decision_and_the_loop() -> None:
    result = tick.run(tiny=True)
    check(result, "apply_mark_us_2_pairs", "decide_ms_2_pairs", "event_to_looked_ms_2_pairs")


def test_dcc_measures_a_fit_a_refit_and_an_update() -> None:
    result = dcc.run(tiny=True)
    check(result, "fit_10x1500_s", "fit_30x1500_s", "online_30_ms", "online_30_with_gaps_ms", "a", "b")
    assert result["fit_30_method"] == "dcc-garch"


def test_scores_measures_a_universe_and_a_decision() -> None:
    result = scores.run(tiny=True)
    check(result, "universe_20_ms", "universe_20_30_days_ms", "select_5_ms", "fixed_point_rounds")


def test_breach_measures_every_stage_up_to_the_wire() -> None:
    result = breach.run(tiny=True)["tick_to_order_2_pairs"]
    assert isinstance(result, dict)
    check(result, "orders", "tick_to_decision_ms", "tick_to_worker_ms", "tick_to_wire_ms")
    assert result["orders"] >= 2


def test_rebalance_measures_entering_resizing_and_leaving_beside_their_bounds() -> None:
    result = rebalance.run(tiny=True)
    for name in ("enter", "resize", "exit"):
        part = result[f"{name}_2_pairs"]
        assert isinstance(part, dict)
        check(
            part, "hedged_ms", "ended_ms", "bound_ms", "hedged_over_bound", "hedged_over_bound_with_reserve"
        )
        assert part["orders"] >= 4


@pytest.mark.timeout(180)
def test_front_and_guard_wake_measure_the_real_processes() -> None:
    with running() as stack:
        calls = front.measure(stack, 3)
        wake = guard_wake.measure(stack, seconds=0.5, agents=1)
    check(calls, "simulate_margin_ms", "empty_tool_ms", "p50_over_empty", "p95_over_empty")
    check(wake, "late_quiet_ms", "late_flooded_ms", "late_after_ms", "calls_per_second", "refused_share")
    assert wake["late_flooded_ms"]["n"] > 0  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "pairs", "bound"),
    [("enter", 7, 100), ("enter", 20, 1100), ("exit", 20, 1100), ("resize", 7, 250), ("resize", 20, 1100)],
)
def test_the_bound_counts_the_venues_limits_and_each_dependent_round_trip(
    name: str, pairs: int, bound: int
) -> None:
    assert rebalance.bound_ns(name, pairs) == bound * 1_000_000


def test_the_command_runs_one_benchmark_and_writes_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(main.__globals__["BENCHMARKS"], "journal", lambda: journal.run(tiny=True))
    assert main(["--only", "journal"]) == 0
    report = json.loads((tmp_path / "build/bench.json").read_text())
    assert list(report["benchmarks"]) == ["journal"]
    spread_of = report["benchmarks"]["journal"]["append_batch_ms"]
    assert set(spread_of) == SPREAD
    assert report["figures"]["journal.append_batch_ms"] == spread_of["p50"]
    assert "append_batch_ms" in capsys.readouterr().out


def test_the_table_flattens_parts_and_keeps_spreads_in_one_line() -> None:
    assert len(list(lines({"a": 1, "b": {"c_ms": spread([1.0]), "d": ["done"]}}))) == 3


def test_backtest_says_what_it_ran_over_and_where_the_time_went() -> None:
    result = backtest.run(tiny=True)
    check(result, "pairs", "days", "runs", "seconds", "seconds_by_part", "seconds_a_run")
    assert result["pairs"] == 7
    assert result["runs"] == 14
