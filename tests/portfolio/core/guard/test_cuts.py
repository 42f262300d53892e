"""Cutting step by step gives what one whole simulation gives, whatever the order of the questions."""

from decimal import Decimal

import pytest

from portfolio.core.guard.cuts import Cuts
from portfolio.core.margin.sim import MarginSim
from portfolio.core.names import PairId
from tests.portfolio.core.margin.accounts import account, balance, both, carry_pair, flat

D = Decimal
NAMES = ("BTC", "ETH", "SOL")
USD = {"BTC": "60000", "ETH": "3000", "SOL": "150", "USDT": "1"}
PAIRS = {row.pair_id: row for row in map(carry_pair, NAMES)}
BTC, ETH, SOL = (PairId(f"{name}@bybit") for name in NAMES)


def test_each_step_starts_from_the_one_before_and_a_deeper_cut_is_not_reused() -> None:
    sim = MarginSim()
    start = account(balances=(balance("USDT", "50000"),), usd=USD, instruments=both(*NAMES))
    nothing = {key: flat(row) for key, row in PAIRS.items()}
    built = sim.simulate(start, PAIRS, nothing, {BTC: D(1), ETH: D(10), SOL: D(100)}, stresses=())
    cuts = Cuts(sim, built.state, PAIRS, built.legs, built.after)
    assert cuts({}) == built.after
    cuts({BTC: D("0.5")})
    cuts({BTC: D("0.5"), ETH: D(3)})
    stepwise = cuts({BTC: D(0), ETH: D(3)})
    whole = sim.simulate(built.state, PAIRS, built.legs, {BTC: D(0), ETH: D(3)}, stresses=()).after
    assert float(stepwise.maintenance_margin) == pytest.approx(float(whole.maintenance_margin), rel=1e-4)
    assert float(stepwise.adjusted_equity) == pytest.approx(float(whole.adjusted_equity), rel=1e-4)
    again = cuts({ETH: D(3)})
    fresh = Cuts(sim, built.state, PAIRS, built.legs, built.after)({ETH: D(3)})
    assert again == fresh
    # A target above what is held cuts nothing.
    assert cuts({SOL: D(1000)}).initial_margin == pytest.approx(built.after.initial_margin)
