"""A better book is traded for only when it is better by enough."""

from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.hysteresis import band_edge, cost_gate, exit_gate, swap_gate
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
    apr_90d=0.1,
    forecast_apr=0.1,
    steadiness=0.8,
    share_positive=0.9,
    share_flips=0.1,
    volatility=0.02,
    regime_factor=0.8,
    momentum_factor=1.0,
    basis_factor=1.0,
    predicted_factor=None,
    open_interest_factor=None,
    regime_age_days=20.0,
    holding_days=10.0,
    half_life_days=3.0,
    expected_gain=0.00274,
    leverage_apr=0.0,
    history_days=90.0,
)


@pytest.mark.parametrize(
    ("held", "target", "left"),
    [
        ("100", "100", "100"),
        ("93.1", "100", "93.1"),
        ("90", "100", "93.00"),
        ("110", "100", "107.00"),
        ("5", "0", "0"),
        ("0", "100", "100"),
        ("0", "0", "0"),
    ],
)
def test_trades_go_to_the_edge_of_the_band_and_only_from_outside(held: str, target: str, left: str) -> None:
    gated = band_edge(Decimal(held), Decimal(target), LIMITS)
    assert gated.notional_usd == Decimal(left)
    assert gated.changed == (Decimal(held) != Decimal(left))


def test_an_entry_goes_to_its_target_and_an_exit_to_nothing_and_both_say_so() -> None:
    assert band_edge(Decimal(0), Decimal(9), LIMITS).why == "entered"
    assert band_edge(Decimal(9), Decimal(0), LIMITS).why == "left"


def test_the_cost_gate_weighs_the_expected_gain_against_a_multiple_of_the_round_trip() -> None:
    assert cost_gate(SCORE, 10.0, LIMITS).passes
    refused = cost_gate(SCORE, 31.0, LIMITS)
    assert not refused.passes
    assert (
        refused.why == "does not pay: 27.4 bps expected over 10.0 d against 77.5 bps needed (2.5 x 31.0 bps)"
    )


def test_a_swap_needs_one_and_a_half_times_the_score_and_must_pay_for_both_trades() -> None:
    old = replace(SCORE, pair_id=PairId("OLD@bybit"), expected_gain=0.0)
    assert swap_gate(replace(SCORE, quality=0.45), old, (6.0, 6.0), LIMITS).passes
    refused = swap_gate(replace(SCORE, quality=0.44), old, (6.0, 6.0), LIMITS)
    assert not refused.passes
    assert refused.why == "no place: 0.4400 is not 1.5 x the 0.3000 of OLD@bybit"
    dear = swap_gate(replace(SCORE, quality=0.45), old, (8.0, 8.0), LIMITS)
    assert not dear.passes
    assert dear.why == "no place: 27.4 bps more than OLD@bybit against 30.0 bps needed"


def test_a_pair_is_left_only_when_a_quarter_did_not_pay_and_its_regime_ended() -> None:
    bad = replace(SCORE, apr_30d=-0.05, apr_90d=-0.01, regime_age_days=0.0)
    left = exit_gate(bad)
    assert left.passes
    assert left.why == "leave: 90 days -1.00%, 30 days -5.00% a year, and its regime has ended"
    for good in (replace(bad, apr_90d=0.01), replace(bad, regime_age_days=3.0)):
        assert not exit_gate(good).passes
    assert exit_gate(replace(bad, apr_90d=0.01)).why == "keep: 90 days 1.00%, 30 days -5.00% a year"


def test_what_only_leverage_costs_is_no_reason_to_leave() -> None:
    levered = replace(SCORE, apr_30d=-0.01, apr_90d=-0.01, regime_age_days=0.0, leverage_apr=0.03)
    assert not exit_gate(levered).passes
