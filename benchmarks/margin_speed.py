"""How fast margin follows prices: one tick, one full valuation, a thousand scenarios, a liquidation search.

Beside them, in the same run, NautilusTrader's margin model on the same positions, when an interpreter has it:
the project's own, or the one that CARRYDESK_NAUTILUS_PYTHON names (`pip install nautilus_trader` there).
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from time import thread_time_ns

import numpy as np

from benchmarks import made, random_accounts
from benchmarks.measure import Result, spread, timed
from portfolio.core.account import MarginFigures
from portfolio.core.decimals import ONE, plain
from portfolio.core.margin.batch import Moves, moves_of
from portfolio.core.margin.bybit_batch import BybitBatch
from portfolio.core.margin.bybit_live import BybitLive
from portfolio.core.margin.bybit_uta import value
from portfolio.core.margin.incremental import LiveMargin
from portfolio.core.margin.screened import LiquidationSearch
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import STABLE_COINS, Scenario, exposed_coins, liquidation_factors, stressed

SCENARIOS = 1000
NAUTILUS = "CARRYDESK_NAUTILUS_PYTHON"


def run(*, tiny: bool = False) -> Result:
    """CPU time on one core; 500 positions, 100 coins, 10 open orders."""
    account = made.large_account(10 if tiny else 500, 3 if tiny else 100)
    full, _ = timed(lambda: value(account), 3 if tiny else 50, clock=thread_time_ns)
    result: Result = {"instruments": len(account.positions), "full_ms": spread(full)}
    result["tick_us"] = spread(_ticks(account))
    result |= _scenarios(account, 10 if tiny else SCENARIOS, 2 if tiny else 30)
    result |= _agreement(10 if tiny else 10_000)
    result |= _liquidation(account)
    return result | _nautilus(account, result, 3 if tiny else 50)


def _ticks(account: MarginState) -> list[float]:
    """Every instrument ticks twice: microseconds from the new mark to the account's figures."""
    live = LiveMargin(account, BybitLive())
    assert live.figures() == value(account).figures
    samples = []
    for factor in (Decimal("1.0003"), Decimal("0.9996")):
        for position in account.positions:
            mark = position.mark_price * factor
            start = thread_time_ns()
            live.set_mark(position.instrument_id, mark)
            live.figures()
            samples.append((thread_time_ns() - start) / 1000)
    assert live.figures() == value(live.state()).figures
    return samples


def _scenarios(account: MarginState, count: int, times: int) -> Result:
    """Every coin by its own factor between 0.5 and 1.5, one in four with other ratios."""
    compiling, compiled = timed(lambda: BybitBatch(account), 3, clock=thread_time_ns)
    draw = np.random.default_rng(made.SEED)
    factors = draw.uniform(0.5, 1.5, (count, len(compiled.coins)))
    factors[:, [coin in STABLE_COINS for coin in compiled.coins]] = 1.0
    moves = Moves(factors, np.where(np.arange(count) % 4 == 0, -0.05, 0.0))
    whole, figures = timed(lambda: compiled.value(moves), times, clock=thread_time_ns)
    named = [
        Scenario(
            "made",
            {coin: Decimal(repr(float(factor))) for coin, factor in zip(compiled.coins, row, strict=True)},
        )
        for row in factors
    ]
    reading, _ = timed(lambda: moves_of(named, compiled.coins), 3, clock=thread_time_ns)
    assert figures.health.shape == (count,)
    return {
        "scenarios": count,
        f"scenarios_{count}_ms": spread(whole),
        "scenarios_compile_ms": spread(compiling),
        f"scenarios_{count}_from_decimals_ms": spread(reading),
    }


def _agreement(accounts: int) -> Result:
    """Random accounts, as they are and under a random scenario: the largest relative gap of a total."""
    draw = random_accounts.Draw(made.SEED)
    worst, place = Decimal(0), ""
    for _ in range(accounts):
        state, scenario = random_accounts.account(draw), random_accounts.scenario(draw)
        compiled = BybitBatch(state)
        found = compiled.value(moves_of([Scenario("now", {}), scenario], compiled.coins))
        for number, moved in enumerate((state, stressed(state, scenario))):
            gap, name = _gap(found.figures(number), value(moved, extrapolate=True).figures)
            if gap > worst:
                worst, place = gap, name
    return {
        "batch_vs_exact_max_rel": float(worst),
        "batch_vs_exact_worst": place,
        "batch_vs_exact_accounts": accounts,
    }


def _gap(ours: MarginFigures, exact: MarginFigures) -> tuple[Decimal, str]:
    """Relative, above one USD."""
    rows: Mapping[str, tuple[Decimal, Decimal]] = {
        name: (getattr(ours, name), getattr(exact, name))
        for name in ("total_equity", "adjusted_equity", "initial_margin", "maintenance_margin")
    }
    return max((abs(left - right) / max(ONE, abs(right)), name) for name, (left, right) in rows.items())


def _liquidation(account: MarginState) -> Result:
    """The joint move that liquidates, on both sides: by the exact rule alone, and screened."""
    betas = dict.fromkeys(exposed_coins(account), ONE)
    alone, expected = timed(
        lambda: liquidation_factors(value, account, betas), 1, warm_up=0, clock=thread_time_ns
    )
    search = LiquidationSearch(value, BybitBatch(account), account)
    screened, found = timed(lambda: search.factors(betas), 3, clock=thread_time_ns)
    assert found == expected
    return {"liquidation_exact_ms": alone[0], "liquidation_screened_ms": spread(screened)}


def _nautilus(account: MarginState, ours: Result, times: int) -> Result:
    """Its times and ours over them, each at its best: what else runs here only ever adds to one of them.

    Nothing when no interpreter has it.
    """
    python = os.environ.get(NAUTILUS)
    if python is None and importlib.util.find_spec("nautilus_trader") is None:
        return {}
    positions = [[plain(abs(row.quantity)), plain(row.mark_price)] for row in account.positions]
    done = subprocess.run(  # noqa: S603
        [python or sys.executable, "-m", "benchmarks.nautilus_flat", str(times)],
        input=json.dumps(positions),
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    theirs = spread(answer["ms"])
    full, batch = ours["full_ms"], ours[f"scenarios_{ours['scenarios']}_ms"]
    assert isinstance(full, dict)
    assert isinstance(batch, dict)
    assert isinstance(ours["scenarios"], int)
    each = batch["min"] / ours["scenarios"]
    return {
        "nautilus_version": answer["version"],
        "nautilus_flat_ms": theirs,
        "full_over_nautilus": round(full["min"] / theirs["min"], 2),
        "nautilus_over_batch_scenario": round(theirs["min"] / each, 1),
    }
