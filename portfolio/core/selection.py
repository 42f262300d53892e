"""UniverseSelector: which pairs may be held, in what order, and why the others may not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from portfolio.core.allocation import CappedWeights, cap_weights, softmax_weights
from portfolio.core.carry import CarrySeries, Floats
from portfolio.core.covariance import daily_returns, ewma_correlation
from portfolio.core.errors import MissingDataError
from portfolio.core.hysteresis import cost_gate, should_exit, swap_allowed
from portfolio.core.limits import BookLimits, TradeLimits
from portfolio.core.names import Narrative, PairId
from portfolio.core.scoring import PairFacts, PairScore, score


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
    #: Taker fees of both legs in and out plus slippage, bps of one leg's notional; None is unknown.
    round_trip_cost_bps: float | None
    #: USD of one leg held now, >= 0.
    held_usd: Decimal
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """The selector's answer."""

    #: Every pair that could be scored, best quality first.
    scores: tuple[PairScore, ...]
    #: Pairs that may be entered or kept, best first.
    eligible: tuple[PairId, ...]
    #: Why a pair is not eligible.
    excluded: Mapping[PairId, str]
    #: Target share of the book by pair, after caps; sums to at most 1.
    weights: Mapping[PairId, float]
    #: Share of the book that caps leave in cash.
    unplaced: float


class UniverseSelector:
    """Scores candidates, applies the entry and exit rules, and weighs what is left. Stateless."""

    def __init__(self, book: BookLimits, trade: TradeLimits) -> None:
        self._book = book
        self._trade = trade

    def select(self, candidates: Sequence[Candidate], now_market_ns: int) -> Selection:
        """Rank and weigh. A candidate that lacks an input is excluded with the reason, never scored 0."""
        series: dict[PairId, CarrySeries] = {}
        scores: dict[PairId, PairScore] = {}
        excluded: dict[PairId, str] = {}
        for candidate in candidates:
            try:
                series[candidate.pair_id], scores[candidate.pair_id] = _scored(candidate, now_market_ns)
            except MissingDataError as missing:
                excluded[candidate.pair_id] = missing.message
        ranked = sorted(scores.values(), key=lambda row: (-row.quality, row.pair_id))
        by_id = {candidate.pair_id: candidate for candidate in candidates}
        eligible: list[PairId] = []
        for row in ranked:
            why = self._why_not(by_id[row.pair_id], row)
            if why is None:
                eligible.append(row.pair_id)
            else:
                excluded[row.pair_id] = why
        eligible = self._within_places(eligible, scores, by_id, excluded)
        capped = self._weigh([series[p] for p in eligible], [scores[p] for p in eligible])
        weights = {pair: float(w) for pair, w in zip(eligible, capped.weights, strict=True)}
        return Selection(tuple(ranked), tuple(eligible), excluded, weights, capped.unplaced)

    def _why_not(self, candidate: Candidate, row: PairScore) -> str | None:
        """None when the pair may be held; held pairs stay until the exit rule says so."""
        if candidate.held_usd > 0:
            return "week and blended carry are negative" if should_exit(row) else None
        if row.quality < float(self._book.quality_min):
            return f"quality {row.quality:.4f} below {self._book.quality_min}"
        if candidate.round_trip_cost_bps is None:
            return "the round trip cost is unknown"
        gate = cost_gate(row, candidate.round_trip_cost_bps, self._trade)
        return None if gate.passes else gate.why

    def _within_places(
        self,
        eligible: list[PairId],
        scores: Mapping[PairId, PairScore],
        by_id: Mapping[PairId, Candidate],
        excluded: dict[PairId, str],
    ) -> list[PairId]:
        """Fill the book's places: held pairs first; a newcomer replaces the worst only by the swap rule."""
        held = [p for p in eligible if by_id[p].held_usd > 0]
        places = held[: self._book.pairs_max]
        for pair in held[self._book.pairs_max :]:
            excluded[pair] = "no place in the book"
        for pair in [p for p in eligible if by_id[p].held_usd == 0]:
            if len(places) < self._book.pairs_max:
                places.append(pair)
                continue
            worst = min(places, key=lambda p: scores[p].quality)
            if by_id[worst].held_usd > 0 and swap_allowed(scores[pair], scores[worst], self._trade):
                places[places.index(worst)] = pair
                excluded[worst] = f"swapped for {pair}"
            else:
                excluded[pair] = "no place in the book"
        return sorted(places, key=lambda p: (-scores[p].quality, p))

    def _weigh(self, series: Sequence[CarrySeries], scores: Sequence[PairScore]) -> CappedWeights:
        correlation = ewma_correlation(daily_returns(series))
        weights = softmax_weights(
            np.array([row.sharpe for row in scores], dtype=np.float64),
            np.array([row.stability for row in scores], dtype=np.float64),
            correlation,
        )
        caps: Floats = np.full(len(scores), float(self._book.pair_book_share_max))
        return cap_weights(weights, caps)


def _scored(candidate: Candidate, now_market_ns: int) -> tuple[CarrySeries, PairScore]:
    if candidate.interval_minutes is None:
        raise MissingDataError(f"{candidate.pair_id}: the venue names no funding interval.", field="interval")
    if candidate.series is None:
        raise MissingDataError(f"{candidate.pair_id}: {candidate.missing}.", field="settlements")
    series = candidate.series.until(now_market_ns)
    if len(series.times_ns) < 2:
        raise MissingDataError(f"{candidate.pair_id}: the last 30 days are not covered.", field="settlements")
    return series, score(candidate.pair_id, series, candidate.facts, now_market_ns)
