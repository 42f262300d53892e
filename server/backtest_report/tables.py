"""The tables behind the headline: years, ablation, sensitivity, pairs, costs, guard, limits, quarters."""

from collections.abc import Sequence

import numpy as np

from portfolio.backtest.result import BacktestResult, PairAttribution, RunResult
from server.backtest_report.cells import (
    DAY_NS,
    Cell,
    Row,
    Table,
    count,
    date_text,
    day_of,
    label,
    minute_text,
    missing,
    number,
    percent,
    times,
    usd,
    words,
)
from server.backtest_report.headline import NO_PAYING, sharpe_text

NO_YEAR = "The run has no day in that year."
NO_STAKING = "The staking yield is not known; none was counted."
#: Rows of guard actions that the page lists; the counts above them are of all.
ACTIONS_SHOWN = 400
#: A change of the Sharpe ratio below this share of it is no difference.
_SAME = 0.01


def years(result: BacktestResult) -> Table:
    """Each calendar year of each run."""
    found = sorted({row.year for run in result.runs for row in run.years})
    names = tuple(label(run.name) for run in result.runs)
    measures = ("APR", "Sharpe", "Max drawdown")
    return Table(
        "Year by year",
        ("Year", *(name for _ in measures for name in names), "Utilisation", "Days"),
        tuple(_year_row(result, year) for year in found),
        groups=(("", 1), *((measure, len(names)) for measure in measures), ("Portfolio", 2)),
        empty="The period holds no day.",
        note="The first and the last year may be cut by the period.",
    )


def _year_row(result: BacktestResult, year: int) -> Row:
    rows = [next((one for one in run.years if one.year == year), None) for run in result.runs]
    aprs = [missing(NO_YEAR) if row is None else percent(row.figures.apr) for row in rows]
    sharpes = [missing(NO_YEAR) if row is None else number(row.figures.sharpe) for row in rows]
    falls = [missing(NO_YEAR) if row is None else percent(row.figures.max_drawdown) for row in rows]
    mine = rows[0]
    size = missing(NO_YEAR) if mine is None else times(mine.utilisation_mean)
    days = missing(NO_YEAR) if mine is None else count(mine.days)
    return Row(str(year), (*aprs, *sharpes, *falls, size, days))


_RUN_COLUMNS = (
    "APR",
    "Max drawdown",
    "Utilisation",
    "in paying hours",
    "Turnover a year",
    "Costs USD",
    "Liquidations",
)


def _run_cells(run: RunResult) -> tuple[Cell, ...]:
    return (
        percent(run.figures.apr),
        percent(run.figures.max_drawdown),
        times(run.utilisation_mean),
        times(run.utilisation_paying, reason=NO_PAYING),
        times(run.turnover),
        usd(run.costs.total),
        Cell(f"{run.liquidations:,}", tone="bad" if run.liquidations else ""),
    )


def ablation(result: BacktestResult) -> Table:
    """The portfolio with one piece off, one at a time, and whether the piece pays."""
    whole = result.portfolio
    base = (number(whole.figures.sharpe), Cell(""), Cell(""), *_run_cells(whole))
    rows = [
        Row(
            label(run.name),
            (number(run.figures.sharpe), *_piece(run, whole), *_run_cells(run)),
            run.description,
        )
        for run in result.ablation
    ]
    return Table(
        "Ablation: what each piece adds",
        ("Run", "Sharpe", "Change", "The piece", *_RUN_COLUMNS),
        (Row("Everything on", base, strong=True), *rows) if rows else (),
        empty="No ablation was run.",
        note="A negative change means that the portfolio does worse without the piece; under 1 % of the "
        "Sharpe ratio is called no difference. Changes that are small beside the interval of the Sharpe "
        "ratio may be chance.",
    )


def _piece(run: RunResult, whole: RunResult) -> tuple[Cell, Cell]:
    mine, base = run.figures.sharpe, whole.figures.sharpe
    change = None if mine is None or base is None else mine - base
    shown = number(change, signed=True)
    if change is None or shown.reason:
        return shown, shown
    if abs(change) < _SAME * abs(base or 0.0):
        return shown, words("no difference")
    return shown, words("pays", "good") if change < 0 else words("does not pay here", "bad")


def peers(result: BacktestResult) -> Table:
    """Reference portfolios on the same inputs."""
    rows = [
        Row(label(run.name), (sharpe_text(run), *_run_cells(run)), run.description) for run in result.peers
    ]
    return Table(
        "Peers on the same inputs",
        ("Run", "Sharpe", *_RUN_COLUMNS),
        (_base(result), *rows) if rows else (),
        empty=result.peers_missing or "No peer was run.",
    )


def sensitivity(result: BacktestResult) -> Table:
    """The portfolio with one assumption changed."""
    rows = [
        Row(label(row.name), (sharpe_text(row.run), *_run_cells(row.run)), row.run.description)
        for row in result.sensitivity
    ]
    return Table(
        "Sensitivity: one assumption changed",
        ("Assumption", "Sharpe", *_RUN_COLUMNS),
        (_base(result), *rows) if rows else (),
        empty="No assumption was varied.",
    )


def _base(result: BacktestResult) -> Row:
    run = result.portfolio
    return Row("The portfolio", (sharpe_text(run), *_run_cells(run)), strong=True)


def attribution(result: BacktestResult) -> Table:
    """Where the portfolio's result came from, by pair, and what no pair explains."""
    run = result.portfolio
    rows = [_pair_row(row.pair_id, row) for row in run.attribution]
    if rows:
        total = sum(row.net for row in run.attribution)
        rows.append(_total_row(run.attribution, total))
        if len(run.equity):
            rest = float(run.equity[-1]) - result.settings.equity_usd - total
            rows.append(
                Row("Change of equity that no pair explains", (usd(rest, signed=True),) + (Cell(""),) * 8)
            )
    return Table(
        "Where the portfolio's result came from, USD",
        (
            "Pair",
            "Net",
            "Funding",
            "Basis",
            "Borrow",
            "Fees",
            "Slippage",
            "Adverse selection",
            "Staking",
            "Held",
        ),
        tuple(rows),
        empty="The portfolio never held a pair.",
        note="Positive is a gain. Borrow is the pair's share of its account's interest, by notional. Held: "
        "share of the period.",
    )


def _pair_row(head: str, row: PairAttribution) -> Row:
    return Row(
        head,
        (
            usd(row.net, signed=True),
            usd(row.funding, signed=True),
            usd(row.basis, signed=True),
            usd(row.borrow, signed=True),
            usd(row.fees, signed=True),
            usd(row.slippage, signed=True),
            usd(row.adverse_selection, signed=True),
            usd(row.staking, signed=True, reason=NO_STAKING),
            percent(row.held_share, 0),
        ),
    )


def _total_row(rows: Sequence[PairAttribution], total: float) -> Row:
    staking = [row.staking for row in rows if row.staking is not None]
    sums = [
        sum(row.funding for row in rows),
        sum(row.basis for row in rows),
        sum(row.borrow for row in rows),
        sum(row.fees for row in rows),
        sum(row.slippage for row in rows),
        sum(row.adverse_selection for row in rows),
    ]
    cells = [usd(value, signed=True) for value in (total, *sums)]
    cells.append(usd(sum(staking) if staking else None, signed=True, reason=NO_STAKING))
    return Row("All pairs", (*cells, Cell("")), strong=True)


def costs(result: BacktestResult) -> Table:
    """What each run paid, by kind."""
    return Table(
        "Costs over the whole period, USD",
        ("Run", "Fees", "Slippage", "Adverse selection", "Borrow", "Total"),
        tuple(
            Row(
                label(run.name),
                (
                    usd(run.costs.fees),
                    usd(run.costs.slippage),
                    usd(run.costs.adverse_selection),
                    usd(run.costs.borrow),
                    usd(run.costs.total),
                ),
                strong=run is result.portfolio,
            )
            for run in result.runs
        ),
        note="Positive is paid. Slippage: half spreads and depth of taker fills. Adverse selection: what "
        "resting orders lose to whoever picks them, and what their misses cost.",
    )


def guard_counts(result: BacktestResult) -> Table:
    """How often each rule acted, by run."""
    rules = sorted({action.rule for run in result.runs for action in run.guard_actions})
    return Table(
        "Reductions by the guard, by rule",
        ("Rule", *(label(run.name) for run in result.runs)),
        tuple(
            Row(
                label(rule),
                tuple(count(sum(1 for one in run.guard_actions if one.rule == rule)) for run in result.runs),
            )
            for rule in rules
        ),
        empty="The guard never had to act, in any run.",
    )


def guard_actions(result: BacktestResult) -> Table:
    """The portfolio's actions, largest cuts kept when there are too many, in order of time."""
    every = result.portfolio.guard_actions
    largest = sorted(every, key=lambda one: one.to_usd - one.from_usd)[:ACTIONS_SHOWN]
    shown = sorted(largest, key=lambda one: one.time_ns)
    cut = len(every) - len(shown)
    return Table(
        "What the guard did to the portfolio",
        ("Time, UTC", "Pair", "Rule", "USD of one leg", "Reason"),
        tuple(
            Row(
                minute_text(one.time_ns),
                (
                    words(one.pair_id),
                    words(label(one.rule)),
                    words(f"{usd(one.from_usd).text} to {usd(one.to_usd).text}"),
                    words(one.reason),
                ),
            )
            for one in shown
        ),
        empty="The guard never had to act on the portfolio.",
        note=f"{cut:,} smaller cuts are counted above and not listed." if cut else "",
        words=True,
    )


def binding(result: BacktestResult) -> Table:
    """Which limit kept the book at its size."""
    rows = tuple(
        Row(label(name), (percent(share, 1),))
        for name, share in result.portfolio.binding.items()
        if share > 0
    )
    return Table(
        "What kept the book at its size",
        ("Limit", "Share of sizings"),
        rows,
        empty="No sizing was bound by a limit.",
    )


def venues(result: BacktestResult) -> Table:
    """Start and end of each account."""
    start, end = result.settings.equity_shares, result.portfolio.equity_by_venue
    names = sorted({*start, *end})
    rows = []
    for name in names:
        first = result.settings.equity_usd * start[name] if name in start else None
        rows.append(
            Row(
                name,
                (
                    usd(first, reason="The account had no share of the equity."),
                    usd(end.get(name), reason="The account's equity at the end was not reported."),
                ),
            )
        )
    return Table(
        "Accounts of the portfolio, USD",
        ("Venue", "Equity at the start", "Equity at the end"),
        tuple(rows),
        note="Nothing is transferred between accounts after the start.",
    )


def quarters(result: BacktestResult) -> Table:
    """The charts as figures, by quarter: a page without JavaScript loses nothing but detail."""
    mine = result.portfolio
    days = np.array([day_of(int(end)) for end in mine.times_ns], dtype=np.int64)
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    rows = []
    for quarter in np.unique(months // 3):
        inside = months // 3 == quarter
        last = int(np.flatnonzero(inside)[-1])
        others = tuple(_equity_at(run, int(mine.times_ns[last])) for run in result.runs[1:])
        rows.append(
            Row(
                f"{date_text(int(days[last]) * DAY_NS)[:4]} Q{int(quarter) % 4 + 1}",
                (
                    usd(float(mine.equity[last])),
                    *others,
                    percent(float(np.max(mine.drawdown[inside]))),
                    times(float(np.mean(mine.utilisation[inside]))),
                    number(float(np.min(mine.health[inside])), 3),
                    percent(float(np.mean(mine.paying[inside])), 0),
                    usd(_paid(mine, last)),
                ),
            )
        )
    return Table(
        "Quarter by quarter",
        (
            "Quarter",
            *(f"{label(run.name)} USD" for run in result.runs),
            "Deepest drawdown",
            "Utilisation",
            "Lowest health",
            "Paying days",
            "Costs so far USD",
        ),
        tuple(rows),
        empty="The period holds no day.",
        note="Equity at the end of the quarter; drawdown, utilisation, health and costs are the portfolio's.",
    )


def _equity_at(run: RunResult, time_ns: int) -> Cell:
    found = np.flatnonzero(run.times_ns == time_ns)
    return usd(float(run.equity[found[0]])) if len(found) else missing("The run has no such day.")


def _paid(run: RunResult, index: int) -> float:
    return float(sum(values[index] for values in run.costs_over_time.values()))
