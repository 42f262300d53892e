"""backtest_policy: the desk's own rules over history, beside the desk. First a handle, then the figures."""

from datetime import date, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from portfolio.core.errors import AccessError
from portfolio.service import DeskService, DeskSnapshot, Principal, Scope
from tools.backtest_answer import BacktestAnswer, RunAnswer
from tools.backtest_jobs import BacktestJob, BacktestRequest, Backtests, BacktestStatus
from tools.columns import columns
from tools.inputs import WaitSeconds
from tools.results import Common, head, real
from tools.spec import Arguments, Hints, Tool

#: Fewer days say nothing; more than this no source has.
DAYS_MIN, DAYS_MAX = 60, 3_660
#: Where the bundled history is whole enough for many pairs; the default of `carrydesk backtest`.
FIRST_DAY = date(2021, 1, 1)
_FIRST, _LAST = date(2015, 1, 1), date(2099, 12, 31)
_NONE = "-"

_NEXT = {
    BacktestStatus.RUNNING: "Call backtest_policy with this handle and wait_s; cancel true ends it.",
    BacktestStatus.FINISHED: "Compare portfolio with btc_static, and read the doubts before concluding.",
    BacktestStatus.FAILED: "Read the failure; correct the request or tell the operator.",
    BacktestStatus.CANCELLED: "Start another when you need it.",
    BacktestStatus.TIMED_OUT: "Ask for a shorter period or one venue.",
}


def _day(value: object) -> object:
    """An ISO date, which pydantic reads; numbers would be taken as times."""
    if isinstance(value, str) and len(value) == 10:
        return value
    raise ValueError("send a day such as '2023-01-01'")


def _thinkable(day: date) -> date:
    if not _FIRST <= day <= _LAST:
        raise ValueError(f"send a day from {_FIRST} to {_LAST}")
    return day


Day = Annotated[date, BeforeValidator(_day), AfterValidator(_thinkable)]


class BacktestArguments(Arguments):
    """Input. Without a handle: start one; with a handle: look at it."""

    first: Annotated[
        Day | None, Field(alias="from", description=f"First day, UTC; without it {FIRST_DAY}.")
    ] = None
    last: Annotated[
        Day | None,
        Field(alias="to", description="Last day, UTC, included; without it the data's last."),
    ] = None
    venue: Annotated[
        Literal["binance", "bybit", "okx"] | None, Field(description="Only this venue; without it all.")
    ] = None
    handle: Annotated[
        str | None, Field(pattern=r"^[A-Za-z0-9]{1,40}$", description="Of a backtest that was started.")
    ] = None
    cancel: Annotated[bool, Field(description="With your own handle: end it.")] = False
    wait_s: WaitSeconds = 0

    @model_validator(mode="after")
    def _one_thing(self) -> "BacktestArguments":
        asked = (self.first, self.last, self.venue)
        if self.handle is not None and any(part is not None for part in asked):
            raise ValueError("give a handle to look at, or from, to and venue to start one, not both")
        if self.cancel and self.handle is None:
            raise ValueError("cancel needs the handle")
        if self.first is not None and self.last is not None:
            days = (self.last - self.first) / timedelta(days=1)
            if not DAYS_MIN <= days <= DAYS_MAX:
                raise ValueError(f"from and to must span {DAYS_MIN} to {DAYS_MAX} days; they span {days:.0f}")
        return self


class RunBlock(BaseModel):
    """One run. Sharpe of daily returns; rates, drawdown and shares are fractions; null: not defined."""

    run: str
    sharpe: str | None
    sharpe_low: str | None = Field(description="Lower end of the interval by block bootstrap.")
    sharpe_high: str | None
    apr: str | None
    volatility: str | None
    max_drawdown: str | None
    utilisation_mean: str | None = Field(description="Gross of all legs over equity, over all hours.")
    utilisation_paying: str | None = Field(description="The same over hours whose carry pays for its borrow.")
    paying_share: str | None
    liquidations: int
    turnover: str | None = Field(description="Notional of both legs over mean equity, a year.")
    costs_usd: str | None
    health_min: str | None


class AblationBlock(BaseModel):
    """The portfolio with one piece off; a negative change: it does worse without the piece."""

    run: str
    description: str
    sharpe: str | None
    sharpe_change: str | None
    apr: str | None
    max_drawdown: str | None
    costs_usd: str | None


class FailureBlock(BaseModel):
    """Why there is no result."""

    code: str
    message: str
    field: str | None
    allowed: str | None
    next: str


class BacktestResult(Common):
    """Output."""

    handle: str
    status: str = Field(description="running, finished, failed, cancelled or timed_out.")
    final: bool
    progress: str = Field(description="Share of the work that is done, 0 to 1.")
    stage: str = Field(description="What it does now.")
    elapsed_s: float
    period_from: str | None
    period_to: str | None = Field(description="As asked for; null: the data's end.")
    venue: str | None
    runs: list[RunBlock] = Field(description="The portfolio first, then its baselines.")
    ratios: dict[str, str | None] = Field(description="Sharpe over Sharpe.")
    ablation: list[AblationBlock]
    doubts: list[str] = Field(description="What speaks against trusting the figures.")
    report: str | None = Field(description="The HTML report on the desk's machine, for the operator.")
    failure: FailureBlock | None


def backtest_text(result: BacktestResult) -> str:
    """The result as a person reads it; every number in it is in the structured part as well."""
    parts = [result.summary]
    if result.runs:
        names = (
            "run",
            "Sharpe",
            "interval",
            "APR",
            "max DD",
            "util",
            "paying",
            "liq",
            "turnover",
            "costs USD",
        )
        parts.append(columns(names, [_line(run) for run in result.runs]))
    if result.ablation:
        rows = [
            (
                row.run,
                row.sharpe or _NONE,
                row.sharpe_change or _NONE,
                row.apr or _NONE,
                row.max_drawdown or _NONE,
            )
            for row in result.ablation
        ]
        parts.append(columns(("without", "Sharpe", "change", "APR", "max DD"), rows))
    if result.failure is not None:
        why = result.failure
        parts.append(" ".join(part for part in (why.message, why.allowed, why.next) if part))
    if result.doubts:
        parts.append("\n".join(["What to doubt:", *(f"- {text}" for text in result.doubts)]))
    if result.report is not None:
        parts.append(f"Report: {result.report}")
    parts += [f"Warning: {text}" for text in result.warnings]
    return "\n\n".join(parts)


def _line(run: RunBlock) -> tuple[str, ...]:
    interval = _NONE if run.sharpe_low is None else f"{run.sharpe_low}..{run.sharpe_high}"
    figures = (run.apr, run.max_drawdown, run.utilisation_mean, run.utilisation_paying)
    return (
        run.run,
        run.sharpe or _NONE,
        interval,
        *(figure or _NONE for figure in figures),
        str(run.liquidations),
        run.turnover or _NONE,
        run.costs_usd or _NONE,
    )


def _result(snapshot: DeskSnapshot, job: BacktestJob) -> BacktestResult:
    answer, failure, asked = job.answer, job.failure, job.request
    return BacktestResult(
        **head(snapshot, _summary(job), _NEXT[job.status]),
        handle=job.handle,
        status=job.status.value,
        final=job.status.final,
        progress=real(job.progress, 3),
        stage=job.stage,
        elapsed_s=round(job.elapsed_seconds, 1),
        period_from=None if asked.first is None else asked.first.isoformat(),
        period_to=None if asked.last is None else asked.last.isoformat(),
        venue=asked.venue,
        runs=[] if answer is None else [_run(name, run) for name, run in answer.runs.items()],
        ratios={} if answer is None else {name: _text(value, 3) for name, value in answer.ratios.items()},
        ablation=[] if answer is None else [_ablation(name, run) for name, run in answer.ablation.items()],
        doubts=[] if answer is None else list(answer.honesty),
        report=job.report,
        failure=None
        if failure is None
        else FailureBlock(
            code=failure.code,
            message=failure.message,
            field=failure.field,
            allowed=failure.allowed,
            next=failure.next_step,
        ),
    )


def _summary(job: BacktestJob) -> str:
    text = f"Backtest {job.handle} is {job.status.value.replace('_', ' ')}"
    if job.status is BacktestStatus.RUNNING:
        return f"{text}: {100 * job.progress:.0f} % after {job.elapsed_seconds:.0f} s."
    if job.failure is not None:
        return f"{text}: {job.failure.message}"
    if job.answer is None:
        return f"{text}."
    return f"{text}: {_compared(job.answer)}"


def _compared(answer: BacktestAnswer) -> str:
    runs = (
        ("the portfolio", answer.portfolio),
        ("one pair", answer.single_pair),
        ("static BTC", answer.btc_static),
    )
    said = ", ".join(f"{name} {_text(run.sharpe, 2) or 'not defined'}" for name, run in runs)
    count = answer.portfolio.liquidations
    return f"Sharpe of {said}; {count} liquidation{'' if count == 1 else 's'} of the portfolio."


def _text(value: float | None, digits: int = 4) -> str | None:
    return None if value is None else real(value, digits)


def _run(name: str, run: RunAnswer) -> RunBlock:
    interval = run.sharpe_interval
    return RunBlock(
        run=name,
        sharpe=_text(run.sharpe, 2),
        sharpe_low=None if interval is None else _text(interval.low, 2),
        sharpe_high=None if interval is None else _text(interval.high, 2),
        apr=_text(run.apr),
        volatility=_text(run.volatility),
        max_drawdown=_text(run.max_drawdown),
        utilisation_mean=_text(run.utilisation_mean, 2),
        utilisation_paying=_text(run.utilisation_paying, 2),
        paying_share=_text(run.paying_share, 3),
        liquidations=run.liquidations,
        turnover=_text(run.turnover, 2),
        costs_usd=_text(run.costs.total, 0),
        health_min=_text(run.health_min, 3),
    )


def _ablation(name: str, run: RunAnswer) -> AblationBlock:
    return AblationBlock(
        run=name,
        description=run.description,
        sharpe=_text(run.sharpe, 2),
        sharpe_change=_text(run.sharpe_change, 2),
        apr=_text(run.apr),
        max_drawdown=_text(run.max_drawdown),
        costs_usd=_text(run.costs.total, 0),
    )


def backtest_tool(backtests: Backtests) -> Tool[BacktestArguments, Any]:
    """The tool over whoever runs backtests for this front."""

    async def backtest_policy(
        desk: DeskService, principal: Principal, arguments: BacktestArguments
    ) -> BacktestResult:
        """Start, look at or end one.

        Raises:
            AccessError: the token lacks a scope, or another token's backtest would be cancelled.
            RefusedError: one runs already.
            UnknownNameError: no such handle.
        """
        if Scope.SIMULATE not in principal.scopes:
            raise AccessError(
                f"Token {principal.name} lacks the scope simulate.", next_step="Ask the operator for it."
            )
        snapshot = await desk.read(principal)
        handle = arguments.handle
        if handle is None:
            request = BacktestRequest(arguments.first or FIRST_DAY, arguments.last, arguments.venue)
            handle = (await backtests.start(principal.name, request)).handle
        if arguments.cancel:
            job = await backtests.cancel(handle, principal.name)
        else:
            job = await backtests.look(handle, arguments.wait_s)
        return _result(snapshot, job)

    return Tool(
        name="backtest_policy",
        title="Backtest",
        description=(
            "Run the desk's own rules (selection, sizing, hysteresis, guard) over bundled history, "
            "walk-forward and after costs, beside a single pair, static BTC carry and equal weight, with an "
            "ablation. It answers at once with a handle: call again with the handle (and wait_s) for "
            "progress and then the figures. It takes a minute or more, at low priority in a process of its "
            "own, one at a time; neither the desk nor its guard waits for it. It trades nothing."
        ),
        arguments=BacktestArguments,
        result=BacktestResult,
        hints=Hints(read_only=False, destructive=False, idempotent=False, open_world=False),
        run=backtest_policy,
        text=backtest_text,
    )
