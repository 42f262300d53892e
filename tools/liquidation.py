"""At which price of a coin the account would liquidate, for the pairs that hold it."""

from collections.abc import Mapping, Sequence

import anyio.to_thread

from portfolio.core.errors import CarrydeskError
from portfolio.core.margin import bybit_uta
from portfolio.core.margin.results import LiquidationPrices
from portfolio.core.margin.state import MarginState
from portfolio.core.margin.stress import liquidation_prices
from portfolio.core.names import Coin


async def liquidations(state: MarginState | None, coins: Sequence[Coin]) -> Mapping[Coin, LiquidationPrices]:
    """Prices by coin; a coin that cannot be valued now is absent. Some 50 ms a coin, on a worker thread."""
    if state is None:
        return {}

    def work() -> dict[Coin, LiquidationPrices]:
        found = {}
        for coin in coins:
            try:
                found[coin] = liquidation_prices(bybit_uta.value, state, coin)
            except CarrydeskError:
                continue  # shown as null; `stale` and the warnings say what is missing
        return found

    return await anyio.to_thread.run_sync(work)
