"""`carrydesk backtest`: the walk-forward backtest on a folder of market history, and its report.

The composition root of the backtest: here the engine's rules meet the tables of the venues and the bundled
history.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console as Rich
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from exchanges.paper.history_tables import BINANCE, BYBIT, OKX, VENUES, account_tables, without_tables
from exchanges.paper.replay import parse_date
from portfolio.backtest.account import AccountModel, account_model
from portfolio.backtest.candles import read_candles
from portfolio.backtest.history import History, read_history
from portfolio.backtest.result import BacktestResult, RunResult, to_json
from portfolio.backtest.study import Request, Timer, run_backtest
from portfolio.core.carry import DAY_NS
from portfolio.core.errors import InputError
from portfolio.core.margin.modes import BINANCE_PM, BYBIT_UTA, OKX_MULTI_CURRENCY
from portfolio.core.names import Coin, PairId, Venue
from portfolio.core.universe import carry_pairs
from server.backtest_peers import installed_peers
from server.backtest_report import render_report
from server.console import Console

MODES = {BINANCE: BINANCE_PM, BYBIT: BYBIT_UTA, OKX: OKX_MULTI_CURRENCY}
BUNDLE = "bundle"
#: The bundled history starts in 2020 with few coins; a year of it is for the first forecasts.
BUNDLE_FROM = "2021-01-01"


def account_of(venue: Venue, pair_ids: Sequence[PairId], coins: Sequence[Coin]) -> AccountModel:
    """A venue's account for these pairs, by the tables of the paper venues.

    Raises:
        InputError: no margin rule stands for the venue.
    """
    found = account_tables(venue, coins)
    specs = carry_pairs(found.instruments.values())
    return account_model(
        MODES[venue], dict(found.instruments), found.tables, [specs[pair_id] for pair_id in pair_ids]
    )


def backtest(
    data: Path | None,
    venue: str | None,
    request: Request,
    progress: Callable[[str, int, int], None],
    clock: Callable[[], float] = time.monotonic,
) -> BacktestResult:
    """Read, run, and put together.

    Args:
        data: A folder with `panel.parquet`; None is the package's own history.
        venue: One of the venues; None is all that the folder has.
        request: Period, equity, limits.
        progress: What runs now, how many runs are done, and of how many.
        clock: Seconds, for the time of each part.

    Raises:
        MissingDataError, InputError: the data cannot be used, or the period is empty.
        UnknownNameError: the folder has no pair of the venue.
    """
    timer = Timer(clock)
    folder = Path(str(files("exchanges.data"))) if data is None else data
    history = read_history(folder, BUNDLE if data is None else str(data), VENUES)
    if venue is not None:
        history = history.of(Venue(venue))
    history = replace(history, notes=(*history.notes, *_table_notes(history)))
    candles = read_candles(folder)
    timer.done("read")
    return run_backtest(history, candles, account_of, request, timer, progress, installed_peers())


def _table_notes(history: History) -> tuple[str, ...]:
    """Which pairs run on tables of other coins."""
    made = [key for key, row in history.pairs.items() if without_tables(row.venue, [row.coin])]
    if not made:
        return ()
    return (f"No risk table is on record for {', '.join(made)}: those of other coins stand for them.",)


def request_of(start: str | None, end: str | None) -> Request:
    """The period that two texts name, each a day or a moment; a last day is part of it, to its midnight.

    Raises:
        InputError: not such a text, or a period that ends before it begins.
    """
    from_ns = None if start is None else parse_date(start, "from")
    to_ns = None if end is None else parse_date(end, "to")
    if end is not None and to_ns is not None and len(end) == len("2021-01-01"):
        to_ns += DAY_NS
    if from_ns is not None and to_ns is not None and from_ns >= to_ns:
        raise InputError("The period ends before it begins.", field="to", allowed=f"{start} or later")
    return Request(from_ns=from_ns, to_ns=to_ns)


def main(
    console: Console,
    data: Path | None,
    venue: str | None,
    start: str | None,
    end: str | None,
    report: Path | None,
) -> dict[str, Any]:
    """The command: run, show, write the report; the JSON of the result."""
    if start is None and data is None:
        start = BUNDLE_FROM
    request = request_of(start, end)
    with _bar() as progress:
        result = backtest(data, venue, request, progress)
    if report is not None:
        report.write_text(render_report(result), encoding="utf-8")
        console.say(f"The report is in {report}.")
    _show(console, result)
    return to_json(result)


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Rich(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def shown(name: str, done: int, planned: int) -> None:
            bar.update(task, description=name, completed=done, total=planned)

        yield shown


def _show(console: Console, result: BacktestResult) -> None:
    """Figures of every run as a table that fits eighty columns."""
    runs = (*result.runs, *result.ablation, *result.peers, *(row.run for row in result.sensitivity))
    console.table(
        "Backtest",
        ("run", "Sharpe", "APR", "fall", "use", "paying", "liq."),
        [_row(run) for run in runs],
    )
    console.say(f"{result.seconds:.1f} s. {result.honesty[0]}")


def _row(run: RunResult) -> tuple[str, ...]:
    figures = run.figures
    return (
        run.name,
        "-" if figures.sharpe is None else f"{figures.sharpe:.2f}",
        f"{figures.apr:.2%}",
        f"{figures.max_drawdown:.2%}",
        f"{run.utilisation_mean:.2f}",
        "-" if run.utilisation_paying is None else f"{run.utilisation_paying:.2f}",
        str(run.liquidations),
    )
