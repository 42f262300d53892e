"""Reference portfolios: another way to weigh the same eligible pairs, under the same caps, beside ours.

A peer is given what our weights are made of: the slow mean that the Sharpe ratio divides, the covariance
forecast, and caps. What it answers is sized, banded, paced and guarded as ours is. Solvers are not imported
here: who runs a backtest brings the peers that are installed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from portfolio.core.allocation import FixedPoint
from portfolio.core.capping import BookCaps, cap_weights
from portfolio.core.carry import YEAR_DAYS, Floats
from portfolio.core.scoring import VOLATILITY_FLOOR
from portfolio.core.selection import Selection

#: Shares of the book below this are what a solver leaves of zero.
_LEAST_SHARE = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class WeighingInput:
    """What a peer weighs: n >= 1 pairs, each with a mean above zero."""

    #: The slow mean of carry after its own costs, a fraction of one leg a year; shape (n,), above 0.
    mean_apr: Floats
    #: Of returns, a year; shape (n, n), positive definite.
    covariance: Floats
    #: Largest share of the book by pair, 0..1; shape (n,).
    share_max: Floats
    #: What a share of the book in a pair takes of its narrative's budget, a row for each narrative with a
    #: finite budget; shape (narratives, n).
    narrative_use: Floats
    #: That budget, the same for each narrative, as a share of the book; 0 where there are no rows.
    narrative_max: float
    #: What is to be placed: the share of the book that our weights place in these pairs under these caps.
    total: float


class Weigher(Protocol):
    """Weighs pairs."""

    def __call__(self, given: WeighingInput) -> Floats:
        """Shares of the book, >= 0, with the total as their sum; shape (n,). What exceeds a cap is cut."""
        ...


@dataclass(frozen=True, slots=True)
class Peer:
    """A weigher and what it does in one sentence."""

    description: str
    weigher: Weigher


@dataclass(frozen=True, slots=True)
class Peers:
    """Those that can be run, by the names of their runs, or why there are none."""

    by_name: Mapping[str, Peer] = field(default_factory=dict)
    #: Why there are none, a full sentence; None when there are.
    missing: str | None = "No peer was given."


NO_PEERS = Peers()


def weighed(selection: Selection, weigher: Weigher, book_usd: float) -> Selection:
    """The selection with the peer's weights in place of ours.

    Pairs whose mean is not above zero get nothing; where no pair has one, all stays in cash.

    Args:
        selection: Eligible pairs, their risk and their caps.
        weigher: The peer.
        book_usd: Size of the book that caps are taken at (one-leg total, USD, above 0).
    """
    scores = {row.pair_id: row for row in selection.scores}
    annual = np.maximum(selection.risk.volatility * np.sqrt(YEAR_DAYS), VOLATILITY_FLOOR)
    sharpes = np.array([scores[pair].sharpe for pair in selection.eligible], dtype=np.float64)
    ours = np.where(sharpes > 0, selection.fixed_point.weights, 0.0)
    answer = np.zeros(len(ours))
    if np.any(ours > 0):
        total = float(np.sum(cap_weights(ours / np.sum(ours), selection.caps, book_usd).weights))
        if total > _LEAST_SHARE:
            keep = np.flatnonzero(sharpes > 0)
            deviations = annual[keep]
            use, budget = _narratives(selection.caps, book_usd)
            answer[keep] = weigher(
                WeighingInput(
                    mean_apr=sharpes[keep] * deviations,
                    covariance=selection.risk.correlation[np.ix_(keep, keep)]
                    * np.outer(deviations, deviations),
                    share_max=_own(selection.caps, book_usd)[keep],
                    narrative_use=use[:, keep],
                    narrative_max=budget,
                    total=total,
                )
            )
    return _with_weights(selection, np.where(answer > _LEAST_SHARE, answer, 0.0), book_usd)


def _with_weights(selection: Selection, wanted: Floats, book_usd: float) -> Selection:
    """Capped as ours are, so that what a solver leaves of its constraints is cut off exactly."""
    capped = cap_weights(wanted, selection.caps, book_usd)
    bounds = zip(selection.eligible, capped.bound_by, strict=True)
    return replace(
        selection,
        weights=dict(zip(selection.eligible, capped.weights.tolist(), strict=True)),
        unplaced=1.0 - float(np.sum(capped.weights)),
        bound_by={pair: why for pair, why in bounds if why is not None},
        fixed_point=FixedPoint(wanted, 0, 0.0),
    )


def _own(caps: BookCaps, book_usd: float) -> Floats:
    return np.minimum(1.0, np.minimum(caps.share, caps.liquidity_usd / book_usd))


def _narratives(caps: BookCaps, book_usd: float) -> tuple[Floats, float]:
    """A row of uses for each narrative, and the budget of each; no rows where nothing bounds them."""
    if not np.isfinite(caps.narrative_usd):
        return np.zeros((0, len(caps.narratives))), 0.0
    names = sorted(set(caps.narratives))
    rows = [[float(row == name) for row in caps.narratives] for name in names]
    return np.array(rows, dtype=np.float64) * caps.narrative_use, caps.narrative_usd / book_usd
