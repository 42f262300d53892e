"""A better book is traded for only when it is better by enough."""

from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.hysteresis import band_edge, cost_gate, should_exit, swap_allowed
from portfolio.core.limits import TradeLimits
from portfolio.core.names import PairId
from portfolio.core.scoring import PairScore

LIMITS = TradeLimits()
SCORE = PairScore(
    pair_id=PairId("SOL@bybit"),
    quality=0.3,
    yield_part=0.5,
    risk_part=0.6,
    maturity_part=1.0,
    stability=1.5,
    sharpe=3.0,
    net_carry_apr=0.10,
    apr_1d=0.1,
    apr_7d=0.1,
    apr_30d=0.1,
    regime_age_days=20.0,
    share_positive=0.9,
    volatility=0.02,
    holding_days=10.0,
)


@pytest.mark.parametrize(
    ("held", "target", "left"),
    [
        ("100", "100", "100"),
        ("93.1", "100", "93.1"),
        ("90", "100", "93.00"),
        ("110", "100", "107.00"),
        ("5", "0", "0"),
    ],
)
def test_trades_go_to_the_edge_of_the_band_and_only_from_outside(held: str, target: str, left: str) -> None:
    gated = band_edge(Decimal(held), Decimal(target), LIMITS)
    assert gated.notional_usd == Decimal(left)
    assert gated.changed == (Decimal(held) != Decimal(left))


def test_the_cost_gate_weighs_carry_over_the_holding_time_against_the_round_trip() -> None:
    # 10 % a year over 10 days is 27.4 bps; 2.5 x 10 bps = 25 bps passes, 2.5 x 31 bps does not.
    assert cost_gate(SCORE, 10.0, LIMITS).passes
    refused = cost_gate(SCORE, 31.0, LIMITS)
    assert not refused.passes
    assert refused.why == "does not pay: 27.4 bps over 10.0 d against 77.5 bps needed"


def test_a_swap_needs_one_and_a_half_times_the_score() -> None:
    assert swap_allowed(replace(SCORE, quality=0.45), SCORE, LIMITS)
    assert not swap_allowed(replace(SCORE, quality=0.44), SCORE, LIMITS)


def test_one_bad_day_is_no_reason_to_leave() -> None:
    assert not should_exit(replace(SCORE, apr_1d=-0.5, net_carry_apr=-0.01))
    assert should_exit(replace(SCORE, apr_1d=-0.5, apr_7d=-0.05, net_carry_apr=-0.01))
