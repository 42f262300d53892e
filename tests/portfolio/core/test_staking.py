"""Liquid-staking collateral on the venue's own rules: METH is held, and it may fall alone."""

from decimal import Decimal

from exchanges.paper import domain
from exchanges.paper.config import VenueConfig
from exchanges.paper.core import VenueCore
from exchanges.paper.synthetic import SyntheticReplay
from portfolio.core.margin.sim import MarginSim
from portfolio.core.margin.stress import stressed
from portfolio.core.names import Coin
from portfolio.core.staking import UNDERLYING
from tests.exchanges.paper.venues import ETH, START, USDT, still_coin

METH = Coin("METH")


def venue(meth: str = "20") -> VenueCore:
    """A venue that lists METH by ETH's tables, worth a little more than ETH."""
    coins = {ETH: still_coin("3000"), METH: still_coin("3180")}
    replay = SyntheticReplay(seed=7, start_ns=START, hours=48, coins=coins)
    balances = {USDT: Decimal(10_000), METH: Decimal(meth)}
    config = VenueConfig(uid="u1", start_ns=START, balances=balances, models={METH: ETH})
    return VenueCore(config, replay, seed=7)


def test_meth_counts_at_the_venues_index_of_meth_and_the_ratio_of_its_live_table() -> None:
    core = venue()
    state = core.margin_state()
    (price,) = (row.usd for row in domain.market_snapshot(core, 5, 0).coins if row.coin == METH)
    ratio = core.tables(0).collateral[METH].tiers[0].ratio
    row = MarginSim(staking=UNDERLYING).rule(state).coin(METH)
    assert row is not None
    assert row.usd == 20 * price
    assert row.collateral_usd == 20 * price * ratio


def test_the_standard_set_moves_meth_with_eth_and_depegs_it_alone() -> None:
    state = venue().margin_state()
    sim = MarginSim(staking=UNDERLYING)
    by_name = {row.name: row for row in sim.scenarios(state)}
    assert by_name["METH depeg -5%"].factors == {METH: Decimal("0.95")}
    # Although nothing of ETH is held.
    assert by_name["ETH -30%"].factors[METH] == Decimal("0.7")
    assert "METH -30%" not in by_name
    before = sim.rule(state).figures
    after = sim.rule(stressed(state, by_name["METH depeg -5%"])).figures
    lost = sim.rule(state).coin(METH)
    assert lost is not None
    assert before.adjusted_equity - after.adjusted_equity == lost.collateral_usd * Decimal("0.05")


def test_without_such_coins_there_is_no_depeg_in_the_set() -> None:
    names = [row.name for row in MarginSim(staking=UNDERLYING).scenarios(venue("0").margin_state())]
    assert not any("depeg" in name for name in names)
