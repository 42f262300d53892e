"""Coins that an account holds and no margin rule can count: an airdrop, a delisted token.

Anybody may send such a coin, so it must not make the account impossible to value. One that is only held
counts nothing, which is the safe side, and is named. A debt is never left out, nor a coin that is traded, nor
one that has a collateral table but no price: the venue counts it, so its price is late, and what needs it
waits.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace

from portfolio.core.account import Balance
from portfolio.core.decimals import ZERO
from portfolio.core.margin.state import MarginState
from portfolio.core.names import Coin
from portfolio.core.risk import CollateralTable, RiskTables


def uncounted_coins(
    balances: Iterable[Balance], tables: RiskTables, needed: Collection[Coin]
) -> tuple[Coin, ...]:
    """Coins only held that have no collateral table, sorted.

    Args:
        balances: What the account holds.
        tables: As last read.
        needed: Coins of pairs, positions and orders: without a table these stay an error.
    """
    return tuple(
        sorted(
            row.coin
            for row in balances
            if row.coin not in tables.collateral
            and row.coin not in needed
            and row.wallet > 0
            and row.spot_borrow == 0
        )
    )


def without_uncounted(state: MarginState, coins: Collection[Coin]) -> MarginState:
    """The account with these coins worth nothing as margin, and as equity too where they have no price."""
    if not coins:
        return state
    priced = {coin for coin in coins if state.prices.usd.get(coin, ZERO) > 0}
    tables = {coin: CollateralTable(coin, enabled=False, tiers=()) for coin in sorted(priced)}
    return replace(
        state,
        balances=tuple(row for row in state.balances if row.coin not in coins or row.coin in priced),
        tables=replace(state.tables, collateral={**state.tables.collateral, **tables}),
    )
