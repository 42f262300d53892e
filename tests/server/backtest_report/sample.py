"""Backtest results made for the report's tests: small, of made-up values, with every part filled or empty."""

from dataclasses import replace

import numpy as np

from portfolio.backtest.result import (
    BacktestResult,
    Costs,
    DataNotice,
    Figures,
    GuardAction,
    Interval,
    PairAttribution,
    RunResult,
    Sensitivity,
    Settings,
    YearFigures,
)
from portfolio.core.carry import Floats, Ints
from portfolio.core.names import PairId, Venue

DAY_NS = 86_400_000_000_000
#: 2021-01-01.
FIRST_NS = 1_609_459_200_000_000_000
BINANCE, OKX = Venue("binance"), Venue("okx")
SOL, BTC = PairId("SOL@binance"), PairId("BTC@okx")
NOTHING = Figures(sharpe=None, apr=0.0, volatility=0.0, max_drawdown=0.0)


def day_ends(days: int) -> Ints:
    return FIRST_NS + DAY_NS * np.arange(1, days + 1)


def run(name: str, *, days: int = 400, apr: float = 0.12, sharpe: float = 2.1, seed: int = 1) -> RunResult:
    """A run whose equity wanders upwards from 100 000 USD."""
    noise = np.random.default_rng(seed)
    steps = apr / 365 + apr / sharpe / np.sqrt(365) * noise.standard_normal(days)
    equity: Floats = 100_000 * np.cumprod(1 + steps)
    peak = np.maximum.accumulate(equity)
    held = 2 + np.sin(np.arange(days) / 60)
    paid = np.cumsum(np.full(days, 4.0))
    return RunResult(
        name=name,
        description=f"What {name} does differently.",
        figures=Figures(sharpe, apr, apr / sharpe, float(np.max(1 - equity / peak))),
        sharpe_interval=Interval(sharpe - 0.8, sharpe + 0.9, 0.9),
        years=(
            YearFigures(2021, min(days, 365), Figures(sharpe, apr, 0.05, 0.01), 2.9),
            YearFigures(2022, max(days - 365, 1), NOTHING, 0.4),
        ),
        utilisation_mean=2.0,
        utilisation_paying=3.6,
        paying_share=0.55,
        liquidations=0,
        turnover=8.4,
        costs=Costs(fees=float(paid[-1]), slippage=120.5, adverse_selection=60.25, borrow=900.0),
        health_min=0.81,
        times_ns=day_ends(days),
        equity=equity,
        drawdown=1 - equity / peak,
        utilisation=2 * held,
        health=0.9 - 0.05 * np.abs(np.sin(np.arange(days) / 90)),
        paying=(np.arange(days) % 50 < 25).astype(float),
        weights={SOL: held / 2, BTC: held / 2},
        costs_over_time={"fees": paid, "slippage": paid / 4, "adverse_selection": paid / 8, "borrow": paid},
        guard_actions=(
            GuardAction(
                FIRST_NS + 40 * DAY_NS + 3_600_000_000_000,
                BINANCE,
                SOL,
                "ranking_reduction",
                "health 0.69 is below 0.7",
                50_000.0,
                31_500.0,
            ),
        ),
        attribution=(
            PairAttribution(SOL, 9_000.0, -300.0, -200.0, -600.0, -80.0, -40.0, None, 0.9),
            PairAttribution(BTC, 1_500.0, 10.0, -50.0, -100.0, -20.0, -10.0, 35.0, 0.4),
        ),
        binding={"stress:market +20%": 0.7, "narrative": 0.3},
        equity_by_venue={BINANCE: 70_000.0, OKX: 42_000.0},
    )


def result(days: int = 400) -> BacktestResult:
    """Everything filled."""
    return BacktestResult(
        settings=Settings(
            from_ns=FIRST_NS,
            to_ns=FIRST_NS + days * DAY_NS,
            venues=(BINANCE, OKX),
            equity_shares={BINANCE: 0.6, OKX: 0.4},
            equity_usd=100_000.0,
            seed=7,
            assumptions={"borrow": "max(6 %, 0.7 x 30-day median BTC funding) a year"},
        ),
        data=DataNotice(
            source="bundle",
            first_ns=FIRST_NS,
            last_ns=FIRST_NS + days * DAY_NS,
            pairs=(SOL, BTC),
            settlements=2_400,
            hourly_share=0.45,
            notes=("Coins that were delisted are missing.",),
        ),
        portfolio=run("portfolio", days=days),
        single_pair=run("single_pair", days=days, apr=0.10, sharpe=1.2, seed=2),
        btc_static=run("btc_static", days=days, apr=0.08, sharpe=2.4, seed=3),
        equal_weight=run("equal_weight", days=days, apr=0.09, sharpe=1.1, seed=4),
        ablation=(
            run("no_band", days=days, sharpe=1.9),
            run("no_dcc", days=days, sharpe=2.4),
            run("no_stability", days=days, sharpe=2.11),
        ),
        peers=(run("max_sharpe", days=days, sharpe=2.2),),
        sensitivity=(
            Sensitivity("borrow x 0.5", run("portfolio", days=days, sharpe=2.3)),
            Sensitivity("borrow x 2", run("portfolio", days=days, sharpe=1.6)),
        ),
        honesty=("Fees are today's, not those of 2021.", "Capacity was not measured."),
        seconds=21.4,
        seconds_by_part={"scores": 8.1, "margin": 13.3},
    )


def empty_run(name: str) -> RunResult:
    """A run that never held anything and has no figure."""
    none: Floats = np.zeros(0)
    return replace(
        run(name, days=2),
        figures=NOTHING,
        sharpe_interval=None,
        years=(),
        utilisation_mean=0.0,
        utilisation_paying=None,
        paying_share=0.0,
        costs=Costs(),
        health_min=1.0,
        times_ns=np.zeros(0, dtype=np.int64),
        equity=none,
        drawdown=none,
        utilisation=none,
        health=none,
        paying=none,
        weights={},
        costs_over_time={},
        guard_actions=(),
        attribution=(),
        binding={},
        equity_by_venue={},
    )


def empty_result() -> BacktestResult:
    """No day, no figure, no ablation, no note."""
    full = result(days=2)
    return replace(
        full,
        data=replace(full.data, pairs=(), notes=(), settlements=0, hourly_share=float("nan")),
        portfolio=empty_run("portfolio"),
        single_pair=empty_run("single_pair"),
        btc_static=empty_run("btc_static"),
        equal_weight=empty_run("equal_weight"),
        ablation=(),
        peers=(),
        sensitivity=(),
        honesty=(),
        seconds_by_part={},
    )
