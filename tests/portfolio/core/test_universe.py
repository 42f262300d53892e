"""Pairs follow from what a venue lists."""

from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import Coin, Narrative
from portfolio.core.universe import carry_pairs
from tests.portfolio.core.desk_state import PRICES, SOL, instrument, leg


def test_a_coin_with_both_markets_is_a_pair_led_by_its_perpetual() -> None:
    both = [instrument(coin, kind) for coin in PRICES for kind in InstrumentKind]
    found = carry_pairs(both, {Coin("SOL"): Narrative("layer one")})
    assert list(found) == ["BTC@bybit", "SOL@bybit"]
    assert found[SOL].lead_leg == found[SOL].short_leg == leg("SOL", InstrumentKind.PERPETUAL)
    assert found[SOL].hedge_leg == leg("SOL", InstrumentKind.SPOT)
    assert found[SOL].narrative == "layer one"


def test_a_coin_with_one_market_is_none() -> None:
    assert carry_pairs([instrument("SOL", InstrumentKind.SPOT)]) == {}
