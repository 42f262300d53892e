from dataclasses import replace

import pytest

from portfolio.core.guard.state import GuardState
from portfolio.core.guard.veto import EntryFacts, StressOutcome, margin_veto, standing_veto, stress_veto
from portfolio.core.limits import SECOND_NS, RiskLimits
from portfolio.core.names import Coin
from tests.portfolio.core.guard.cases import NOW, D, figures, pair_id

SOL = pair_id("SOL")
LIMITS = RiskLimits()
FREE = EntryFacts(
    now_wire_ns=NOW,
    state=GuardState(gap=D("0.05")),
    pairs={SOL: Coin("SOL"), pair_id("ETH"): Coin("ETH")},
    recovered=True,
    halted=False,
    freezes={},
    stale=(),
    unknown=frozenset(),
)


def test_nothing_stands_against_an_entry_on_a_fresh_calm_recovered_desk() -> None:
    assert standing_veto(FREE, LIMITS) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"recovered": False}, "recovery has not finished"),
        ({"halted": True}, "halted"),
        ({"freezes": {"orphan": "SOL 2"}}, "orphan: SOL 2"),
        ({"stale": ("prices",)}, "too old: prices"),
        ({"state": GuardState(gap=D("0.051"))}, "differ by 5.10 %"),
        ({"state": GuardState(held={SOL: "naked_leg"})}, "holds SOL@bybit"),
        ({"unknown": frozenset({SOL})}, "outcome of an order of SOL@bybit is unknown"),
        ({"state": GuardState(reductions={SOL: 2})}, "operator must acknowledge"),
        ({"state": GuardState(cooldown_until={Coin("ETH"): NOW + 61 * SECOND_NS})}, "another 2 min"),
    ],
)
def test_each_of_these_refuses_the_entry(change: dict[str, object], reason: str) -> None:
    answer = standing_veto(replace(FREE, **change), LIMITS)  # type: ignore[arg-type]
    assert answer is not None
    assert reason in answer


def test_what_concerns_other_pairs_or_is_over_does_not_refuse() -> None:
    other = GuardState(
        held={pair_id("BTC"): "x"},
        reductions={SOL: 1, pair_id("BTC"): 5},
        cooldown_until={Coin("SOL"): NOW, Coin("BTC"): NOW + SECOND_NS},
    )
    assert standing_veto(replace(FREE, state=other, unknown=frozenset({pair_id("BTC")})), LIMITS) is None


def test_an_entry_may_bring_health_to_exactly_eight_tenths_and_usage_to_sixty_five_percent() -> None:
    # Health 0.8 is a Bybit MM rate of 16.67 %.
    assert margin_veto(figures("16666.6666", im=65_000), LIMITS) is None
    low = margin_veto(figures("16670"), LIMITS)
    assert low is not None
    assert "health 0.800 would be below 0.8" in low
    high = margin_veto(figures(1, im=65_001), LIMITS)
    assert high is not None
    assert "margin usage" in high


def test_an_account_without_equity_takes_no_entry() -> None:
    assert margin_veto(figures(0, ecv=0), LIMITS) is not None
    # Even where the health line is open, usage without a value refuses.
    open_line = replace(LIMITS, guard=replace(LIMITS.guard, entry_health_min=D(0)))
    answer = margin_veto(figures(0, ecv=0), open_line)
    assert answer is not None
    assert "has no value" in answer


def test_a_market_stress_keeps_the_entry_lines_and_every_other_one_the_reduction_line() -> None:
    assert stress_veto(StressOutcome("market -20 %", True, figures(16_000)), LIMITS) is None
    refused = stress_veto(StressOutcome("market -20 %", True, figures(17_000)), LIMITS)
    assert refused is not None
    assert "market -20 %" in refused
    assert stress_veto(StressOutcome("SOL +30 %", False, figures(17_000, im=94_000)), LIMITS) is None
    assert stress_veto(StressOutcome("SOL +30 %", False, figures(25_100)), LIMITS) is not None
    assert stress_veto(StressOutcome("SOL +30 %", False, figures(17_000, im=96_000)), LIMITS) is not None
