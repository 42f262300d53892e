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

_NONE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class BookCaps:
    """What bounds n pairs. USD are of one leg; infinite means that nothing of this kind bounds the pair."""

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


@dataclass(frozen=True, slots=True, eq=False)
class CappedWeights:
    """Weights after caps; shape (n,), non-negative. `unplaced` is what no pair could take, 0..1."""

    weights: Floats
    unplaced: float
    #: What keeps each pair from more: `pair_share`, `liquidity`, `narrative:NAME`, or None; length n.
    bound_by: tuple[str | None, ...]


def cap_weights(weights: Floats, caps: BookCaps, book_usd: float) -> CappedWeights:
    """Cap the weights of a book of this size (one-leg total, USD, above 0).

    All weights grow from zero in proportion to what was asked for; a pair stops at its own cap, and all pairs
    of a narrative when its budget is used up. So the answer is the one whose shares of the wanted weights are
    as equal as the caps allow (weighted max-min). At most one pass per pair and narrative.

    Raises:
        InputError: the size is not above 0.
    """
    if not book_usd > 0:
        raise InputError(f"A book of {book_usd} USD has no shares.", field="book_usd")
    own = np.minimum(caps.share, caps.liquidity_usd / book_usd)
    group, names = _groups(caps.narratives)
    use, budget = caps.narrative_use, caps.narrative_usd / book_usd
    target = float(np.sum(weights))
    out = np.zeros(len(weights))
    full = weights <= 0
    used_up = np.zeros(len(names), dtype=np.bool_)
    while True:
        grow = np.where(full | (used_up[group] & (use > 0)), 0.0, weights)
        missing = target - float(np.sum(out))
        if missing <= _NONE or not np.any(grow):
            break
        need = np.bincount(group, grow * use, len(names))
        left = np.maximum(budget - np.bincount(group, out * use, len(names)), 0.0)
        to_own = np.divide(own - out, grow, out=np.full(len(out), np.inf), where=grow > 0)
        to_budget = np.divide(left, need, out=np.full(len(names), np.inf), where=need > 0)
        step = min(missing / float(np.sum(grow)), float(np.min(to_own)), float(np.min(to_budget)))
        out = np.minimum(out + step * grow, own)
        full |= to_own <= step
        used_up |= to_budget <= step
    by_market = caps.liquidity_usd / book_usd < caps.share
    stopped = full & (weights > 0)
    spent = used_up[group] & (use > 0) & (weights > 0)
    bound_by = tuple(
        ("liquidity" if market else "pair_share") if is_full else f"narrative:{name}" if is_spent else None
        for is_full, market, is_spent, name in zip(
            stopped.tolist(), by_market.tolist(), spent.tolist(), caps.narratives, strict=True
        )
    )
    return CappedWeights(out, missing if missing > _NONE else 0.0, bound_by)


def _groups(narratives: Sequence[Narrative]) -> tuple[Ints, list[Narrative]]:
    """The number of each pair's narrative, and the names by number."""
    numbers: dict[Narrative, int] = {}
    group = [numbers.setdefault(name, len(numbers)) for name in narratives]
    return np.array(group, dtype=np.int64), list(numbers)
