"""Whether a state can be valued at all: what no account can be is a typed error, before any arithmetic.

NaN and infinity are refused where texts are parsed; a rule refuses them once more, because a comparison with
NaN raises an error that belongs to `decimal` and not to this project.
"""

from collections.abc import Hashable, Sequence
from decimal import Decimal

from portfolio.core.account import Balance, Position
from portfolio.core.decimals import ZERO
from portfolio.core.errors import InputError, NumberError
from portfolio.core.margin.state import MarginState, RestingOrder

_NEXT = "Read the account again."


def require_sound(state: MarginState) -> None:
    """Refuse what no one-way account can be.

    Raises:
        NumberError: an amount is not finite, or negative where it cannot be.
        InputError: a coin has two balances, or a perpetual two positions.
    """
    for row in state.balances:
        require_balance(row)
    for position in state.positions:
        require_position(position)
    for order in state.orders:
        require_order(order)
    _unique([row.coin for row in state.balances], "balances")
    _unique([row.instrument_id for row in state.positions], "positions")


def require_balance(row: Balance) -> None:
    """Refuse what no balance can be; `NumberError` as in `require_sound`."""
    # Every valuation asks this of every row: names of fields are made only for what is wrong.
    if not (
        row.wallet.is_finite()
        and _is_amount(row.spot_borrow)
        and _is_amount(row.accrued_interest)
        and _is_amount(row.locked)
    ):
        _finite(row.wallet, f"balances.{row.coin}.wallet")
        _not_negative(row.spot_borrow, f"balances.{row.coin}.spot_borrow")
        _not_negative(row.accrued_interest, f"balances.{row.coin}.accrued_interest")
        _not_negative(row.locked, f"balances.{row.coin}.locked")


def require_position(row: Position) -> None:
    """Refuse what no position can be; `NumberError` as in `require_sound`."""
    if not (row.quantity.is_finite() and _is_amount(row.entry_price) and row.leverage.is_finite()):
        _finite(row.quantity, f"positions.{row.instrument_id}.quantity")
        _not_negative(row.entry_price, f"positions.{row.instrument_id}.entry_price")
        _finite(row.leverage, f"positions.{row.instrument_id}.leverage")


def require_order(row: RestingOrder) -> None:
    """Refuse what no open order can be; `NumberError` as in `require_sound`."""
    if not (_is_amount(row.quantity) and _is_amount(row.limit_price)):
        _not_negative(row.quantity, f"orders.{row.instrument_id}.quantity")
        _not_negative(row.limit_price, f"orders.{row.instrument_id}.limit_price")


def _is_amount(value: Decimal) -> bool:
    """Finite, and without a minus sign; a negative zero is looked at again."""
    return value.is_finite() and not value.is_signed()


def _finite(value: Decimal, field: str) -> None:
    if not value.is_finite():
        raise NumberError(f"{field}: {value} is not finite.", field=field, next_step=_NEXT)


def _not_negative(value: Decimal, field: str) -> None:
    _finite(value, field)
    if value < ZERO:
        raise NumberError(f"{field}: {value} is negative.", field=field, allowed=">= 0", next_step=_NEXT)


def _unique(names: Sequence[Hashable], field: str) -> None:
    if len(set(names)) < len(names):
        twice = max(names, key=names.count)
        raise InputError(f"{field}: {twice} is there twice.", field=f"{field}.{twice}", next_step=_NEXT)
