"""Coins of a compiled Bybit UTA account: what is held, owed or swapped, per scenario. See `bybit_batch`."""

from collections.abc import Sequence

import numpy as np

from portfolio.core.account import Balance
from portfolio.core.decimals import ONE, ZERO
from portfolio.core.margin.batch import Floats
from portfolio.core.margin.lookups import instrument_of, usd_of
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.margin.tiers import borrow_table, collateral_table
from portfolio.core.names import Coin
from portfolio.core.orders import Side
from portfolio.core.risk import CollateralTable


class _Brackets:
    """Collateral tiers of one coin."""

    __slots__ = ("_start", "_width", "ratio")

    def __init__(self, table: CollateralTable) -> None:
        rows = table.tiers if table.enabled else ()
        ends = [np.inf if row.quantity_to is None else float(row.quantity_to) for row in rows]
        self._start = np.array([float(row.quantity_from) for row in rows])
        self._width = np.array(ends) - self._start
        self.ratio = np.array([float(row.ratio) for row in rows])

    def filled(self, quantity: float) -> Floats:
        """Coins of a quantity in each tier."""
        return np.clip(quantity - self._start, 0.0, self._width)

    def counted(self, quantity: Floats, shifts: Floats) -> Floats:
        """Coins that count of quantities > 0, with a shift of all ratios each."""
        counted = np.zeros_like(quantity)
        for start, width, ratio in zip(self._start, self._width, self.ratio, strict=True):
            counted += np.clip(quantity - start, 0.0, width) * np.clip(ratio + shifts, 0.0, 1.0)
        return counted


class Holding:
    """One coin that is held, owed or settled in."""

    __slots__ = ("_brackets", "_gap", "_owed", "_state", "coin", "gross_usd", "net", "price")

    def __init__(self, state: MarginState, coin: Coin, balance: Balance | None) -> None:
        row = balance or Balance(coin, ZERO, ZERO, ZERO, ZERO)
        price = usd_of(state, coin)
        self.coin = coin
        self.price = float(price)
        #: Coins, before the PnL that settles in it.
        self.net = float(row.wallet - row.spot_borrow)
        self.gross_usd = float((abs(row.wallet) + row.spot_borrow + row.locked) * price)
        self._owed = float(row.spot_borrow)
        #: Coins that open orders reserve beyond what is there.
        self._gap = float(row.locked - row.wallet)
        self._state = state
        self._brackets: _Brackets | None = None

    def counted(self, equity: Floats, shifts: Floats) -> Floats:
        """Coins that count as margin of so many, per scenario."""
        if not (equity > 0).any():
            return equity
        return np.where(equity > 0, self.brackets().counted(equity, shifts), equity)

    def borrow_margin(self, pnl: Floats) -> tuple[Floats, Floats]:
        """IM and MM, coins, of what is owed when so much PnL settles in it."""
        borrowed = self._owed + np.maximum(0.0, self._gap - pnl)
        if not (borrowed > 0).any():
            return np.zeros_like(borrowed), np.zeros_like(borrowed)
        tiers = borrow_table(self._state.tables, self.coin).tiers
        ends = [np.inf if row.quantity_to is None else float(row.quantity_to) for row in tiers[:-1]]
        rows = np.searchsorted(np.array(ends), borrowed, side="left")
        least = ONE / self._state.policy.borrow
        initial = np.array([float(max(row.initial_rate, least)) for row in tiers])
        maintenance = np.array([float(row.maintenance_rate) for row in tiers])
        return borrowed * initial[rows], borrowed * maintenance[rows]

    def brackets(self) -> _Brackets:
        """Its collateral tiers; an error when there are none."""
        if self._brackets is None:
            self._brackets = _Brackets(collateral_table(self._state.tables, self.coin))
        return self._brackets

    def fixed_terms(self) -> tuple[float, float, float]:
        """USD at its price now: equity, borrow IM, borrow MM; when nothing settles in it."""
        initial, maintenance = self.borrow_margin(np.zeros(1))
        return self.net * self.price, float(initial[0]) * self.price, float(maintenance[0]) * self.price


class FixedCoins:
    """All coins that nothing settles in: their quantities never change, so USD terms follow their prices."""

    def __init__(self, rows: Sequence[Holding]) -> None:
        self.equities = {row.coin: row.net for row in rows}
        self._terms = np.array([row.fixed_terms() for row in rows]).reshape(-1, 3)
        #: What is owed counts in full.
        self._owed = np.array([min(0.0, row.net) * row.price for row in rows])
        brackets = [(row, row.brackets()) for row in rows if row.net > 0]
        # One more tier for every coin, of nothing: a sum over no tiers is not what `reduceat` gives.
        ratios = [np.append(tiers.ratio, 0.0) for _, tiers in brackets]
        filled = [np.append(tiers.filled(row.net) * row.price, 0.0) for row, tiers in brackets]
        self._ratios = np.concatenate([np.zeros(0), *ratios])
        self._filled = np.concatenate([np.zeros(0), *filled])
        self._first = np.cumsum([0, *map(len, filled)])[:-1]
        self._held = np.array([row.net > 0 for row in rows], dtype=np.bool_)

    def terms(self, factors: Floats) -> tuple[Floats, Floats, Floats]:
        """Equity, borrow IM and borrow MM, USD."""
        equity, initial, maintenance = (factors @ self._terms).T.copy()
        return equity, initial, maintenance

    def collateral(self, factors: Floats, shifts: Floats) -> Floats:
        """USD that count as margin, debts taken off. Few ratio shifts are distinct."""
        distinct, which = np.unique(shifts, return_inverse=True)
        counted = np.tile(self._owed, (len(distinct), 1))
        if self._held.any():
            shifted = np.clip(self._ratios + distinct[:, None], 0.0, 1.0) * self._filled
            counted[:, self._held] = np.add.reduceat(shifted, self._first, axis=1)
        if len(distinct) == 1:
            return np.asarray(factors @ counted[0])
        return np.asarray(np.einsum("sc,sc->s", factors, counted[which]))


class Swap:
    """One open spot order: the coin it gives and the coin it takes."""

    __slots__ = ("_gives", "_takes", "given", "taken")

    def __init__(self, state: MarginState, order: RestingOrder) -> None:
        instrument = instrument_of(state, order.instrument_id)
        base, quote = float(order.quantity), float(order.quantity * order.limit_price)
        buys = order.side is Side.BUY
        self.given = Holding(state, instrument.quote if buys else instrument.base, None)
        self.taken = Holding(state, instrument.base if buys else instrument.quote, None)
        self._gives, self._takes = (quote, base) if buys else (base, quote)

    def loss(
        self, equities: dict[Coin, Floats], factors: Floats, column: dict[Coin, int], shifts: Floats
    ) -> Floats:
        """USD, >= 0: collateral value that it would lose, per scenario."""
        nothing = np.zeros(len(factors))
        before, after = (equities.get(row.coin, nothing) for row in (self.given, self.taken))
        lost = self.given.counted(before, shifts) - self.given.counted(before - self._gives, shifts)
        won = self.taken.counted(after + self._takes, shifts) - self.taken.counted(after, shifts)
        lost = lost * self.given.price * factors[:, column[self.given.coin]]
        won = won * self.taken.price * factors[:, column[self.taken.coin]]
        return np.maximum(0.0, lost - won)
