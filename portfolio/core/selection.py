"""UniverseSelector: which pairs may be held, in what order and share, and why the others may not."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypedDict

import numpy as np

from portfolio.core.allocation import AllocationPolicy, FixedPoint, softmax_weights
from portfolio.core.capping import BookCaps, CappedWeights, cap_weights
from portfolio.core.carry import HOUR_NS, CarrySeries, Floats
from portfolio.core.forecast import Method, RiskForecast, forecast_risk
from portfolio.core.hysteresis import cost_gate, exit_gate, swap_gate
from portfolio.core.limits import MINUTE_NS, BookLimits, TradeLimits
from portfolio.core.names import Narrative, PairId
from portfolio.core.panel import CarryPanel, carry_panel
from portfolio.core.scoring import PairFacts, PairScore, score_universe

#: Days of settlements that scores read, when there are as many.
WINDOW_DAYS = 180
#: Days of daily returns that the selector's own risk forecast is fitted on, when there are as many.
RISK_DAYS = 500
#: Days that its volatility looks ahead: pairs are held for weeks. Weighed by the next day's GARCH forecast
#: the book churns: on 15 pairs of 2021-25 that took 1.3 off the Sharpe ratio.
RISK_HORIZON_DAYS = 30.0
#: A newcomer needs a month of settlements; one in ten may be missing.
HISTORY_DAYS_MIN = 27.0
#: What the last month must have paid a year before a newcomer's other costs are even weighed: below it the
#: next weeks decide between paying and not, and the pair would be left again.
ENTRY_APR_MIN = 0.03
#: A pair whose last settlement is older than this many of its intervals (and an hour) does not settle.
_INTERVALS_MAX = 2
_NO_PLACE = "no place in the book"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One pair as the selector sees it at a moment."""

    pair_id: PairId
    narrative: Narrative
    #: In the pair's direction. It may be longer than what is known: the selector reads up to its own now.
    #: None: there is no usable history, and `missing` says why.
    series: CarrySeries | None
    #: None: the venue names no interval, which makes the pair untradable.
    interval_minutes: int | None
    facts: PairFacts
    #: Fees of both legs in and out plus slippage, bps of one leg's notional; None is unknown.
    round_trip_cost_bps: float | None
    #: USD of one leg held now, >= 0.
    held_usd: Decimal
    missing: str = ""
    #: Largest one leg by depth and open interest, USD; infinite: nothing of this kind bounds it.
    liquidity_usd: float = math.inf
    #: Margin that one USD of the pair consumes of its narrative's budget, at reference leverage; 0: no cap;
    #: None: a risk table is missing, which makes the pair untradable.
    narrative_use: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Selection:
    """The selector's answer."""

    #: Every pair that could be scored, best quality first.
    scores: tuple[PairScore, ...]
    #: Pairs that may be entered or kept, best first.
    eligible: tuple[PairId, ...]
    #: Why a pair is not eligible.
    excluded: Mapping[PairId, str]
    #: Held pairs that lack an input: nothing is known against them, so they are left as they are.
    untouched: frozenset[PairId]
    #: Target share of the book by eligible pair, after caps; sums to at most 1.
    weights: Mapping[PairId, float]
    #: Share of the book that caps leave in cash.
    unplaced: float
    #: The decision of the gates for every pair, one line each.
    gates: Mapping[PairId, str]
    #: What keeps a pair from a larger weight: `pair_share`, `liquidity`, `narrative:NAME`.
    bound_by: Mapping[PairId, str]
    #: Weights before caps and what bounds them, both in the order of `eligible`, for sizing at other sizes.
    fixed_point: FixedPoint
    caps: BookCaps
    #: Forecast of daily returns of the eligible pairs, in their order.
    risk: RiskForecast
    #: What volatility and correlation are from: `dcc-garch` or `ewma`, and why not the former.
    risk_method: str
    risk_reason: str | None

    def resized(self, narrative_usd: float, book_usd: float) -> "Selection":
        """The same choice in an account with this budget per narrative, at this one-leg total (USD)."""
        caps = replace(self.caps, narrative_usd=narrative_usd)
        capped = cap_weights(self.fixed_point.weights, caps, book_usd)
        return replace(self, caps=caps, **_placed(self.eligible, capped))


@dataclass(frozen=True, slots=True, eq=False)
class Universe:
    """Candidates scored at one moment: what does not depend on which of them are held."""

    candidates: tuple[Candidate, ...]
    #: Those whose inputs are there, in the order of the candidates.
    usable: tuple[Candidate, ...]
    #: Every pair that could be scored, best quality first.
    ranked: tuple[PairScore, ...]
    #: Why the others could not.
    refused: Mapping[PairId, str]
    #: Forecast of daily returns of the usable ones, in their order.
    risk: RiskForecast


@dataclass(slots=True)
class _Places:
    """The book being filled: pairs held before, pairs chosen, and what was decided about each."""

    held: frozenset[PairId]
    chosen: list[PairScore] = field(default_factory=list)
    excluded: dict[PairId, str] = field(default_factory=dict)
    gates: dict[PairId, str] = field(default_factory=dict)

    def refuse(self, pair_id: PairId, why: str) -> None:
        self.excluded[pair_id] = self.gates[pair_id] = why


class UniverseSelector:
    """Scores candidates, applies the entry and exit rules, and weighs what is left. Stateless."""

    def __init__(
        self,
        book: BookLimits,
        trade: TradeLimits,
        allocation: AllocationPolicy | None = None,
        *,
        risk_method: Method = "dcc-garch",
    ) -> None:
        self._book = book
        self._trade = trade
        self._allocation = allocation or AllocationPolicy()
        self._risk_method: Method = risk_method

    def select(
        self,
        candidates: Sequence[Candidate],
        now_market_ns: int,
        *,
        risk: RiskForecast | None = None,
        equity_usd: float = math.inf,
        book_usd: float = 1.0,
    ) -> Selection:
        """Rank and weigh. A candidate that lacks an input is excluded with the reason, never scored 0.

        Args:
            candidates: In any order; equal qualities rank by name.
            now_market_ns: The moment of the decision; nothing later is looked at.
            risk: Forecast of daily returns with one column per candidate; None: made here from the window.
            equity_usd: Account equity that narrative caps are a share of.
            book_usd: Size of the book that caps are taken at: the one-leg total expected, above 0.

        Raises:
            InputError: the forecast has another number of columns, or a correlation is not usable.
        """
        universe = self.score(candidates, now_market_ns, risk=risk)
        return self.choose(universe, equity_usd=equity_usd, book_usd=book_usd)

    def score(
        self, candidates: Sequence[Candidate], now_market_ns: int, *, risk: RiskForecast | None = None
    ) -> Universe:
        """The half of `select` that does not depend on what is held; arguments and errors as there."""
        refused: dict[PairId, str] = {}
        usable = []
        for number, candidate in enumerate(candidates):
            why = _unusable(candidate, now_market_ns)
            if why is None:
                usable.append(number)
            else:
                refused[candidate.pair_id] = why
        found = [candidates[number] for number in usable]
        series = [row.series for row in found if row.series is not None]
        panel = carry_panel(series, now_market_ns, WINDOW_DAYS)
        if risk is None:
            history = carry_panel(series, now_market_ns, RISK_DAYS).daily_returns()
            forecast = forecast_risk(history, method=self._risk_method, horizon=RISK_HORIZON_DAYS)
        else:
            forecast = _columns(risk, usable)
        rows = _scored(panel, found, forecast, refused)
        ranked = tuple(sorted(rows.values(), key=lambda row: (-row.quality, row.pair_id)))
        return Universe(tuple(candidates), tuple(found), ranked, refused, forecast)

    def choose(
        self,
        universe: Universe,
        *,
        held: Collection[PairId] | None = None,
        equity_usd: float = math.inf,
        book_usd: float = 1.0,
    ) -> Selection:
        """The other half: fill the book's places and weigh them.

        Args:
            universe: From `score`.
            held: Pairs that are held; None: those whose candidates say so.
            equity_usd: As in `select`.
            book_usd: As in `select`.

        Raises:
            InputError: a correlation is not usable.
        """
        holds = (
            frozenset(row.pair_id for row in universe.candidates if row.held_usd > 0)
            if held is None
            else frozenset(held)
        )
        places = _Places(holds, excluded=dict(universe.refused), gates=dict(universe.refused))
        by_id = {candidate.pair_id: candidate for candidate in universe.usable}
        self._fill(universe.ranked, by_id, places)
        chosen = sorted(places.chosen, key=lambda row: (-row.quality, row.pair_id))
        numbers = {candidate.pair_id: number for number, candidate in enumerate(universe.usable)}
        risk = _columns(universe.risk, [numbers[row.pair_id] for row in chosen])
        solved = self._weigh(chosen, risk)
        caps = self._caps([by_id[row.pair_id] for row in chosen], equity_usd)
        capped = cap_weights(solved.weights, caps, book_usd)
        eligible = tuple(row.pair_id for row in chosen)
        return Selection(
            scores=universe.ranked,
            eligible=eligible,
            excluded=places.excluded,
            untouched=holds - {row.pair_id for row in universe.ranked},
            gates=places.gates,
            fixed_point=solved,
            caps=caps,
            risk=risk,
            risk_method=risk.method,
            risk_reason=risk.reason,
            **_placed(eligible, capped),
        )

    def _fill(self, ranked: Sequence[PairScore], by_id: Mapping[PairId, Candidate], places: _Places) -> None:
        """Fill the book's places: held pairs first; a newcomer replaces the worst only by the swap rule."""
        for row in ranked:
            if row.pair_id in places.held:
                self._keep(row, places)
        for row in ranked:
            candidate = by_id[row.pair_id]
            if row.pair_id not in places.held:
                why = self._enters(row, candidate, places)
                if why is not None:
                    places.refuse(row.pair_id, why)
                elif len(places.chosen) < self._book.pairs_max:
                    places.chosen.append(row)
                else:
                    self._swap(row, by_id, places)

    def _keep(self, row: PairScore, places: _Places) -> None:
        verdict = exit_gate(row)
        if verdict.passes:
            places.refuse(row.pair_id, verdict.why)
        elif len(places.chosen) >= self._book.pairs_max:
            places.refuse(row.pair_id, _NO_PLACE)
        else:
            places.chosen.append(row)
            places.gates[row.pair_id] = verdict.why

    def _enters(self, row: PairScore, candidate: Candidate, places: _Places) -> str | None:
        """Why not; None when it may."""
        if row.history_days < HISTORY_DAYS_MIN:
            return f"{row.history_days:.0f} days of history, {HISTORY_DAYS_MIN:.0f} needed"
        month = row.apr_30d + row.leverage_apr
        if month < ENTRY_APR_MIN:
            return f"the last 30 days paid {month:.2%} a year, {ENTRY_APR_MIN:.0%} needed"
        if row.quality < float(self._book.quality_min):
            return f"quality {row.quality:.4f} below {self._book.quality_min}"
        if candidate.round_trip_cost_bps is None:
            return "the round trip cost is unknown"
        gate = cost_gate(row, candidate.round_trip_cost_bps, self._trade)
        places.gates[row.pair_id] = gate.why
        return None if gate.passes else gate.why

    def _swap(self, row: PairScore, by_id: Mapping[PairId, Candidate], places: _Places) -> None:
        worst = min(places.chosen, key=lambda one: (one.quality, one.pair_id))
        old, new = by_id[worst.pair_id], by_id[row.pair_id]
        if (
            worst.pair_id not in places.held
            or old.round_trip_cost_bps is None
            or new.round_trip_cost_bps is None
        ):
            places.refuse(row.pair_id, _NO_PLACE)
            return
        verdict = swap_gate(row, worst, (new.round_trip_cost_bps, old.round_trip_cost_bps), self._trade)
        if not verdict.passes:
            places.refuse(row.pair_id, verdict.why)
            return
        places.chosen[places.chosen.index(worst)] = row
        places.gates[row.pair_id] = verdict.why
        places.refuse(worst.pair_id, f"swapped for {row.pair_id}")

    def _weigh(self, scores: Sequence[PairScore], risk: RiskForecast) -> FixedPoint:
        return softmax_weights(
            np.array([row.sharpe for row in scores], dtype=np.float64),
            np.array([row.stability for row in scores], dtype=np.float64),
            risk.correlation,
            self._allocation,
        )

    def _caps(self, chosen: Sequence[Candidate], equity_usd: float) -> BookCaps:
        """The book's caps; a pair that consumes none of a narrative's budget is not bound by it."""
        return BookCaps(
            share=np.full(len(chosen), float(self._book.pair_book_share_max)),
            # A thin market, or one with a side missing, forbids growth: it is no reason to leave.
            liquidity_usd=_array([np.maximum(row.liquidity_usd, float(row.held_usd)) for row in chosen]),
            narratives=[row.narrative for row in chosen],
            narrative_use=_array([self._use(row) for row in chosen]),
            narrative_usd=float(self._book.narrative_equity_share_max) * equity_usd,
            by_notional=self._allocation.narrative_by_notional,
        )

    def _use(self, candidate: Candidate) -> float:
        """What one USD of a pair, whose margin is known by now, takes of its narrative's budget."""
        return 1.0 if self._allocation.narrative_by_notional else candidate.narrative_use or 0.0


class _Placed(TypedDict):
    """The fields of a `Selection` that its caps decide."""

    weights: Mapping[PairId, float]
    unplaced: float
    bound_by: Mapping[PairId, str]


def _placed(eligible: Sequence[PairId], capped: CappedWeights) -> _Placed:
    bounds = zip(eligible, capped.bound_by, strict=True)
    return {
        "weights": dict(zip(eligible, capped.weights.tolist(), strict=True)),
        "unplaced": capped.unplaced,
        "bound_by": {pair: why for pair, why in bounds if why is not None},
    }


def _array(values: Sequence[float]) -> Floats:
    return np.array(values, dtype=np.float64)


def _columns(risk: RiskForecast, keep: Sequence[int]) -> RiskForecast:
    """The forecast of some of its pairs, in the order given."""
    index = np.array(keep, dtype=np.int64)
    return replace(
        risk,
        volatility=risk.volatility[index],
        correlation=risk.correlation[np.ix_(index, index)],
        pair_reasons=tuple(risk.pair_reasons[number] for number in keep),
    )


def _unusable(candidate: Candidate, now_market_ns: int) -> str | None:
    """Which input is missing; None when the pair can be scored as far as this shows."""
    if candidate.interval_minutes is None:
        return "the venue names no funding interval"
    if candidate.series is None:
        return candidate.missing
    if not math.isfinite(candidate.facts.borrow_apr - (candidate.facts.staking_apr or 0.0)):
        return "what borrowing costs is unknown"
    if candidate.narrative_use is None:
        return "the margin that it needs is unknown: a risk table is missing"
    past = int(candidate.series.times_ns.searchsorted(now_market_ns, side="right"))
    if past == 0:
        return "no settlement yet"
    quiet = now_market_ns - int(candidate.series.times_ns[past - 1])
    if quiet > _INTERVALS_MAX * candidate.interval_minutes * MINUTE_NS + HOUR_NS:
        return f"no settlement for {quiet // HOUR_NS} h: halted or delisted"
    return None


def _scored(
    panel: CarryPanel, found: Sequence[Candidate], risk: RiskForecast, refused: dict[PairId, str]
) -> dict[PairId, PairScore]:
    names = [candidate.pair_id for candidate in found]
    scores = score_universe(panel, [candidate.facts for candidate in found], risk.volatility)
    out = {}
    for pair_id, row in zip(names, scores.rows(names), strict=True):
        if row is None:
            refused[pair_id] = "the last 30 days are not covered by settlements"
        else:
            out[pair_id] = row
    return out
