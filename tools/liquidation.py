"""At which price of a coin the account would liquidate, at its own venue's line."""

from collections.abc import Mapping, Sequence

import anyio.to_thread

from portfolio.core.errors import CarrydeskError
from portfolio.core.margin.results import LiquidationPrices
from portfolio.core.margin.screened import LiquidationSearch
from portfolio.core.names import Coin
from portfolio.service import DeskSnapshot
from tools.account_mode import sim_of


def found_prices(search: LiquidationSearch, coins: Sequence[Coin]) -> Mapping[Coin, LiquidationPrices]:
    """Prices by coin; a coin that cannot be valued now is absent. Some ms a coin."""
    found: dict[Coin, LiquidationPrices] = {}
    for coin in coins:
        try:
            found[coin] = search.prices(coin)
        except CarrydeskError:
            continue  # shown as null; `stale` and the warnings say what is missing
    return found


async def liquidations(snapshot: DeskSnapshot, coins: Sequence[Coin]) -> Mapping[Coin, LiquidationPrices]:
    """See `found_prices`; on a worker thread. Nothing while the account cannot be valued."""
    return await anyio.to_thread.run_sync(_snapshot_prices, snapshot, coins)


def _snapshot_prices(snapshot: DeskSnapshot, coins: Sequence[Coin]) -> Mapping[Coin, LiquidationPrices]:
    if snapshot.state is None:
        return {}
    try:
        search = sim_of(snapshot).search(snapshot.state)
    except CarrydeskError:
        return {}  # shown as null; `stale` and the warnings say what is missing
    return found_prices(search, coins)
