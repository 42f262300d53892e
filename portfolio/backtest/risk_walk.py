"""The live risk forecast walked through history: refitted on a schedule, advanced by a row a day in between.

Rows are daily returns of all pairs over UTC days. The forecast of a day has seen the rows up to the midnight
that began it, and parameters from the last refit before it.
"""

import numpy as np

from portfolio.backtest.market import VenueMarket
from portfolio.core.carry import DAY_NS, Floats
from portfolio.core.forecast import Method, RiskForecast, RiskState, advance, forecast, refit
from portfolio.core.panel import carry_panel
from portfolio.core.selection import RISK_DAYS, RISK_HORIZON_DAYS

#: Days between fits; while none succeeded it is tried more often.
REFIT_DAYS = 91
RETRY_DAYS = 30


class RiskWalk:
    """Forecasts of one venue by day; asked in order of time, each made once."""

    def __init__(self, market: VenueMarket, method: Method = "dcc-garch") -> None:
        first, last = int(market.times_ns[0]) // DAY_NS, int(market.times_ns[-1]) // DAY_NS
        #: Midnight that ends the first row.
        self._first_day = first + 1
        days = last - first
        self._rows: Floats = (
            carry_panel(market.series, last * DAY_NS, days).daily_returns()
            if days > 0
            else np.zeros((0, len(market.series)))
        )
        self._method: Method = method
        self._state: RiskState | None = None
        self._seen = 0
        self._fitted = 0
        self._known: dict[int, RiskForecast] = {}

    def at(self, time_ns: int) -> RiskForecast:
        """The forecast for the day that begins with the last midnight at or before a moment."""
        rows = max(0, min(time_ns // DAY_NS - self._first_day + 1, len(self._rows)))
        found = self._known.get(rows)
        if found is None:
            while self._seen < rows or self._state is None:
                self._step(min(self._seen + 1, rows))
            found = self._known[rows] = forecast(self._state, horizon=RISK_HORIZON_DAYS)
        return found

    def _step(self, rows: int) -> None:
        """Take in one more row."""
        state = self._state
        if state is not None:
            state = advance(state, self._rows[rows - 1])
        wait = REFIT_DAYS if state is not None and state.dcc is not None else RETRY_DAYS
        if state is None or rows - self._fitted >= wait:
            state = refit(self._rows[max(0, rows - RISK_DAYS) : rows], method=self._method)
            self._fitted = rows
        self._state, self._seen = state, rows
        self._known[rows] = forecast(state, horizon=RISK_HORIZON_DAYS)
