"""The risk of the next observation: volatility per pair and their correlation, by DCC-GARCH(1,1) or EWMA.

One entry for the allocator, the backtest and the desk. `refit(history)` estimates, `advance(state, row)`
takes one more row in O(n^2), `forecast(state)` tells; each returns a new value and none knows a clock: when
to refit is the caller's decision. A forecast uses the rows given so far and nothing else.

Rows are aligned observations (days, or settlements), one column per pair, each a fraction of one leg's
notional, + earned. NaN is "no data for this pair on that day": it is left out, never counted as zero. Where a
fit is not possible EWMA stands in, and the forecast says for which pair and why.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from portfolio.core.carry import Floats
from portfolio.core.covariance import EwmaMoments, ewma_moments
from portfolio.core.errors import InputError

Method = Literal["dcc-garch", "ewma"]


@dataclass(frozen=True, slots=True, eq=False)
class RiskForecast:
    """One observation ahead, for n pairs in the columns' order."""

    #: Standard deviation per observation (a day's, for daily rows), a fraction of one leg's notional; shape
    #: (n,). 0: the pair has never moved. NaN: unknown, fewer than two observations.
    volatility: Floats
    #: Positive definite with unit diagonal; shape (n, n).
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
    reason = "EWMA was asked for" if method == "ewma" else "DCC-GARCH is not built yet"
    return RiskState(ewma_moments(history), reason)


def advance(state: RiskState, row: Floats) -> RiskState:
    """The state after one more row of shape (pairs,), with the parameters of the last `refit`. O(n^2).

    Raises:
        InputError: another number of pairs, or an infinite value.
    """
    if row.shape != state.moments.counts.shape or np.any(np.isinf(row)):
        raise InputError("A row must have one finite return or NaN per pair.", field="row")
    return replace(state, moments=state.moments.advance(row))


def forecast(state: RiskState) -> RiskForecast:
    """The next observation's risk, from what the state has seen."""
    reasons = tuple(state.reason for _ in state.moments.counts)
    return RiskForecast(
        np.sqrt(state.moments.variances()), state.moments.correlation(), "ewma", state.reason, reasons
    )


def forecast_risk(history: Floats, *, method: Method = "dcc-garch") -> RiskForecast:
    """`forecast(refit(history))`: for callers that keep no state."""
    return forecast(refit(history, method=method))
