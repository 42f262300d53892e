"""The what-if over both OKX rules: tables as an adapter would build them, headroom, stresses."""

from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.limits import RiskLimits
from portfolio.core.margin.modes import BYBIT_UTA, OKX_MULTI_CURRENCY, OKX_PORTFOLIO_MARGIN, AccountMode
from portfolio.core.margin.okx_rows import SizeRow, contract_tiers
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.state import MarginState
from portfolio.core.names import Coin, Narrative, PairId
from portfolio.core.pairs import PairLegs, PairSpec
from tests.portfolio.core.margin.accounts import balance
from tests.portfolio.core.margin.okx_accounts import okx, spot, swap

D = Decimal
PAIR = PairSpec(
    pair_id=PairId("BTC@okx"),
    coin=Coin("BTC"),
    narrative=Narrative("btc"),
    long_leg=spot("BTC"),
    short_leg=swap("BTC"),
    lead_leg=swap("BTC"),
)
PAIRS = {PAIR.pair_id: PAIR}
LEGS = {PAIR.pair_id: PairLegs(PAIR.pair_id, D(0), D(0))}
CONTRACTS = (
    SizeRow(D(1000), D("0.01"), D("0.004"), D(100)),
    SizeRow(D(100000), D("0.02"), D("0.01"), D(50)),
)


def rich() -> MarginState:
    """100 000 USDT and nothing else; the venue lends."""
    state = okx(
        coins={"BTC": "0.95"},
        usd={"BTC": "60000", "USDT": "1"},
        balances=(balance("USDT", "100000"),),
        tiers=contract_tiers(swap("BTC"), CONTRACTS, contract_value=D("0.01"), mark=D(60000)),
    )
    borrow = {coin: replace(table, quantity_max=D(1000000)) for coin, table in state.tables.borrow.items()}
    return replace(state, tables=replace(state.tables, borrow=borrow))


@pytest.mark.parametrize("mode", [OKX_MULTI_CURRENCY, OKX_PORTFOLIO_MARGIN], ids=["multi", "portfolio"])
def test_the_reported_headroom_is_allowed_and_one_lot_more_is_not(mode: AccountMode) -> None:
    sim = MarginSim(mode)
    found = sim.headroom(rich(), PAIRS, LEGS, PAIR.pair_id)
    assert found.quantity > 0
    assert found.binding is not None
    assert sim.simulate(rich(), PAIRS, LEGS, {PAIR.pair_id: found.target}).allowed
    more = sim.simulate(rich(), PAIRS, LEGS, {PAIR.pair_id: found.target + D("0.001")})
    assert not more.allowed
    assert found.binding in more.blocked_by


#: No line of the operator's is ever reached: what binds is the venue's own.
LAX = RiskLimits(
    book=replace(
        RiskLimits().book,
        health_min=D(-1),
        usage_max=D(100),
        stress_health_min=D(-1),
        stress_usage_max=D(100),
        market_stress_health_min=D(-1),
        market_stress_usage_max=D(100),
        narrative_equity_share_max=D(100),
        pair_book_share_max=D(100),
    )
)


@pytest.mark.parametrize("mark", ["30000", "60000", "120000"])
def test_the_last_tier_ends_at_its_contracts_whatever_the_mark_is_by_now(mark: str) -> None:
    state = replace(rich(), balances=(balance("USDT", "1e9"),))
    prices = replace(
        state.prices,
        marks={**state.prices.marks, swap("BTC"): D(mark)},
        usd={**state.prices.usd, Coin("BTC"): D(mark)},
    )
    found = MarginSim(OKX_MULTI_CURRENCY).headroom(
        replace(state, prices=prices), PAIRS, LEGS, PAIR.pair_id, LAX
    )
    assert (found.binding, found.quantity) == (f"position_tier:{swap('BTC')}", D(1000)), "100 000 of 0.01"


def test_the_largest_position_that_the_venue_names_binds() -> None:
    state = replace(rich(), balances=(balance("USDT", "1e9"),))
    venue = state.tables.venue
    assert venue is not None
    capped = replace(venue, position_max={swap("BTC"): D(7)})
    state = replace(state, tables=replace(state.tables, venue=capped))
    found = MarginSim(OKX_PORTFOLIO_MARGIN).headroom(state, PAIRS, LEGS, PAIR.pair_id, LAX)
    assert (found.binding, found.quantity) == (f"position_tier:{swap('BTC')}", D(7))


@pytest.mark.parametrize("mode", [BYBIT_UTA, OKX_MULTI_CURRENCY], ids=["bybit", "okx"])
def test_a_loan_at_low_leverage_is_refused_only_where_the_venue_has_a_line_for_it(mode: AccountMode) -> None:
    state = replace(rich(), policy=replace(rich().policy, borrow=D("1.5")))
    done = MarginSim(mode).simulate(state, PAIRS, LEGS, {PAIR.pair_id: D(3)}, limits=LAX)
    usage = done.after.margin_usage
    assert usage is not None
    assert D(1) / 3 < usage < 1
    assert done.blocked_by == (("borrow_rate",) if mode is BYBIT_UTA else ())


def test_the_modes_agree_on_equity_and_differ_in_what_a_hedge_needs() -> None:
    multi, portfolio = (
        MarginSim(mode).simulate(rich(), PAIRS, LEGS, {PAIR.pair_id: D("0.3")}).after
        for mode in (OKX_MULTI_CURRENCY, OKX_PORTFOLIO_MARGIN)
    )
    assert multi.adjusted_equity == portfolio.adjusted_equity
    assert multi.total_equity == portfolio.total_equity
    assert multi.initial_margin == 1800
    # nothing but the reduction cost: the spot, its fee paid in coin, offsets all but a thousandth
    assert portfolio.initial_margin == D("1.3") * D("0.0045") * 18000
