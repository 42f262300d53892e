"""Average shares: what each pair bears of its account."""

from dataclasses import fields, replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.errors import MissingDataError
from portfolio.core.margin.apply import Fee, trade
from portfolio.core.margin.bybit_uta import value
from portfolio.core.margin.caps import pair_margins
from portfolio.core.margin.results import MarginShare
from portfolio.core.margin.shares import STEP, account_total, average_shares
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.names import Coin, PairId
from portfolio.core.orders import Side
from portfolio.core.pairs import PairLegs, PairSpec
from tests.portfolio.core.margin.accounts import (
    account,
    balance,
    both,
    carry_pair,
    order,
    perp,
    position,
    ratios,
    spot,
    tables,
)
from tests.portfolio.core.margin.strategies import BASES, accounts, decimals

D = Decimal
NAMES = [field.name for field in fields(MarginShare)]
USD = {"AAA": "100", "BBB": "20", "CCC": "3", "USDT": "1", "USDC": "1"}


def parts(share: MarginShare) -> tuple[Decimal, ...]:
    return tuple(getattr(share, name) for name in NAMES)


def legs(pair: PairSpec, long: str | Decimal, short: str | Decimal) -> PairLegs:
    return PairLegs(pair.pair_id, D(long), D(short))


@st.composite
def books(draw: st.DrawFn) -> tuple[dict[PairId, PairSpec], dict[PairId, PairLegs]]:
    """Pairs and reverse pairs of the same coins, in any order, holding what may or may not be there."""
    rows = [carry_pair(base, reverse=back) for base in BASES for back in (False, True)]
    chosen = draw(st.permutations(rows))[: draw(st.integers(0, 6))]
    size = st.one_of(st.just(D(0)), decimals("0.001", "900", 3))
    return {row.pair_id: row for row in chosen}, {
        row.pair_id: legs(row, draw(size), draw(size)) for row in chosen
    }


def funded(
    sizes: dict[str, str], *, cash: str = "0"
) -> tuple[MarginState, dict[PairId, PairSpec], dict[PairId, PairLegs]]:
    """An account whose pairs were bought at today's prices, on credit beyond the cash; one tier each."""
    pairs = {carry_pair(base).pair_id: carry_pair(base) for base in sizes}
    flat = account(balances=(balance("USDT", cash),), usd=USD, instruments=both(*BASES))
    deltas = {
        leg: sign * D(sizes[str(pair.coin)])
        for pair in pairs.values()
        for leg, sign in ((pair.long_leg, 1), (pair.short_leg, -1))
    }
    held = {key: legs(pair, sizes[str(pair.coin)], sizes[str(pair.coin)]) for key, pair in pairs.items()}
    return trade(flat, deltas, fee=Fee.NONE), pairs, held


@settings(max_examples=200, deadline=None)
@given(accounts(), books())
def test_shares_of_all_pairs_and_the_treasury_are_the_account_exactly(
    state: MarginState, book: tuple[dict[PairId, PairSpec], dict[PairId, PairLegs]]
) -> None:
    pairs, held = book
    valuation = value(state)
    shares = average_shares(state, valuation, pairs, held)
    assert list(shares.pairs) == list(pairs)
    assert shares.total() == account_total(state, valuation)
    figures, total = valuation.figures, shares.total()
    assert total.initial_margin == figures.initial_margin
    assert total.maintenance_margin == figures.maintenance_margin
    assert total.adjusted_equity == figures.adjusted_equity
    assert total.haircut_usd == valuation.haircut_usd
    for share in shares.pairs.values():
        assert share.initial_margin >= 0
        assert share.borrowed_usd >= 0
        assert share.adjusted_equity == -share.haircut_usd


@settings(max_examples=60, deadline=None)
@given(accounts(), books())
def test_a_share_does_not_depend_on_the_order_of_pairs(
    state: MarginState, book: tuple[dict[PairId, PairSpec], dict[PairId, PairLegs]]
) -> None:
    pairs, held = book
    valuation = value(state)
    forth = average_shares(state, valuation, pairs, held)
    back = average_shares(state, valuation, dict(reversed(pairs.items())), held)
    for key in pairs:
        for left, right in zip(parts(forth.pairs[key]), parts(back.pairs[key]), strict=True):
            assert abs(left - right) <= STEP


def test_where_nothing_bends_the_average_is_what_the_pair_adds() -> None:
    state, pairs, held = funded({"AAA": "100", "BBB": "300"})
    valuation = value(state)
    averages = average_shares(state, valuation, pairs, held)
    for row in pair_margins(value, state, valuation, pairs, held, averages.pairs):
        assert row.average.initial_margin == row.initial_margin
        assert row.average.maintenance_margin == row.maintenance_margin
        assert row.average.haircut_usd == row.haircut_usd > 0
        assert row.average.borrowed_usd == row.notional_usd
    assert not any(parts(averages.treasury))


def test_a_coin_that_is_leg_and_collateral_at_once_bears_one_average_haircut() -> None:
    # 300 coins, a third of them the treasury's: 100 count 95 %, the rest half. By what comes first, the pair
    # would lose 5 or 100 coins; on average 2/3 of the 105 that all lose.
    known = both("AAA")
    risk = tables(known)
    tiers = ratios("AAA", ("0", "100", "0.95"), ("100", None, "0.5"))
    state = account(
        balances=(balance("AAA", "300"), balance("USDT", "0")),
        positions=(position(perp("AAA"), "-200", "100"),),
        usd=USD,
        instruments=known,
        risk=replace(risk, collateral=dict(risk.collateral) | {Coin("AAA"): tiers}),
    )
    pair = carry_pair("AAA")
    shares = average_shares(
        state, value(state), {pair.pair_id: pair}, {pair.pair_id: legs(pair, "200", "200")}
    )
    assert shares.pairs[pair.pair_id].haircut_usd == 7000
    assert shares.treasury.haircut_usd == 3500
    assert shares.pairs[pair.pair_id].adjusted_equity == -7000


def test_pairs_of_one_perpetual_share_its_net_margin_by_size() -> None:
    forth, back = carry_pair("AAA"), carry_pair("AAA", reverse=True)
    state = account(
        balances=(balance("USDT", "100000"),),
        positions=(position(perp("AAA"), "-20", "100"),),
        usd=USD,
        instruments=both("AAA"),
    )
    held = {forth.pair_id: legs(forth, "0", "30"), back.pair_id: legs(back, "10", "0")}
    shares = average_shares(state, value(state), {forth.pair_id: forth, back.pair_id: back}, held)
    whole = value(state).figures.initial_margin
    assert shares.pairs[forth.pair_id].initial_margin == whole * 3 / 4
    assert shares.pairs[back.pair_id].initial_margin == whole / 4
    assert shares.treasury.initial_margin == 0


def test_a_loan_is_borne_by_who_spent_the_coin_and_own_cash_helps_all_alike() -> None:
    # 16,000 spent, 4,000 of it cash of the account: each pair owes three quarters of what it spent.
    state, pairs, held = funded({"AAA": "100", "BBB": "300"}, cash="4000")
    shares = average_shares(state, value(state), pairs, held)
    assert [row.borrowed_usd for row in shares.pairs.values()] == [7500, 4500]
    assert shares.treasury.borrowed_usd == 0


def test_a_loan_beyond_what_pairs_spent_is_the_treasurys() -> None:
    state, pairs, held = funded({"AAA": "100"})
    more = replace(state, balances=(balance("USDT", "0", "15000"), balance("AAA", "100")))
    shares = average_shares(more, value(more), pairs, held)
    assert shares.pairs[PairId("AAA@bybit")].borrowed_usd == 10000
    assert shares.treasury.borrowed_usd == 5000


def test_open_orders_and_the_gain_of_perpetuals_are_the_treasurys() -> None:
    state, pairs, held = funded({"AAA": "100"})
    state = replace(
        state,
        orders=(order(perp("AAA"), Side.BUY, "1", "90"), order(spot("AAA"), Side.BUY, "10", "99")),
        positions=tuple(replace(row, entry_price=D(110)) for row in state.positions),
    )
    shares = average_shares(state, value(state), pairs, held)
    assert shares.treasury.initial_margin > 0
    assert shares.treasury.haircut_usd > 0
    assert shares.treasury.adjusted_equity > 0
    assert shares.total() == account_total(state, value(state))


def test_a_pair_whose_legs_are_not_known_is_an_error() -> None:
    state, pairs, _ = funded({"AAA": "100"})
    with pytest.raises(MissingDataError):
        average_shares(state, value(state), pairs, {})


def test_huge_books_divide_as_exactly_as_small_ones() -> None:
    state, pairs, held = funded({"AAA": "1e16", "BBB": "0.001"})
    valuation = value(state, extrapolate=True)
    assert average_shares(state, valuation, pairs, held).total() == account_total(state, valuation)


def test_a_simulation_tells_each_pairs_average_and_the_treasurys() -> None:
    state, pairs, held = funded({"AAA": "100", "BBB": "300"}, cash="9000")
    found = MarginSim().simulate(state, pairs, held, {PairId("AAA@bybit"): D(120)}, stresses=())
    shares = [row.average for row in found.pairs] + [found.treasury]
    total = sum((row.initial_margin for row in shares), start=D(0))
    assert total == found.after.initial_margin
    assert found.pairs[0].average.initial_margin > found.pairs[1].average.initial_margin
