"""The first figures: the four runs side by side, and what was aimed at beside what was found."""

from portfolio.backtest.result import BacktestResult, Interval, RunResult, ratio
from server.backtest_report.cells import (
    Cell,
    Row,
    Table,
    count,
    label,
    missing,
    number,
    percent,
    times,
    usd,
    words,
)

NO_PAYING = "No hour paid: marginal carry never beat marginal borrow plus costs."
NO_DAYS = "The run has no day."
NO_RATIO = "A Sharpe ratio is missing, or the one below is not positive."
SINGLE_AIM = 1.3
BTC_AIM = 1.0
BTC_AIM_NEXT = 1.2
UTILISATION_AIM = 3.5


def sharpe_text(run: RunResult) -> Cell:
    """The Sharpe ratio with its interval: 2.10 (1.40 to 2.90)."""
    cell = number(run.figures.sharpe)
    if cell.reason or run.sharpe_interval is None:
        return cell
    return Cell(f"{cell.text} ({_span(run.sharpe_interval)})")


def _span(row: Interval) -> str:
    return f"{number(row.low).text} to {number(row.high).text}"


def headline(result: BacktestResult) -> Table:
    """What the portfolio and its baselines earned, and how calmly."""
    level = next((run.sharpe_interval.level for run in result.runs if run.sharpe_interval), None)
    interval = "" if level is None else f" ({100 * level:g} % interval)"
    return Table(
        "Portfolio and baselines, after costs, out of sample",
        ("Run", f"Sharpe{interval}", "APR", "Volatility", "Max drawdown", "Costs USD", "Equity at end USD"),
        tuple(
            Row(
                label(run.name),
                (
                    sharpe_text(run),
                    percent(run.figures.apr),
                    percent(run.figures.volatility),
                    percent(run.figures.max_drawdown),
                    usd(run.costs.total),
                    usd(float(run.equity[-1])) if len(run.equity) else missing(NO_DAYS),
                ),
                run.description,
                run is result.portfolio,
            )
            for run in result.runs
        ),
        note="Sharpe: mean over deviation of daily returns, times the root of 365; intervals by stationary "
        "block bootstrap. Max drawdown: at any settlement.",
    )


def size_and_safety(result: BacktestResult) -> Table:
    """How large the books were and how near they came to trouble."""
    return Table(
        "Size and safety",
        (
            "Run",
            "Utilisation",
            "in paying hours",
            "Paying hours",
            "Turnover a year",
            "Lowest health",
            "Liquidations",
        ),
        tuple(
            Row(
                label(run.name),
                (
                    times(run.utilisation_mean),
                    times(run.utilisation_paying, reason=NO_PAYING),
                    percent(run.paying_share, 1),
                    times(run.turnover),
                    number(run.health_min, 3),
                    Cell(f"{run.liquidations:,}", tone="bad" if run.liquidations else ""),
                ),
                strong=run is result.portfolio,
            )
            for run in result.runs
        ),
        note="Utilisation: gross of all legs over total equity. Paying hours: marginal carry beats marginal "
        "borrow plus costs. Turnover: notional traded on both legs over mean equity. Lowest health includes "
        "the extremes within the hours where candles exist.",
    )


def aims(result: BacktestResult) -> Table:
    """Each aim, what was found, and whether it was met."""
    mine, single, btc = result.portfolio, result.single_pair, result.btc_static
    single_ratio, btc_ratio = ratio(mine.figures, single.figures), ratio(mine.figures, btc.figures)
    paying = mine.utilisation_paying
    known = bool(len(mine.equity) and len(single.equity))
    smaller = mine.figures.max_drawdown < single.figures.max_drawdown
    drawdowns = (
        f"{percent(mine.figures.max_drawdown).text} against {percent(single.figures.max_drawdown).text}"
    )
    return Table(
        "What was aimed at, and what was found",
        ("Aim", "Aimed at", "Found", "Verdict"),
        (
            _aim("Sharpe over the single pair's", SINGLE_AIM, single_ratio, NO_RATIO),
            Row(
                "Max drawdown",
                (
                    words("smaller than the single pair's"),
                    words(drawdowns) if known else missing(NO_DAYS),
                    _verdict(smaller) if known else missing(NO_DAYS),
                ),
            ),
            _aim("Sharpe over static BTC carry's", BTC_AIM, btc_ratio, NO_RATIO),
            _aim("The same, next", BTC_AIM_NEXT, btc_ratio, NO_RATIO),
            Row(
                "Utilisation in paying hours",
                (
                    words(f"over {UTILISATION_AIM:g}x"),
                    times(paying, reason=NO_PAYING),
                    missing(NO_PAYING) if paying is None else _verdict(paying > UTILISATION_AIM),
                ),
            ),
            Row("Liquidations", (words("none"), count(mine.liquidations), _verdict(not mine.liquidations))),
        ),
        note=_overlap(mine, btc),
        words=True,
    )


def _aim(name: str, aim: float, found: float | None, reason: str) -> Row:
    verdict = missing(reason) if found is None else _verdict(found >= aim)
    return Row(name, (words(f"at least {aim:g}x"), times(found, reason=reason), verdict))


def _verdict(met: bool) -> Cell:
    return words("met", "good") if met else words("not met", "bad")


def _overlap(mine: RunResult, other: RunResult) -> str:
    ours, theirs = mine.sharpe_interval, other.sharpe_interval
    if ours is None or theirs is None:
        return ""
    who = f"The {100 * ours.level:g} % intervals of {label(mine.name)} and {label(other.name)}"
    if ours.low <= theirs.high and theirs.low <= ours.high:
        return f"{who} overlap: this history alone does not settle which of the two is better."
    return f"{who} do not overlap."
