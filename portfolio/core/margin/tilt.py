"""Which way an account is tilted: what a joint rise of every coin does to it, and which moves liquidate it.

A delta-neutral account is not margin-neutral. What it holds long counts only at collateral ratios, what it is
short counts in full: its equity stands still while its ECV does not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from portfolio.core.decimals import ONE
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import Scenario, exposed_coins, market_factors, stressed
from portfolio.core.margin.valuation import MarginRule
from portfolio.core.names import Coin

#: The move that is looked at, a fraction.
STEP = Decimal("0.01")
#: Finds the factors below and above 1 at which a joint move by betas liquidates; None where none does.
Liquidates = Callable[[Mapping[Coin, Decimal]], tuple[Decimal | None, Decimal | None]]


@dataclass(frozen=True, slots=True)
class Tilt:
    """Changes when every coin that is not stable rises by 1 %, USD, and the joint moves that liquidate."""

    #: Total equity: a hundredth of what the account is net long (+) or short (-).
    equity: Decimal
    #: ECV; the account's haircut delta is minus this.
    adjusted_equity: Decimal
    maintenance_margin: Decimal
    #: Fraction, > 0; None when no rise up to ten times the prices liquidates.
    rise: Decimal | None
    #: Fraction, < 0; None when no fall to a tenth of the prices liquidates. Both 0: liquidated as it is.
    fall: Decimal | None

    @property
    def haircut_delta(self) -> Decimal:
        """ECV lost per +1 %, USD; negative: gained."""
        return -self.adjusted_equity

    @property
    def cushion(self) -> Decimal:
        """Change of ECV - MM: negative means that a rise hurts."""
        return self.adjusted_equity - self.maintenance_margin


def tilt(
    rule: MarginRule, state: MarginState, liquidates: Liquidates, betas: Mapping[Coin, Decimal] | None = None
) -> Tilt:
    """Value the account now and 1 % higher, and search for the joint moves that liquidate it.

    Args:
        rule: The account mode's margin rule.
        state: The account.
        liquidates: The search, see `stress.liquidation_factors`.
        betas: Move of a coin per move of the market, 1 where absent.

    Raises:
        MissingDataError: an input of the rule is absent.
    """
    known = betas or {}
    coins = exposed_coins(state)
    up = Scenario("market +1%", market_factors(coins, STEP, known))
    before = rule(state, extrapolate=True).figures
    after = rule(stressed(state, up), extrapolate=True).figures
    below, above = liquidates({coin: known.get(coin, ONE) for coin in coins})
    return Tilt(
        equity=after.total_equity - before.total_equity,
        adjusted_equity=after.adjusted_equity - before.adjusted_equity,
        maintenance_margin=after.maintenance_margin - before.maintenance_margin,
        rise=None if above is None else above - ONE,
        fall=None if below is None else below - ONE,
    )
