"""The what-if over both OKX rules: tables as an adapter would build them, headroom, stresses."""

from dataclasses import replace
from decimal import Decimal

import pytest

from portfolio.core.margin.modes import OKX_MULTI_CURRENCY, OKX_PORTFOLIO_MARGIN, AccountMode
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
