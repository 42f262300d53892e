"""A draft says exactly what would be traded, never more than was wanted, or why not."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from portfolio.core.errors import InputError, MissingDataError, NumberError, UnknownNameError
from portfolio.core.instrument import InstrumentKind
from portfolio.core.names import PairId
from portfolio.core.proposing import draft
from tests.portfolio.core.desk_state import BTC, SOL, given, leg


def test_an_entry_is_rounded_down_to_the_coarser_lot_and_costed_on_both_legs() -> None:
    out = draft([(SOL, Decimal("1030"))], given(), reduce_only=False)
    change = out.changes[0]
    assert change.target.to_quantity == Decimal("5.1")
    assert change.to_usd == Decimal("1020.0")
    assert change.cost_usd == Decimal("1020") * (Decimal("0.001") + Decimal("0.00055"))
    assert change.carry_usd_per_day == Decimal("1020") * Decimal("0.0003")


def test_bounds_stand_one_percent_away_on_the_side_that_hurts() -> None:
    target = draft([(SOL, Decimal(1000))], given(), reduce_only=False).changes[0].target
    by_leg = {bound.instrument_id: bound.limit_price for bound in target.bounds}
    assert by_leg[leg("SOL", InstrumentKind.PERPETUAL)] == Decimal("198.00")
    assert by_leg[leg("SOL", InstrumentKind.SPOT)] == Decimal("202.00")
    leaving = draft([(SOL, Decimal(0))], given(held="5"), reduce_only=True).changes[0].target
    by_leg = {bound.instrument_id: bound.limit_price for bound in leaving.bounds}
    assert by_leg[leg("SOL", InstrumentKind.PERPETUAL)] == Decimal("202.00")
    assert by_leg[leg("SOL", InstrumentKind.SPOT)] == Decimal("198.00")


def test_a_reverse_pair_pays_what_a_forward_pair_receives() -> None:
    reverse = PairId("SOL@bybit:reverse")
    change = draft([(reverse, Decimal(1000))], given(reverse=True), reduce_only=False).changes[0]
    assert change.carry_usd_per_day == -Decimal(1000) * Decimal("0.0003")


@pytest.mark.parametrize("usd", ["-1", "1e12", "NaN", "Infinity"])
def test_impossible_sizes_are_refused(usd: str) -> None:
    with pytest.raises(NumberError, match="not a possible size"):
        draft([(SOL, Decimal(usd))], given(), reduce_only=False)


def test_unknown_and_repeated_pairs_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(UnknownNameError) as error:
        draft([(PairId("PEPE@bybit"), Decimal(1))], given(), reduce_only=False)
    assert error.value.allowed == "BTC@bybit, SOL@bybit"
    with pytest.raises(InputError, match="twice"):
        draft([(SOL, Decimal(100)), (SOL, Decimal(200))], given(), reduce_only=False)


def test_a_reduce_only_request_may_not_grow() -> None:
    with pytest.raises(InputError, match="reduce-only"):
        draft([(SOL, Decimal(2000))], given(held="5"), reduce_only=True)


def test_what_changes_nothing_or_too_little_is_skipped_with_the_reason() -> None:
    out = draft([(SOL, Decimal(1000)), (BTC, Decimal("300060"))], given(held="5"), reduce_only=False)
    assert dict(out.skipped)[SOL] == "already there"
    small = draft([(BTC, Decimal("4"))], replace(given(), drift=given().drift), reduce_only=False)
    assert small.skipped == ((BTC, "already there"),)
    fine = given()
    dust_lot = {k: replace(i, lot_size=Decimal("0.000001")) for k, i in fine.instruments.items()}
    tiny = draft([(BTC, Decimal("4"))], replace(fine, instruments=dust_lot), reduce_only=False)
    assert "below the venue's minimum of 5" in tiny.skipped[0][1]


@pytest.mark.parametrize("what", ["reference_prices", "fees", "funding"])
def test_a_missing_input_is_an_error_not_a_zero(what: str) -> None:
    state = given()
    without = {"reference_prices": replace(state, reference_prices={}), "fees": replace(state, fees={})}
    with pytest.raises(MissingDataError):
        draft([(SOL, Decimal(1000))], without.get(what, replace(state, funding={})), reduce_only=False)


@examples(st.decimals("0.01", "1e8", places=2), st.sampled_from([SOL, BTC]))
def test_a_proposal_never_asks_for_more_than_was_wanted(usd: Decimal, pair_id: PairId) -> None:
    for change in draft([(pair_id, usd)], given(), reduce_only=False).changes:
        assert change.to_usd <= usd
