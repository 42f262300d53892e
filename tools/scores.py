"""get_market_scores: what could be held, best first, and why the rest may not."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from portfolio.core.errors import InputError, UnknownNameError
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.scoring import PairScore
from portfolio.core.selection import Candidate, Selection
from portfolio.service import DeskService, DeskSnapshot, Principal
from tools.book import basis_bps
from tools.headroom import max_notional_usd
from tools.inputs import Amount, Detail, PairName
from tools.ranking import rank
from tools.results import Common, head, ratio, real, usd
from tools.spec import READING, Arguments, Tool

SortKey = Literal["quality_score", "sharpe", "net_carry_apr", "funding_rate"]


class ScoresArguments(Arguments):
    """Input."""

    pairs: Annotated[tuple[PairName, ...], Field(max_length=40, description="Only these; empty: all.")] = ()
    venues: Annotated[
        tuple[Literal["bybit"], ...], Field(max_length=3, description="Only these venues.")
    ] = ()
    narrative: Annotated[str | None, Field(max_length=40, description="Only this narrative.")] = None
    min_quality: Annotated[Amount | None, Field(description="Only scores of at least this.")] = None
    tradable_only: Annotated[bool, Field(description="Only pairs that may be entered or kept now.")] = False
    sort: Annotated[SortKey, Field(description="Largest first.")] = "quality_score"
    limit: Annotated[int, Field(ge=1, le=50)] = 20
    cursor: Annotated[
        str | None, Field(pattern=r"^[0-9]{1,6}$", description="next_cursor of the page before.")
    ] = None
    detail: Detail = "concise"


class ScoreParts(BaseModel):
    """What a quality score is made of."""

    yield_part: str
    risk_part: str
    maturity_part: str
    stability: str
    apr_1d: str
    apr_7d: str
    apr_30d: str
    apr_90d: str
    forecast_apr: str = Field(description="Expected over the next 30 days, before what leverage costs.")
    regime_age_days: str
    steadiness: str
    share_positive: str
    share_flips: str
    volatility: str
    regime_factor: str
    momentum_factor: str
    basis_factor: str | None
    predicted_factor: str | None
    open_interest_factor: str | None
    holding_days: str
    half_life_days: str
    expected_gain_bps: str = Field(
        description="Net carry over holding_days when today's carry reverts to its mean, bps of one leg."
    )


class ScoreRow(BaseModel):
    """One pair. APRs are fractions a year, net of borrowing, before fees."""

    pair: str
    narrative: str
    quality_score: str | None
    sharpe: str | None
    net_carry_apr: str | None
    funding_rate: str | None = Field(description="Predicted, per interval; positive: longs pay shorts.")
    interval_minutes: int | None
    basis_bps: str | None
    round_trip_cost_bps: str | None
    payback_days: str | None = Field(description="Days of net carry that pay for a round trip.")
    weight: str | None = Field(description="Share of the book that the engine would give it.")
    weight_bound_by: str | None = Field(description="The cap that keeps the weight from being larger.")
    held_notional_usd: str
    max_notional_usd: str | None = Field(description="One leg; with detail full only.")
    binding_limit: str | None
    why_not: str | None = Field(description="Null: it may be entered or kept now.")
    gate: str | None = Field(description="What the entry, cost, swap or exit gate decided, in one line.")
    parts: ScoreParts | None


class ScoresResult(Common):
    """Output."""

    rows: list[ScoreRow]
    excluded: dict[str, list[str]] = Field(description="Pairs that may not be entered, by reason.")
    next_cursor: str | None


async def get_market_scores(
    desk: DeskService, principal: Principal, arguments: ScoresArguments
) -> ScoresResult:
    """Rank from one snapshot, filter, sort, cut a page."""
    snapshot = await desk.read(principal)
    found, selection = await rank(desk, principal, snapshot)
    by_id = {candidate.pair_id: candidate for candidate in found}
    _check_names(arguments, by_id)
    scores = {score.pair_id: score for score in selection.scores}
    wanted = [
        candidate
        for candidate in found
        if _passes(arguments, snapshot, selection, scores.get(candidate.pair_id), candidate)
    ]
    wanted.sort(key=lambda one: (-_key(arguments.sort, snapshot, one, scores.get(one.pair_id)), one.pair_id))
    start = int(arguments.cursor or 0)
    page = wanted[start : start + arguments.limit]
    full = arguments.detail == "full"
    more = start + len(page) < len(wanted)
    rows = [_row(snapshot, selection, one, scores.get(one.pair_id), full=full) for one in page]
    return ScoresResult(
        **head(
            snapshot, _summary(selection, wanted, scores), "simulate_margin answers what a size would do."
        ),
        rows=rows,
        excluded=_by_reason(selection),
        next_cursor=str(start + len(page)) if more else None,
    )


def _check_names(arguments: ScoresArguments, known: dict[PairId, Candidate]) -> None:
    for name in arguments.pairs:
        if PairId(name) not in known:
            raise UnknownNameError(
                f"{name} is not a pair of this desk.",
                field="pairs",
                allowed=", ".join(sorted(known)),
                next_step="Name one of these.",
            )
    if arguments.cursor is not None and int(arguments.cursor) >= max(1, len(known)):
        raise InputError("That cursor is past the end.", field="cursor", next_step="Start without a cursor.")


def _narrative(snapshot: DeskSnapshot, pair_id: PairId) -> str:
    return next(pair.narrative for pair in snapshot.pairs if pair.spec.pair_id == pair_id)


def _passes(
    arguments: ScoresArguments,
    snapshot: DeskSnapshot,
    selection: Selection,
    score: PairScore | None,
    candidate: Candidate,
) -> bool:
    pair_id = candidate.pair_id
    if arguments.pairs and pair_id not in arguments.pairs:
        return False
    if arguments.venues and not any(pair_id.partition("@")[2].startswith(v) for v in arguments.venues):
        return False
    if arguments.narrative is not None and _narrative(snapshot, pair_id) != arguments.narrative:
        return False
    if arguments.min_quality is not None and (score is None or score.quality < float(arguments.min_quality)):
        return False
    return not (arguments.tradable_only and pair_id not in selection.eligible)


def _key(sort: SortKey, snapshot: DeskSnapshot, candidate: Candidate, score: PairScore | None) -> float:
    if sort == "funding_rate":
        outlook = snapshot.funding.get(_lead(snapshot, candidate.pair_id))
        return float("-inf") if outlook is None else float(outlook.predicted_rate)
    if score is None:
        return float("-inf")
    values = {"quality_score": score.quality, "sharpe": score.sharpe, "net_carry_apr": score.net_carry_apr}
    return values[sort]


def _lead(snapshot: DeskSnapshot, pair_id: PairId) -> InstrumentId:
    return next(pair.spec.lead_leg for pair in snapshot.pairs if pair.spec.pair_id == pair_id)


def _row(
    snapshot: DeskSnapshot,
    selection: Selection,
    candidate: Candidate,
    score: PairScore | None,
    *,
    full: bool,
) -> ScoreRow:
    pair = next(pair for pair in snapshot.pairs if pair.spec.pair_id == candidate.pair_id)
    outlook = snapshot.funding.get(pair.spec.lead_leg)
    basis = basis_bps(snapshot, pair.spec)
    cost = candidate.round_trip_cost_bps
    weight = selection.weights.get(candidate.pair_id)
    room = max_notional_usd(snapshot, candidate.pair_id) if full else None
    return ScoreRow(
        pair=candidate.pair_id,
        narrative=pair.narrative,
        quality_score=None if score is None else real(score.quality),
        sharpe=None if score is None else real(score.sharpe, 2),
        net_carry_apr=None if score is None else real(score.net_carry_apr),
        funding_rate=None if outlook is None else ratio(outlook.predicted_rate, 8),
        interval_minutes=candidate.interval_minutes,
        basis_bps=None if basis is None else ratio(basis, 2),
        round_trip_cost_bps=None if cost is None else real(cost, 1),
        payback_days=_payback(score, cost),
        weight=None if weight is None else real(weight),
        weight_bound_by=selection.bound_by.get(candidate.pair_id),
        held_notional_usd=usd(candidate.held_usd),
        max_notional_usd=None if room is None else usd(room[0]),
        binding_limit=None if room is None else room[1],
        why_not=selection.excluded.get(candidate.pair_id),
        gate=selection.gates.get(candidate.pair_id),
        parts=_parts(score) if full and score is not None else None,
    )


def _payback(score: PairScore | None, cost_bps: float | None) -> str | None:
    if score is None or cost_bps is None or score.net_carry_apr <= 0:
        return None
    return real(cost_bps / 10_000 / (score.net_carry_apr / 365), 1)


def _parts(score: PairScore) -> ScoreParts:
    return ScoreParts(
        yield_part=real(score.yield_part),
        risk_part=real(score.risk_part),
        maturity_part=real(score.maturity_part),
        stability=real(score.stability),
        apr_1d=real(score.apr_1d),
        apr_7d=real(score.apr_7d),
        apr_30d=real(score.apr_30d),
        apr_90d=real(score.apr_90d),
        forecast_apr=real(score.forecast_apr),
        regime_age_days=real(score.regime_age_days, 1),
        steadiness=real(score.steadiness),
        share_positive=real(score.share_positive),
        share_flips=real(score.share_flips),
        volatility=real(score.volatility),
        regime_factor=real(score.regime_factor),
        momentum_factor=real(score.momentum_factor),
        basis_factor=_real(score.basis_factor),
        predicted_factor=_real(score.predicted_factor),
        open_interest_factor=_real(score.open_interest_factor),
        holding_days=real(score.holding_days, 1),
        half_life_days=real(score.half_life_days, 1),
        expected_gain_bps=real(score.expected_gain * 10_000, 1),
    )


def _real(value: float | None) -> str | None:
    return None if value is None else real(value)


def _by_reason(selection: Selection) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair_id, why in sorted(selection.excluded.items()):
        found.setdefault(why.removeprefix(f"{pair_id}: "), []).append(pair_id)
    return found


def _summary(selection: Selection, wanted: list[Candidate], scores: dict[PairId, PairScore]) -> str:
    text = f"{len(wanted)} pairs match, {len(selection.eligible)} may be held now"
    best = next((scores[one.pair_id] for one in wanted if one.pair_id in scores), None)
    if best is None:
        return f"{text}."
    carry = real(best.net_carry_apr)
    return f"{text}; first is {best.pair_id} with net carry {carry} a year before fees."


TOOL = Tool(
    name="get_market_scores",
    title="Market scores",
    description=(
        "Rank the carry pairs: quality score, Sharpe, net carry a year (a fraction, after borrowing, "
        "before fees), predicted funding with its interval, basis, cost of a round trip and how many days "
        "of carry pay for it, what is held, and why a pair may not be entered now. detail full adds the "
        "parts of each score and the largest size that fits with the limit that binds. Use "
        "simulate_margin before proposing a size. Read-only."
    ),
    arguments=ScoresArguments,
    result=ScoresResult,
    hints=READING,
    run=get_market_scores,
)
