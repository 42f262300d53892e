"""Every line of the book for many sizes at once: what sizing searches by. Floats live here.

A book of fixed shares grows with its one-leg total. `BookScreen` trades an account to each total as `apply`
does, values it by the account's rule as arrays (`carry_arrays`) now and under every stress, and names the
first line that it violates, in the order of `MarginSim.simulate`. What was found is then verified by the
exact rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portfolio.core.carry import Floats
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.batch import moves_of
from portfolio.core.margin.carry_arrays import ArrayRule, CarryRows
from portfolio.core.margin.carry_tables import CarryTables
from portfolio.core.margin.lines import stress_lines
from portfolio.core.margin.results import Lines
from portfolio.core.margin.stress import Scenario
from portfolio.core.names import Coin, InstrumentId, Narrative, PairId


@dataclass(frozen=True, slots=True, eq=False)
class CarryAccount:
    """One account of carry pairs as arrays: n pairs in one order, and the coins and cash it holds now."""

    rule: ArrayRule
    tables: CarryTables
    pair_ids: tuple[PairId, ...]
    coins: tuple[Coin, ...]
    narratives: tuple[Narrative, ...]
    perpetuals: tuple[InstrumentId, ...]
    #: (n,): coins held and short, entry price of the short, prices in quote.
    spot: Floats
    short: Floats
    entry: Floats
    spot_price: Floats
    mark: Floats
    cash: float

    def traded(self, targets: Floats) -> CarryRows:
        """The account after bringing both legs of every pair to these coins, (S, n), at taker fees."""
        tables = self.tables
        bought = np.maximum(targets - self.spot, 0.0)
        sold = np.maximum(self.spot - targets, 0.0)
        change = targets - self.short
        grown = np.maximum(change, 0.0)
        total = np.where(change > 0, targets, 1.0)
        entry = np.where(change > 0, (self.short * self.entry + grown * self.mark) / total, self.entry)
        cash = (
            (sold * (1.0 - tables.spot_fee) - bought) * self.spot_price
            + np.maximum(-change, 0.0) * (self.entry - self.mark)
            - np.abs(change) * self.mark * tables.taker
        ).sum(axis=1)
        shape = targets.shape
        return CarryRows(
            spot=self.spot - sold + bought * (1.0 - tables.spot_fee),
            short=targets,
            entry=entry,
            spot_price=np.broadcast_to(self.spot_price, shape),
            mark=np.broadcast_to(self.mark, shape),
            cash=self.cash + cash,
            ratio_shift=np.zeros(shape[0]),
        )


class BookScreen:
    """Lines of one account for books of fixed shares. See the module."""

    def __init__(
        self,
        account: CarryAccount,
        shares: Mapping[PairId, float],
        scenarios: Sequence[Scenario],
        limits: RiskLimits,
    ) -> None:
        self._account = account
        self._limits = limits
        weights = np.array([shares.get(pair_id, 0.0) for pair_id in account.pair_ids])
        #: (n,): coins of one leg per USD of the book's one-leg total.
        self._coins_per_usd = weights / account.mark
        asked = [row for row in scenarios if row.prices_alone and row.binding]
        moves = moves_of(asked, account.coins)
        # The account as it is comes first.
        self._factors = np.concatenate((np.ones((1, len(weights))), moves.factors))
        self._shifts = np.concatenate((np.zeros(1), moves.ratio_shifts))
        lines = [stress_lines(row, limits, Lines.BOOK) for row in asked]
        book = limits.book
        self._health_min = np.array([float(book.health_min), *(float(row[0]) for row in lines)])
        self._usage_max = np.array([float(book.usage_max), *(float(row[1]) for row in lines)])
        self._names = [f"stress:{row.name}" for row in asked]
        # The far stresses forbid the border itself, as `stress_breaches` does.
        self._strict = np.array([False, *(not row.near for row in asked)])
        held = (weights > 0) | (account.spot > 0)
        names = dict.fromkeys(
            narrative for narrative, here in zip(account.narratives, held, strict=True) if here
        )
        self._narratives = list(names)
        self._members = np.array(
            [[row == name for row in account.narratives] for name in names], dtype=np.bool_
        ).reshape(len(names), len(weights))

    def first_breaches(self, totals: Floats) -> list[str | None]:
        """The first line that a book of each total (USD of one leg, (G,)) violates; None where it fits."""
        rows = self._account.traded(totals[:, None] * self._coins_per_usd)
        found = [self._stressed(rows), self._tiers(rows), self._borrowed(rows), self._capped(rows)]
        return [
            next((name for name in names if name is not None), None) for names in zip(*found, strict=True)
        ]

    def _stressed(self, rows: CarryRows) -> list[str | None]:
        """Health and usage now and under every stress."""
        count, cases = len(rows.cash), len(self._factors)
        repeated = rows.take(np.repeat(np.arange(count), cases))
        stressed = repeated.stressed(np.tile(self._factors, (count, 1)), np.tile(self._shifts, count))
        totals = self._account.rule(stressed, self._account.tables).totals
        health = totals.health.reshape(count, cases) < self._health_min
        usage = totals.usage.reshape(count, cases)
        over = ~(usage <= self._usage_max) | ((usage == self._usage_max) & self._strict)
        return [self._named(row, row_over) for row, row_over in zip(health, over, strict=True)]

    def _named(self, health: NDArray[np.bool_], over: NDArray[np.bool_]) -> str | None:
        if health[0]:
            return "health"
        if over[0]:
            return "usage"
        failed = np.flatnonzero(health | over)
        return self._names[int(failed[0]) - 1] if len(failed) else None

    def _tiers(self, rows: CarryRows) -> list[str | None]:
        over = rows.short * rows.mark > self._account.tables.value_max
        return [
            f"position_tier:{self._account.perpetuals[int(np.argmax(row))]}" if row.any() else None
            for row in over
        ]

    def _borrowed(self, rows: CarryRows) -> list[str | None]:
        """Loans that the venue would refuse; only where debt grows."""
        found = self._account.rule(rows, self._account.tables)
        grows = np.maximum(0.0, -rows.cash) > max(0.0, -self._account.cash)
        quota = found.borrowed > self._account.tables.borrow_max
        rate = ~(found.totals.usage < found.borrow_line)
        return [
            ("borrow_quota" if over else "borrow_rate") if more and (over or high) else None
            for more, over, high in zip(grows, quota, rate, strict=True)
        ]

    def _capped(self, rows: CarryRows) -> list[str | None]:
        """Narratives whose margin is too much of the equity."""
        count, names = len(rows.cash), len(self._narratives)
        if not names:
            return [None] * count
        whole = self._account.rule(rows, self._account.tables)
        rest = rows.take(np.repeat(np.arange(count), names)).without(np.tile(self._members, (count, 1)))
        left = self._account.rule(rest, self._account.tables).consumed.reshape(count, names)
        consumed = whole.consumed[:, None] - left
        bound = float(self._limits.book.narrative_equity_share_max) * whole.totals.total_equity[:, None]
        over = (consumed > 0) & ((whole.totals.total_equity[:, None] <= 0) | (consumed > bound))
        return [f"narrative:{self._narratives[int(np.argmax(row))]}" if row.any() else None for row in over]
