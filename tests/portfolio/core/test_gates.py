from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.gates import GO, Answer, GateFacts, entry_gate, exit_gate, settlement_wait
from portfolio.core.intents import IntentStatus
from portfolio.core.limits import MINUTE_NS, SECOND_NS, TradeLimits
from portfolio.core.market import FundingOutlook
from portfolio.core.names import InstrumentId

SOL = InstrumentId("bybit:linear:SOLUSDT")
NOON = 1_700_000_000 * SECOND_NS
OPEN = GateFacts(
    guard_holds=False,
    frozen_reason=None,
    intent_status=IntentStatus.EXECUTING,
    approval_expired=False,
    stale=(),
    outside=(),
    margin_blocked=None,
    settlement_wait=None,
)
CASES = [
    (replace(OPEN, guard_holds=True), Answer.STOP, "guard"),
    (replace(OPEN, frozen_reason="halted"), Answer.STOP, "halted"),
    (replace(OPEN, intent_status=IntentStatus.CANCELLING), Answer.STOP, "cancelling"),
    (replace(OPEN, approval_expired=True), Answer.STOP, "expired"),
    (replace(OPEN, stale=("prices", "tables")), Answer.WAIT, "prices, tables"),
    (replace(OPEN, settlement_wait="settles in 5 s"), Answer.WAIT, "settles"),
    (replace(OPEN, outside=(SOL,)), Answer.WAIT, "bounds"),
    (replace(OPEN, margin_blocked="health 0.7"), Answer.STOP, "health 0.7"),
]


@pytest.mark.parametrize(("facts", "answer", "words"), CASES)
def test_every_gate_can_close_an_entry_and_says_why(facts: GateFacts, answer: Answer, words: str) -> None:
    verdict = entry_gate(facts)
    assert verdict.answer is answer
    assert words in verdict.reason


def test_an_entry_goes_when_every_gate_is_open_with_or_without_an_intent() -> None:
    assert entry_gate(OPEN) == GO
    assert entry_gate(replace(OPEN, intent_status=None)) == GO


def test_only_the_guard_the_intent_the_clock_and_the_bounds_hold_an_exit_back() -> None:
    closed = {words: exit_gate(facts).answer for facts, _, words in CASES}
    assert closed == {
        "guard": Answer.STOP,
        "halted": Answer.GO,
        "cancelling": Answer.STOP,
        "expired": Answer.GO,
        "prices, tables": Answer.GO,
        "settles": Answer.WAIT,
        "bounds": Answer.WAIT,
        "health 0.7": Answer.GO,
    }
    assert exit_gate(replace(OPEN, intent_status=None)) == GO


def wait(
    seconds_to_settlement: int, *, entering: bool, rate: str = "0.0001", short: bool = True
) -> str | None:
    outlook = FundingOutlook(
        SOL, Decimal(rate), NOON + seconds_to_settlement * SECOND_NS, 480, event_market_ns=0, seen_wire_ns=0
    )
    return settlement_wait(
        {SOL: outlook},
        short=frozenset([SOL]) if short else frozenset(),
        now_market_ns=NOON,
        entering=entering,
        limits=TradeLimits(),
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (61, None),
        (60, "settles in 60 s"),
        (0, "settles in 0 s"),
        (-1, "settled"),
        (-30, "settled"),
        (-31, None),
        (8 * 3600, "settled"),
        (8 * 3600 - 30, "settled"),
        (8 * 3600 - 31, None),
    ],
)
def test_entries_keep_clear_of_settlements_before_and_after(seconds: int, words: str | None) -> None:
    reason = wait(seconds, entering=True)
    assert reason is None if words is None else words in (reason or "")


def test_an_exit_waits_for_a_near_settlement_that_pays_it() -> None:
    assert "pays in 29 min" in (wait(29 * 60, entering=False) or "")
    assert "pays in 29 min" in (wait(29 * 60, entering=False, rate="-0.0001", short=False) or "")
    assert wait(31 * 60, entering=False) is None


def test_an_exit_does_not_wait_for_a_settlement_that_costs() -> None:
    assert wait(29 * 60, entering=False, rate="-0.0001") is None
    assert wait(29 * 60, entering=False, short=False) is None
    assert wait(29 * 60, entering=False, rate="0") is None


def test_a_pair_without_perpetuals_has_no_settlements() -> None:
    limits = TradeLimits(exit_waits_for_settlement_ns=30 * MINUTE_NS)
    assert settlement_wait({}, short=frozenset(), now_market_ns=NOON, entering=True, limits=limits) is None
