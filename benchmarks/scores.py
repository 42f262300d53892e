"""Scores of a whole universe in one pass, and one decision of the selector.

Made data, always the same: carry that wanders about a mean, at intervals as venues mix them (most symbols
every 8 hours, some every 4, few every hour). CPU time on one core; a pass is everything from the settlement
arrays to one row of scores per pair.
"""

from decimal import Decimal
from time import thread_time_ns

import numpy as np

from benchmarks.made import SEED
from benchmarks.measure import Result, spread, timed
from portfolio.core.carry import DAY_NS, HOUR_NS, CarrySeries, series_of
from portfolio.core.forecast import forecast_risk
from portfolio.core.limits import BookLimits, TradeLimits
from portfolio.core.names import Narrative, PairId
from portfolio.core.panel import carry_panel
from portfolio.core.scoring import PairFacts, PairScore, score_universe
from portfolio.core.selection import WINDOW_DAYS, Candidate, UniverseSelector

NOW_NS = 20_000 * DAY_NS
#: Hours between settlements, symbol by symbol, repeated.
INTERVALS = (8, 8, 8, 4, 8, 8, 4, 8, 1, 8)
SYMBOLS = 500
PAIRS = 29
FACTS = PairFacts(predicted_apr=0.1, borrow_apr=0.03, staking_apr=0.0, basis_bps=1.0, leverage_apr=0.03)


def run(*, tiny: bool = False) -> Result:
    """Milliseconds; 30 and 90 days of 500 symbols, and a decision over 29 pairs with all their history."""
    symbols, times = (20, 2) if tiny else (SYMBOLS, 20)
    result: Result = {"symbols": symbols}
    for days in (30, 90):
        series = _made(symbols, days)
        result[f"settlements_{days}_days"] = sum(len(row.times_ns) for row in series)
        name = f"universe_{symbols}_ms" if days == 90 else f"universe_{symbols}_30_days_ms"
        result[name] = _pass(series, days, times)
    return result | _decision(5 if tiny else PAIRS, 2 if tiny else 200)


def _pass(series: list[CarrySeries], days: int, times: int) -> dict[str, float | int]:
    names = [PairId(f"P{number}@made") for number in range(len(series))]
    facts, volatility = [FACTS] * len(series), np.full(len(series), 0.001)

    def once() -> list[PairScore | None]:
        return score_universe(carry_panel(series, NOW_NS, days), facts, volatility).rows(names)

    samples, rows = timed(once, times, clock=thread_time_ns)
    assert all(row is not None for row in rows)
    return spread(samples)


def _decision(pairs: int, times: int) -> Result:
    """Select, weigh and cap with a forecast at hand, as the backtest does at each of its steps."""
    candidates = [
        Candidate(
            pair_id=PairId(f"P{number}@made"),
            narrative=Narrative(f"N{number % 7}"),
            series=series,
            interval_minutes=INTERVALS[number % len(INTERVALS)] * 60,
            facts=FACTS,
            round_trip_cost_bps=25.0,
            held_usd=Decimal(number % 2),
            liquidity_usd=1e6,
            narrative_use=0.2,
        )
        for number, series in enumerate(_made(pairs, 1600))
    ]
    selector = UniverseSelector(BookLimits(), TradeLimits())
    panel = carry_panel([row.series for row in candidates if row.series is not None], NOW_NS, WINDOW_DAYS)
    risk = forecast_risk(panel.daily_returns(), method="ewma")
    samples, selection = timed(
        lambda: selector.select(candidates, NOW_NS, risk=risk, equity_usd=1e6, book_usd=3e6),
        times,
        clock=thread_time_ns,
    )
    solved = selection.fixed_point
    assert len(selection.eligible) == pairs
    return {
        f"select_{pairs}_ms": spread(samples),
        "fixed_point_rounds": solved.iterations,
        "fixed_point_residual": solved.residual,
    }


def _made(count: int, days: int) -> list[CarrySeries]:
    draw = np.random.default_rng(SEED)
    rows = []
    for number in range(count):
        hours = INTERVALS[number % len(INTERVALS)]
        length = days * 24 // hours
        times = NOW_NS - np.arange(length)[::-1] * hours * HOUR_NS
        noise = np.convolve(draw.normal(0.0, 3e-5, length), 0.95 ** np.arange(60))[:length]
        rates = (2.5e-4 + noise) * hours / 8
        perpetual = 100.0 + draw.normal(0.0, 0.03, length)
        rows.append(series_of(times, rates, perpetual, np.full(length, 100.0), short_perpetual=True))
    return rows
