"""The selector ranks, excludes with a reason, fills the places of the book and weighs what is left."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.allocation import AllocationPolicy
from portfolio.core.carry import DAY_NS, HOUR_NS, carry_series
from portfolio.core.forecast import forecast_risk
from portfolio.core.limits import BookLimits, TradeLimits
from portfolio.core.market import Settlement
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


def select(
    *candidates: Candidate, book: BookLimits | None = None, now: int = NOW, trade: TradeLimits | None = None
) -> Selection:
    return UniverseSelector(book or BookLimits(), trade or TradeLimits()).select(candidates, now)


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
    assert select(replace(no_history, held_usd=Decimal(5))).untouched == {"B"}
    assert "cost is unknown" in out.excluded[PairId("C")]
    assert "Settlement 3" in out.excluded[PairId("D")]
    assert out.excluded[PairId("E")] == "no settlement yet"


def test_low_quality_and_unpaid_costs_keep_a_newcomer_out_but_not_a_held_pair() -> None:
    poor, dear = candidate("A", "-0.0001"), candidate("B", "0.00005", cost=500.0)
    out = select(poor, dear, replace(dear, pair_id=PairId("H"), held_usd=Decimal(1000)))
    assert out.eligible == ("H",)
    assert "3% needed" in out.excluded[PairId("A")]
    assert "does not pay" in out.excluded[PairId("B")]


def test_a_held_pair_leaves_when_week_and_blend_are_negative() -> None:
    out = select(candidate("A", "-0.0002", held="1000"))
    assert out.excluded[PairId("A")] == (
        "leave: 90 days -21.90%, 30 days -21.90% a year, and its regime has ended"
    )
    assert out.gates == out.excluded
    assert out.untouched == frozenset()


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


def noisy(draw: np.random.Generator, count: int, hours: int) -> tuple[Settlement, ...]:
    """Made history with a wandering rate and basis, up to NOW."""
    rates = np.cumsum(draw.normal(0, 2e-5, count)) + 2e-4
    gaps = draw.normal(0, 3e-4, count)
    return settlements([f"{r:.8f}" for r in rates], hours=hours, basis=[f"{g:.8f}" for g in gaps])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(100, 260), st.sampled_from(["shuffled", "replaced", "cut"]))
def test_whatever_the_future_brings_decisions_up_to_now_are_the_same(seed: int, known: int, how: str) -> None:
    draw = np.random.default_rng(seed)
    histories = [noisy(draw, 300 * 8 // hours, hours) for hours in (8, 8, 4)]
    now = histories[0][known].market_ns + int(draw.integers(0, 8 * HOUR_NS))

    def decide(rows: list[tuple[Settlement, ...]]) -> Selection:
        return select(
            *(
                replace(
                    candidate(f"P{number}", "0", held=str(number)),
                    series=carry_series(row, short_perpetual=True),
                    interval_minutes=480 if number < 2 else 240,
                )
                for number, row in enumerate(rows)
            ),
            now=now,
        )

    def later(rows: tuple[Settlement, ...]) -> tuple[Settlement, ...]:
        past = tuple(row for row in rows if row.market_ns <= now)
        future = rows[len(past) :]
        if how == "cut":
            return past
        order = draw.permutation(len(future)) if how == "shuffled" else np.zeros(len(future), dtype=np.int64)
        values = [future[int(number)] for number in order]
        return past + tuple(
            replace(value, market_ns=row.market_ns, rate=value.rate * (1 if how == "shuffled" else -99))
            for row, value in zip(future, values, strict=True)
        )

    ours, other = decide(histories), decide([later(rows) for rows in histories])
    assert ours.scores == other.scores
    assert ours.weights == other.weights
    assert ours.gates == other.gates
    assert ours.excluded == other.excluded


def test_a_pair_that_stopped_settling_is_untradable_and_what_is_held_of_it_is_left() -> None:
    rows = settlements(["0.0001"] * 120, end_ns=NOW - 2 * DAY_NS)
    gone = replace(candidate("A", "0.0001", held="5"), series=carry_series(rows, short_perpetual=True))
    out = select(gone, candidate("B", "0.0001"))
    assert out.excluded[PairId("A")] == "no settlement for 48 h: halted or delisted"
    assert out.untouched == {"A"}
    assert out.eligible == ("B",)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (replace(FACTS, borrow_apr=float("inf")), "borrowing costs is unknown"),
        (replace(FACTS, staking_apr=float("-inf")), "borrowing costs is unknown"),
    ],
)
def test_costs_that_are_not_known_make_a_pair_untradable(facts: PairFacts, why: str) -> None:
    out = select(replace(candidate("A", "0.0001"), facts=facts))
    assert why in out.excluded[PairId("A")]
    assert out.scores == ()


def test_unknown_margin_makes_a_pair_untradable() -> None:
    out = select(replace(candidate("A", "0.0001"), narrative_use=None))
    assert "margin that it needs is unknown" in out.excluded[PairId("A")]


def test_one_negative_print_takes_no_pair_out_and_every_decision_is_a_line() -> None:
    rows = settlements(["0.0001"] * 119 + ["-0.002"])
    held = replace(candidate("A", "0", held="9"), series=carry_series(rows, short_perpetual=True))
    out = select(held, candidate("B", "0.0001"), candidate("C", "0.000001"))
    assert "A" in out.eligible
    assert set(out.gates) == {"A", "B", "C"}
    assert out.gates[PairId("A")].startswith("keep: 90 days")
    assert out.gates[PairId("B")].startswith("pays: ")
    assert out.gates[PairId("C")] == "the last 30 days paid 0.11% a year, 3% needed"


def test_a_pair_below_the_smallest_quality_stays_out() -> None:
    strict = replace(BookLimits(), quality_min=Decimal(1))
    out = select(candidate("A", "0.0002"), book=strict)
    assert out.excluded[PairId("A")].startswith("quality 0.")
    assert out.excluded[PairId("A")].endswith("below 1")


def test_a_newcomer_needs_a_month_of_history_and_a_held_pair_does_not() -> None:
    young = carry_series(settlements(["0.0003"] * 60), short_perpetual=True)
    out = select(
        replace(candidate("A", "0"), series=young), replace(candidate("H", "0", held="9"), series=young)
    )
    assert out.eligible == ("H",)
    assert out.excluded[PairId("A")] == "20 days of history, 27 needed"


def test_when_no_pair_pays_the_book_is_cash() -> None:
    out = select(candidate("A", "-0.0001"), candidate("B", "-0.0003"))
    assert out.eligible == ()
    assert out.weights == {}
    assert out.unplaced == 0
    assert out.resized(1.0, 1000.0).weights == {}


def test_pairs_that_never_move_are_still_weighed() -> None:
    out = select(*(candidate(f"P{number}", "0.0002") for number in range(5)))
    assert list(out.weights.values()) == pytest.approx([0.2] * 5)
    assert out.fixed_point.residual < 1e-9


def test_caps_that_bind_are_named() -> None:
    pairs = [
        replace(
            candidate(f"P{n}", "0.0002"), narrative=Narrative("M" if n < 3 else f"N{n}"), narrative_use=0.2
        )
        for n in range(6)
    ]
    pairs[5] = replace(pairs[5], liquidity_usd=10_000.0)
    out = UniverseSelector(BookLimits(), TradeLimits()).select(
        pairs, NOW, equity_usd=100_000.0, book_usd=200_000.0
    )
    assert out.weights[PairId("P5")] == pytest.approx(0.05)
    assert out.weights[PairId("P0")] == pytest.approx(0.125)
    assert out.weights[PairId("P4")] == pytest.approx(0.25)
    assert out.bound_by[PairId("P5")] == "liquidity"
    assert out.bound_by[PairId("P0")] == "narrative:M"
    assert out.bound_by[PairId("P4")] == "pair_share"
    assert out.unplaced == pytest.approx(1 - 0.05 - 3 * 0.125 - 2 * 0.25)
    small = out.resized(15_000.0, 20_000.0)
    assert (small.unplaced, small.bound_by) == (0, {})
    again = small.resized(15_000.0, 200_000.0)
    assert (again.weights, again.bound_by, again.unplaced) == (out.weights, out.bound_by, out.unplaced)
    by_notional = AllocationPolicy(narrative_by_notional=True)
    out = UniverseSelector(BookLimits(), TradeLimits(), by_notional).select(
        pairs[:3], NOW, equity_usd=100_000.0, book_usd=100_000.0
    )
    assert list(out.weights.values()) == pytest.approx([0.05] * 3)


def test_a_market_that_became_thin_forbids_growth_and_is_no_reason_to_leave() -> None:
    pairs = [replace(candidate(f"P{n}", "0.0002", held="10000"), liquidity_usd=0.0) for n in range(4)]
    out = UniverseSelector(BookLimits(), TradeLimits()).select(
        pairs, NOW, equity_usd=100_000.0, book_usd=200_000.0
    )
    assert list(out.weights.values()) == pytest.approx([0.05] * 4)
    assert set(out.bound_by.values()) == {"liquidity"}


def test_a_forecast_from_outside_has_a_column_per_candidate() -> None:
    pairs = [candidate("A", "0.0001"), replace(candidate("X", "0"), series=None), candidate("B", "0.0002")]
    draw = np.random.default_rng(2)
    risk = forecast_risk(draw.normal(size=(60, 3)) * [0.001, 1.0, 0.002], method="ewma")
    out = UniverseSelector(BookLimits(), TradeLimits()).select(pairs, NOW, risk=risk)
    volatility = {row.pair_id: row.volatility for row in out.scores}
    assert volatility[PairId("A")] == pytest.approx(risk.volatility[0] * 365**0.5)
    assert volatility[PairId("B")] == pytest.approx(risk.volatility[2] * 365**0.5)
    assert out.risk_method == "ewma"
    assert out.risk_reason is not None


def test_a_swap_is_refused_in_words_when_costs_are_unknown_or_the_gain_is_too_small() -> None:
    book = replace(BookLimits(), pairs_max=1)
    blind = candidate("H", "0.0001", held="1000", cost=None)
    assert select(blind, candidate("A", "0.0005"), book=book).excluded[PairId("A")] == "no place in the book"
    held = candidate("H", "0.0001", held="1000")
    close = select(held, candidate("A", "0.00011"), book=book)
    assert "is not 1.5 x the" in close.excluded[PairId("A")]
