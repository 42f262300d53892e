"""Whether a state can be valued at all: what no account can be is a typed error, before any arithmetic.

NaN and infinity are refused where texts are parsed; a rule refuses them once more, because a comparison with
NaN raises an error that belongs to `decimal` and not to this project.
"""

from collections.abc import Hashable, Iterable
from decimal import Decimal

from portfolio.core.decimals import ZERO
from portfolio.core.errors import InputError, NumberError
from portfolio.core.margin.state import MarginState

_NEXT = "Read the account again."


def require_sound(state: MarginState) -> None:
    """Refuse what no one-way account can be.

    Raises:
        NumberError: an amount is not finite, or negative where it cannot be.
        InputError: a coin has two balances, or a perpetual two positions.
    """
    for row in state.balances:
        _finite(row.wallet, f"balances.{row.coin}.wallet")
        _not_negative(row.spot_borrow, f"balances.{row.coin}.spot_borrow")
        _not_negative(row.accrued_interest, f"balances.{row.coin}.accrued_interest")
        _not_negative(row.locked, f"balances.{row.coin}.locked")
    for position in state.positions:
        _finite(position.quantity, f"positions.{position.instrument_id}.quantity")
        _not_negative(position.entry_price, f"positions.{position.instrument_id}.entry_price")
        _finite(position.leverage, f"positions.{position.instrument_id}.leverage")
    for order in state.orders:
        _not_negative(order.quantity, f"orders.{order.instrument_id}.quantity")
        _not_negative(order.limit_price, f"orders.{order.instrument_id}.limit_price")
    _unique((row.coin for row in state.balances), "balances")
    _unique((row.instrument_id for row in state.positions), "positions")


def _finite(value: Decimal, field: str) -> None:
    if not value.is_finite():
        raise NumberError(f"{field}: {value} is not finite.", field=field, next_step=_NEXT)


def _not_negative(value: Decimal, field: str) -> None:
    _finite(value, field)
    if value < ZERO:
        raise NumberError(f"{field}: {value} is negative.", field=field, allowed=">= 0", next_step=_NEXT)


def _unique(names: Iterable[Hashable], field: str) -> None:
    seen: set[Hashable] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{field}: {name} is there twice.", field=f"{field}.{name}", next_step=_NEXT)
        seen.add(name)
