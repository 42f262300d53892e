"""Shares of the book by its size: what caps cut goes to others, and a full book grows no further."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.book_shares import CappedShares, FixedShares, shares_at
from portfolio.core.capping import BookCaps, cap_weights
from portfolio.core.names import Narrative, PairId

PAIRS = tuple(PairId(name) for name in ("A", "B", "C", "D", "E"))


def book_caps(seed: int) -> BookCaps:
    rng = np.random.default_rng(seed)
    return BookCaps(
        share=np.full(5, rng.choice([0.25, 0.4, 1.0])),
        liquidity_usd=np.where(rng.random(5) < 0.4, rng.uniform(1e3, 1e6, 5), np.inf),
        narratives=[Narrative(f"N{number}") for number in rng.integers(0, 3, 5)],
        narrative_use=rng.uniform(0, 0.4, 5),
        narrative_usd=float(rng.uniform(1e3, 1e5)),
        financed_usd=np.where(rng.random(5) < 0.3, rng.uniform(1e3, 1e5, 5), np.inf),
    )


def capped(*, liquidity: float = np.inf, use: float = 0.1, exclude: tuple[PairId, ...] = ()) -> CappedShares:
    """Half in A, the rest spread; only A's market is thin. Narratives may take 10 000 USD of margin each."""
    caps = BookCaps(
        share=np.ones(5),
        liquidity_usd=np.array([liquidity, *[np.inf] * 4]),
        narratives=[Narrative(name) for name in PAIRS],
        narrative_use=np.full(5, use),
        narrative_usd=10_000.0,
    )
    return CappedShares(PAIRS, np.array([0.5, 0.2, 0.1, 0.1, 0.1]), caps, exclude)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 100_000), st.lists(st.floats(1.0, 1e7), min_size=1, max_size=6))
def test_books_of_many_sizes_are_those_of_each_and_caps_in_usd_shrink_no_pair_as_the_book_grows(
    seed: int, sizes: list[float]
) -> None:
    caps, totals = book_caps(seed), np.array(sorted(sizes))
    wanted = np.random.default_rng(seed).dirichlet(np.ones(5))
    found = CappedShares(PAIRS, wanted, caps).books(totals)
    alone = [cap_weights(wanted, caps, total).weights for total in totals.tolist()]
    assert found == pytest.approx(np.array(alone), abs=1e-9)
    free = replace(caps, share=np.ones(5))
    usd = CappedShares(PAIRS, wanted, free).books(totals) * totals[:, None]
    assert np.all(np.diff(usd, axis=0) >= -1e-6 * totals[1:, None])


def test_what_a_cap_cuts_goes_to_the_others_until_the_book_is_full() -> None:
    shares = capped()
    assert shares_at(shares, 1_000.0) == pytest.approx(
        dict(zip(PAIRS, (0.5, 0.2, 0.1, 0.1, 0.1), strict=True))
    )
    # 100 000 USD of A use up its narrative; the others take the rest of a larger book.
    grown = shares_at(shares, 400_000.0)
    assert grown[PAIRS[0]] == pytest.approx(0.25)
    assert sum(grown.values()) == pytest.approx(1.0)
    # Five narratives take 100 000 each.
    assert shares.full(np.array([0.0, 1.0, 499_000.0, 501_000.0])) == [None, None, None, "narrative:A"]


def test_a_full_book_names_the_first_cap_in_usd() -> None:
    assert capped(liquidity=50_000.0).full(np.array([449_000.0, 451_000.0])) == [None, "liquidity"]


def test_a_book_within_the_equity_is_never_full() -> None:
    caps = BookCaps(np.ones(2), np.full(2, 1e4), [Narrative("A"), Narrative("B")], np.zeros(2), 1.0)
    shares = CappedShares(PAIRS[:2], np.array([0.5, 0.5]), caps, own_usd=50_000.0)
    sizes = np.array([30_000.0, 50_000.0, 50_001.0])
    assert shares.full(sizes) == shares.measured({}).full(sizes) == [None, None, "liquidity"]


def test_what_the_largest_share_leaves_in_cash_does_not_make_a_book_full() -> None:
    caps = BookCaps(np.full(2, 0.25), np.full(2, 1e5), [Narrative("A"), Narrative("B")], np.zeros(2), 1.0)
    shares = CappedShares(PAIRS[:2], np.array([0.5, 0.5]), caps)
    assert shares.full(np.array([1.0, 399_000.0, 401_000.0])) == [None, None, "liquidity"]


def test_measured_use_counts_from_then_on_and_only_where_it_was_measured() -> None:
    shares = capped().measured({Narrative("A"): 0.2})
    found = shares_at(shares, 400_000.0)
    assert found[PAIRS[0]] == pytest.approx(10_000 / 0.2 / 400_000)
    assert shares.full(np.array([449_000.0, 451_000.0])) == [None, "narrative:A"]


def test_what_is_excluded_stays_in_cash() -> None:
    shares = capped(exclude=PAIRS[:1])
    assert list(shares.pair_ids) == list(PAIRS[1:])
    assert sum(shares_at(shares, 1_000.0).values()) == pytest.approx(0.5)


def test_a_book_of_nothing_has_no_shares() -> None:
    fixed = FixedShares({PAIRS[0]: 0.6, PAIRS[1]: 0.0})
    assert shares_at(fixed, 0.0) == {}
    assert shares_at(capped(), 0.0) == {}
    assert list(fixed.pair_ids) == [PAIRS[0]]
    assert shares_at(fixed, 10.0) == {PAIRS[0]: 0.6}
    assert fixed.full(np.array([1.0, 1e12])) == [None, None]
    assert shares_at(FixedShares({}), 10.0) == {}
