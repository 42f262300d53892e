"""Liquid-staking tokens that venues take as collateral, and the coin that each stands for.

A token's price is the venue's own USD index of the token (Bybit: `usdIndexPrice` of its spot ticker; for
BBSOL, CMETH and METH the venue floors it at the redemption price), its ratio is in the venue's live table.
What must be known beside them is what it follows: a fall of the coin takes the token along, and the token may
fall alone. A token that a venue does not list has no price there and never appears.
"""

from collections.abc import Mapping
from types import MappingProxyType

from portfolio.core.names import Coin

_ETH, _SOL = Coin("ETH"), Coin("SOL")
UNDERLYING: Mapping[Coin, Coin] = MappingProxyType(
    {
        Coin("STETH"): _ETH,
        Coin("WBETH"): _ETH,
        Coin("METH"): _ETH,
        Coin("CMETH"): _ETH,
        Coin("BNSOL"): _SOL,
        Coin("BBSOL"): _SOL,
        Coin("JITOSOL"): _SOL,
    }
)
