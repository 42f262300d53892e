"""The backtest's reference portfolio: mean-variance of the largest Sharpe ratio, solved by cvxpy.

cvxpy is in the dependency group `peers`; the product neither needs nor installs it.
"""

import importlib
import importlib.util
from types import ModuleType
from typing import Any

import numpy as np

from portfolio.backtest.peers import Peer, Peers, WeighingInput
from portfolio.core.carry import Floats

SOLVER = "cvxpy"
MISSING = "cvxpy is not installed: `uv sync --group peers` brings the mean-variance peer."
#: Of what is to be placed is left out, so that caps that only just allow it leave the solver an interior.
_SLACK = 1e-6


def installed_peers() -> Peers:
    """The peers that this interpreter can run."""
    if importlib.util.find_spec(SOLVER) is None:
        return Peers(missing=MISSING)
    solver = importlib.import_module(SOLVER)
    peer = Peer(
        f"Long-only mean-variance weights of the largest Sharpe ratio by cvxpy {solver.__version__}, solved "
        "daily on the same eligible pairs, means, covariance and caps; sized and traded by the same rules.",
        MaxSharpe(solver),
    )
    return Peers({"max_sharpe": peer}, None)


class MaxSharpe:
    """Long-only weights of the largest mean over deviation, under caps.

    The ratio does not change with scale, so with y = k w it is the quadratic programme: least y' S y with
    mu' y = 1 and every bound on w times k (Cornuejols and Tutuncu, Optimization Methods in Finance, 8.2).
    Programmes are compiled once for each number of pairs and narratives.
    """

    def __init__(self, cvxpy: ModuleType) -> None:
        self._cvxpy: Any = cvxpy
        self._programmes: dict[tuple[int, ...], _Programme] = {}

    def __call__(self, given: WeighingInput) -> Floats:
        """Weights, as `Weigher` says.

        Raises:
            RuntimeError: the solver did not solve it.
        """
        shape = given.narrative_use.shape
        programme = self._programmes.get(shape)
        if programme is None:
            programme = self._programmes[shape] = _Programme(self._cvxpy, *shape)
        return programme.solve(given)


class _Programme:
    def __init__(self, cvxpy: Any, narratives: int, pairs: int) -> None:
        self._cvxpy = cvxpy
        self._scaled = cvxpy.Variable(pairs, nonneg=True)
        self._scale = cvxpy.Variable(nonneg=True)
        self._root = cvxpy.Parameter((pairs, pairs))
        self._mean = cvxpy.Parameter(pairs, nonneg=True)
        self._own = cvxpy.Parameter(pairs, nonneg=True)
        self._total = cvxpy.Parameter(nonneg=True)
        bounds = [
            self._mean @ self._scaled == 1,
            cvxpy.sum(self._scaled) == self._total * self._scale,
            self._scaled <= self._own * self._scale,
        ]
        if narratives:
            self._use = cvxpy.Parameter((narratives, pairs), nonneg=True)
            self._budget = cvxpy.Parameter(nonneg=True)
            bounds.append(self._use @ self._scaled <= self._budget * self._scale)
        risk = cvxpy.sum_squares(self._root @ self._scaled)
        self._problem = cvxpy.Problem(cvxpy.Minimize(risk), bounds)

    def solve(self, given: WeighingInput) -> Floats:
        # Scale means and deviations to about 1: solvers stop at absolute errors.
        unit = float(np.mean(np.diag(given.covariance)))
        self._root.value = np.linalg.cholesky(given.covariance / unit).T
        self._mean.value = given.mean_apr / float(np.max(given.mean_apr))
        self._own.value = given.share_max
        self._total.value = given.total * (1.0 - _SLACK)
        if len(given.narrative_use):
            self._use.value, self._budget.value = given.narrative_use, given.narrative_max
        self._problem.solve(solver=self._cvxpy.CLARABEL)
        if self._problem.status != self._cvxpy.OPTIMAL:
            raise RuntimeError(f"cvxpy left the mean-variance weights {self._problem.status}.")
        weights: Floats = np.maximum(self._scaled.value, 0.0) / float(self._scale.value)
        return weights
