from dataclasses import replace

import pytest

from portfolio.core.account import Balance, Position
from portfolio.core.drift import World, account_fingerprint, basis_worsening_bps, drifted
from portfolio.core.intents import DriftBounds, Intent, LegBound, Target
from portfolio.core.margin.state import MarginState
from portfolio.core.market import Prices
from portfolio.core.names import AccountId, Coin, IntentId
from portfolio.core.pairs import PairLegs
from portfolio.core.risk import RiskTables
from tests.portfolio.core.trading import D, make_pair

PAIR = make_pair("SOL")
SPOT, PERPETUAL = PAIR.long_leg, PAIR.short_leg
SHORT = Position(PERPETUAL, D(-10), D(100), D(100), D(10))
INTENT = Intent(
    intent_id=IntentId("i1"),
    mode="paper",
    account=AccountId("bybit:main"),
    kind="changes",
    targets=(
        Target(
            PAIR.pair_id,
            D(10),
            D(20),
            (LegBound(SPOT, D(100), D(101)), LegBound(PERPETUAL, D("100.1"), D(99))),
        ),
    ),
    reduce_only=False,
    proposed_by="agent",
    reason="",
    request_id=None,
    health_after=D("0.9"),
    fingerprint="same",
    drift=DriftBounds(),
    text="",
    digest="",
    created_wire_ns=0,
    expires_wire_ns=1,
)
WORLD = World(
    fingerprint="same",
    prices={SPOT: D(100), PERPETUAL: D("100.1")},
    legs={PAIR.pair_id: PairLegs(PAIR.pair_id, D("10.01"), D(10))},
    tolerance={PAIR.pair_id: D("0.1")},
    health_after=D("0.9"),
)
PAIRS = {PAIR.pair_id: PAIR}


def test_an_unchanged_world_voids_nothing() -> None:
    assert drifted(INTENT, PAIRS, WORLD) is None


@pytest.mark.parametrize(
    ("world", "words"),
    [
        (replace(WORLD, fingerprint="other"), "outside"),
        (replace(WORLD, legs={PAIR.pair_id: PairLegs(PAIR.pair_id, D(9), D(10))}), "now holds 9, not 10"),
        (replace(WORLD, prices={SPOT: D("101.1"), PERPETUAL: D("101.2")}), "moved by 1.1 %"),
        (replace(WORLD, prices={SPOT: D("100.1"), PERPETUAL: D("100.04")}), "worsened by 15.9"),
        (replace(WORLD, health_after=None), "simulated"),
        (replace(WORLD, health_after=D("0.869")), "fell by 0.031"),
    ],
)
def test_each_kind_of_drift_voids_with_its_reason(world: World, words: str) -> None:
    assert words in (drifted(INTENT, PAIRS, world) or "")


def test_moves_inside_the_bounds_void_nothing() -> None:
    calm = replace(WORLD, prices={SPOT: D("100.9"), PERPETUAL: D("101.0")}, health_after=D("0.87"))
    assert drifted(INTENT, PAIRS, calm) is None


def test_without_a_bound_on_both_legs_no_basis_is_compared() -> None:
    (target,) = INTENT.targets
    intent = replace(INTENT, targets=(replace(target, bounds=target.bounds[:1]),))
    assert drifted(intent, PAIRS, replace(WORLD, prices={SPOT: D(100)})) is None


def test_the_basis_that_hurts_an_entry_helps_an_exit() -> None:
    (target,) = INTENT.targets
    spot, perpetual = target.bounds
    now = {SPOT: D(100), PERPETUAL: D(100)}
    assert basis_worsening_bps(target, spot, perpetual, now) == 10
    leaving = replace(target, to_quantity=D(0))
    assert basis_worsening_bps(leaving, spot, perpetual, now) == -10


def account(*, usdt: str = "100", sol: str = "10", short: str = "-10") -> MarginState:
    return MarginState(
        balances=(
            Balance(Coin("USDT"), D(usdt), D(0), D(0), D(0)),
            Balance(Coin("SOL"), D(sol), D(0), D(0), D(0)),
        ),
        positions=(replace(SHORT, quantity=D(short)),),
        orders=(),
        prices=Prices({}, {}),
        tables=RiskTables(0, {}, {}, {}, {}),
        instruments={},
    )


def test_a_funding_payment_leaves_the_fingerprint_as_it_is_and_a_trade_does_not() -> None:
    mark = account_fingerprint(account(), [PAIR])
    assert account_fingerprint(account(usdt="101"), [PAIR]) == mark
    assert account_fingerprint(account(sol="10.00"), [PAIR]) == mark
    assert account_fingerprint(account(sol="9"), [PAIR]) != mark
    assert account_fingerprint(account(short="-9"), [PAIR]) != mark
