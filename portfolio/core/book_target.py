"""From a selection to a sized book: its carry, its volatility, its size, and caps that follow the size.

The decision that the desk's proposals and the backtest share stands between `UniverseSelector`, which chooses
and weighs, and `rebalance`, which says what of the difference is worth trading.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from portfolio.core.carry import YEAR_DAYS
from portfolio.core.decimals import ZERO
from portfolio.core.names import PairId
from portfolio.core.scoring import PairScore
from portfolio.core.selection import Selection
from portfolio.core.sizing import BookSize, SizingInput, size_book

#: Next month's mean carry by the means of the last 1, 7, 30 and 90 days: least squares over 29 pairs of
#: 2021-25 (R2 0.51), rounded. Carry reverts: a quarter of what is seen is not expected to last.
CARRY_LEVEL = 0.02
CARRY_SHARES = (0.13, 0.30, 0.22, 0.10)
#: Rounds of sizing and capping, and the change of a weight that ends them.
_ROUNDS = 4
_PRECISION = 0.005


def size_selection(
    selection: Selection,
    given: SizingInput,
    exclude: Collection[PairId] = (),
) -> BookSize:
    """Size the selected book.

    Size and caps depend on each other: it is asked again at the size found until it stays. Caps get tighter
    as the book grows, so every round is smaller than or equal to what its caps allow.

    Args:
        selection: Weights and what caps them.
        given: The account; its `carry_apr` and `volatility` are filled in here.
        exclude: Pairs that get no weight.

    Raises:
        MissingDataError: a price or risk table that is needed is absent.
    """
    weights: Mapping[PairId, float] = selection.weights
    size = BookSize({}, ZERO, "no_pairs")
    for _ in range(_ROUNDS):
        kept = {pair: weight for pair, weight in weights.items() if pair not in exclude}
        size = size_book(
            kept,
            replace(
                given,
                carry_apr=book_carry(selection, kept),
                volatility=book_volatility(selection, kept),
            ),
        )
        if size.leg_total_usd <= 0:
            break
        capped = selection.weights_at(float(size.leg_total_usd))
        again = dict(zip(selection.eligible, capped.weights.tolist(), strict=True))
        if max((abs(again[pair] - weights[pair]) for pair in again), default=0.0) < _PRECISION:
            break
        weights = again
        # Other weights may leave room for more: no expectation stands in the way of looking for it.
        given = replace(given, expected=None)
    return size


def book_carry(selection: Selection, weights: Mapping[PairId, float]) -> float:
    """Carry that the book is expected to earn, a year, before what leverage costs; 0 for an empty book.

    Scores are net of that cost; sizing weighs the carry before it against the cost of one more dollar.
    """
    total = sum(weights.values())
    if total <= 0:
        return 0.0
    carries = {row.pair_id: expected_carry(row) for row in selection.scores}
    return sum(weight * carries[pair] for pair, weight in weights.items()) / total


def expected_carry(score: PairScore) -> float:
    """Carry a year that a pair is expected to pay over the next month: past means, pulled to CARRY_LEVEL."""
    means = (score.apr_1d, score.apr_7d, score.apr_30d, score.apr_90d)
    return CARRY_LEVEL + sum(
        share * (mean + score.leverage_apr) for share, mean in zip(CARRY_SHARES, means, strict=True)
    )


def book_volatility(selection: Selection, weights: Mapping[PairId, float]) -> float:
    """Forecast standard deviation of the book's return a year, a fraction of its one-leg total.

    A pair whose volatility is unknown makes the book's infinite: unknown is never calm.
    """
    total = sum(weights.values())
    if total <= 0:
        return 0.0
    shares = np.array([weights.get(pair, 0.0) for pair in selection.eligible])
    held = shares > 0
    deviations = selection.risk.volatility[held] * shares[held]
    if np.isnan(deviations).any():
        return float("inf")
    correlation = selection.risk.correlation[np.ix_(held, held)]
    return float(np.sqrt(max(0.0, deviations @ correlation @ deviations) * YEAR_DAYS)) / total
