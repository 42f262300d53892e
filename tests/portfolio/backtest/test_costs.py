from decimal import Decimal

import pytest

from portfolio.backtest.costs import fees_at, round_trip_bps, trade_costs
from portfolio.core.names import Coin, Venue
from portfolio.core.risk import FeeRates
from portfolio.core.trade_cost import trade_cost_bps

BINANCE, BYBIT = Venue("binance"), Venue("bybit")
Y2021, Y2022, Y2024 = 1_609_459_200 * 10**9, 1_660_000_000 * 10**9, 1_704_067_200 * 10**9


def test_fees_are_those_of_the_venues_era() -> None:
    assert fees_at(BINANCE, Y2021).perpetual_taker == 0.0004
    assert fees_at(BINANCE, Y2024).perpetual_taker == 0.0005
    assert [fees_at(BYBIT, at).perpetual_taker for at in (Y2021, Y2022, Y2024)] == [0.00075, 0.0006, 0.00055]


def test_urgent_orders_cost_more_and_have_no_maker_to_be_picked_off() -> None:
    calm = trade_costs(BINANCE, Coin("SOL"), 50_000.0, Y2024, urgent=False)
    urgent = trade_costs(BINANCE, Coin("SOL"), 50_000.0, Y2024, urgent=True)
    assert urgent.total > calm.total
    assert urgent.adverse_selection == 0
    assert calm.adverse_selection > 0


def test_larger_and_thinner_costs_more_per_dollar() -> None:
    small = round_trip_bps(BINANCE, Coin("BTC"), 1_000.0, Y2024)
    large = round_trip_bps(BINANCE, Coin("BTC"), 5_000_000.0, Y2024)
    thin = round_trip_bps(BINANCE, Coin("SKL"), 1_000.0, Y2024)
    assert small < large
    assert small < thin
    assert 20 < small < 35
    assert trade_costs(BINANCE, Coin("BTC"), 1_000.0, Y2024, urgent=False).borrow == 0
    assert 2 * trade_costs(BINANCE, Coin("BTC"), 1_000.0, Y2024, urgent=False).total / 1_000 * 1e4 == (
        pytest.approx(small)
    )


@pytest.mark.parametrize("usd", [1_000.0, 250_000.0])
@pytest.mark.parametrize("at", [Y2021, Y2024])
def test_a_normal_trade_costs_what_the_desk_expects_of_the_same_fees_and_slippage(
    usd: float, at: int
) -> None:
    costs, fees = trade_costs(BYBIT, Coin("SOL"), usd, at, urgent=False), fees_at(BYBIT, at)
    maker, taker, spot = (
        Decimal(str(rate)) for rate in (fees.perpetual_maker, fees.perpetual_taker, fees.spot_taker)
    )
    expected = trade_cost_bps(FeeRates(maker, taker), FeeRates(spot, spot), 0.0, costs.slippage / usd * 1e4)
    assert costs.total / usd * 1e4 == pytest.approx(expected, rel=1e-12)
