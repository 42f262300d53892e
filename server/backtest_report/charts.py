"""The charts as data: plain lists that `charts.js` draws. What is not known is null, a gap in the line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from portfolio.backtest.result import BacktestResult, RunResult
from portfolio.core.carry import Floats, Ints
from portfolio.core.limits import GuardLimits
from server.backtest_report.cells import day_of, label

#: Pairs with a colour of their own; the rest is drawn as one.
PAIRS_SHOWN = 11
_DAY_SECONDS = 86_400
_DIGITS = {"usd": 0, "percent": 5, "times": 4, "plain": 4}


@dataclass(frozen=True, slots=True)
class Series:
    """One line; `values` has one entry per day of the page."""

    label: str
    values: list[float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """A level that is drawn across."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart; `unit` is usd, percent (of fractions), times or plain."""

    id: str
    title: str
    text: str
    unit: str
    series: tuple[Series, ...]
    stacked: bool = False
    #: Whether each day is shaded, and what that means; empty: nothing is.
    shaded: tuple[int, ...] = ()
    lines: tuple[Line, ...] = ()
    #: What the vertical axis shows at least; None: what the values need.
    span: tuple[float, float] | None = None
    #: Positions of days that get a mark.
    marked: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Charts:
    """All charts over the same days."""

    #: Start of each UTC day, seconds since the epoch.
    seconds: tuple[int, ...]
    charts: tuple[Chart, ...]

    def data(self) -> dict[str, object]:
        """What the page embeds."""
        return asdict(self)


class _Axis:
    """The days of all runs, and how one run's points fall on them."""

    def __init__(self, runs: Sequence[RunResult]) -> None:
        days = sorted({day_of(int(end)) for run in runs for end in run.times_ns})
        self.days = days
        self._at = {day: index for index, day in enumerate(days)}

    def positions(self, times_ns: Iterable[int]) -> list[int]:
        """Where times fall; a time outside all days falls nowhere."""
        found = (self._at.get(day_of(int(end))) for end in times_ns)
        return [index for index in found if index is not None]

    def spread(self, times_ns: Ints, values: Floats, unit: str) -> list[float | None]:
        """Values on the axis, rounded; null where the run has none, or none that is finite."""
        found: list[float | None] = [None] * len(self.days)
        digits = _DIGITS[unit]
        rounded = np.round(values, digits).tolist()
        for index, value in zip(self.positions(times_ns.tolist()), rounded, strict=True):
            if np.isfinite(value):
                found[index] = value if digits else int(value)
        return found


def charts_of(result: BacktestResult) -> Charts:
    """Every chart of the report."""
    axis = _Axis(result.runs)
    mine = result.portfolio

    def of_runs(unit: str, pick: Callable[[RunResult], Floats]) -> tuple[Series, ...]:
        return tuple(
            Series(label(run.name), axis.spread(run.times_ns, pick(run), unit)) for run in result.runs
        )

    acted = axis.positions(one.time_ns + 1 for one in mine.guard_actions)
    shown = (
        Chart(
            "equity", "Equity", "USD at the end of each day.", "usd", of_runs("usd", lambda run: run.equity)
        ),
        Chart(
            "drawdown",
            "Drawdown",
            "Fall of equity from its running peak.",
            "percent",
            of_runs("percent", lambda run: -run.drawdown),
        ),
        Chart(
            "utilisation",
            "Utilisation",
            "Gross of all legs over total equity. Shaded: days on which the portfolio's marginal carry beat "
            "marginal borrow plus costs.",
            "times",
            of_runs("times", lambda run: run.utilisation),
            shaded=_shaded(axis, mine),
        ),
        Chart(
            "health",
            "Health",
            "Lowest of the day over all accounts. Marks: days on which the guard reduced the portfolio. "
            "Lines: where the guard reduces and where it flattens, by default.",
            "plain",
            of_runs("plain", lambda run: run.health),
            lines=_guard_lines(),
            span=(float(GuardLimits().reduce_below_health) - 0.05, 1.0),
            marked=tuple(sorted(set(acted))),
        ),
        Chart(
            "weights",
            "Weights over time",
            "One-leg notional of each pair over total equity, stacked.",
            "times",
            _weights(axis, mine),
            stacked=True,
        ),
        Chart(
            "costs",
            "Costs over time",
            "What the portfolio has paid so far, USD, stacked.",
            "usd",
            _by_name(axis, mine, mine.costs_over_time, "usd"),
            stacked=True,
        ),
    )
    return Charts(tuple(day * _DAY_SECONDS for day in axis.days), shown)


def _guard_lines() -> tuple[Line, ...]:
    limits = GuardLimits()
    return (
        Line(float(limits.reduce_below_health), "reduces"),
        Line(float(limits.flatten_below_health), "flattens"),
    )


def _shaded(axis: _Axis, run: RunResult) -> tuple[int, ...]:
    found = axis.spread(run.times_ns, run.paying, "plain")
    return tuple(1 if value else 0 for value in found)


def _by_name(axis: _Axis, run: RunResult, named: Mapping[str, Floats], unit: str) -> tuple[Series, ...]:
    return tuple(
        Series(label(name), axis.spread(run.times_ns, values, unit)) for name, values in named.items()
    )


def _weights(axis: _Axis, run: RunResult) -> tuple[Series, ...]:
    """The pairs with the largest mean weight, and the others as one."""
    means = {pair_id: float(np.mean(values)) for pair_id, values in run.weights.items() if len(values)}
    ranked = sorted(means, key=lambda pair_id: (-means[pair_id], pair_id))
    first, others = ranked[:PAIRS_SHOWN], ranked[PAIRS_SHOWN:]
    found = [Series(pair_id, axis.spread(run.times_ns, run.weights[pair_id], "times")) for pair_id in first]
    if others:
        total = np.sum([run.weights[pair_id] for pair_id in others], axis=0)
        found.append(Series(f"{len(others)} others", axis.spread(run.times_ns, total, "times")))
    return tuple(found)
