"""OKX portfolio margin: the parameters that the venue has announced, as tables. No endpoint lists them.

They are as of 2025-01-15 and may have changed since: whoever takes them says so, and the gap between the
venue's figures and ours is what tells. See ASSUMPTIONS of `okx_portfolio_margin` for what is inferred.

Source: reference sheet 5.2 (OKX announcements of 2024-12-30 and 2025-01-02) and 2.8.
"""

from collections.abc import Iterable
from decimal import Decimal

from portfolio.core.decimals import ZERO
from portfolio.core.margin.okx_tables import OkxSizeTier, OkxUnit
from portfolio.core.names import Coin

_MAJOR = frozenset({"BTC", "ETH"})
#: MR1: coins whose largest move is 18 %; the majors' is 12 %, all others' 25 %.
_SHOCK_MIDDLE = frozenset(
    {"LTC", "BCH", "EOS", "OKB", "DOT", "BSV", "LINK", "FIL", "ADA", "TRX", "UNI", "XRP"}
)
#: MR4: coins of the 15 % class; the majors' is 5 %, all others' 30 %.
_BASIS_MIDDLE = frozenset({"SOL", "DOGE", "PEPE", "XRP", "BNB", "SHIB", "LTC", "ORDI", "WLD", "BCH", "ADA"})

_SHOCKS_MAJOR = ("0.04", "0.08", "0.12")
_SHOCKS_MIDDLE = ("0.06", "0.12", "0.18")
_SHOCKS_OTHER = ("0.08", "0.16", "0.25")

REDUCTION_TIERS: tuple[OkxSizeTier, ...] = tuple(
    OkxSizeTier(None if usd is None else Decimal(usd), Decimal(factor))
    for usd, factor in (
        (250_000, 1),
        (500_000, 2),
        (1_000_000, 4),
        (2_000_000, 6),
        (3_000_000, 8),
        (4_000_000, 10),
        (None, 12),
    )
)


def announced_unit(coin: Coin) -> OkxUnit:
    """The announced parameters of a coin's risk unit."""
    rises = tuple(Decimal(move) for move in _shocks(coin))
    return OkxUnit(
        shocks=(*(-move for move in reversed(rises)), ZERO, *rises),
        extreme=2 * rises[-1],
        extreme_share=Decimal("0.5"),
        basis_rate=_basis_rate(coin),
        reduction_rate=_reduction_rate(coin),
        reduction_tiers=REDUCTION_TIERS,
    )


def announced_units(coins: Iterable[Coin]) -> dict[Coin, OkxUnit]:
    """The announced parameters of several coins."""
    return {coin: announced_unit(coin) for coin in coins}


def _shocks(coin: Coin) -> tuple[str, str, str]:
    if coin in _MAJOR:
        return _SHOCKS_MAJOR
    return _SHOCKS_MIDDLE if coin in _SHOCK_MIDDLE else _SHOCKS_OTHER


def _basis_rate(coin: Coin) -> Decimal:
    if coin in _MAJOR:
        return Decimal("0.002")
    return Decimal("0.008") if coin in _BASIS_MIDDLE else Decimal("0.016")


def _reduction_rate(coin: Coin) -> Decimal:
    if coin == "BTC":
        return Decimal("0.0045")
    known = coin in _MAJOR | _SHOCK_MIDDLE | _BASIS_MIDDLE
    return Decimal("0.0070") if known else Decimal("0.0140")
