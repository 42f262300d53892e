"""What is decided up to a moment depends on nothing later: another future leaves the past as it was."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from portfolio.backtest.policies import CarryPolicy, PolicyOptions
from portfolio.backtest.ranking import Ranker
from portfolio.backtest.simulate import AccountRun, Simulation
from portfolio.core.limits import RiskLimits
from tests.portfolio.backtest.made import START_MS, market_of, model_for, panel, read

DAYS = 330
COINS = ("BTC", "ETH", "SOL", "XRP")


def run_of(folder: Path, frame: pl.DataFrame, options: PolicyOptions) -> AccountRun:
    market = market_of(read(folder, frame))
    model = model_for(market)
    policy = CarryPolicy(market, model, Ranker(market, model, 1e5), options)
    return Simulation(market, model, policy, RiskLimits(), 1e5, 0, len(market.times_ns) - 1)()


@pytest.mark.parametrize("options", [PolicyOptions(), PolicyOptions(single=True), PolicyOptions(equal=True)])
@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.generate],
)
@given(
    cut=st.integers(40, DAYS - 5),
    how=st.sampled_from(["shuffled", "replaced", "ended"]),
    seed=st.integers(0, 99),
)
def test_decisions_up_to_a_moment_do_not_know_what_follows(
    tmp_path: Path, options: PolicyOptions, cut: int, how: str, seed: int
) -> None:
    frame = panel(COINS, DAYS, move=0.02, noise=0.0003, rate=0.00015)
    until = START_MS + cut * 86_400_000
    past, future = frame.filter(pl.col("time") <= until), frame.filter(pl.col("time") > until)
    if how == "shuffled":
        future = pl.concat(
            part.with_columns(
                part.select("rate", "perp_px", "mark_px", "spot_px").sample(
                    fraction=1.0, shuffle=True, seed=seed
                )
            )
            for part in future.partition_by("symbol", maintain_order=True)
        )
    elif how == "replaced":
        other = panel(COINS, DAYS, move=0.08, noise=0.002, rate=-0.0004, seed=seed + 2)
        future = other.filter(pl.col("time") > until)
    else:
        future = future.head(0)
    first = run_of(tmp_path, frame, options)
    second = run_of(tmp_path, pl.concat([past, future]), options)
    # A folder that ends at a step exits nothing there, so what was decided at it can be compared too.
    count = cut * 3 + 1
    assert np.allclose(first.coins[:count], second.coins[:count], rtol=1e-9, atol=0)
    # Sums over stretches of another length may differ in their last bit.
    assert np.allclose(first.equity[:count], second.equity[:count], rtol=1e-12, atol=0)
    assert np.array_equal(first.paying[:count], second.paying[:count])
