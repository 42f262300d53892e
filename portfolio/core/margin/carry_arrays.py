"""A carry book as arrays: many sizes, stresses or moments of one account in one pass. Floats live here.

The book of pairs that are long spot and short the perpetual of the same coin, in one quote coin, without
open orders. Each row is an account of its own: coins, entry prices, spot and mark prices, cash. Debt is what
cash is below zero: free money repays loans, as the engine's exits do. The three account rules agree with
their exact transcriptions (`bybit_uta`, `binance_pm`, `okx_multi_currency`) to about 1e-12 of the gross
value; a test holds them there. A batch screens and explores. What decides is the exact rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from portfolio.core.margin import binance_pm, bybit_uta, okx_multi_currency
from portfolio.core.margin.batch import BatchFigures, Floats
from portfolio.core.margin.carry_tables import CarryTables
from portfolio.core.margin.valuation import MarginRule

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CarryRows:
    """S accounts over n coins. Quantities are base coins, prices quote per base, cash the quote coin."""

    #: (S, n), >= 0.
    spot: Floats
    #: (S, n), size of the short, >= 0, and its average entry price.
    short: Floats
    entry: Floats
    #: (S, n), > 0.
    spot_price: Floats
    mark: Floats
    #: (S,): wallet less loan.
    cash: Floats
    #: (S,): added to every collateral ratio, which stays within 0..1.
    ratio_shift: Floats

    @property
    def unrealised_pnl(self) -> Floats:
        """(S,): of all perpetuals, quote."""
        found: Floats = np.einsum("sn,sn->s", self.short, self.entry - self.mark)
        return found

    @property
    def gross_usd(self) -> Floats:
        """(S,): value of all legs."""
        found: Floats = (self.spot * self.spot_price + self.short * self.mark).sum(axis=1)
        return found

    def without(self, members: Bools) -> "CarryRows":
        """The accounts with some coins closed at mark and index, free of charge; `members` is (S, n)."""
        closed = np.where(members, self.spot * self.spot_price + self.short * (self.entry - self.mark), 0.0)
        return replace(
            self,
            spot=np.where(members, 0.0, self.spot),
            short=np.where(members, 0.0, self.short),
            cash=self.cash + closed.sum(axis=1),
        )

    def stressed(self, factors: Floats, shifts: Floats) -> "CarryRows":
        """Every account at other prices; `factors` is (S, n) on spot and mark alike, `shifts` (S,)."""
        return replace(
            self,
            spot_price=self.spot_price * factors,
            mark=self.mark * factors,
            ratio_shift=self.ratio_shift + shifts,
        )

    def take(self, rows: NDArray[np.int64]) -> "CarryRows":
        """The accounts of these rows, in this order."""
        columns = (self.spot, self.short, self.entry, self.spot_price, self.mark, self.cash, self.ratio_shift)
        return CarryRows(*(column[rows] for column in columns))


@dataclass(frozen=True, slots=True)
class CarryFigures:
    """What the rules answer, arrays of shape (S,) in USD."""

    totals: BatchFigures
    #: Collateral value that ratios take away, >= 0.
    haircut: Floats
    #: Quote coins that need borrow margin, and those on which interest runs.
    borrowed: Floats
    #: IM / ECV from which on the venue lends no more.
    borrow_line: float

    @property
    def consumed(self) -> Floats:
        """Margin consumed as narrative caps measure it: IM (borrowing in it) and haircuts."""
        return self.totals.initial_margin + self.haircut


ArrayRule = Callable[[CarryRows, CarryTables], CarryFigures]


def array_rule(rule: MarginRule) -> ArrayRule | None:
    """The arrays of an exact rule; None for a rule that has none."""
    return next((arrays for exact, arrays in _RULES if exact is rule), None)


def _bybit(rows: CarryRows, tables: CarryTables) -> CarryFigures:
    notional = rows.short * rows.mark
    tier = tables.tier_of_value(notional)
    leverage = np.minimum(tables.leverage, tables.leverage_max[tables.columns, tier])
    fee = rows.short * rows.entry * (1.0 + 1.0 / leverage) * tables.taker
    initial = (notional / leverage + fee).sum(axis=1)
    rates = tables.maintenance_rate[tables.columns, tier]
    held = rows.short > 0
    maintenance = (notional * rates - np.where(held, tables.deduction[tables.columns, tier], 0.0) + fee).sum(
        axis=1
    )
    pnl = rows.unrealised_pnl
    borrowed = np.maximum(0.0, -rows.cash) + np.maximum(0.0, -(np.maximum(0.0, rows.cash) + pnl))
    owed = tables.borrow_tier(borrowed)
    rate = np.maximum(tables.borrow_initial[owed], 1.0 / tables.borrow_leverage)
    return _account(
        rows,
        tables,
        initial + borrowed * rate,
        maintenance + borrowed * tables.borrow_maintenance[owed],
        borrowed,
        borrow_line=1.0 - 1.0 / tables.borrow_leverage,
    )


def _binance(rows: CarryRows, tables: CarryTables) -> CarryFigures:
    notional = rows.short * rows.mark
    tier = tables.tier_of_value(notional)
    leverage = np.minimum(tables.leverage, tables.leverage_max[tables.columns, tier])
    initial = (notional / leverage).sum(axis=1)
    held = rows.short > 0
    deduction = np.where(held, tables.deduction[tables.columns, tier], 0.0)
    maintenance = (notional * tables.maintenance_rate[tables.columns, tier] - deduction).sum(axis=1)
    loan = np.maximum(0.0, -rows.cash)
    borrowed = loan + np.maximum(0.0, -(np.maximum(0.0, rows.cash) + rows.unrealised_pnl))
    owed = tables.borrow_tier(borrowed)
    granted = np.minimum(tables.borrow_leverage, tables.borrow_leverage_max[owed])
    rate = np.maximum(tables.borrow_initial[owed], 1.0 / (granted - 1.0))
    return _account(
        rows,
        tables,
        initial + borrowed * rate,
        maintenance + loan * tables.borrow_maintenance[owed],
        borrowed,
    )


def _okx(rows: CarryRows, tables: CarryTables) -> CarryFigures:
    notional = rows.short * rows.mark
    tier = tables.tier_of_quantity(rows.short)
    leverage = np.minimum(tables.leverage, tables.leverage_max[tables.columns, tier])
    rate = np.maximum(1.0 / leverage, tables.initial_rate[tables.columns, tier])
    initial = (notional * rate).sum(axis=1)
    fee = np.maximum(0.0, tables.taker)
    maintenance = (notional * (tables.maintenance_rate[tables.columns, tier] + fee)).sum(axis=1)
    borrowed = np.maximum(0.0, -(rows.cash + rows.unrealised_pnl))
    owed = tables.borrow_tier(borrowed)
    granted = np.minimum(tables.borrow_leverage, tables.borrow_leverage_max[owed])
    borrow_rate = np.maximum(tables.borrow_initial[owed], 1.0 / granted)
    lost = tables.borrow_maintenance[owed]
    return _account(
        rows,
        tables,
        initial + borrowed * borrow_rate,
        maintenance + borrowed * (lost + (1.0 + lost) * tables.spot_taker),
        borrowed,
    )


def _account(
    rows: CarryRows,
    tables: CarryTables,
    initial: Floats,
    maintenance: Floats,
    borrowed: Floats,
    borrow_line: float = 1.0,
) -> CarryFigures:
    """Equity and collateral, the same for every account mode."""
    quote = rows.cash + rows.unrealised_pnl
    worth = rows.spot * rows.spot_price
    counted = tables.counted(rows.spot, rows.spot_price, rows.ratio_shift)
    quote_counted = tables.quote_counted(quote, rows.ratio_shift)
    equity = quote + worth.sum(axis=1)
    adjusted = quote_counted + counted.sum(axis=1)
    figures = BatchFigures(equity, adjusted, initial, maintenance)
    return CarryFigures(figures, equity - adjusted, borrowed, borrow_line)


_RULES: Sequence[tuple[MarginRule, ArrayRule]] = (
    (bybit_uta.value, _bybit),
    (binance_pm.value, _binance),
    (okx_multi_currency.value, _okx),
)
