"""Accounts of one policy put together: one equity curve, one set of figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from portfolio.backtest.figures import (
    daily_returns,
    day_ends,
    drawdown_of,
    figures_of,
    last_at,
    sharpe_interval,
    weighted_mean,
    years_of,
)
from portfolio.backtest.result import Costs, GuardAction, PairAttribution, RunResult
from portfolio.backtest.simulate import AccountRun
from portfolio.core.carry import DAY_NS, HOUR_NS, YEAR_DAYS, Floats, Ints
from portfolio.core.names import PairId

_KINDS = ("fees", "slippage", "adverse_selection", "borrow")


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """One account's columns on the common grid of G instants."""

    run: AccountRun
    equity: Floats
    gross: Floats
    #: Lowest since the instant before.
    health: Floats
    paying: Floats
    index: Ints


def combine(
    name: str,
    description: str,
    runs: Sequence[AccountRun],
    equities: Sequence[float],
    period_ns: tuple[int, int],
    seed: int,
) -> RunResult:
    """The result of a policy over its accounts.

    Args:
        name: Key of the JSON.
        description: One sentence.
        runs: One per account; an account whose market starts later stands in cash until then.
        equities: What each started with.
        period_ns: Start and end.
        seed: Of the bootstrap.
    """
    start, end = period_ns
    times = _instants(runs, start, end)
    placed = [_placed(run, equity, times) for run, equity in zip(runs, equities, strict=True)]
    equity = np.sum([row.equity for row in placed], axis=0)
    used = _ratio(np.sum([row.gross for row in placed], axis=0), equity)
    hours = np.diff(times, append=times[-1]) / HOUR_NS
    days = day_ends(start, end)
    points = last_at(times, days)
    curve = equity[points]
    draw = drawdown_of(equity)
    used_paying, paying_share = _while_paying(placed, hours)
    return RunResult(
        name=name,
        description=description,
        figures=figures_of(curve, float(draw.max())),
        sharpe_interval=sharpe_interval(daily_returns(curve), np.random.default_rng(seed)),
        years=years_of(days, curve, used[points]),
        utilisation_mean=weighted_mean(used, hours) or 0.0,
        utilisation_paying=used_paying,
        paying_share=paying_share,
        liquidations=sum(run.liquidations for run in runs),
        turnover=_turnover(runs, equity, start, end),
        costs=Costs(*np.sum([run.costs.sum(axis=0) for run in runs], axis=0).tolist()),
        health_min=min(float(run.health.min()) for run in runs),
        times_ns=days,
        equity=curve,
        drawdown=draw[points],
        utilisation=used[points],
        health=_worst(np.min([row.health for row in placed], axis=0), points),
        paying=np.max([row.paying for row in placed], axis=0)[points],
        weights=_weights(placed, points, curve),
        costs_over_time=_costs_over_time(placed, points),
        guard_actions=_guard_actions(runs),
        attribution=_attribution(placed, hours),
        binding=_binding(runs),
        equity_by_venue={row.run.market.venue: float(row.equity[-1]) for row in placed},
    )


def _instants(runs: Sequence[AccountRun], start: int, end: int) -> Ints:
    """Every instant at which an account takes a step, and both ends."""
    times = np.unique(np.concatenate([[start], *(_times(run) for run in runs), [end]]))
    return times[(times >= start) & (times <= end)]


def _times(run: AccountRun) -> Ints:
    return run.market.times_ns[run.first : run.last + 1]


def _placed(run: AccountRun, start_equity: float, times: Ints) -> _Placed:
    index = last_at(_times(run), times)
    known, at = index >= 0, np.maximum(index, 0)
    health = np.ones(len(times))
    own = np.flatnonzero(np.diff(index, prepend=-1) > 0)
    # Every step of the account is an instant of the grid.
    health[own] = run.health[index[own]]
    return _Placed(
        run=run,
        equity=np.where(known, run.equity[at], start_equity),
        gross=np.where(known, run.gross[at], 0.0),
        health=health,
        paying=np.where(known, run.paying[at], False).astype(np.float64),
        index=index,
    )


def _ratio(gross: Floats, equity: Floats) -> Floats:
    return np.where(equity > 0, gross / np.where(equity > 0, equity, 1.0), 0.0)


def _while_paying(placed: Sequence[_Placed], hours: Floats) -> tuple[float | None, float]:
    """Mean utilisation over the hours that paid, None where none did, and the share of hours that did.

    An account's hour counts by its equity: each account pays for leverage, or does not, on its own.
    """
    equity = np.concatenate([row.equity for row in placed])
    gross = np.concatenate([row.gross for row in placed])
    paying = np.concatenate([row.paying for row in placed])
    weights = np.concatenate([hours * row.equity for row in placed])
    return (
        weighted_mean(_ratio(gross, equity), paying * weights),
        weighted_mean(paying, weights) or 0.0,
    )


def _turnover(runs: Sequence[AccountRun], equity: Floats, start: int, end: int) -> float:
    """Notional traded on both legs over mean equity, a year; 0 for a period of no length."""
    years = (end - start) / DAY_NS / YEAR_DAYS
    return sum(run.traded_usd for run in runs) / float(equity.mean()) / years if years > 0 else 0.0


def _guard_actions(runs: Sequence[AccountRun]) -> tuple[GuardAction, ...]:
    return tuple(sorted((action for run in runs for action in run.actions), key=lambda row: row.time_ns))


def _worst(health: Floats, points: Ints) -> Floats:
    """Lowest between two points."""
    starts = np.concatenate(([0], points[:-1] + 1))
    starts = np.minimum(starts, len(health) - 1)
    return np.minimum.reduceat(health, starts)


def _weights(placed: Sequence[_Placed], points: Ints, equity: Floats) -> dict[PairId, Floats]:
    found = {}
    for row in placed:
        run = row.run
        index = row.index[points]
        known, at = index >= 0, np.maximum(index, 0)
        worth = run.coins[at] * run.market.mark[run.first + at] * known[:, None]
        for column in np.flatnonzero(run.coins.any(axis=0)).tolist():
            found[run.market.pair_ids[column]] = worth[:, column] / equity
    return found


def _costs_over_time(placed: Sequence[_Placed], points: Ints) -> dict[str, Floats]:
    total = np.zeros((len(points), len(_KINDS)))
    for row in placed:
        index = row.index[points]
        summed = np.cumsum(row.run.costs, axis=0)
        total += np.where((index >= 0)[:, None], summed[np.maximum(index, 0)], 0.0)
    return {kind: total[:, number] for number, kind in enumerate(_KINDS)}


def _attribution(placed: Sequence[_Placed], hours: Floats) -> tuple[PairAttribution, ...]:
    found = []
    for row in placed:
        run = row.run
        held = (run.coins > 0)[np.maximum(row.index, 0)] & (row.index >= 0)[:, None]
        shares = hours @ held / max(float(hours.sum()), 1e-9)
        for column, pair_id in enumerate(run.market.pair_ids):
            parts = run.parts[column].tolist()
            if any(parts):
                funding, basis, borrow, fees, slippage, adverse = parts
                found.append(
                    PairAttribution(
                        pair_id=pair_id,
                        funding=funding,
                        basis=basis,
                        borrow=borrow,
                        fees=fees,
                        slippage=slippage,
                        adverse_selection=adverse,
                        held_share=float(shares[column]),
                    )
                )
    return tuple(sorted(found, key=lambda one: (-one.net, one.pair_id)))


def _binding(runs: Sequence[AccountRun]) -> dict[str, float]:
    counts: dict[str, int] = {}
    for run in runs:
        for name, count in run.binding.items():
            counts[name] = counts.get(name, 0) + count
    total = max(1, sum(counts.values()))
    return {
        name: count / total for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    }
