"""The risk model: how long a fit and one online update take, and how it compares with its peers.

Real data: daily carry returns of the bundled history, 1500 days. Beside ours, in the same run, `arch` and
`pymgarch` fit the same ten series when an interpreter has them (see `risk_peers`). pymgarch computes in plain
Python unless numba is installed beside it, which its group of dependencies here does not do; with numba there
its compiled times are told as well, in keys of their own.
"""

from time import perf_counter_ns

import numpy as np

from benchmarks import risk_peers
from benchmarks.carry_panel import ten_pairs, thirty_pairs
from benchmarks.measure import Result, ms, spread, timed
from portfolio.core.carry import Floats
from portfolio.core.dcc import Dcc, correlation_path, fit_dcc, log_likelihood
from portfolio.core.forecast import RiskState, advance, forecast, refit
from portfolio.core.garch import GarchFit, fit_garch

#: The unit in which likelihoods are compared: arch wants variances between 1 and 1000.
BPS = 1e4


def run(*, tiny: bool = False) -> Result:
    """Wall time in seconds unless named otherwise."""
    ten, thirty = (ten_pairs(400)[:, :3], thirty_pairs(800)[:, :5]) if tiny else (ten_pairs(), thirty_pairs())
    times = 1 if tiny else 5
    fits, (garch, dcc) = timed(lambda: _fit(ten), times)
    refits, state = timed(lambda: refit(thirty), times)
    result: Result = {
        "fit_10x1500_s": _median_s(fits),
        "fit_10x1500_ms": spread(fits),
        "fit_30x1500_s": _median_s(refits),
        "fit_30x1500_ms": spread(refits),
        "fit_30_method": forecast(state).method,
        "fit_30_pairs_without_garch": sum(why is not None for why in forecast(state).pair_reasons),
        "online_30_ms": spread(_updates(state, thirty[-200:])),
        "online_30_with_gaps_ms": spread(_updates(state, _with_gaps(thirty[-200:]))),
        "a": round(dcc.a, 4),
        "b": round(dcc.b, 4),
    }
    python = None if tiny else risk_peers.interpreter()
    return result if python is None else result | _peers(python, ten, joint_bps(garch, dcc, ten), fits)


def joint_bps(fit: GarchFit, dcc: Dcc, returns: Floats) -> float:
    """Gaussian log-likelihood of complete returns in basis points under the fitted model."""
    residuals = fit.residuals
    volatility = (returns - fit.garch.mu) / residuals * BPS
    return log_likelihood(correlation_path(dcc, residuals), residuals) - float(np.sum(np.log(volatility)))


def _fit(returns: Floats) -> tuple[GarchFit, Dcc]:
    garch = fit_garch(returns)
    dcc = fit_dcc(garch.residuals)
    assert isinstance(dcc, Dcc)
    return garch, dcc


def _updates(state: RiskState, rows: Floats) -> list[float]:
    """Milliseconds of each row's update and forecast."""
    samples = []
    for row in rows:
        start = perf_counter_ns()
        state = advance(state, row)
        forecast(state)
        samples.append(ms(perf_counter_ns() - start))
    return samples


def _with_gaps(rows: Floats) -> Floats:
    """Every third pair without data on every other day."""
    out = rows.copy()
    out[::2, ::3] = np.nan
    return out


def _peers(python: str, returns: Floats, ours: float, fits: list[float]) -> Result:
    plain = risk_peers.ask(python, returns * BPS, ("composite",), compiled=False)
    full = risk_peers.ask(python, returns * BPS, ("full", "all", "constant"))
    theirs = full["full"]["log_likelihood"]
    seconds = _median_s(fits)
    result: Result = {
        "arch_version": plain["arch"],
        "pymgarch_version": plain["pymgarch"],
        "pymgarch_composite_10x1500_s": plain["composite"]["seconds"],
        "speedup": round(plain["composite"]["seconds"] / seconds, 1),
        "loglik_bps": round(ours, 2),
        "pymgarch_full_loglik_bps": round(theirs, 2),
        "pymgarch_composite_loglik_bps": round(full["all"]["log_likelihood"], 2),
        "loglik_rel_to_full": round(abs(ours - theirs) / abs(theirs), 6),
        "loglik_gap_per_day": round((theirs - ours) / len(returns), 4),
        "pymgarch_full_10x1500_s": full["full"]["seconds"],
        "pymgarch_full_with_numba": full["numba"],
        "arch_10x1500_s": full["constant"]["seconds"],
    }
    if full["numba"]:
        warm = risk_peers.ask(python, returns * BPS, ("composite", "composite"))["composite"]["seconds"]
        result["pymgarch_numba_composite_10x1500_s"] = warm
        result["speedup_over_numba"] = round(warm / seconds, 1)
    return result


def _median_s(samples_ms: list[float]) -> float:
    return round(float(np.median(samples_ms)) / 1000, 4)
