"""QualityScore = Yield x Risk x Maturity, and the Sharpe ratio that weights are made of (DESIGN 5).

A whole universe is scored in one pass over the arrays of its `CarryPanel`. Every part is bounded and
reported. A part of Maturity whose input is unknown is None and left out of its product; a pair without its
yield windows has no score at all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from portfolio.core.carry import YEAR_DAYS, Floats
from portfolio.core.names import PairId
from portfolio.core.panel import PERIODS_A_DAY, Bools, CarryPanel
from portfolio.core.regime import (
    HOLDING_TEST_PERIODS,
    age_days,
    holding_days,
    paying,
    persistence,
    reverting_sum,
)

#: Weight and length in days of the three yield windows.
YIELD_WINDOWS = ((0.5, 1), (0.3, 7), (0.2, 30))
#: Net carry at which Yield reaches tanh(1) = 0.76; a year's fraction.
YIELD_SCALE = 0.20
#: A regime counts as mature after this many days.
REGIME_DAYS = 30.0
#: Days at zero that a mean is shrunk with: estimates from few days claim little.
MEAN_PRIOR_DAYS = 10.0
#: The slow mean that carry reverts to: the mean over each window that is at least half covered, averaged. On
#: 29 pairs of 2021-25 slow means rank pairs better after costs than fast ones, which churn.
MEAN_WINDOWS = (60, 180)
#: Days of history that steadiness, flips, regimes and persistence are measured over.
STATS_DAYS = 90
#: Days ahead that `forecast_apr` is for.
FORECAST_DAYS = 30.0
#: Annual volatility below this is a price that does not move or a venue that rounds it: it would make a pair
#: look safer than any is.
VOLATILITY_FLOOR = 0.005
#: A share of positive settlements, or a steadiness, below this still leaves a score above zero.
_SHARE_FLOOR, _STEADINESS_FLOOR = 0.05, 0.01
_VARIATION_MAX = 10.0
MATURITY_MAX = 1.5


@dataclass(frozen=True, slots=True)
class PairFacts:
    """What else is known of a pair now.

    Rates are fractions a year unless named otherwise; None is unknown.
    """

    #: Predicted carry of the running interval in the pair's direction, annualised.
    predicted_apr: float | None
    #: Borrow cost on the borrowed part of one leg, as a share of its notional a year.
    borrow_apr: float
    #: Yield of holding the spot leg (staking), a year. While it is unknown none is counted on: a score may be
    #: too low for it, never too high.
    staking_apr: float | None
    #: Current perpetual over spot minus one in the pair's direction, in bps.
    basis_bps: float | None
    #: The part of `borrow_apr` that is due only while the book is levered: the reported APRs are net of it,
    #: what ranks and gates a pair is not, because sizing decides on leverage.
    leverage_apr: float = 0.0
    #: Open interest over a day's volume, both in the same unit.
    open_interest_to_volume: float | None = None


@dataclass(frozen=True, slots=True)
class PairScore:
    """The score of one pair with every part. APRs are fractions a year, net of borrowing, before fees."""

    pair_id: PairId
    quality: float
    yield_part: float
    risk_part: float
    maturity_part: float
    #: 1 fresh regime .. 2 perfect.
    stability: float
    #: Shrunk slow mean of carry after its own costs over forecast volatility, both a year.
    sharpe: float
    net_carry_apr: float
    apr_1d: float
    apr_7d: float
    apr_30d: float
    #: The same over 90 days, over 30 while less than half of 90 is covered: whether the pair is left.
    apr_90d: float
    #: Carry after its own costs that is expected over the next 30 days: today's reverts to the slow mean.
    forecast_apr: float
    #: Of Risk: 1 is constant; share of periods with carry above zero; share of sign changes; a year's
    #: standard deviation of returns.
    steadiness: float
    share_positive: float
    share_flips: float
    volatility: float
    #: Of Maturity: the factors, None where the input is unknown.
    regime_factor: float
    momentum_factor: float
    basis_factor: float | None
    predicted_factor: float | None
    open_interest_factor: float | None
    regime_age_days: float
    #: Expected days until a paying regime turns, from how long those seen lasted.
    holding_days: float
    #: Days after which half of a deviation of the daily carry from its mean is gone.
    half_life_days: float
    #: Carry after its own costs over the holding time when today's reverts to the slow mean, a fraction of
    #: one leg.
    expected_gain: float
    #: What only a levered book pays: the APRs are net of it; quality, Sharpe and the expected gain are not.
    leverage_apr: float
    #: Days that settlements of known span cover, of the window read.
    history_days: float


@dataclass(frozen=True, slots=True, eq=False)
class UniverseScores:
    """Scores of n pairs as columns; the fields of `PairScore`, each of shape (n,), NaN for None."""

    #: Whether all yield windows and the volatility are known; the other values mean something only then.
    scored: Bools
    columns: dict[str, Floats]

    def column(self, name: str) -> Floats:
        """One field of all pairs."""
        return self.columns[name]

    def rows(self, pair_ids: Sequence[PairId]) -> list[PairScore | None]:
        """One `PairScore` per pair, None where it has no score."""
        lists = [self.columns[name].tolist() for name in _FIELDS]
        return [
            _row(pair, list(values)) if scored else None
            for pair, scored, values in zip(
                pair_ids, self.scored.tolist(), zip(*lists, strict=True), strict=True
            )
        ]


_FIELDS = tuple(name for name in PairScore.__slots__ if name != "pair_id")
#: The fields that may be unknown: NaN in the columns, None in a row.
_OPEN = [_FIELDS.index(name) for name in ("basis_factor", "predicted_factor", "open_interest_factor")]


def _row(pair_id: PairId, values: list[Any]) -> PairScore:
    for place in _OPEN:
        if math.isnan(values[place]):
            values[place] = None
    return PairScore(pair_id, *values)


def score_universe(panel: CarryPanel, facts: Sequence[PairFacts], volatility: Floats) -> UniverseScores:
    """Score n pairs at the panel's moment from their past only, in one pass.

    Args:
        panel: Carry of the n pairs up to now, at least 30 days of it.
        facts: What else is known of each pair, in the panel's order.
        volatility: Forecast standard deviation of each pair's daily returns, a fraction of one leg; NaN where
            unknown; shape (n,).
    """
    cost = np.array([row.borrow_apr - (row.staking_apr or 0.0) for row in facts], dtype=np.float64)
    aprs = {days: _apr(panel, days) - cost for _, days in YIELD_WINDOWS}
    levered = np.array([row.leverage_apr for row in facts], dtype=np.float64)
    blended = sum((weight * aprs[days] for weight, days in YIELD_WINDOWS), np.zeros(len(cost)))
    annual = volatility * np.sqrt(YEAR_DAYS)
    scored = np.isfinite(blended) & np.isfinite(annual)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = panel.carry / np.where(panel.covered > 0, panel.covered, np.nan)
    recent = rate[:, -STATS_DAYS * PERIODS_A_DAY :]
    own = cost - levered
    mean = _slow_mean(panel) - own
    columns = _risk(recent, annual) | _prospects(panel, rate, mean, own)
    columns |= _maturity(columns["regime_age_days"], aprs, facts)
    columns["leverage_apr"] = levered
    columns["history_days"] = np.sum(panel.covered, axis=1)
    columns["sharpe"] = mean / np.maximum(annual, VOLATILITY_FLOOR)
    earned = blended + levered
    columns["yield_part"] = np.where(earned > 0, np.tanh(earned / YIELD_SCALE), 0.0)
    columns["quality"] = columns["yield_part"] * columns["risk_part"] * columns["maturity_part"]
    columns["net_carry_apr"] = blended
    quarter = _apr(panel, 90) - cost
    columns["apr_90d"] = np.where(np.isnan(quarter), aprs[30], quarter)
    columns["apr_1d"], columns["apr_7d"], columns["apr_30d"] = (aprs[days] for _, days in YIELD_WINDOWS)
    mature = np.minimum(columns["regime_age_days"] / REGIME_DAYS, 1.0)
    columns["stability"] = 1.0 + mature * columns["steadiness"] * columns["share_positive"]
    return UniverseScores(scored, columns)


def _apr(panel: CarryPanel, days: int) -> Floats:
    """Carry a year over the last days; NaN where settlements of known span cover less than half; (n,)."""
    last = days * PERIODS_A_DAY
    covered = np.sum(panel.covered[:, -last:], axis=1)
    enough = covered >= days / 2
    return np.where(
        enough, np.sum(panel.carry[:, -last:], axis=1) / np.where(enough, covered, 1.0) * YEAR_DAYS, np.nan
    )


def _slow_mean(panel: CarryPanel) -> Floats:
    """Carry a year over the long windows, shrunk towards zero by its days; 0 where nothing is known; (n,)."""
    means = np.array([_apr(panel, days) for days in MEAN_WINDOWS])
    known = ~np.isnan(means)
    mean = np.sum(np.where(known, means, 0.0), axis=0) / np.maximum(np.sum(known, axis=0), 1)
    covered = np.sum(panel.covered, axis=1)
    return np.asarray(mean * covered / (covered + MEAN_PRIOR_DAYS), dtype=np.float64)


def _risk(rate: Floats, annual: Floats) -> dict[str, Floats]:
    """Steadiness, share of positive periods, sign flips and volatility; their product is in (0, 1]."""
    known = ~np.isnan(rate)
    counts = np.maximum(np.count_nonzero(known, axis=1), 1)
    filled = np.where(known, rate, 0.0)
    mean = np.sum(filled, axis=1) / counts
    spread = np.sqrt(np.maximum(np.sum(filled * filled, axis=1) / counts - mean * mean, 0.0))
    # A spread that is only rounding of the mean counts as none.
    spread = np.where(spread > 1e-7 * np.abs(mean), spread, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        variation = np.where(spread > 0, np.minimum(spread / np.abs(mean), _VARIATION_MAX), 0.0)
    positive = np.count_nonzero(filled > 0, axis=1) / counts
    sign = np.sign(filled)
    both = known[:, 1:] & known[:, :-1]
    flipped = np.count_nonzero((sign[:, 1:] != sign[:, :-1]) & both, axis=1)
    flips = flipped / np.maximum(np.count_nonzero(both, axis=1), 1)
    steady = np.maximum(_STEADINESS_FLOOR, 1.0 - flips) / (1.0 + variation)
    return {
        "steadiness": steady,
        "share_positive": positive,
        "share_flips": flips,
        "volatility": annual,
        "risk_part": steady * np.maximum(positive, _SHARE_FLOOR) * np.exp(-np.minimum(annual, 10.0)),
    }


def _prospects(panel: CarryPanel, rate: Floats, mean: Floats, own: Floats) -> dict[str, Floats]:
    """What the pair is expected to earn: regime age and survival, persistence, gain over the holding time.

    On 29 pairs of 2021-25 (forecasts every 10 days of the next 30) this forecast explains 0.20 of the
    variance, the slow mean alone 0.15, the last 30 days carried on less than nothing (-0.02).
    """
    per_day = own / YEAR_DAYS
    net = rate - per_day[:, None]
    holding = holding_days(paying(net, HOLDING_TEST_PERIODS), ~np.isnan(net))
    recent = net[:, -STATS_DAYS * PERIODS_A_DAY :]
    persistent = persistence(_daily(panel, recent.shape[1]))
    level = _apr(panel, 1) / YEAR_DAYS - per_day
    return {
        "regime_age_days": age_days(paying(recent), ~np.isnan(recent)),
        "holding_days": holding,
        "half_life_days": np.log(0.5) / np.log(persistent),
        "expected_gain": reverting_sum(level, mean / YEAR_DAYS, persistent, holding),
        "forecast_apr": reverting_sum(level, mean / YEAR_DAYS, persistent, np.full(len(mean), FORECAST_DAYS))
        / FORECAST_DAYS
        * YEAR_DAYS,
    }


def _daily(panel: CarryPanel, periods: int) -> Floats:
    """Carry per day known, for each day of the last periods; NaN where nothing is; shape (n, days)."""
    days = (len(panel.carry), periods // PERIODS_A_DAY, PERIODS_A_DAY)
    covered = np.sum(panel.covered[:, -periods:].reshape(days), axis=2)
    carry = np.sum(panel.carry[:, -periods:].reshape(days), axis=2)
    return np.asarray(carry / np.where(covered > 0, covered, np.nan), dtype=np.float64)


def _maturity(age: Floats, aprs: dict[int, Floats], facts: Sequence[PairFacts]) -> dict[str, Floats]:
    """Regime age, momentum, basis, predicted rate, open interest to volume: each clamped, the product too."""
    basis = _column([row.basis_bps for row in facts])
    predicted = _column([row.predicted_apr for row in facts])
    interest = _column([row.open_interest_to_volume for row in facts])
    parts = {
        "regime_factor": 0.5 + 0.5 * np.minimum(age / REGIME_DAYS, 1.0),
        "momentum_factor": np.clip(1.0 + (aprs[1] - aprs[7]) / YIELD_SCALE * 0.25, 0.75, 1.25),
        # A perpetual far below spot pays its shorts little for long: discount it, never reward above parity.
        "basis_factor": np.clip(1.0 + basis / 200.0, 0.5, 1.0),
        "predicted_factor": np.clip(1.0 + predicted / YIELD_SCALE * 0.2, 0.6, 1.2),
        # Positions that are kept pay for long; a market that turns its open interest over daily is a fad.
        "open_interest_factor": np.clip(0.8 + 0.4 * interest, 0.8, 1.1),
    }
    product = np.ones(len(age))
    for part in parts.values():
        product = product * np.where(np.isnan(part), 1.0, part)
    return {**parts, "regime_age_days": age, "maturity_part": np.minimum(product, MATURITY_MAX)}


def _column(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
