"""Many scenarios at once: what every compiled account takes and gives. Floats live here and in `*_batch`.

One door in: an account is compiled to arrays once, from the same `MarginState` that the exact rule reads; one
door out: `BatchFigures.figures`. A batch screens and explores. What decides is the exact rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from portfolio.core.account import SHADOW, MarginFigures
from portfolio.core.errors import InputError
from portfolio.core.margin.stress import Scenario
from portfolio.core.names import Coin

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moves:
    """S scenarios over C coins."""

    #: (S, C), > 0: multiplier of a coin's USD price and of every mark of its perpetuals.
    factors: Floats
    #: (S,): added to every collateral ratio, which stays within 0..1.
    ratio_shifts: Floats

    def __post_init__(self) -> None:
        if self.factors.ndim != 2 or self.ratio_shifts.shape != self.factors.shape[:1]:
            raise InputError("Factors must be scenarios x coins, with one ratio shift per scenario.")
        if not (np.isfinite(self.factors) & (self.factors > 0)).all():
            raise InputError("A scenario's factor is not a number greater than zero.", field="factors")
        if not np.isfinite(self.ratio_shifts).all():
            raise InputError("A scenario's ratio shift is not a number.", field="ratio_shift")


def moves_of(scenarios: Sequence[Scenario], coins: Sequence[Coin]) -> Moves:
    """Scenarios as arrays, one column per coin of `coins`; other coins do not matter and are left out.

    Raises:
        InputError: a factor is not greater than zero, or a number is not finite.
    """
    columns = {coin: number for number, coin in enumerate(coins)}
    factors = np.ones((len(scenarios), len(coins)))
    for row, scenario in zip(factors, scenarios, strict=True):
        for coin, factor in scenario.factors.items():
            column = columns.get(coin)
            if column is not None:
                row[column] = float(factor)
    return Moves(factors, np.array([float(row.ratio_shift) for row in scenarios], dtype=np.float64))


@dataclass(frozen=True, slots=True)
class BatchFigures:
    """The four totals of an account in USD under each of S scenarios, arrays of shape (S,)."""

    total_equity: Floats
    adjusted_equity: Floats
    initial_margin: Floats
    maintenance_margin: Floats

    @property
    def health(self) -> Floats:
        """clamp(1 - 1.2 * MM / ECV, 0, 1); 0 where ECV <= 0."""
        ratio = _over(self.maintenance_margin, self.adjusted_equity)
        return np.where(np.isnan(ratio), 0.0, np.clip(1.0 - (1.0 + float(SHADOW)) * ratio, 0.0, 1.0))

    @property
    def usage(self) -> Floats:
        """IM / ECV; NaN where ECV <= 0: usage has no value then."""
        return _over(self.initial_margin, self.adjusted_equity)

    def figures(self, index: int) -> MarginFigures:
        """One scenario's figures on their way out, as decimals of about sixteen digits."""
        return MarginFigures(*(Decimal(repr(float(column[index]))) for column in self._columns()))

    def _columns(self) -> tuple[Floats, Floats, Floats, Floats]:
        return self.total_equity, self.adjusted_equity, self.initial_margin, self.maintenance_margin


def _over(margin: Floats, equity: Floats) -> Floats:
    found = np.full(equity.shape, np.nan)
    np.divide(margin, equity, out=found, where=equity > 0)
    return found


class CompiledAccount(Protocol):
    """An account of some mode as arrays, at the prices it was compiled at."""

    @property
    def coins(self) -> tuple[Coin, ...]:
        """The columns of `Moves.factors`: every coin whose price matters."""
        ...

    @property
    def gross_usd(self) -> float:
        """Everything held, owed and traded at its price, USD: the scale of rounding errors."""
        ...

    def value(self, moves: Moves) -> BatchFigures:
        """The account under every scenario, beyond the last tier with its rates, as stresses do."""
        ...
