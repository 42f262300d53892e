"""What a backtest answers: frozen values, and their JSON.

Money is USD as floats: statistics of a made-up account, nothing that is booked. Ratios, rates and APRs are
fractions. Arrays of one run have one length n, oldest first; the points are the end of each UTC day of the
period. Costs are positive when paid; earnings are signed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from portfolio.core.carry import Floats, Ints
from portfolio.core.names import PairId, Venue


@dataclass(frozen=True, slots=True)
class Costs:
    """USD paid over a run, each >= 0 (maker rebates may make fees negative)."""

    fees: float = 0.0
    #: Half spreads and depth that taker fills walk through.
    slippage: float = 0.0
    #: What resting orders lose to whoever picks them, and what their misses cost at the market.
    adverse_selection: float = 0.0
    #: Interest on what was owed.
    borrow: float = 0.0

    @property
    def total(self) -> float:
        """All of them."""
        return self.fees + self.slippage + self.adverse_selection + self.borrow


@dataclass(frozen=True, slots=True)
class PairAttribution:
    """Where one pair's result came from, USD, positive is a gain.

    `borrow` is the pair's share of its account's interest, by its notional.
    """

    pair_id: PairId
    funding: float
    #: Change of the value of both legs against each other.
    basis: float
    borrow: float
    fees: float
    slippage: float
    adverse_selection: float
    #: None: not known, none counted.
    staking: float | None = None
    #: Share of the period in which it was held, 0..1.
    held_share: float = 0.0

    @property
    def net(self) -> float:
        """The sum of the parts."""
        parts = (self.funding, self.basis, self.borrow, self.fees, self.slippage, self.adverse_selection)
        return sum(parts) + (self.staking or 0.0)


@dataclass(frozen=True, slots=True)
class GuardAction:
    """One reduction by a rule of the guard, a liquidation, or an exit that the market forced."""

    time_ns: int
    venue: Venue
    pair_id: PairId
    #: A name of `portfolio.core.guard.values.Rule`, `liquidation` or `delisted`.
    rule: str
    reason: str
    #: USD of one leg before and after.
    from_usd: float
    to_usd: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; `level` is its coverage, such as 0.9."""

    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a run, or of a part of it. None: not defined (no day that counts, no spread)."""

    #: Mean over deviation of daily returns x sqrt(365).
    sharpe: float | None
    #: Geometric, a year.
    apr: float
    #: Of daily returns x sqrt(365).
    volatility: float
    #: Largest fall of equity from its peak at any settlement, a fraction >= 0.
    max_drawdown: float


@dataclass(frozen=True, slots=True)
class YearFigures:
    """One calendar year of a run, UTC; the first and the last may be cut by the period."""

    year: int
    days: int
    figures: Figures
    utilisation_mean: float


@dataclass(frozen=True, slots=True)
class RunResult:
    """One policy over the whole period."""

    name: str
    #: One sentence: what the run does differently.
    description: str
    figures: Figures
    #: By stationary block bootstrap; None where the Sharpe ratio is.
    sharpe_interval: Interval | None
    years: tuple[YearFigures, ...]
    #: Gross of all legs over total equity, mean over all hours.
    utilisation_mean: float
    #: The same over the hours in which the book's marginal carry beats marginal borrow plus costs; None when
    #: there was no such hour.
    utilisation_paying: float | None
    #: Share of all hours that paid in this sense, 0..1.
    paying_share: float
    liquidations: int
    #: Notional traded on both legs over mean equity, a year.
    turnover: float
    costs: Costs
    #: Lowest health at any settlement or intrabar extreme, over all accounts; 1 for an empty book.
    health_min: float
    #: Points: end of each UTC day, ns.
    times_ns: Ints
    equity: Floats
    #: Fall from the running peak, >= 0.
    drawdown: Floats
    utilisation: Floats
    #: Lowest health of the day over all accounts.
    health: Floats
    #: 1.0 where the hours of the day paid.
    paying: Floats
    #: One-leg notional over total equity, by pair; pairs never held are left out.
    weights: Mapping[PairId, Floats]
    #: Cumulative USD by kind: fees, slippage, adverse_selection, borrow.
    costs_over_time: Mapping[str, Floats]
    guard_actions: tuple[GuardAction, ...]
    #: Largest net first.
    attribution: tuple[PairAttribution, ...]
    #: Share of sizings that each limit bound, by its name; largest first.
    binding: Mapping[str, float]
    #: Equity at the end by account.
    equity_by_venue: Mapping[Venue, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The portfolio with one assumption changed."""

    name: str
    run: RunResult


@dataclass(frozen=True, slots=True)
class DataNotice:
    """Which data it was, and what the reader must know about it."""

    #: Where it came from, as the user named it; `bundle` for the package's own.
    source: str
    first_ns: int
    last_ns: int
    pairs: tuple[PairId, ...]
    settlements: int
    #: Hours with candles from which intrabar extremes come, as a share of account hours, 0..1.
    hourly_share: float
    #: Each a full sentence: survivorship, gaps, what is made.
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """What was run."""

    from_ns: int
    to_ns: int
    venues: tuple[Venue, ...]
    #: Share of the equity that each account starts with; nothing is transferred later.
    equity_shares: Mapping[Venue, float]
    equity_usd: float
    seed: int
    #: Each assumption in one line: name -> text.
    assumptions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """Everything the report and the JSON are made of."""

    settings: Settings
    data: DataNotice
    portfolio: RunResult
    single_pair: RunResult
    btc_static: RunResult
    equal_weight: RunResult
    #: The portfolio with one piece switched off, one at a time.
    ablation: tuple[RunResult, ...]
    #: Peers on the same inputs, such as a mean-variance reference; empty where none is installed.
    peers: tuple[RunResult, ...]
    #: Borrow proxy x 0.5 and x 2.
    sensitivity: tuple[Sensitivity, ...]
    #: Each a full sentence for the reader: survivorship, fees of the venue's era, capacity, data.
    honesty: tuple[str, ...]
    seconds: float
    seconds_by_part: Mapping[str, float]
    #: Why no peer was run, a full sentence; None when one was.
    peers_missing: str | None = None

    @property
    def runs(self) -> tuple[RunResult, ...]:
        """The portfolio and its baselines, in the order of the report."""
        return (self.portfolio, self.single_pair, self.btc_static, self.equal_weight)


def ratio(first: Figures, second: Figures) -> float | None:
    """Sharpe over Sharpe; None where one is not defined or the second is not positive."""
    if first.sharpe is None or second.sharpe is None or second.sharpe <= 0:
        return None
    return first.sharpe / second.sharpe


def to_json(result: BacktestResult) -> dict[str, object]:
    """The object that `carrydesk backtest --json` prints; time series stay in the report.

    Undefined figures are null; floats are rounded to six digits.
    """
    return {
        **{run.name: _run(run) for run in result.runs},
        "ratios": {
            "portfolio_to_single_pair": _number(ratio(result.portfolio.figures, result.single_pair.figures)),
            "portfolio_to_btc_static": _number(ratio(result.portfolio.figures, result.btc_static.figures)),
        },
        "ablation": {run.name: _ablation(run, result.portfolio) for run in result.ablation},
        "peers": {run.name: _run(run) for run in result.peers},
        "peers_missing": result.peers_missing,
        "sensitivity": {row.name: _short(row.run) for row in result.sensitivity},
        "settings": _settings(result.settings),
        "data": _data(result.data),
        "honesty": list(result.honesty),
        "seconds": round(result.seconds, 3),
        "seconds_by_part": {name: round(took, 3) for name, took in result.seconds_by_part.items()},
    }


def _number(value: float | None) -> float | None:
    if value is None or not np.isfinite(value):
        return None
    return round(float(value), 6)


def _short(run: RunResult) -> dict[str, object]:
    return {
        **_figures(run.figures),
        "utilisation_mean": _number(run.utilisation_mean),
        "utilisation_paying": _number(run.utilisation_paying),
        "paying_share": _number(run.paying_share),
        "liquidations": run.liquidations,
        "turnover": _number(run.turnover),
        "costs": _costs(run.costs),
    }


def _run(run: RunResult) -> dict[str, object]:
    rules = sorted({action.rule for action in run.guard_actions})
    return {
        **_short(run),
        "description": run.description,
        "sharpe_interval": _interval(run.sharpe_interval),
        "health_min": _number(run.health_min),
        "equity_end": _number(float(run.equity[-1])) if len(run.equity) else None,
        "equity_by_venue": {venue: _number(usd) for venue, usd in run.equity_by_venue.items()},
        "guard_actions": {
            rule: sum(1 for action in run.guard_actions if action.rule == rule) for rule in rules
        },
        "years": {
            str(row.year): {
                **_figures(row.figures),
                "days": row.days,
                "utilisation_mean": _number(row.utilisation_mean),
            }
            for row in run.years
        },
        "attribution": {row.pair_id: _attribution(row) for row in run.attribution},
        "binding": {name: _number(share) for name, share in run.binding.items()},
    }


def _ablation(run: RunResult, whole: RunResult) -> dict[str, object]:
    mine, base = run.figures.sharpe, whole.figures.sharpe
    change = None if mine is None or base is None else mine - base
    return {**_short(run), "description": run.description, "sharpe_change": _number(change)}


def _figures(row: Figures) -> dict[str, object]:
    return {
        "sharpe": _number(row.sharpe),
        "apr": _number(row.apr),
        "volatility": _number(row.volatility),
        "max_drawdown": _number(row.max_drawdown),
    }


def _interval(row: Interval | None) -> dict[str, object] | None:
    if row is None:
        return None
    return {"low": _number(row.low), "high": _number(row.high), "level": row.level}


def _costs(row: Costs) -> dict[str, object]:
    return {
        "fees": _number(row.fees),
        "slippage": _number(row.slippage),
        "adverse_selection": _number(row.adverse_selection),
        "borrow": _number(row.borrow),
        "total": _number(row.total),
    }


def _attribution(row: PairAttribution) -> dict[str, object]:
    return {
        "net": _number(row.net),
        "funding": _number(row.funding),
        "basis": _number(row.basis),
        "borrow": _number(row.borrow),
        "fees": _number(row.fees),
        "slippage": _number(row.slippage),
        "adverse_selection": _number(row.adverse_selection),
        "staking": _number(row.staking),
        "held_share": _number(row.held_share),
    }


def _settings(row: Settings) -> dict[str, object]:
    return {
        "from": str(np.datetime64(row.from_ns, "ns").astype("datetime64[s]")),
        "to": str(np.datetime64(row.to_ns, "ns").astype("datetime64[s]")),
        "venues": list(row.venues),
        "equity_usd": row.equity_usd,
        "equity_shares": {venue: _number(share) for venue, share in row.equity_shares.items()},
        "seed": row.seed,
        "assumptions": dict(row.assumptions),
    }


def _data(row: DataNotice) -> dict[str, object]:
    return {
        "source": row.source,
        "first": str(np.datetime64(row.first_ns, "ns").astype("datetime64[s]")),
        "last": str(np.datetime64(row.last_ns, "ns").astype("datetime64[s]")),
        "pairs": list(row.pairs),
        "settlements": row.settlements,
        "hourly_share": _number(row.hourly_share),
        "notes": list(row.notes),
    }
