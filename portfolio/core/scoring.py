"""QualityScore = Yield x Risk x Maturity, and the Sharpe ratio that weights are made of (DESIGN 5).

Every part is bounded and reported. A part whose input is unknown is None and left out of its product; a
pair without its yield windows or its interval has no score at all, which makes it untradable.
"""

from dataclasses import dataclass

import numpy as np

from portfolio.core.carry import YEAR_DAYS, CarrySeries, Floats, apr_over
from portfolio.core.errors import MissingDataError
from portfolio.core.names import PairId

#: Weight and length in days of the three yield windows.
YIELD_WINDOWS = ((0.5, 1.0), (0.3, 7.0), (0.2, 30.0))
#: Net carry at which Yield reaches tanh(1) = 0.76; a year's fraction.
YIELD_SCALE = 0.20
#: A regime counts as mature after this many days of one sign.
REGIME_DAYS = 30.0
#: Half-life of the volatility estimate, in settlements; EWMA stands where GARCH(1,1) will.
VOLATILITY_HALFLIFE = 60.0
#: Prior observations at zero that the mean is shrunk with.
MEAN_PRIOR = 30.0
#: Annual volatility below this is measurement noise; it keeps a constant series finite.
VOLATILITY_FLOOR = 0.002


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
    #: Current perpetual over spot minus one, in bps.
    basis_bps: float


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
    sharpe: float
    net_carry_apr: float
    apr_1d: float
    apr_7d: float
    apr_30d: float
    regime_age_days: float
    share_positive: float
    volatility: float
    #: Expected days until carry turns, from how long its regimes lasted.
    holding_days: float


def score(pair_id: PairId, series: CarrySeries, facts: PairFacts, now_market_ns: int) -> PairScore:
    """Score one pair at one moment from its past only.

    Raises:
        MissingDataError: a yield window is not covered by the history.
    """
    gross = {days: apr_over(series, days, now_market_ns) for _, days in YIELD_WINDOWS}
    for days, apr in gross.items():
        if apr is None:
            raise MissingDataError(
                f"{pair_id}: the last {days:g} days are not covered by settlements.",
                field="settlements",
                next_step="The pair stays untradable until its history is complete.",
            )
    net_cost = facts.borrow_apr - (facts.staking_apr or 0.0)
    aprs = [apr - net_cost for apr in gross.values() if apr is not None]
    blended = sum(weight * apr for (weight, _), apr in zip(YIELD_WINDOWS, aprs, strict=True))
    age = regime_age_days(series, now_market_ns)
    positive = float(np.mean(series.carry > 0))
    volatility = ewma_volatility(series.returns) * np.sqrt(_per_year(series))
    stable = steadiness(series)
    risk_part = stable * max(positive, 0.05) * float(np.exp(-volatility))
    maturity_part = _maturity(age, aprs, facts)
    yield_part = float(np.tanh(blended / YIELD_SCALE)) if blended > 0 else 0.0
    return PairScore(
        pair_id=pair_id,
        quality=yield_part * risk_part * maturity_part,
        yield_part=yield_part,
        risk_part=risk_part,
        maturity_part=maturity_part,
        stability=1.0 + min(age / REGIME_DAYS, 1.0) * stable * positive,
        sharpe=shrunk_sharpe(series, net_cost, volatility),
        net_carry_apr=blended,
        apr_1d=aprs[0],
        apr_7d=aprs[1],
        apr_30d=aprs[2],
        regime_age_days=age,
        share_positive=positive,
        volatility=float(volatility),
        holding_days=expected_holding_days(series),
    )


def _maturity(age_days: float, aprs: list[float], facts: PairFacts) -> float:
    """Regime age, momentum, basis and predicted rate, each clamped; in (0, 1.5]."""
    regime = 0.5 + 0.5 * min(age_days / REGIME_DAYS, 1.0)
    momentum = float(np.clip(1.0 + (aprs[0] - aprs[1]) / YIELD_SCALE * 0.25, 0.75, 1.25))
    # A perpetual far below spot pays its shorts little for long: discount it, never reward more than parity.
    basis = float(np.clip(1.0 + facts.basis_bps / 200.0, 0.5, 1.0))
    if facts.predicted_apr is None:
        return regime * momentum * basis
    predicted = float(np.clip(1.0 + facts.predicted_apr / YIELD_SCALE * 0.2, 0.6, 1.2))
    return regime * momentum * basis * predicted


def regime_age_days(series: CarrySeries, now_market_ns: int) -> float:
    """Days since the 1-day mean of carry last changed sign; 0 when it is not positive now.

    A single negative print inside a paying regime does not reset it: the mean over a day decides.
    """
    per_day = max(1, round(_per_year(series) / 365.0))
    smooth = np.convolve(series.carry, np.ones(per_day) / per_day, mode="valid")
    times = series.times_ns[per_day - 1 :]
    if len(smooth) == 0 or smooth[-1] <= 0:
        return 0.0
    breaks = np.flatnonzero(smooth <= 0)
    start = times[breaks[-1] + 1] if len(breaks) else series.times_ns[0]
    return float(now_market_ns - start) / 86_400e9


def expected_holding_days(series: CarrySeries) -> float:
    """Mean length of the runs of paying settlements in days, at least one interval.

    The running regime counts as it is.
    """
    interval = YEAR_DAYS / _per_year(series)
    paying = series.carry > 0
    runs = int(np.count_nonzero(np.diff(paying.astype(np.int8), prepend=0) == 1))
    if runs == 0:
        return interval
    return max(interval, float(np.count_nonzero(paying)) * interval / runs)


def steadiness(series: CarrySeries) -> float:
    """1 / (1 + coefficient of variation) times one minus the share of sign flips; in (0, 1]."""
    mean = abs(float(np.mean(series.carry)))
    spread = float(np.std(series.carry))
    variation = spread / mean if mean > 0 else (0.0 if spread == 0 else 10.0)
    flips = float(np.mean(np.diff(np.sign(series.carry)) != 0))
    return max(0.01, (1.0 - flips)) / (1.0 + min(variation, 10.0))


def ewma_volatility(returns: Floats) -> float:
    """Volatility per settlement, zero mean, exponentially weighted towards the newest; shape (n,) in."""
    ages = np.arange(len(returns) - 1, -1, -1, dtype=np.float64)
    weights = 0.5 ** (ages / VOLATILITY_HALFLIFE)
    return float(np.sqrt(np.sum(weights * returns**2) / np.sum(weights)))


def shrunk_sharpe(series: CarrySeries, net_cost_apr: float, volatility: float) -> float:
    """Annual mean of returns, shrunk towards zero, less the net cost, over annual volatility."""
    count = len(series.returns)
    mean = float(np.mean(series.returns)) * _per_year(series)
    shrunk = mean * count / (count + MEAN_PRIOR)
    return (shrunk - net_cost_apr) / max(volatility, VOLATILITY_FLOOR)


def _per_year(series: CarrySeries) -> float:
    """Settlements a year, from their own spans."""
    return YEAR_DAYS * float(np.count_nonzero(series.spans_days)) / float(np.sum(series.spans_days))
