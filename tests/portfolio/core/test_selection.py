"""The selector ranks, excludes with a reason, fills the places of the book and weighs what is left."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.carry import DAY_NS, carry_series
from portfolio.core.limits import BookLimits, TradeLimits
from portfolio.core.names import Narrative, PairId
from portfolio.core.scoring import PairFacts
from portfolio.core.selection import Candidate, Selection, UniverseSelector
from tests.portfolio.core.scores import settlements

NOW = 400 * DAY_NS
FACTS = PairFacts(predicted_apr=None, borrow_apr=0.0, staking_apr=0.0, basis_bps=0.0)


def candidate(name: str, rate: str, *, held: str = "0", cost: float | None = 5.0) -> Candidate:
    return Candidate(
        PairId(name),
        narrative=Narrative(name),
        series=carry_series(settlements([rate] * 120), short_perpetual=True),
        interval_minutes=480,
        facts=FACTS,
        round_trip_cost_bps=cost,
        held_usd=Decimal(held),
    )


def select(*candidates: Candidate, book: BookLimits | None = None) -> Selection:
    return UniverseSelector(book or BookLimits(), TradeLimits()).select(candidates, NOW)


def test_better_carry_ranks_first() -> None:
    out = select(candidate("A", "0.0001"), candidate("B", "0.0003"), candidate("C", "0.0002"))
    assert out.eligible == ("B", "C", "A")


def test_missing_inputs_exclude_a_pair_and_say_which() -> None:
    no_interval = replace(candidate("A", "0.0001"), interval_minutes=None)
    short = carry_series(settlements(["0.0001"] * 5), short_perpetual=True)
    no_history = replace(candidate("B", "0.0001"), series=short)
    broken = replace(candidate("D", "0.0001"), series=None, missing="Settlement 3 cannot be used")
    empty = replace(candidate("E", "0.0001"), series=carry_series((), short_perpetual=True))
    out = select(no_interval, no_history, candidate("C", "0.0001", cost=None), broken, empty)
    assert out.eligible == ()
    assert "no funding interval" in out.excluded[PairId("A")]
    assert "not covered" in out.excluded[PairId("B")]
    assert "cost is unknown" in out.excluded[PairId("C")]
    assert "Settlement 3" in out.excluded[PairId("D")]
    assert "not covered" in out.excluded[PairId("E")]


def test_low_quality_and_unpaid_costs_keep_a_newcomer_out_but_not_a_held_pair() -> None:
    poor, dear = candidate("A", "-0.0001"), candidate("B", "0.00005", cost=500.0)
    out = select(poor, dear, replace(dear, pair_id=PairId("H"), held_usd=Decimal(1000)))
    assert out.eligible == ("H",)
    assert "below" in out.excluded[PairId("A")]
    assert "does not pay" in out.excluded[PairId("B")]


def test_a_held_pair_leaves_when_week_and_blend_are_negative() -> None:
    out = select(candidate("A", "-0.0002", held="1000"))
    assert out.excluded[PairId("A")] == "week and blended carry are negative"


def test_a_full_book_swaps_only_for_a_much_better_pair() -> None:
    book = replace(BookLimits(), pairs_max=1)
    held = candidate("H", "0.0001", held="1000")
    assert select(held, candidate("A", "0.00011"), book=book).eligible == ("H",)
    swapped = select(held, candidate("A", "0.0005"), book=book)
    assert swapped.eligible == ("A",)
    assert swapped.excluded[PairId("H")] == "swapped for A"


def test_newcomers_do_not_displace_each_other_and_held_pairs_beyond_the_places_go() -> None:
    book = replace(BookLimits(), pairs_max=1)
    out = select(candidate("A", "0.0005"), candidate("B", "0.0001"), book=book)
    assert out.eligible == ("A",)
    assert out.excluded[PairId("B")] == "no place in the book"
    two = select(candidate("A", "0.0005", held="1"), candidate("B", "0.0001", held="1"), book=book)
    assert two.eligible == ("A",)


def test_few_pairs_leave_cash_instead_of_breaking_the_pair_cap() -> None:
    out = select(candidate("A", "0.0002"), candidate("B", "0.0003"))
    assert dict(out.weights) == pytest.approx({"A": 0.25, "B": 0.25})
    assert out.unplaced == pytest.approx(0.5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-5, 60), min_size=0, max_size=8))
def test_weights_cover_exactly_the_eligible_pairs(rates: list[int]) -> None:
    out = select(*(candidate(f"P{i}", f"{rate}e-5") for i, rate in enumerate(rates)))
    assert set(out.weights) == set(out.eligible)
    assert set(out.eligible) | set(out.excluded) == {f"P{i}" for i in range(len(rates))}
    assert sum(out.weights.values()) + out.unplaced == pytest.approx(1 if out.eligible else 0)
