"""The walk-forward loop: every dollar has a cause, the guard acts, markets end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from portfolio.backtest.market import Bools, VenueMarket
from portfolio.backtest.policies import CarryPolicy, PolicyOptions, StaticPolicy, daily_steps
from portfolio.backtest.ranking import Ranker
from portfolio.backtest.simulate import AccountRun, Decision, Moment, Policy, Simulation
from portfolio.core.guard.values import Rule
from portfolio.core.limits import RiskLimits
from portfolio.core.names import PairId
from tests.portfolio.backtest.made import START_MS, market_of, model_for, panel, read, rows

Plan = Callable[[Moment], dict[int, float]]


@dataclass
class Planned(Policy):
    """Does what a test says."""

    market: VenueMarket
    plan: Plan
    seen: list[Moment] = field(default_factory=list)

    @property
    def steps(self) -> Bools:
        return daily_steps(self.market)

    def decide(self, moment: Moment) -> Decision:
        self.seen.append(moment)
        return Decision(self.plan(moment))

    def scores(self) -> dict[PairId, float]:
        return {}


def simulated(market: VenueMarket, plan: Plan, equity: float = 100_000.0) -> AccountRun:
    model = model_for(market)
    last = len(market.times_ns) - 1
    return Simulation(market, model, Planned(market, plan), RiskLimits(), equity, 0, last)()


BOTH = ("perp_px", "mark_px", "spot_px")


def shocked(frame: pl.DataFrame, at: int, factor: float, names: tuple[str, ...] = BOTH) -> pl.DataFrame:
    """Prices jump by a factor from a settlement on."""
    start = START_MS + at * 8 * 3_600_000
    return frame.with_columns(
        pl.when(pl.col("time") >= start).then(pl.col(name) * factor).otherwise(name).alias(name)
        for name in names
    )


def explained(run: AccountRun, equity: float = 100_000.0) -> None:
    assert run.equity[-1] - equity == pytest.approx(run.parts.sum(), abs=1e-6)
    assert run.costs[:, :3].sum() == pytest.approx(-run.parts[:, 3:].sum())
    assert run.costs[:, 3].sum() == pytest.approx(-run.parts[:, 2].sum())


def test_the_change_of_equity_is_the_sum_of_its_parts_while_pairs_come_and_go(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, panel(["BTC", "ETH", "SOL"], 40, move=0.02)))
    draw = np.random.default_rng(5)

    def plan(moment: Moment) -> dict[int, float]:
        column = int(draw.integers(0, 3))
        return {column: float(draw.uniform(0, 40_000)) / float(moment.mark[column])}

    run = simulated(market, plan)
    explained(run)
    assert run.traded_usd > 100_000
    assert run.liquidations == 0


def test_a_price_move_alone_trades_nothing(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, panel(["BTC"], 60, move=0.03)))
    run = Simulation(market, model_for(market), StaticPolicy(market, "BTC"), RiskLimits(), 1e5, 0, 179)()
    assert np.ptp(run.coins[1:, 0]) == 0
    assert run.traded_usd == pytest.approx(200_000)
    explained(run)


def test_a_static_policy_waits_for_its_coin_and_does_nothing_without_it(tmp_path: Path) -> None:
    late = pl.concat([rows("ETH", 30), rows("BTC", 20, start_ms=START_MS + 10 * 86_400_000)])
    market = market_of(read(tmp_path, late))
    model = model_for(market)
    run = Simulation(market, model, StaticPolicy(market, "BTC"), RiskLimits(), 1e5, 0, 89)()
    column = market.pair_ids.index(PairId("BTC@binance"))
    assert not run.coins[:30, column].any()
    assert run.coins[31, column] > 0
    idle = Simulation(market, model, StaticPolicy(market, "SOL"), RiskLimits(), 1e5, 0, 89)()
    assert idle.equity.tolist() == [1e5] * 90


def test_the_guard_reduces_a_levered_book_when_prices_run_and_nothing_is_liquidated(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, shocked(panel(["BTC", "ETH"], 20, move=0.001), 30, 1.6)))
    sizes = [90_000.0, 90_000.0]
    run = simulated(
        market,
        lambda moment: (
            {n: usd / float(moment.mark[n]) for n, usd in enumerate(sizes)} if moment.step == 0 else {}
        ),
    )
    assert run.liquidations == 0
    assert {action.rule for action in run.actions} <= {Rule.HEALTH, Rule.USAGE}
    assert run.actions
    assert all(action.to_usd < action.from_usd for action in run.actions)
    found = [float(action.reason.split("health ")[1].split(",")[0]) for action in run.actions]
    assert run.health.min() < min(found) + 0.001, "health as the guard found it is part of the lowest health"
    assert run.coins[-1].sum() < run.coins[29].sum()
    explained(run)


def test_an_account_beyond_saving_is_liquidated_once_and_counted(tmp_path: Path) -> None:
    torn = shocked(panel(["BTC"], 20, move=0.001), 30, 10_000.0, ("perp_px", "mark_px"))
    market = market_of(read(tmp_path, torn))
    run = simulated(market, lambda moment: {0: 160_000 / float(moment.mark[0])} if moment.step == 0 else {})
    assert run.liquidations == 1
    assert [action.rule for action in run.actions] == ["liquidation"]
    assert run.health[30] == 0
    assert run.coins[-1, 0] == 0
    assert run.equity[-1] < 0
    explained(run)


def test_what_the_guard_cannot_help_is_let_pass_and_told(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, shocked(panel(["BTC"], 20, move=0.001), 30, 1.6)))
    sizes = {0: 90_000.0}
    run = simulated(market, lambda moment: {0: sizes.pop(0) / float(moment.mark[0])} if sizes else {})
    assert run.liquidations == 0
    explained(run)


def test_a_pair_whose_market_ends_is_left_at_its_last_price_with_a_loss(tmp_path: Path) -> None:
    frame = pl.concat([rows("BTC", 40), rows("SOL", 20)])
    market = market_of(read(tmp_path, frame))
    column = market.pair_ids.index(PairId("SOL@binance"))
    run = simulated(market, lambda moment: {column: 1_000.0} if moment.step == 0 else {})
    (action,) = run.actions
    assert (action.rule, action.to_usd) == ("delisted", 0.0)
    assert run.coins[58, column] == 1_000.0
    assert run.coins[60, column] == 0.0
    assert run.costs[59, 0] > 0.009 * action.from_usd
    explained(run)


def test_the_whole_policy_earns_funding_on_a_market_that_pays(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, panel(["BTC", "ETH", "SOL", "XRP", "DOGE"], 150, rate=0.0003)))
    model = model_for(market)
    policy = CarryPolicy(market, model, Ranker(market, model, 1e5), PolicyOptions())
    run = Simulation(market, model, policy, RiskLimits(), 1e5, 0, len(market.times_ns) - 1)()
    explained(run)
    assert run.equity[-1] > 101_000
    assert run.gross[-1] > 2 * run.equity[-1]
    assert run.liquidations == 0
    assert run.health.min() > 0.7
    assert run.paying.any()
    assert run.binding


def test_a_book_that_caps_leave_partly_in_cash_keeps_its_size(tmp_path: Path) -> None:
    """Three pairs of at most a quarter each: what the last size left in cash is no part of the next one."""
    market = market_of(read(tmp_path, panel(["BTC", "ETH", "SOL"], 150, rate=0.0003, move=0.002)))
    model = model_for(market)
    policy = CarryPolicy(market, model, Ranker(market, model, 1e5), PolicyOptions())
    run = Simulation(market, model, policy, RiskLimits(), 1e5, 0, len(market.times_ns) - 1)()
    entered = int(np.argmax(run.gross > 2 * run.equity))
    assert entered > 0
    assert (run.gross[entered:] > 1.9 * run.equity[entered:]).all()


def test_the_policy_holds_cash_where_nothing_pays(tmp_path: Path) -> None:
    market = market_of(read(tmp_path, panel(["BTC", "ETH", "SOL"], 120, rate=-0.0002)))
    model = model_for(market)
    policy = CarryPolicy(market, model, Ranker(market, model, 1e5), PolicyOptions())
    run = Simulation(market, model, policy, RiskLimits(), 1e5, 0, len(market.times_ns) - 1)()
    assert run.equity.tolist() == [1e5] * len(run.equity)
    assert not run.paying.any()


@pytest.mark.parametrize("ends_at", [57, 58, 59, 60])
def test_a_pair_is_left_at_its_end_when_a_decision_falls_on_it_too(tmp_path: Path, ends_at: int) -> None:
    """A desk that trades at the last settlement of a market is not stuck in it, nor does it enter again."""
    frame = pl.concat([rows("BTC", 40), rows("SOL", 40).head(ends_at + 1)])
    market = market_of(read(tmp_path, frame))
    bitcoin, solana = (market.pair_ids.index(PairId(f"{coin}@binance")) for coin in ("BTC", "SOL"))

    def plan(moment: Moment) -> dict[int, float]:
        sizes = {bitcoin: 1.0 + 0.001 * moment.step}
        return sizes | {solana: 1_000.0}

    run = simulated(market, plan)
    assert [(action.rule, action.to_usd) for action in run.actions] == [("delisted", 0.0)]
    assert not run.coins[ends_at:, solana].any()
    assert run.coins[-1, bitcoin] > 1.0
    explained(run)


def test_a_fall_is_measured_from_the_peak_however_often_the_book_was_traded_since(tmp_path: Path) -> None:
    """The perpetual runs away from spot by 0.15 % a settlement: 13 % of the equity in a month."""
    dearer = (1.0 + 0.0015 * (pl.col("time") - START_MS) / (8 * 3_600_000)).alias("dearer")
    frame = panel(["BTC"], 40, move=0.0, rate=0.0).with_columns(dearer)
    frame = frame.with_columns(pl.col("perp_px", "mark_px") * pl.col("dearer")).drop("dearer")
    market = market_of(read(tmp_path, frame))
    run = simulated(market, lambda moment: {0: 4.0 + 0.001 * moment.step})
    frozen = [action for action in run.actions if action.rule == Rule.DRAWDOWN]
    assert frozen
    fall = 1.0 - run.equity[market.index_of(frozen[0].time_ns)] / run.equity.max()
    assert 0.1 < fall < 0.11
    explained(run)
