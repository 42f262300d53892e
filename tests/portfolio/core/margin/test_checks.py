"""What no account can be is refused before any arithmetic."""

from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.errors import InputError, NumberError
from portfolio.core.margin.checks import require_sound
from portfolio.core.margin.state import MarginState, RestingOrder
from portfolio.core.orders import Side
from tests.portfolio.core.margin.accounts import account, balance, perp, position

D = Decimal
SOUND = account(
    balances=(balance("USDT", "-5", "1", "2"), balance("BTC", "0")),
    positions=(position(perp("BTC"), "-1", "100"),),
    orders=(RestingOrder(perp("BTC"), Side.SELL, D(1), D(100), False),) * 2,
)
USDT, SHORT, ORDER = SOUND.balances[0], SOUND.positions[0], SOUND.orders[0]


def test_a_negative_wallet_a_short_and_two_orders_alike_are_sound() -> None:
    require_sound(SOUND)
    require_sound(account())


@pytest.mark.parametrize(
    ("state", "field"),
    [
        (replace(SOUND, balances=(replace(USDT, wallet=D("NaN")),)), "balances.USDT.wallet"),
        (replace(SOUND, balances=(replace(USDT, spot_borrow=D(-1)),)), "balances.USDT.spot_borrow"),
        (replace(SOUND, balances=(replace(USDT, spot_borrow=D("sNaN")),)), "balances.USDT.spot_borrow"),
        (replace(SOUND, balances=(replace(USDT, accrued_interest=D(-1)),)), "balances.USDT.accrued_interest"),
        (replace(SOUND, balances=(replace(USDT, locked=D(-1)),)), "balances.USDT.locked"),
        (
            replace(SOUND, positions=(replace(SHORT, quantity=D("-Infinity")),)),
            "positions.bybit:linear:BTCUSDT.quantity",
        ),
        (
            replace(SOUND, positions=(replace(SHORT, entry_price=D(-1)),)),
            "positions.bybit:linear:BTCUSDT.entry_price",
        ),
        (
            replace(SOUND, positions=(replace(SHORT, leverage=D("NaN")),)),
            "positions.bybit:linear:BTCUSDT.leverage",
        ),
        (replace(SOUND, orders=(replace(ORDER, quantity=D(-1)),)), "orders.bybit:linear:BTCUSDT.quantity"),
        (
            replace(SOUND, orders=(replace(ORDER, limit_price=D(-1)),)),
            "orders.bybit:linear:BTCUSDT.limit_price",
        ),
    ],
)
def test_amounts_that_cannot_be_are_named(state: MarginState, field: str) -> None:
    with pytest.raises(NumberError) as refused:
        require_sound(state)
    assert refused.value.field == field
    assert refused.value.next_step


@pytest.mark.parametrize(
    ("state", "field"),
    [
        (replace(SOUND, balances=(*SOUND.balances, USDT)), "balances.USDT"),
        (replace(SOUND, positions=(SHORT, replace(SHORT, quantity=D(2)))), "positions.bybit:linear:BTCUSDT"),
    ],
)
def test_rows_that_are_there_twice_are_named(state: MarginState, field: str) -> None:
    with pytest.raises(InputError) as refused:
        require_sound(state)
    assert refused.value.field == field
