"""A live Binance account follows its changes exactly."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.account import Position
from portfolio.core.errors import SettingsError
from portfolio.core.margin.binance_live import BinanceLive
from portfolio.core.margin.binance_pm import value
from portfolio.core.margin.incremental import LiveMargin
from portfolio.core.margin.state import MarginState
from portfolio.core.names import Coin
from portfolio.core.orders import Side
from portfolio.core.risk import LeveragePolicy
from tests.portfolio.core.margin.accounts import balance, order
from tests.portfolio.core.margin.binance_accounts import margin, pm, printed_carry, upm
from tests.portfolio.core.margin.test_binance_properties import pm_accounts
from tests.portfolio.core.margin.test_incremental import change, outcome

D = Decimal


@settings(max_examples=60, deadline=None)
@given(pm_accounts(), st.booleans(), st.data())
def test_whatever_happens_the_figures_are_those_of_a_full_valuation(
    state: MarginState, reference: bool, data: st.DataObject
) -> None:
    live = LiveMargin(state, BinanceLive(reference=reference, extrapolate=True))
    for _ in range(data.draw(st.integers(0, 6))):
        change(live, data)
        if data.draw(st.booleans()):
            full = outcome(lambda: value(live.state(), reference=reference, extrapolate=True).figures)
            assert outcome(live.figures) == full
    full = outcome(lambda: value(live.state(), reference=reference, extrapolate=True).figures)
    assert outcome(live.figures) == full


def test_a_tick_a_fill_and_a_repayment_reach_the_figures() -> None:
    live = LiveMargin(printed_carry("60000"), BinanceLive())
    assert live.figures() == value(printed_carry("60000")).figures
    live.set_mark(upm("ETH"), D(3300))
    live.set_coin_price(Coin("ETH"), D(3300))
    assert live.figures().adjusted_equity == 101000 - 750
    live.set_balance(balance("USDT", "20000"))
    assert live.figures().maintenance_margin == D("660")
    live.set_position(upm("ETH"), Position(upm("ETH"), D(-1), D(3300), D(3300), D(10)))
    assert live.figures().initial_margin == 330
    live.set_orders(upm("ETH"), (order(upm("ETH"), Side.BUY, "1", "3300", reduce_only=True),))
    assert live.figures().initial_margin == 330
    live.set_position(upm("ETH"), None)
    assert live.figures().initial_margin == 0
    live.set_orders(margin("ETH"), (order(margin("ETH"), Side.BUY, "1", "3300"),))
    assert live.figures() == value(live.state()).figures
    live.set_balance(balance("USDT", "0"))
    live.set_orders(upm("ETH"), ())
    live.set_orders(margin("ETH"), ())
    assert live.figures().adjusted_equity == 50 * 3300 * D("0.95")


def test_a_borrow_leverage_that_leaves_no_margin_is_refused_here_too() -> None:
    state = pm("ETH", balances=(balance("USDT", "1"),), policy=LeveragePolicy(borrow=D(1)))
    with pytest.raises(SettingsError):
        LiveMargin(state, BinanceLive()).figures()
