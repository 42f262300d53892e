"""A selection becomes a book: its carry, its volatility, its size."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from portfolio.core.book_shares import FixedShares
from portfolio.core.book_target import (
    CARRY_LEVEL,
    book_carry,
    book_volatility,
    expected_carry,
    size_selection,
)
from portfolio.core.carry import DAY_NS, carry_series
from portfolio.core.limits import BookLimits, RiskLimits, TradeLimits
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import PairId
from portfolio.core.scoring import PairFacts
from portfolio.core.selection import Candidate, Selection, UniverseSelector
from portfolio.core.sizing import SizingInput, size_book
from tests.portfolio.core.margin.accounts import account, balance, both, carry_pair, flat
from tests.portfolio.core.scores import settlements

NAMES = ("BTC", "ETH", "SOL", "XRP", "BNB")
USD = {"BTC": "60000", "ETH": "3000", "SOL": "150", "XRP": "2", "BNB": "600", "USDT": "1"}
PAIRS = {row.pair_id: row for row in map(carry_pair, NAMES)}
NOW = 200 * DAY_NS


def candidate(number: int, pair_id: PairId, use: float, level: float) -> Candidate:
    history = settlements([f"{level + 0.00001 * ((day + number) % 3):.5f}" for day in range(600)])
    return Candidate(
        pair_id=pair_id,
        narrative=PAIRS[pair_id].narrative,
        series=carry_series(history, short_perpetual=True),
        interval_minutes=480,
        facts=PairFacts(None, 0.04, 0.0, 0.0, leverage_apr=0.04),
        round_trip_cost_bps=20.0,
        held_usd=Decimal(0),
        narrative_use=use,
    )


def selection_of(use: float = 0.0, poor: frozenset[PairId] = frozenset()) -> Selection:
    """Pairs that earn a third a year; poor ones earn 4 %, less than borrowing costs."""
    selector = UniverseSelector(BookLimits(), TradeLimits(), risk_method="ewma")
    found = [
        candidate(number, pair_id, use, 0.00003 if pair_id in poor else 0.0003)
        for number, pair_id in enumerate(PAIRS)
    ]
    last = max(int(row.series.times_ns[-1]) for row in found if row.series is not None)
    return selector.select(found, last, equity_usd=100_000.0, book_usd=100_000.0)


def sizing() -> SizingInput:
    return SizingInput(
        sim=MarginSim(),
        state=account(balances=(balance("USDT", "100000"),), usd=USD, instruments=both(*NAMES)),
        pairs=PAIRS,
        legs={key: flat(row) for key, row in PAIRS.items()},
        prices={key: Decimal(USD[row.coin]) for key, row in PAIRS.items()},
        total_equity=Decimal(100_000),
        carry_apr=0.0,
        borrow_apr=0.06,
        limits=RiskLimits(),
    )


def test_the_books_carry_is_the_weighted_expectation_before_leverage() -> None:
    selection = selection_of()
    carry = book_carry(selection, selection.weights)
    # About 0.031 % three times a day; a quarter of it is not expected to last.
    assert carry == pytest.approx(CARRY_LEVEL + 0.75 * 0.00031 * 1095, rel=0.02)
    assert book_carry(selection, {}) == 0.0
    assert expected_carry(selection.scores[0]) > 0.2


def test_the_books_volatility_grows_with_correlation_and_unknown_is_never_calm() -> None:
    selection = selection_of()
    count = len(selection.eligible)
    alone = replace(selection.risk, volatility=np.full(count, 0.001), correlation=np.eye(count))
    together = replace(alone, correlation=np.ones((count, count)))
    even = dict.fromkeys(selection.eligible, 1 / count)
    apart = book_volatility(replace(selection, risk=alone), even)
    assert apart == pytest.approx(0.001 * np.sqrt(365 / count))
    assert book_volatility(replace(selection, risk=together), even) == pytest.approx(0.001 * np.sqrt(365))
    unknown = replace(alone, volatility=np.array([np.nan] + [0.001] * (count - 1)))
    assert book_volatility(replace(selection, risk=unknown), even) == float("inf")
    assert book_volatility(selection, {}) == 0.0


def test_a_paying_book_is_levered_and_excluded_pairs_get_nothing() -> None:
    selection = selection_of()
    size = size_selection(selection, sizing(), {PairId("BTC@bybit")})
    assert size.levered
    assert size.leg_total_usd > 100_000
    assert PairId("BTC@bybit") not in size.targets_usd


def test_a_thin_market_holds_its_cap_at_the_size_that_is_found() -> None:
    free = selection_of()
    thin = replace(free.caps, liquidity_usd=np.array([9_000.0, *[np.inf] * 4]))
    size = size_selection(replace(free, caps=thin), sizing())
    assert size.targets_usd[free.eligible[0]] == pytest.approx(Decimal(9_000), abs=1)
    assert size.leg_total_usd < size_selection(free, sizing()).leg_total_usd
    assert size.binding == "liquidity"


def test_a_narrative_that_is_full_leaves_the_growth_to_the_others() -> None:
    """What narratives use is not known beforehand here: it is measured. Shares of one size stop the book."""
    limits = RiskLimits(book=replace(BookLimits(), narrative_equity_share_max=Decimal("0.09")))
    given, selection = replace(sizing(), limits=limits), selection_of()
    wanted = np.array([0.25, 0.15, 0.2, 0.2, 0.2])
    selection = replace(
        selection,
        fixed_point=replace(selection.fixed_point, weights=wanted),
        caps=replace(selection.caps, narrative_usd=9_000.0),
    )
    uneven = FixedShares(dict(zip(selection.eligible, wanted.tolist(), strict=True)))
    fixed = size_book(uneven, replace(given, carry_apr=0.3))
    assert fixed.binding == f"narrative:{selection.eligible[0]}".removesuffix("@bybit").lower()
    size = size_selection(selection, given)
    assert size.leg_total_usd > fixed.leg_total_usd * Decimal("1.05")
    coins = {pair: usd / given.prices[pair] for pair, usd in size.targets_usd.items()}
    done = given.sim.simulate(
        given.state, PAIRS, given.legs, coins, limits=limits, book_notional_usd=size.planned_usd
    )
    assert done.blocked_by == ()


def test_a_pair_that_earns_less_than_borrowing_costs_is_held_with_own_cash_only() -> None:
    poor = PairId("BTC@bybit")
    selection = selection_of(poor=frozenset({poor}))
    own = {pair: Decimal(repr(share)) * 100_000 for pair, share in selection.weights.items()}
    size = size_selection(selection, sizing())
    assert size.levered
    assert own[poor] > 1_000
    assert size.targets_usd[poor] == pytest.approx(own[poor], abs=1)
    assert all(size.targets_usd[pair] > own[pair] * Decimal("1.5") for pair in own if pair != poor)


def test_size_and_shares_are_asked_again_until_they_stay() -> None:
    """A search that is told of a total far off ends where one that begins at the equity does."""
    selection, given = selection_of(), sizing()
    once = size_selection(selection, given)
    far = size_selection(selection, replace(given, expected=Decimal(20_000)))
    assert far.leg_total_usd == pytest.approx(once.leg_total_usd, rel=Decimal("0.01"))


def test_a_selection_of_nothing_has_no_size() -> None:
    selector = UniverseSelector(BookLimits(), TradeLimits(), risk_method="ewma")
    size = size_selection(selector.select([], NOW), sizing())
    assert (size.binding, size.leg_total_usd) == ("no_pairs", Decimal(0))


def test_unknown_volatility_leaves_the_book_in_cash() -> None:
    selection = selection_of()
    unknown = replace(selection.risk, volatility=np.full(len(selection.eligible), np.nan))
    size = size_selection(replace(selection, risk=unknown), sizing())
    assert (size.leg_total_usd, size.binding) == (Decimal(0), "volatility")
