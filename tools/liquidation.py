"""At which price of a coin, and at which joint move, the account would liquidate."""

from collections.abc import Mapping, Sequence

import anyio.to_thread

from portfolio.core.decimals import ONE
from portfolio.core.errors import CarrydeskError
from portfolio.core.margin import bybit_uta
from portfolio.core.margin.bybit_batch import BybitBatch
from portfolio.core.margin.lookups import usd_of
from portfolio.core.margin.results import LiquidationPrices
from portfolio.core.margin.screened import LiquidationSearch
from portfolio.core.margin.state import MarginState
from portfolio.core.names import Coin
from portfolio.core.staking import UNDERLYING


def search_of(state: MarginState) -> LiquidationSearch:
    """The search over one account.

    Raises:
        MissingDataError: an input of the rule is absent.
    """
    return LiquidationSearch(bybit_uta.value, BybitBatch(state), state)


def prices_of(search: LiquidationSearch, state: MarginState, coin: Coin) -> LiquidationPrices:
    """Prices of one coin on both sides; what is staked on the coin moves along, everything else stays.

    Raises:
        MissingDataError: the coin has no price, or the rule lacks an input.
    """
    now = usd_of(state, coin)
    moving = [coin, *(token for token, base in UNDERLYING.items() if base == coin)]
    below, above = search.factors(dict.fromkeys(moving, ONE))
    return LiquidationPrices(
        coin, now, None if below is None else now * below, None if above is None else now * above
    )


def found_prices(state: MarginState, coins: Sequence[Coin]) -> Mapping[Coin, LiquidationPrices]:
    """Prices by coin; a coin that cannot be valued now is absent. Some ms a coin."""
    found: dict[Coin, LiquidationPrices] = {}
    try:
        search = search_of(state)
    except CarrydeskError:
        return found  # shown as null; `stale` and the warnings say what is missing
    for coin in coins:
        try:
            found[coin] = prices_of(search, state, coin)
        except CarrydeskError:
            continue
    return found


async def liquidations(state: MarginState | None, coins: Sequence[Coin]) -> Mapping[Coin, LiquidationPrices]:
    """See `found_prices`; on a worker thread. Nothing without a state."""
    if state is None:
        return {}
    return await anyio.to_thread.run_sync(found_prices, state, coins)
