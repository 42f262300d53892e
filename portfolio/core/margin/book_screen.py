"""Every line of the book for many sizes at once: what sizing searches by. Floats live here.

A book grows with its one-leg total, its shares are what caps leave at that size. `BookScreen` trades an
account to each total as `apply` does, values it by the account's rule as arrays (`carry_arrays`) now and
under every stress, and names the first line that it violates, in the order of `MarginSim.simulate`. What was
found is then verified by the exact rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from portfolio.core.book_shares import Shares
from portfolio.core.carry import Floats, Ints
from portfolio.core.limits import RiskLimits
from portfolio.core.margin.batch import moves_of
from portfolio.core.margin.carry_arrays import ArrayRule, CarryFigures, CarryRows
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

    def of(self, columns: Ints) -> "CarryAccount":
        """The account with some of its pairs, in this order; nothing may be held of the others."""
        keep = columns.tolist()
        return replace(
            self,
            tables=self.tables.of(columns),
            pair_ids=tuple(self.pair_ids[number] for number in keep),
            coins=tuple(self.coins[number] for number in keep),
            narratives=tuple(self.narratives[number] for number in keep),
            perpetuals=tuple(self.perpetuals[number] for number in keep),
            spot=self.spot[columns],
            short=self.short[columns],
            entry=self.entry[columns],
            spot_price=self.spot_price[columns],
            mark=self.mark[columns],
        )

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
    """Lines of one account for books of any total. See the module."""

    def __init__(
        self,
        account: CarryAccount,
        shares: Shares,
        scenarios: Sequence[Scenario],
        limits: RiskLimits,
    ) -> None:
        may = frozenset(shares.pair_ids)
        asked = np.array([pair_id in may for pair_id in account.pair_ids], dtype=np.bool_)
        columns = np.flatnonzero(asked | (account.spot > 0))
        self._account = account.of(columns)
        self._shares = shares
        #: Where the pairs that may have a share stand.
        self._places = [self._account.pair_ids.index(pair_id) for pair_id in shares.pair_ids]
        self._limits = limits
        moving = _moving(scenarios, self._account.coins)
        moves = moves_of(moving, self._account.coins)
        # The account as it is comes first.
        self._factors = np.concatenate((np.ones((1, len(columns))), moves.factors))
        self._shifts = np.concatenate((np.zeros(1), moves.ratio_shifts))
        lines = [stress_lines(row, limits, Lines.BOOK) for row in moving]
        book = limits.book
        self._health_min = np.array([float(book.health_min), *(float(row[0]) for row in lines)])
        self._usage_max = np.array([float(book.usage_max), *(float(row[1]) for row in lines)])
        self._names = [f"stress:{row.name}" for row in moving]
        # The far stresses forbid the border itself, as `stress_breaches` does.
        self._strict = np.array([False, *(not row.near for row in moving)])
        self._narratives = list(dict.fromkeys(self._account.narratives))
        self._members = np.array(
            [[row == name for row in self._account.narratives] for name in self._narratives], dtype=np.bool_
        ).reshape(len(self._narratives), len(columns))

    def first_breaches(self, totals: Floats) -> list[str | None]:
        """The first line that a book of each total (USD of one leg, (G,)) violates; None where it fits."""
        rows = self._account.traded(self._coins(totals))
        count, cases = len(rows.cash), len(self._factors)
        repeated = rows.take(np.repeat(np.arange(count), cases))
        stressed = repeated.stressed(np.tile(self._factors, (count, 1)), np.tile(self._shifts, count))
        found = self._account.rule(stressed, self._account.tables)
        names = (
            self._stressed(found, count),
            self._tiers(rows),
            self._borrowed(rows, found, cases),
            self._capped(rows, found, cases),
            self._shares.full(totals),
        )
        return [next((name for name in row if name is not None), None) for row in zip(*names, strict=True)]

    def narrative_use(self, total: float) -> dict[Narrative, float]:
        """Margin that one USD of each narrative consumes in a book of this total; those that consume any."""
        coins = self._coins(np.array([total]))
        rows = self._account.traded(coins)
        whole = self._account.rule(rows, self._account.tables)
        worth = self._members @ (coins[0] * self._account.mark)
        consumed = self._consumed(rows, whole.consumed)[0]
        found = zip(self._narratives, consumed.tolist(), worth.tolist(), strict=True)
        return {name: used / usd for name, used, usd in found if used > 0 and usd > 0}

    def _coins(self, totals: Floats) -> Floats:
        """Coins of one leg in books of these totals; (G, n)."""
        coins = np.zeros((len(totals), len(self._account.pair_ids)))
        coins[:, self._places] = totals[:, None] * self._shares.books(totals)
        return coins / self._account.mark

    def _stressed(self, found: CarryFigures, count: int) -> list[str | None]:
        """Health and usage now and under every stress."""
        health = found.totals.health.reshape(count, -1) < self._health_min
        usage = found.totals.usage.reshape(count, -1)
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

    def _borrowed(self, rows: CarryRows, found: CarryFigures, cases: int) -> list[str | None]:
        """Loans that the venue would refuse; only where debt grows."""
        grows = np.maximum(0.0, -rows.cash) > max(0.0, -self._account.cash)
        line = 1.0 - 1.0 / self._account.tables.borrow_leverage
        quota = found.borrowed[::cases] > self._account.tables.borrow_max
        rate = ~(found.totals.usage[::cases] < line)
        return [
            ("borrow_quota" if over else "borrow_rate") if more and (over or high) else None
            for more, over, high in zip(grows, quota, rate, strict=True)
        ]

    def _capped(self, rows: CarryRows, found: CarryFigures, cases: int) -> list[str | None]:
        """Narratives whose margin is too much of the equity."""
        if not self._narratives:
            return [None] * len(rows.cash)
        consumed = self._consumed(rows, found.consumed[::cases])
        equity = found.totals.total_equity[::cases, None]
        bound = float(self._limits.book.narrative_equity_share_max) * equity
        over = (consumed > 0) & ((equity <= 0) | (consumed > bound))
        return [f"narrative:{self._narratives[int(np.argmax(row))]}" if row.any() else None for row in over]

    def _consumed(self, rows: CarryRows, whole: Floats) -> Floats:
        """Margin that each narrative consumes: the account with it less the account without it; (G, m)."""
        count, names = len(rows.cash), len(self._narratives)
        rest = rows.take(np.repeat(np.arange(count), names)).without(np.tile(self._members, (count, 1)))
        left = self._account.rule(rest, self._account.tables).consumed.reshape(count, names)
        return np.asarray(whole[:, None] - left, dtype=np.float64)


def _moving(scenarios: Sequence[Scenario], coins: Sequence[Coin]) -> list[Scenario]:
    """Stresses that arrays can be asked and that move something of what is held: others change nothing."""
    return [
        row
        for row in scenarios
        if row.prices_alone
        and row.binding
        and (row.ratio_shift or any(coin in row.factors for coin in coins))
    ]
