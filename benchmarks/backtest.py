"""The walk-forward backtest of the bundled history: how long it takes, and where the time goes.

CPU seconds of the process: what else the machine does does not count. Speed is the point here; the figures of
the runs themselves come from `carrydesk backtest`.
"""

from time import process_time

from benchmarks.measure import Result
from exchanges.paper.replay import parse_date
from portfolio.backtest.study import Request
from server.backtest import backtest


def run(*, tiny: bool = False) -> Result:
    """All runs over 4.5 years of 29 pairs; a quarter of one venue when tiny."""
    request = Request(from_ns=parse_date("2025-04-01" if tiny else "2021-01-01"))
    result = backtest(None, "okx" if tiny else None, request, lambda *_: None, process_time)
    runs = (*result.runs, *result.ablation, *(row.run for row in result.sensitivity))
    figures = result.portfolio.figures
    return {
        "pairs": len(result.data.pairs),
        "settlements": result.data.settlements,
        "days": len(result.portfolio.times_ns) - 1,
        "runs": len(runs),
        "seconds": round(result.seconds, 2),
        "seconds_by_part": {name: round(took, 2) for name, took in result.seconds_by_part.items()},
        "seconds_a_run": round(result.seconds / len(runs), 2),
        "portfolio_sharpe": "none" if figures.sharpe is None else round(figures.sharpe, 2),
    }
