"""Ten settlements of one levered pair, booked once more line by line, without anything of the simulation."""

from pathlib import Path
from statistics import median

import polars as pl
import pytest

from portfolio.backtest.simulate import Moment
from tests.portfolio.backtest.made import HOUR_MS, START_MS, market_of, read
from tests.portfolio.backtest.test_simulate import simulated

SPOT = (20_000.0, 20_100.0, 20_300.0, 20_250.0, 19_900.0, 19_800.0, 20_000.0, 20_400.0, 20_600.0, 20_500.0)
MARK = (20_008.0, 20_097.0, 20_325.0, 20_262.0, 19_893.0, 19_791.0, 20_018.0, 20_436.0, 20_595.0, 20_508.0)
RATE = (0.0001, 0.0003, -0.0002, 0.0001, 0.0005, 0.0001, 0.0002, 0.0004, -0.0001, 0.0003)
#: Coins of one leg from a step on; equity is 100,000 USD, so the first two sizes borrow.
PLAN = {0: 7.0, 3: 9.0, 6: 4.0}


def cost_of(notional: float) -> float:
    """Binance of early 2023: maker 2 bps, taker 4, spot 10; BTC 0.1 bps half a spread, 30 M USD in 1 %."""
    fees = 0.7 * 0.0002 + 0.3 * 0.0004 + 0.001
    perpetual = 0.3 * (0.1e-4 + 0.3 * notional / 30e6 * 0.005)
    spot = 0.1e-4 * 1.5 + notional / 15e6 * 0.005
    return notional * (fees + perpetual + spot + 0.7 * 1e-4)


def booked() -> list[float]:
    """Equity after each settlement. An entry earns nothing of the settlement that it follows."""
    cash, coins, entry, found = 100_000.0, 0.0, 0.0, []
    for step, (spot, mark, rate) in enumerate(zip(SPOT, MARK, RATE, strict=True)):
        if step:
            # The first settlement's interval is not known, so that its rate is in no yearly figure.
            known = [one * 3 * 365 for one in RATE[1:step]]
            apr = max(0.06, 0.7 * median(known)) if known else 0.06
            owed = max(0.0, -(cash + coins * (entry - MARK[step - 1])))
            cash += coins * mark * rate - owed * apr * 8 / 8760
        if step in PLAN:
            change = PLAN[step] - coins
            cash -= change * spot + cost_of(abs(change) * mark)
            if change > 0:
                entry = (coins * entry + change * mark) / PLAN[step]
            else:
                cash -= change * (entry - mark)
            coins = PLAN[step]
        found.append(cash + coins * (spot - mark + entry))
    return found


def test_funding_basis_interest_and_costs_are_those_of_a_book_kept_by_hand(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "venue": "binance",
            "symbol": "BTCUSDT",
            "time": [START_MS + step * 8 * HOUR_MS for step in range(10)],
            "rate": RATE,
            "perp_px": MARK,
            "mark_px": MARK,
            "spot_px": SPOT,
        }
    )

    def plan(moment: Moment) -> dict[int, float]:
        return {0: PLAN[moment.step]} if moment.step in PLAN else {}

    run = simulated(market_of(read(tmp_path, frame)), plan)
    assert run.equity.tolist() == pytest.approx(booked(), abs=1e-6)
    assert run.costs[:, 3].sum() > 30, "it borrowed"
