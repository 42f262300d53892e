"""A selection becomes a book: its carry, its volatility, its size."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.book_shares import FixedShares
from portfolio.core.book_target import (
    CARRY_LEVEL,
    book_carry,
    book_volatility,
    expected_carry,
    size_selection,
)
from portfolio.core.carry import DAY_NS, carry_series
from portfolio.core.decimals import round_down_to_step
from portfolio.core.errors import MissingDataError
from portfolio.core.limits import BookLimits, RiskLimits, TradeLimits
from portfolio.core.margin.apply import Fee
from portfolio.core.margin.caps import narrative_margins
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import Coin, Narrative, PairId
from portfolio.core.scoring import PairFacts
from portfolio.core.selection import Candidate, Selection, UniverseSelector
from portfolio.core.sizing import BookSize, SizingInput, size_book
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


def test_one_thin_market_among_few_leaves_the_others_their_share_of_the_equity() -> None:
    free = selection_of()
    thin = replace(free.caps, liquidity_usd=np.array([4_000.0, *[np.inf] * 3, 0.0]))
    wanted = np.full(5, 0.2)
    selection = replace(free, caps=thin, fixed_point=replace(free.fixed_point, weights=wanted))
    size = size_selection(selection, sizing())
    deep = [size.targets_usd[pair] for pair in free.eligible[1:4]]
    assert deep == [pytest.approx(Decimal(25_000), rel=Decimal("0.01"))] * 3
    assert size.targets_usd[free.eligible[0]] == pytest.approx(Decimal(4_000), abs=1)
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


def test_narratives_that_are_capped_by_notional_stay_so() -> None:
    free = selection_of()
    by_notional = replace(free.caps, narrative_use=np.ones(5), narrative_usd=15_000.0, by_notional=True)
    size = size_selection(replace(free, caps=by_notional), sizing())
    assert max(size.targets_usd.values()) <= 15_000
    assert size.leg_total_usd == pytest.approx(Decimal(75_000), abs=1)


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


def held_book(given: SizingInput, coins: Mapping[PairId, Decimal]) -> SizingInput:
    """The account after entering these coins of one leg, unasked and free of fees."""
    done = given.sim.simulate(given.state, PAIRS, given.legs, coins, fee=Fee.NONE, stresses=())
    return replace(given, state=done.state, legs=done.legs)


def priced(given: SizingInput, usdt: str) -> SizingInput:
    """The account while one USDT is worth this many USD."""
    prices = given.state.prices
    worth = replace(prices, usd={**prices.usd, Coin("USDT"): Decimal(usdt)})
    return replace(given, state=replace(given.state, prices=worth))


def in_coins(size: BookSize, given: SizingInput) -> dict[PairId, Decimal]:
    """Targets as a proposal rounds them."""
    step = Decimal("1e-8")
    return {
        pair: round_down_to_step(usd / given.prices[pair], step) for pair, usd in size.targets_usd.items()
    }


@st.composite
def books(draw: st.DrawFn) -> tuple[Selection, SizingInput, frozenset[PairId]]:
    """Any weights, depth, narratives, held pairs and cost of borrowing; one USDT is about one USD."""
    names = list(PAIRS)
    selection = selection_of(poor=draw(st.frozensets(st.sampled_from(names))))
    count = len(selection.eligible)
    wanted = np.array(draw(st.lists(st.floats(0.01, 1.0), min_size=count, max_size=count)))
    depth = st.sampled_from([np.inf, np.inf, np.inf, 100_000.0, 30_000.0, 4_000.0, 0.0])
    share = draw(st.sampled_from(["0.02", "0.09", "0.15", "100"]))
    together = draw(st.booleans())
    pairs = {
        pair: replace(row, narrative=Narrative("one")) if together else row for pair, row in PAIRS.items()
    }
    caps = replace(
        selection.caps,
        liquidity_usd=np.array(draw(st.lists(depth, min_size=count, max_size=count))),
        narratives=[pairs[pair].narrative for pair in selection.eligible],
        narrative_use=np.full(count, draw(st.sampled_from([0.0, 0.15, 0.5]))),
        narrative_usd=float(share) * 100_000.0,
    )
    given = sizing()
    held = draw(st.dictionaries(st.sampled_from(names), st.sampled_from([1_000, 25_000, 60_000]), max_size=3))
    given = held_book(given, {pair: Decimal(usd) / given.prices[pair] for pair, usd in held.items()})
    given = replace(
        priced(given, draw(st.sampled_from(["0.9995", "1", "1.0004"]))),
        pairs=pairs,
        borrow_apr=draw(st.sampled_from([0.01, 0.1, 0.25])),
        volatility_budget=draw(st.sampled_from([0.04, 10.0])),
        levered=draw(st.booleans()),
        limits=RiskLimits(book=replace(BookLimits(), narrative_equity_share_max=Decimal(share))),
    )
    fixed_point = replace(selection.fixed_point, weights=wanted / wanted.sum())
    exclude = draw(st.frozensets(st.sampled_from(names), max_size=2))
    return replace(selection, fixed_point=fixed_point, caps=caps), given, exclude


@given(drawn=books())
@settings(max_examples=60, deadline=None)
def test_every_sized_book_is_one_that_the_simulation_allows(
    drawn: tuple[Selection, SizingInput, frozenset[PairId]],
) -> None:
    selection, account_now, exclude = drawn
    size = size_selection(selection, account_now, exclude)
    assert all(usd >= 0 for usd in size.targets_usd.values())
    assert sum(size.targets_usd.values()) == size.leg_total_usd
    assert all(size.targets_usd.get(pair, 0) == 0 for pair in exclude)
    done = account_now.sim.simulate(
        account_now.state,
        account_now.pairs,
        account_now.legs,
        in_coins(size, account_now),
        limits=account_now.limits,
        book_notional_usd=size.planned_usd * max(Decimal(1), account_now.state.prices.usd[Coin("USDT")]),
    )
    assert done.allowed, done.blocked_by
    book = max(size.planned_usd, account_now.total_equity)
    for pair, depth in zip(selection.eligible, selection.caps.liquidity_usd.tolist(), strict=True):
        assert float(size.targets_usd.get(pair, 0)) <= min(depth, 0.25 * float(book)) + 0.01
    most = account_now.limits.book.narrative_equity_share_max * done.after.total_equity
    rule, legs = account_now.sim.rule, done.legs
    whole = rule(done.state, reference=True, extrapolate=True)
    names = {row.narrative for row in account_now.pairs.values()}
    used = narrative_margins(rule, done.state, whole, account_now.pairs, legs, names)
    assert all(consumed <= max(most, Decimal(0)) for _, consumed in used)


@pytest.mark.parametrize("usdt", ["0.9995", "1.0004"])
def test_a_pair_at_its_cap_stops_no_book_while_usdt_is_not_one_usd(usdt: str) -> None:
    selection = selection_of()
    wanted = np.array([0.4, 0.15, 0.15, 0.15, 0.15])
    selection = replace(selection, fixed_point=replace(selection.fixed_point, weights=wanted))
    at_par, off = size_selection(selection, sizing()), size_selection(selection, priced(sizing(), usdt))
    assert at_par.leg_total_usd > 200_000
    assert off.leg_total_usd == pytest.approx(at_par.leg_total_usd, rel=Decimal("0.01"))


def test_a_missing_price_is_named_before_anything_is_measured() -> None:
    given = sizing()
    prices = {pair: price for pair, price in given.prices.items() if pair != "BNB@bybit"}
    with pytest.raises(MissingDataError, match="No price of BNB"):
        size_selection(selection_of(), replace(given, prices=prices))


def test_a_selection_of_nothing_has_no_size() -> None:
    selector = UniverseSelector(BookLimits(), TradeLimits(), risk_method="ewma")
    size = size_selection(selector.select([], NOW), sizing())
    assert (size.binding, size.leg_total_usd) == ("no_pairs", Decimal(0))


def test_unknown_volatility_leaves_the_book_in_cash() -> None:
    selection = selection_of()
    unknown = replace(selection.risk, volatility=np.full(len(selection.eligible), np.nan))
    size = size_selection(replace(selection, risk=unknown), sizing())
    assert (size.leg_total_usd, size.binding) == (Decimal(0), "volatility")
