"""Caps hold, nothing is negative, and nothing is lost while any pair can take more."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.capping import BookCaps, cap_weights
from portfolio.core.carry import Floats
from portfolio.core.errors import InputError
from portfolio.core.names import Narrative


def caps(
    count: int,
    *,
    share: float = 1.0,
    liquidity: Floats | None = None,
    narratives: list[str] | None = None,
    use: float | Floats = 0.0,
    budget: float = float("inf"),
) -> BookCaps:
    names = narratives or [f"N{number}" for number in range(count)]
    return BookCaps(
        share=np.full(count, share),
        liquidity_usd=np.full(count, np.inf) if liquidity is None else liquidity,
        narratives=[Narrative(name) for name in names],
        narrative_use=np.broadcast_to(np.asarray(use, dtype=np.float64), (count,)),
        narrative_usd=budget,
    )


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 30), st.integers(0, 100_000), st.floats(0.01, 1.0), st.floats(1e3, 1e7))
def test_caps_hold_and_nothing_is_lost_while_any_pair_can_take_more(
    count: int, seed: int, cap: float, book_usd: float
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(count)) * rng.integers(0, 2, count)
    group = rng.integers(0, 5, count)
    given_caps = caps(
        count,
        share=cap,
        liquidity=np.where(rng.random(count) < 0.5, rng.uniform(0, 1e6, count), np.inf),
        narratives=[f"N{number}" for number in group],
        use=rng.uniform(0, 0.5, count) * rng.integers(0, 2, count),
        budget=rng.uniform(0, 1e5),
    )
    out = cap_weights(weights, given_caps, book_usd)
    own = np.minimum(given_caps.share, given_caps.liquidity_usd / book_usd)
    used = np.bincount(group, out.weights * given_caps.narrative_use * book_usd, 5)
    assert np.all(out.weights >= 0)
    assert np.all(out.weights <= own + 1e-12)
    assert np.all(used <= given_caps.narrative_usd * (1 + 1e-9) + 1e-9)
    assert out.weights.sum() + out.unplaced == pytest.approx(weights.sum(), abs=1e-9)
    if out.unplaced > 0:
        full = out.weights >= own - 1e-9
        used_up = used[group] >= given_caps.narrative_usd * (1 - 1e-6) - 1e-6
        assert np.all((weights == 0) | full | (used_up & (given_caps.narrative_use > 0)))
        assert all(why is not None for why, weight in zip(out.bound_by, weights, strict=True) if weight > 0)


def test_without_a_binding_cap_weights_pass_unchanged() -> None:
    out = cap_weights(np.array([0.6, 0.4]), caps(2), 1000.0)
    assert out.weights.tolist() == [0.6, 0.4]
    assert out.bound_by == (None, None)
    assert out.unplaced == 0


def test_the_cut_goes_to_the_others_in_proportion() -> None:
    out = cap_weights(np.array([0.6, 0.3, 0.1]), caps(3, share=0.5), 1000.0)
    assert out.weights == pytest.approx([0.5, 0.375, 0.125])
    assert out.bound_by == ("pair_share", None, None)


def test_a_thin_market_binds_more_as_the_book_grows() -> None:
    given_caps = caps(2, liquidity=np.array([1000.0, np.inf]))
    assert cap_weights(np.array([0.5, 0.5]), given_caps, 1000.0).bound_by == (None, None)
    out = cap_weights(np.array([0.5, 0.5]), given_caps, 10_000.0)
    assert out.weights == pytest.approx([0.1, 0.9])
    assert out.bound_by == ("liquidity", None)


def test_a_pair_that_is_not_worth_its_financing_stops_at_its_own_size() -> None:
    given_caps = replace(caps(2, share=0.8), financed_usd=np.array([100.0, np.inf]))
    assert cap_weights(np.array([0.5, 0.5]), given_caps, 150.0).bound_by == (None, None)
    out = cap_weights(np.array([0.5, 0.5]), given_caps, 400.0)
    assert out.weights == pytest.approx([0.25, 0.75])
    assert out.bound_by == ("borrow_cost", None)


def test_a_narrative_stops_as_a_whole_and_by_the_margin_that_it_uses() -> None:
    given_caps = caps(3, narratives=["MEME", "MEME", "BTC"], use=np.array([0.2, 0.2, 0.1]), budget=40.0)
    out = cap_weights(np.array([0.4, 0.4, 0.2]), given_caps, 1000.0)
    assert out.weights == pytest.approx([0.1, 0.1, 0.4])
    assert out.bound_by == ("narrative:MEME", "narrative:MEME", "narrative:BTC")
    assert out.unplaced == pytest.approx(0.4)


def test_no_pairs_place_nothing_and_a_book_of_nothing_has_no_shares() -> None:
    assert cap_weights(np.zeros(0), caps(0), 1.0).weights.shape == (0,)
    with pytest.raises(InputError, match="has no shares"):
        cap_weights(np.ones(1), caps(1), 0.0)


@pytest.mark.parametrize("field", ["share", "liquidity_usd", "narrative_use", "financed_usd"])
@pytest.mark.parametrize("value", [np.nan, -1.0])
def test_a_cap_that_is_not_known_is_refused(field: str, value: float) -> None:
    with pytest.raises(InputError, match="cap of the book is not known"):
        replace(caps(2), **{field: np.array([value, 1.0])})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cap of the book is not known"):
        replace(caps(2), narrative_usd=value)


def test_a_weight_that_is_not_known_is_refused() -> None:
    with pytest.raises(InputError, match="weight of the book is not known"):
        cap_weights(np.array([np.nan, 0.5]), caps(2), 100.0)
