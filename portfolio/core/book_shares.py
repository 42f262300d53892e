"""Shares of the book by its size: what sizing tries sizes of.

Caps in USD bind more pairs the larger the book is, so shares are asked for at a size: what caps cut goes to
those that can take more. Where a book larger than the equity would leave more in cash than a small one does,
it is full: to grow its total further would only stretch caps that are shares of it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from portfolio.core.capping import BookCaps, CappedBooks, cap_books
from portfolio.core.carry import Floats
from portfolio.core.names import Narrative, PairId

#: More of the book in cash than this, beside what a small book leaves, means that it is full.
_NOTHING = 1e-6
#: A book so small that no cap in USD binds.
_SMALL = 0.01


class Shares(Protocol):
    """Shares of a book of any size, a one-leg total in USD, >= 0. A book of nothing has none."""

    @property
    def pair_ids(self) -> Sequence[PairId]:
        """The n pairs that may have one."""
        ...

    def books(self, totals: Floats) -> Floats:
        """Shares of books of these sizes, (G,) in, (G, n) out: each >= 0, a book's at most 1 together."""
        ...

    def full(self, totals: Floats) -> list[str | None]:
        """Why a book of each size could not be placed; None: it can."""
        ...


def shares_at(shares: Shares, total: float) -> Mapping[PairId, float]:
    """Share above 0 by pair, in a book of this size."""
    (row,) = shares.books(np.array([total])).tolist()
    return {pair: share for pair, share in zip(shares.pair_ids, row, strict=True) if share > 0}


@dataclass(frozen=True, slots=True)
class FixedShares:
    """The same shares whatever the size."""

    weights: Mapping[PairId, float]

    @property
    def pair_ids(self) -> Sequence[PairId]:
        """Those with a weight above 0."""
        return [pair for pair, weight in self.weights.items() if weight > 0]

    def books(self, totals: Floats) -> Floats:
        """The weights, for each size above 0."""
        row = np.array([self.weights[pair] for pair in self.pair_ids], dtype=np.float64)
        return np.where(totals[:, None] > 0, row, 0.0)

    def full(self, totals: Floats) -> list[str | None]:
        """Never."""
        return [None] * len(totals)


class CappedShares:
    """Wanted weights under caps."""

    def __init__(
        self,
        pair_ids: Sequence[PairId],
        wanted: Floats,
        caps: BookCaps,
        exclude: Collection[PairId] = (),
        *,
        own_usd: float = 0.0,
    ) -> None:
        """Wanted weights and the caps of pairs, in their order; what is excluded stays in cash.

        `own_usd` is the account's equity: caps that are shares of the book are shares of no less, so that a
        book within it stretches none and is never full.
        """
        self._all, self._wanted, self._caps, self._exclude = pair_ids, wanted, caps, exclude
        self._own_usd = own_usd
        self._kept = np.array([pair not in exclude for pair in pair_ids], dtype=np.bool_)
        self._known: tuple[bytes, CappedBooks] | None = None
        self._always_unplaced = float(self._capped(np.zeros(1)).unplaced[0])

    @property
    def pair_ids(self) -> Sequence[PairId]:
        """Those that are not excluded."""
        return [pair for pair, kept in zip(self._all, self._kept.tolist(), strict=True) if kept]

    def books(self, totals: Floats) -> Floats:
        """What the caps leave at these sizes."""
        return np.where(totals[:, None] > 0, self._capped(totals).weights[:, self._kept], 0.0)

    def full(self, totals: Floats) -> list[str | None]:
        """The first cap in USD, in the order of the pairs, of those that leave more in cash."""
        found = self._capped(totals)
        over = (found.unplaced > self._always_unplaced + _NOTHING) & (totals > self._own_usd)
        return [_first_in_usd(found.bound_by(row)) if over[row] else None for row in range(len(totals))]

    def measured(self, use: Mapping[Narrative, float]) -> "CappedShares":
        """The same with the margin that one USD of these narratives takes of their budget."""
        rows = zip(self._caps.narratives, self._caps.narrative_use.tolist(), strict=True)
        found = np.array([use.get(narrative, known) for narrative, known in rows], dtype=np.float64)
        caps = replace(self._caps, narrative_use=found)
        return CappedShares(self._all, self._wanted, caps, self._exclude, own_usd=self._own_usd)

    def _capped(self, totals: Floats) -> CappedBooks:
        """The books of these sizes; the last ones asked for are kept, because they are asked twice."""
        key = totals.tobytes()
        if self._known is None or self._known[0] != key:
            self._known = key, cap_books(self._wanted, self._caps, np.maximum(totals, _SMALL))
        return self._known[1]


def _first_in_usd(bound_by: Sequence[str | None]) -> str:
    return next(name for name in bound_by if name is not None and name != "pair_share")
