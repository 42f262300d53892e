"""The risk of the next observation: volatility per pair and their correlation, by DCC-GARCH(1,1) or EWMA.

One entry for the allocator, the backtest and the desk. `refit(history)` estimates, `advance(state, row)`
takes one more row in O(n^2), `forecast(state)` tells; each returns a new value and none knows a clock: when
to refit is the caller's decision. A forecast uses the rows given so far and nothing else.

Rows are aligned observations (days, or settlements), one column per pair, each a fraction of one leg's
notional, + earned. NaN is "no data for this pair on that day": it is left out, never counted as zero. Where a
fit is not possible EWMA stands in, and the forecast says for which pair and why.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from portfolio.core.carry import Floats
from portfolio.core.covariance import EwmaMoments, ewma_moments, ewma_residuals
from portfolio.core.dcc import Dcc, fit_dcc
from portfolio.core.errors import InputError
from portfolio.core.garch import Garch, fit_garch

Method = Literal["dcc-garch", "ewma"]
ASKED_FOR = "EWMA was asked for"


@dataclass(frozen=True, slots=True, eq=False)
class RiskForecast:
    """One observation ahead, for n pairs in the columns' order."""

    #: Standard deviation per observation (a day's, for daily rows), a fraction of one leg's notional; shape
    #: (n,). 0: the pair has never earned or lost anything. NaN: unknown, fewer than two observations.
    volatility: Floats
    #: Positive definite with unit diagonal; shape (n, n). By DCC a pair of which nothing is known is as
    #: correlated with the others as they are on average; by EWMA it is uncorrelated.
    correlation: Floats
    #: What the correlation is from.
    method: Method
    #: Why the correlation is not from DCC; None when it is.
    reason: str | None
    #: For each pair why its volatility is not from GARCH(1,1), None when it is; length n.
    pair_reasons: tuple[str | None, ...]

    @property
    def covariance(self) -> Floats:
        """Volatilities times correlation; shape (n, n), NaN in the rows and columns of unknown ones."""
        return self.correlation * np.outer(self.volatility, self.volatility)


@dataclass(frozen=True, slots=True, eq=False)
class RiskState:
    """All that a forecast needs of the past. Made by `refit`, moved on by `advance`, read by `forecast`."""

    moments: EwmaMoments
    #: None: EWMA was asked for.
    garch: Garch | None
    #: None: `reason` says why.
    dcc: Dcc | None
    #: Why there is no DCC; None when there is.
    reason: str | None


def refit(history: Floats, *, method: Method = "dcc-garch") -> RiskState:
    """Estimate from all rows of `history`, shape (observations, pairs), newest last.

    `method="ewma"` asks for no fit at all. The same history gives the same state, whatever came before.

    Raises:
        InputError: not two-dimensional, or an infinite value.
    """
    if history.ndim != 2:
        raise InputError("Returns must be observations x pairs.", field="history")
    if np.any(np.isinf(history)):
        raise InputError("A return is infinite.", field="history", next_step="Give NaN where there is none.")
    moments = ewma_moments(history)
    if method == "ewma":
        return RiskState(moments, None, None, ASKED_FOR)
    fit = fit_garch(history)
    fitted = np.array([why is None for why in fit.garch.reasons], dtype=np.bool_)
    if not np.any(fitted):
        return RiskState(moments, fit.garch, None, "no pair has a GARCH fit")
    dcc = fit_dcc(np.where(fitted, fit.residuals, ewma_residuals(history)))
    if isinstance(dcc, str):
        return RiskState(moments, fit.garch, None, dcc)
    return RiskState(moments, fit.garch, dcc, None)


def advance(state: RiskState, row: Floats) -> RiskState:
    """The state after one more row of shape (pairs,), with the parameters of the last `refit`.

    O(n^2) for a complete row; NaN leaves a pair's volatility as it was.

    Raises:
        InputError: another number of pairs, or an infinite value.
    """
    if row.shape != state.moments.counts.shape or np.any(np.isinf(row)):
        raise InputError("A row must have one finite return or NaN per pair.", field="row")
    garch, dcc = state.garch, state.dcc
    if garch is not None:
        if dcc is not None:
            of_ewma = state.moments.residuals(row)
            dcc = dcc.advance(np.where(np.isnan(garch.omega), of_ewma, garch.residuals(row)))
        garch = garch.advance(row)
    return RiskState(state.moments.advance(row), garch, dcc, state.reason)


def forecast(state: RiskState, *, horizon: float = 1.0) -> RiskForecast:
    """The next observation's risk, from what the state has seen.

    With a `horizon` (observations, >= 1) volatility is the root of the mean variance expected over so many of
    them: what is held for weeks is weighed by the weeks' risk, and not traded for a day's. By EWMA that is
    the next one's. The correlation is the next one's.
    """
    variances = state.moments.variances()
    reasons: tuple[str | None, ...] = (ASKED_FOR,) * len(variances)
    if state.garch is not None:
        expected = state.garch.mean_variance(horizon)
        variances = np.where(np.isnan(expected), variances, expected)
        reasons = state.garch.reasons
    volatility = np.sqrt(variances)
    if state.dcc is None:
        return RiskForecast(volatility, state.moments.correlation(), "ewma", state.reason, reasons)
    return RiskForecast(volatility, state.dcc.correlation(), "dcc-garch", None, reasons)


def forecast_risk(history: Floats, *, method: Method = "dcc-garch", horizon: float = 1.0) -> RiskForecast:
    """`forecast(refit(history))`: for callers that keep no state."""
    return forecast(refit(history, method=method), horizon=horizon)
