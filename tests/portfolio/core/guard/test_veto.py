from dataclasses import replace

import pytest

from portfolio.core.guard.state import GuardState
from portfolio.core.guard.veto import EntryFacts, breach_veto, standing_veto
from portfolio.core.limits import SECOND_NS, RiskLimits
from portfolio.core.margin.results import Breach
from portfolio.core.names import Coin
from tests.portfolio.core.guard.cases import NOW, D, pair_id

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
        ({"state": GuardState(drawdown_since=NOW)}, "below its drawdown line"),
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


def test_the_first_line_that_the_account_would_cross_is_the_reason() -> None:
    assert breach_veto(()) is None
    health = Breach("health", D("0.79"), D("0.8"))
    assert breach_veto((health,)) == "after the order health would be 0.7900 (line 0.8)"
    two = breach_veto((Breach("stress:SOL -30%", None, None), health))
    assert two == "after the order stress:SOL -30% would be no value and 1 more"
