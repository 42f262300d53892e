"""Liquidation prices by the exact search, most of whose questions a compiled account answers.

The search asks the same questions in the same order. Where the compiled account leaves MM and ECV further
apart than floats can err, its answer stands; where not, the exact rule answers. Both ends of what was found
are then checked by the exact rule, and if one is wrong the search runs on the exact rule alone. So it does
from the start where an account mode has no compiled form.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType

import numpy as np

from portfolio.core.decimals import ONE
from portfolio.core.margin.batch import CompiledAccount, Moves
from portfolio.core.margin.lookups import usd_of
from portfolio.core.margin.results import LiquidationPrices
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import ABOVE, BELOW, FACTOR_MIN, bracket, liquidated
from portfolio.core.margin.valuation import MarginRule
from portfolio.core.names import Coin

#: Of the gross value. A thousand terms err by 1e-13 of it at the worst.
_DOUBT = 1e-11
_NO_TOKENS: Mapping[Coin, Coin] = MappingProxyType({})


class LiquidationSearch:
    """`stress.liquidation_prices` and `liquidation_factors` for one account, with the same answers.

    Args:
        rule: The account mode's exact rule.
        compiled: The same account by the same rule, as arrays; None: it has no such form.
        state: The account now.
        line: ECV / MM at which the venue liquidates.
        staking: Liquid-staking token -> the coin whose price it follows.
    """

    def __init__(
        self,
        rule: MarginRule,
        compiled: CompiledAccount | None,
        state: MarginState,
        *,
        line: Decimal = ONE,
        staking: Mapping[Coin, Coin] = _NO_TOKENS,
    ) -> None:
        self._rule = rule
        self._compiled = compiled
        self._state = state
        self._line = line
        self._staking = staking

    def prices(self, coin: Coin) -> LiquidationPrices:
        """See `stress.liquidation_prices`; what is staked on the coin moves along."""
        now = usd_of(self._state, coin)
        tokens = (token for token, base in self._staking.items() if base == coin)
        below, above = self.factors(dict.fromkeys((coin, *tokens), ONE))
        return LiquidationPrices(
            coin, now, None if below is None else now * below, None if above is None else now * above
        )

    def factors(self, betas: Mapping[Coin, Decimal]) -> tuple[Decimal | None, Decimal | None]:
        """See `stress.liquidation_factors`."""
        dead = liquidated(self._rule, self._state, betas, self._line)
        if dead(ONE):
            return ONE, ONE
        return self._side(betas, BELOW), self._side(betas, ABOVE)

    def _side(self, betas: Mapping[Coin, Decimal], step: Decimal) -> Decimal | None:
        exact = liquidated(self._rule, self._state, betas, self._line)
        if self._compiled is None:
            found = bracket(exact, step)
            return None if found is None else found[0]
        screened = _Screened(self._compiled, betas, self._line)
        found = bracket(lambda factor: screened.says(factor, exact), step, screened.prepare)
        if found is not None and (exact(found[0]) or not exact(found[1])):
            found = bracket(exact, step)
        return None if found is None else found[0]


class _Screened:
    """What the compiled account says of the factors that it was shown."""

    def __init__(self, compiled: CompiledAccount, betas: Mapping[Coin, Decimal], line: Decimal) -> None:
        self._compiled = compiled
        self._betas = np.array([float(betas.get(coin, 0)) for coin in compiled.coins])
        self._line = float(line)
        self._known: dict[Decimal, bool] = {}

    def prepare(self, factors: Sequence[Decimal]) -> None:
        """Value them all; what is too close to call is left out."""
        moves = np.array([float(factor) for factor in factors]) - 1.0
        moved = np.maximum(float(FACTOR_MIN), 1.0 + moves[:, None] * self._betas)
        moved[:, self._betas == 0] = 1.0
        figures = self._compiled.value(Moves(moved, np.zeros(len(factors))))
        short = figures.maintenance_margin * self._line - figures.adjusted_equity
        # A coin and the one that it settles in may both move.
        largest = moved.max(axis=1, initial=1.0)
        clear = np.abs(short) > _DOUBT * self._compiled.gross_usd * largest * largest * max(1.0, self._line)
        for factor, certain, amount in zip(factors, clear, short, strict=True):
            if certain:
                self._known[factor] = bool(amount > 0)

    def says(self, factor: Decimal, exact: Callable[[Decimal], bool]) -> bool:
        """Its verdict, or else the exact rule's."""
        found = self._known.get(factor)
        return exact(factor) if found is None else found
