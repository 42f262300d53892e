"""OKX portfolio margin: profit and loss of a risk unit under moves of its underlying (MR1 and MR6).

The venue crosses seven prices with three volatilities. Perpetuals and spot are linear: volatility moves
nothing, its three columns are equal, and the venue names `up` where they tie.

Source: reference sheet 2.8 (docs-v5 `account/position-builder`, answer of 2025-01-15) and 5.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import ZERO

#: The volatility that the venue prints for the worst scenario of a linear unit.
VOLATILITY_ON_TIES = "up"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One price move and what the unit gains by it."""

    #: A fraction of the index.
    move: Decimal
    #: USD, negative is a loss.
    pnl: Decimal

    @property
    def loss(self) -> Decimal:
        """USD, >= 0."""
        return max(ZERO, -self.pnl)


def scenarios(exposure: Decimal, moves: Sequence[Decimal]) -> tuple[Scenario, ...]:
    """What an exposure (USD at the index, signed) gains by each move."""
    return tuple(Scenario(move, exposure * move) for move in moves)


def worst(exposure: Decimal, moves: Sequence[Decimal]) -> Scenario:
    """The scenario that loses most, for a linear exposure an outermost move; no move where none loses."""
    if exposure and moves:
        move = min(moves) if exposure > 0 else max(moves)
        if exposure * move < 0:
            return Scenario(move, exposure * move)
    return Scenario(ZERO, ZERO)
