"""The long-run correlation that DCC returns to: the residuals' own, shrunk towards a constant one.

Ledoit and Wolf (2004, "Honey, I shrunk the sample covariance matrix") shrink towards the average correlation;
the intensity is the analytic one of Schaefer and Strimmer (2005). A correlation that nobody can estimate is
the average: a new pair is never rewarded as if it were known to diversify.
"""

from dataclasses import dataclass

import numpy as np

from portfolio.core.carry import Floats
from portfolio.core.covariance import nearest_correlation

#: Observations that two pairs must share before their sample correlation counts.
COMMON_MIN = 30
#: The shrinkage is at least this, so that pairs that move as one stay invertible.
SHRINKAGE_MIN = 0.01
#: The average correlation is held within 0 and this.
AVERAGE_MAX = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class CorrelationTarget:
    """A positive definite correlation matrix, and how far it was shrunk."""

    #: Unit diagonal; shape (n, n).
    matrix: Floats
    #: Average of the sample correlations, held within 0..`AVERAGE_MAX`.
    average: float
    #: Weight of the average, `SHRINKAGE_MIN`..1.
    shrinkage: float


def correlation_target(residuals: Floats) -> CorrelationTarget:
    """From standardised residuals of shape (observations, n), NaN where there is none; zero mean."""
    seen = np.isfinite(residuals).astype(np.float64)
    values = np.where(seen > 0, residuals, 0.0)
    common = seen.T @ seen
    own = (values**2).T @ seen
    scale = np.sqrt(own * own.T)
    known = (common >= COMMON_MIN) & (scale > 0)
    np.fill_diagonal(known, False)
    sample = np.clip((values.T @ values) / np.where(known, scale, 1.0), -1.0, 1.0)
    # Sampling variance under normality. Fourth moments of carry returns would ask for far more shrinkage,
    # because of a few prints, and forecasts are worse for it.
    noise = (1.0 - sample**2) ** 2 / np.maximum(common, 1.0)
    average = float(np.clip(np.mean(sample[known]), 0.0, AVERAGE_MAX)) if np.any(known) else 0.0
    spread = float(np.sum((sample[known] - average) ** 2))
    wanted = float(np.sum(noise[known])) / spread if spread > 0 else 1.0
    shrinkage = float(np.clip(wanted, SHRINKAGE_MIN, 1.0))
    whole = np.where(known, sample, average)
    np.fill_diagonal(whole, 1.0)
    constant = np.full_like(whole, average)
    np.fill_diagonal(constant, 1.0)
    return CorrelationTarget(
        (1.0 - shrinkage) * nearest_correlation(whole) + shrinkage * constant, average, shrinkage
    )
