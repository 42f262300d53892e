"""From a selection to a sized book: its carry, its volatility, its size, and caps that follow the size.

The decision that the desk's proposals and the backtest share stands between `UniverseSelector`, which chooses
and weighs, and `rebalance`, which says what of the difference is worth trading.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from decimal import Decimal

import numpy as np

from portfolio.core.book_shares import CappedShares, shares_at
from portfolio.core.capping import BookCaps, cap_weights
from portfolio.core.carry import YEAR_DAYS
from portfolio.core.names import PairId
from portfolio.core.scoring import PairScore
from portfolio.core.selection import Selection
from portfolio.core.sizing import BookSize, SizingInput, narrative_use, size_book

#: Next month's mean carry by the means of the last 1, 7, 30 and 90 days: least squares over 29 pairs of
#: 2021-25 (R2 0.51), rounded. Carry reverts: a quarter of what is seen is not expected to last.
CARRY_LEVEL = 0.02
CARRY_SHARES = (0.13, 0.30, 0.22, 0.10)
#: Rounds of measuring and sizing, and the relative change of the total that ends them.
_ROUNDS = 3
_PRECISION = Decimal("0.01")
#: Margin per USD grows with tiers and with prices: narratives are capped this much earlier than measured.
_USE_ROOM = 1.03


def size_selection(
    selection: Selection,
    given: SizingInput,
    exclude: Collection[PairId] = (),
) -> BookSize:
    """Size the selected book.

    Its carry and its volatility, what its narratives consume and how large it can be depend on each other:
    they are measured at a size, and asked again at the size found until it stays.

    Args:
        selection: Weights and what caps them.
        given: The account; its `carry_apr` and `volatility` are filled in here.
        exclude: Pairs that get no weight.

    Raises:
        MissingDataError: a price or risk table that is needed is absent.
    """
    caps = _financed(selection, given)
    wanted, own_usd = selection.fixed_point.weights, float(given.total_equity)
    shares = CappedShares(selection.eligible, wanted, caps, exclude, own_usd=own_usd)
    total = given.total_equity if given.expected is None else given.expected
    rounds, settled = 0, False
    while rounds < _ROUNDS and not settled:
        if total > 0 and shares.pair_ids and not caps.by_notional:
            use = narrative_use(shares, total, given)
            shares = shares.measured({name: _USE_ROOM * one for name, one in use.items()})
        weights = shares_at(shares, float(total))
        carry, volatility = book_carry(selection, weights), book_volatility(selection, weights)
        size = size_book(shares, replace(given, carry_apr=carry, volatility=volatility))
        settled = size.planned_usd == 0 or abs(size.planned_usd - total) <= _PRECISION * total
        total, rounds = size.planned_usd, rounds + 1
    return size


def _financed(selection: Selection, given: SizingInput) -> BookCaps:
    """The caps, and beside them what is worth its financing.

    A pair that is expected to earn less than borrowing costs is held with the account's own cash only: as it
    would be in a book as large as the equity.
    """
    caps, equity = selection.caps, float(given.total_equity)
    carries = {row.pair_id: expected_carry(row) for row in selection.scores}
    # What is not known to earn more does not.
    earns = np.array([carries[pair] >= given.borrow_apr for pair in selection.eligible], dtype=np.bool_)
    costly = ~earns
    if equity <= 0 or not costly.any():
        return caps
    own = cap_weights(selection.fixed_point.weights, caps, equity).weights * equity
    return replace(caps, financed_usd=np.where(costly, own, np.inf))


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
