from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.errors import JournalCorruptError
from portfolio.core.guard.state import GuardState, from_text, needs_saving, to_text
from portfolio.core.limits import SECOND_NS
from portfolio.core.names import Coin, PairId

FULL = GuardState(
    operations=7,
    peak_equity=Decimal("123456.789"),
    transfers_usd=Decimal("-500.5"),
    transfers_seq=42,
    cooldown_until={Coin("SOL"): 1_700_000_000_000_000_000},
    reductions={PairId("SOL@bybit"): 2},
    reduced_at={PairId("SOL@bybit"): 5},
    naked_since={PairId("ETH@bybit"): 9},
    naked_attempts={PairId("ETH@bybit"): 1},
    held={PairId("ETH@bybit"): "naked_leg"},
    frozen={"drawdown": "equity is low"},
    gap=Decimal("0.003"),
    gap_over=1,
    gap_within=0,
    distrusted_since=13,
    stale_since=3,
    orphan_since={"SOL": 4},
    forced_since={"SOL@bybit": 5},
    peak_market_ns=11,
    measured_from_market_ns=2,
    drawdown_since=12,
)


def test_a_state_survives_being_written_and_read() -> None:
    assert from_text(to_text(FULL)) == FULL
    assert from_text(to_text(GuardState())) == GuardState()


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=8))
def test_every_peak_survives_exactly(peak: Decimal) -> None:
    state = replace(FULL, peak_equity=peak)
    assert from_text(to_text(state)) == state
    assert to_text(from_text(to_text(state))) == to_text(state)


@pytest.mark.parametrize(
    "gap", [Decimal(1) / Decimal("3e26"), Decimal(2) / Decimal("3e-26"), Decimal("1e-60")]
)
def test_a_state_with_a_very_small_or_large_gap_is_read_again(gap: Decimal) -> None:
    state = replace(FULL, gap=gap)
    assert from_text(to_text(state)) == state


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        to_text(FULL).replace('"format":1', '"format":2'),
        to_text(FULL).replace("123456.789", "NaN"),
        to_text(FULL).replace('"operations":7', '"operation":7'),
    ],
)
def test_a_state_that_cannot_be_trusted_is_refused_instead_of_made_up(text: str) -> None:
    with pytest.raises(JournalCorruptError, match="guard state"):
        from_text(text)


def test_counters_cooldowns_and_held_pairs_are_worth_saving_and_gap_samples_are_not() -> None:
    assert not needs_saving(FULL, FULL, 0)
    assert needs_saving(FULL, replace(FULL, operations=8), 0)
    assert needs_saving(FULL, replace(FULL, held={}), 0)
    assert needs_saving(FULL, replace(FULL, cooldown_until={}), 0)
    assert not needs_saving(FULL, replace(FULL, gap_over=5, gap=Decimal(1), stale_since=99), 0)


def test_a_naked_leg_is_saved_once_it_outlasts_an_ordinary_slice_and_when_it_is_over() -> None:
    naked = replace(GuardState(), naked_since={PairId("SOL@bybit"): 0})
    assert not needs_saving(GuardState(), naked, SECOND_NS - 1)
    assert needs_saving(GuardState(), naked, SECOND_NS)
    assert not needs_saving(naked, naked, SECOND_NS)
    assert needs_saving(naked, GuardState(), SECOND_NS)


def test_a_peak_is_saved_when_it_is_new_rose_by_a_thousandth_or_was_lowered() -> None:
    peak = replace(GuardState(), peak_equity=Decimal(1000))
    assert needs_saving(GuardState(), peak, 0)
    assert needs_saving(peak, GuardState(), 0)
    assert not needs_saving(GuardState(), GuardState(), 0)
    assert not needs_saving(peak, replace(peak, peak_equity=Decimal(1001)), 0)
    assert needs_saving(peak, replace(peak, peak_equity=Decimal("1001.01")), 0)
    assert needs_saving(peak, replace(peak, peak_equity=Decimal(999)), 0)
