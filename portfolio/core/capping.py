"""Caps on weights: the largest share of a pair, of a narrative and of a market, with the cut redistributed.

Caps in USD become shares at the size of the book that is asked about, so the same weights can be capped for
every size that sizing tries. What caps cut goes to the other pairs in proportion to their weights, until
nothing is left or nobody can take more; then the rest stays in cash. No cap is ever relaxed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from portfolio.core.carry import Floats, Ints
from portfolio.core.errors import InputError
from portfolio.core.names import Narrative
from portfolio.core.panel import Bools

_NONE = 1e-12
#: Of a pair's own caps; where two are equal the first one is named.
_KINDS = ("pair_share", "liquidity", "borrow_cost")


@dataclass(frozen=True, slots=True, eq=False)
class BookCaps:
    """What bounds n pairs. USD are of one leg; infinite means that nothing of this kind bounds the pair.

    Raises:
        InputError: a cap is not a number, or below 0.
    """

    #: Largest share of the book, per pair; shape (n,).
    share: Floats
    #: Largest notional by the market's depth and open interest, USD; shape (n,).
    liquidity_usd: Floats
    #: Which narrative each pair belongs to.
    narratives: Sequence[Narrative]
    #: What one USD of the pair consumes of its narrative's budget: margin at reference leverage (initial
    #: margin + haircut + borrow margin), or 1 when narratives are capped by notional; shape (n,).
    narrative_use: Floats
    #: Largest sum of that, USD, for each narrative.
    narrative_usd: float
    #: Largest notional that is worth its financing, USD: of a pair that earns less than borrowing costs, what
    #: it has in a book of the account's own cash; shape (n,). None: every pair earns more.
    financed_usd: Floats | None = None
    #: Narratives are capped by notional: their use is 1 by definition, and nothing is left to measure.
    by_notional: bool = False

    def __post_init__(self) -> None:
        financed = np.zeros(0) if self.financed_usd is None else self.financed_usd
        rows = (self.share, self.liquidity_usd, self.narrative_use, self.narrative_usd, financed)
        if not all(np.all(np.asarray(row) >= 0) for row in rows):
            raise InputError("A cap of the book is not known.", field="caps", allowed=">= 0 or infinite")


@dataclass(frozen=True, slots=True, eq=False)
class CappedWeights:
    """Weights after caps; shape (n,), non-negative. `unplaced` is what no pair could take, 0..1."""

    weights: Floats
    unplaced: float
    #: What keeps each pair from more: `pair_share`, `liquidity`, `borrow_cost`, `narrative:NAME`, or None;
    #: length n.
    bound_by: tuple[str | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CappedBooks:
    """The same for books of G sizes."""

    #: (G, n)
    weights: Floats
    #: (G,)
    unplaced: Floats
    #: (G, n): pairs at their own cap, which of `_KINDS` that is, and pairs whose narrative is used up.
    full: Bools
    kinds: Ints
    spent: Bools
    narratives: Sequence[Narrative]

    def bound_by(self, row: int) -> tuple[str | None, ...]:
        """What keeps each pair of one of the books from more."""
        return tuple(
            _KINDS[kind] if is_full else f"narrative:{name}" if is_spent else None
            for is_full, kind, is_spent, name in zip(
                self.full[row].tolist(),
                self.kinds[row].tolist(),
                self.spent[row].tolist(),
                self.narratives,
                strict=True,
            )
        )


def cap_weights(weights: Floats, caps: BookCaps, book_usd: float) -> CappedWeights:
    """Cap the weights of a book of this size (one-leg total, USD, above 0).

    Raises:
        InputError: as `cap_books`.
    """
    books = cap_books(weights, caps, np.array([book_usd]))
    return CappedWeights(books.weights[0], float(books.unplaced[0]), books.bound_by(0))


def cap_books(weights: Floats, caps: BookCaps, totals: Floats) -> CappedBooks:
    """Cap the same weights in books of many sizes, (G,), at once.

    All weights grow from zero in proportion to what was asked for; a pair stops at its own cap, and all pairs
    of a narrative when its budget is used up. So the answer is the one whose shares of the wanted weights are
    as equal as the caps allow (weighted max-min). At most one pass per pair and narrative.

    Raises:
        InputError: a size is not above 0, or a weight is not a number.
    """
    if not np.all(totals > 0):
        raise InputError(f"A book of {np.min(totals)} USD has no shares.", field="book_usd")
    if np.any(np.isnan(weights)):
        raise InputError("A weight of the book is not known.", field="weights", allowed="numbers")
    own, kinds = _own_caps(caps, totals)
    group, members = _groups(caps.narratives)
    use, budget = caps.narrative_use, (caps.narrative_usd / totals)[:, None]
    bound = use > 0
    used_of = use[:, None] * members
    target = float(np.sum(weights))
    out = np.zeros(own.shape)
    full = np.zeros(own.shape, dtype=np.bool_) | (weights <= 0)
    used_up = np.zeros((len(totals), members.shape[1]), dtype=np.bool_)
    while True:
        grow = np.where(full | (used_up[:, group] & bound), 0.0, weights)
        pull = grow.sum(axis=1)
        missing = target - out.sum(axis=1)
        grows = (missing > _NONE) & (pull > 0)
        if not grows.any():
            break
        need = grow @ used_of
        left = np.maximum(budget - out @ used_of, 0.0)
        to_own = np.divide(own - out, grow, out=np.full(own.shape, np.inf), where=grow > 0)
        to_budget = np.divide(left, need, out=np.full(need.shape, np.inf), where=need > 0)
        whole = np.divide(missing, pull, out=np.zeros(len(totals)), where=grows)
        step = np.minimum(
            whole, np.minimum(to_own.min(axis=1, initial=np.inf), to_budget.min(axis=1, initial=np.inf))
        )[:, None]
        out = np.minimum(out + step * grow, own)
        full |= (to_own <= step) & grows[:, None]
        used_up |= (to_budget <= step) & grows[:, None]
    spent = used_up[:, group] & bound
    unplaced = np.where(missing > _NONE, missing, 0.0)
    return CappedBooks(out, unplaced, full & (weights > 0), kinds, spent & (weights > 0), caps.narratives)


def _own_caps(caps: BookCaps, totals: Floats) -> tuple[Floats, Ints]:
    """Largest share of each pair by itself, and which of its caps that is (an index of `_KINDS`); (G, n)."""
    shape = (len(totals), len(caps.share))
    rows = [np.broadcast_to(caps.share, shape), caps.liquidity_usd / totals[:, None]]
    if caps.financed_usd is not None:
        rows.append(caps.financed_usd / totals[:, None])
    stacked = np.stack(rows)
    return np.min(stacked, axis=0), np.argmin(stacked, axis=0)


def _groups(narratives: Sequence[Narrative]) -> tuple[Ints, Floats]:
    """The number of each pair's narrative, (n,), and which pairs belong to each, (n, m) of 0 and 1."""
    numbers: dict[Narrative, int] = {}
    group = np.array([numbers.setdefault(name, len(numbers)) for name in narratives], dtype=np.int64)
    return group, (group[:, None] == np.arange(len(numbers))).astype(np.float64)
