"""What a reader of a backtest must be told, in words: assumptions, data, and what to doubt."""

from collections.abc import Sequence

import numpy as np

from portfolio.backtest import candles, guarding, market, simulate
from portfolio.backtest.figures import BLOCK_DAYS, LEVEL, RESAMPLES
from portfolio.backtest.history import History
from portfolio.backtest.market import VenueMarket
from portfolio.backtest.result import DataNotice
from portfolio.core.carry import DAY_NS
from portfolio.core.sizing import LEVER_ON_APR
from portfolio.core.trade_cost import ADVERSE_BPS, MAKER_SHARE


def assumptions() -> dict[str, str]:
    """Each modelling choice in one line."""
    return {
        "accounts": "Equity is split evenly over the accounts at the start; nothing is transferred later.",
        "borrow": (
            f"USDT costs max({market.BORROW_FLOOR_APR:.0%}, {market.BORROW_FUNDING_SHARE:g} x the median BTC "
            "funding of 30 days) a year on what the account owes, by the hour; no archive has borrow rates."
        ),
        "fees": "Regular account (no VIP tier) of each venue's era; spot legs are taken.",
        "orders": (
            f"The perpetual leads as maker for {MAKER_SHARE:.0%} of its size, the rest and the spot "
            f"leg are taken; maker fills are worth {ADVERSE_BPS:g} bp less. The guard takes both."
        ),
        "slippage": "Made by class of coin: half a spread and half of what a linear book of its depth moves.",
        "intrabar": (
            "Margin is valued at every settlement and with all coins at their highs, and at their lows, of "
            "the interval before it: from candles where there are any, else the interval's ends widened by "
            f"{candles.PROXY_SIGMAS:g} typical moves."
        ),
        "guard": (
            f"The live arbiter, at the first of {guarding.PATH_STEPS} points between two settlements beyond "
            f"its line; the operator lifts freezes after {guarding.OPERATOR_NS // DAY_NS} days."
        ),
        "risk_tables": "Those of the paper venues, today's for all years; partly made, see their module.",
        "liquidation": f"Costs {simulate.LIQUIDATION_SHARE:.0%} of notional besides, and is counted.",
        "staking": "No yield of staked coins is known for the past; none is counted.",
        "sharpe": "Daily returns at UTC midnight, mean over deviation x sqrt(365), no risk-free rate.",
        "interval": (
            f"{LEVEL:.0%} by {RESAMPLES} stationary bootstrap resamples with blocks of {BLOCK_DAYS:g} days."
        ),
        "utilisation_paying": (
            f"Over the account hours in which the book's expected carry exceeds the borrow rate by "
            f"{LEVER_ON_APR:.0%} a year, 2.5 round trips over three months."
        ),
    }


def data_notice(history: History, markets: Sequence[VenueMarket], period_ns: tuple[int, int]) -> DataNotice:
    """Which data was run on."""
    settlements = [
        int(np.count_nonzero((row.times_ns >= period_ns[0]) & (row.times_ns <= period_ns[1])))
        for row in history.pairs.values()
    ]
    sizes = [int(np.count_nonzero(row.settles)) for row in markets]
    return DataNotice(
        source=history.source,
        first_ns=min(int(row.times_ns[0]) for row in history.pairs.values()),
        last_ns=max(int(row.times_ns[-1]) for row in history.pairs.values()),
        pairs=tuple(history.pairs),
        settlements=sum(settlements),
        hourly_share=sum(row.hourly_share * size for row, size in zip(markets, sizes, strict=True))
        / max(1, sum(sizes)),
        notes=history.notes,
    )


def honesty(history: History, equity_usd: float) -> tuple[str, ...]:
    """What to doubt."""
    ends = max(int(row.times_ns[-1]) for row in history.pairs.values())
    gone = [key for key, row in history.pairs.items() if ends - int(row.times_ns[-1]) > DAY_NS]
    ended = ", ".join(gone) if gone else "none"
    return (
        (
            "Survivorship: the archive holds coins that are still listed; those that were delisted are "
            f"missing, and with them their losses. Pairs of it that end early: {ended}."
        ),
        (
            "The policy's constants were chosen on 2021-2025, with walk-forward checks over parts of it; "
            "the same years are shown here. Only later data can confirm them."
        ),
        "Fees are those of a regular account in each era, to the quarter; the depth of books is made.",
        (
            f"Capacity: {equity_usd:,.0f} USD in all. Costs grow with size as the made books say, and risk "
            "tables beyond the first tiers are partly made: ten times the size is another test."
        ),
        (
            "Borrowing has no archive. The proxy is what carry traders would pay at the margin; the "
            "portfolio is shown at half and at twice of it."
        ),
        (
            "Made accounts trade at settlement prices, after the settlement. A venue's outage, a refused "
            "loan and a book that empties are not in it."
        ),
    )
