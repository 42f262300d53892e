"""get_portfolio: the book, its margin and its guard."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from portfolio.core.decimals import plain
from portfolio.core.entries import GuardActed
from portfolio.core.margin.results import LiquidationPrices
from portfolio.core.pairs import ArbitragePair, PairStatus
from portfolio.ports import Recorded
from portfolio.service import DeskService, DeskSnapshot, Principal
from tools.book import (
    basis_bps,
    carry_usd_per_day,
    figures,
    gross_usd,
    notional_usd,
    reference_price,
    utilisation,
)
from tools.inputs import Detail
from tools.intent_rows import IntentBlock, intent_block
from tools.liquidation import liquidations
from tools.results import Common, MarginBlock, head, margin_block, moment, ratio, seconds, usd
from tools.spec import READING, Arguments, Tool

#: Actions and intents shown without `detail: full`.
_CONCISE_MAX = 5


class PortfolioArguments(Arguments):
    """Input."""

    detail: Detail = "concise"
    pnl_window: Annotated[
        Literal["1d", "7d", "30d"], Field(description="Market-clock window of the attribution.")
    ] = "1d"


class PairBlock(BaseModel):
    """One pair. Quantities are base coins; carry is at the predicted rate, positive: received."""

    pair: str
    status: str
    narrative: str
    notional_usd: str | None = Field(description="One leg, hedged coins only.")
    long_coins: str
    short_coins: str
    target_coins: str
    unhedged_coins: str = Field(description="Long minus short.")
    unhedged_usd: str | None
    carry_usd_per_day: str | None
    funding_rate: str | None = Field(description="Predicted, per interval; positive: longs pay shorts.")
    interval_minutes: int | None
    basis_bps: str | None
    quality_score: str | None
    liquidation_below_usd: str | None = Field(
        description="Price of the coin at which the ACCOUNT liquidates, on the way down."
    )
    liquidation_above_usd: str | None = Field(description="The same on the way up.")


class GuardActionBlock(BaseModel):
    """Something the guard did by itself."""

    at: str
    rule: str
    pairs: list[str]
    detail: str
    health_before: str | None
    health_planned: str | None


class GuardBlock(BaseModel):
    """The guard."""

    state: str
    heartbeat_age_s: float | None
    margin_gap: str | None = Field(description="Ours against the venue's figures, a fraction.")
    held_pairs: list[str]
    last_actions: list[GuardActionBlock]


class FreezeBlock(BaseModel):
    """Why nothing may be added now, and who lifts that."""

    source: str
    reason: str
    lifted_by: str
    since: str


class AttributionBlock(BaseModel):
    """Where the money came from; null parts are not measured yet."""

    window: str
    carry_expected_usd_per_day: str | None


class PortfolioResult(Common):
    """Output."""

    margin: MarginBlock | None
    venue_margin: MarginBlock | None = Field(description="The venue's own figures at its last full read.")
    gross_usd: str | None
    utilisation: str | None = Field(description="Gross USD of all legs over total equity.")
    pairs: list[PairBlock]
    guard: GuardBlock
    freezes: list[FreezeBlock]
    halted: bool
    intents: list[IntentBlock]
    mandates: list[str] = Field(description="Standing permissions this token may use.")
    attribution: AttributionBlock


async def get_portfolio(
    desk: DeskService, principal: Principal, arguments: PortfolioArguments
) -> PortfolioResult:
    """Read the desk once and show it."""
    return await show(await desk.read(principal), arguments)


async def show(snapshot: DeskSnapshot, arguments: PortfolioArguments) -> PortfolioResult:
    """A snapshot as a result; the operator's `status` shows the same."""
    full = arguments.detail == "full"
    shown = [pair for pair in snapshot.pairs if full or _in_use(snapshot, pair)]
    totals = figures(snapshot)
    used, gross = utilisation(snapshot), gross_usd(snapshot)
    intents = [row for row in snapshot.intents if full or not row.status.final]
    coins = sorted({pair.spec.coin for pair in shown if _in_use(snapshot, pair)})
    ends = await liquidations(snapshot, coins)
    return PortfolioResult(
        **head(snapshot, _summary(snapshot), _next(snapshot)),
        margin=None if totals is None else margin_block(totals),
        venue_margin=None if snapshot.venue is None else margin_block(snapshot.venue.figures),
        gross_usd=None if gross is None else usd(gross),
        utilisation=None if used is None else ratio(used),
        pairs=[_pair(snapshot, pair, ends.get(pair.spec.coin)) for pair in shown],
        guard=_guard(snapshot, full=full),
        freezes=[
            FreezeBlock(
                source=freeze.source,
                reason=freeze.reason,
                lifted_by=freeze.lifted_by,
                since=moment(freeze.since_wire_ns),
            )
            for freeze in snapshot.freezes
        ],
        halted=snapshot.halted,
        intents=[intent_block(row) for row in intents],
        mandates=[],
        attribution=AttributionBlock(
            window=arguments.pnl_window, carry_expected_usd_per_day=_text(_carry(snapshot))
        ),
    )


def _in_use(snapshot: DeskSnapshot, pair: ArbitragePair) -> bool:
    """Held, on its way in or out, or with a leg alone."""
    legs = snapshot.legs.get(pair.spec.pair_id)
    moving = pair.status is not PairStatus.FLAT or pair.size > 0
    return moving or (legs is not None and (legs.long_quantity > 0 or legs.short_quantity > 0))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else usd(value)


def _carry(snapshot: DeskSnapshot) -> Decimal | None:
    total = Decimal(0)
    for pair in snapshot.pairs:
        legs = snapshot.legs.get(pair.spec.pair_id)
        if legs is None or legs.hedged == 0:
            continue
        carry = carry_usd_per_day(snapshot, pair.spec, legs.hedged)
        if carry is None:
            return None
        total += carry
    return total


def _summary(snapshot: DeskSnapshot) -> str:
    totals, used, carry = figures(snapshot), utilisation(snapshot), _carry(snapshot)
    if totals is None:
        return "The account has not been read yet."
    held = sum(1 for legs in snapshot.legs.values() if legs.hedged > 0)
    parts = [
        f"{held} pairs held",
        f"equity {usd(totals.total_equity)} USD",
        f"health {ratio(totals.health_score, 3)}",
    ]
    if used is not None:
        parts.append(f"utilisation {ratio(used, 2)}")
    if carry is not None:
        parts.append(f"expected carry {usd(carry)} USD a day")
    return f"{', '.join(parts)}; the guard is {snapshot.guard.state}."


def _next(snapshot: DeskSnapshot) -> str:
    if snapshot.halted:
        return "Only the operator can resume."
    if snapshot.stale:
        return "Wait until the data is fresh."
    waiting = [row for row in snapshot.intents if not row.status.final]
    if waiting:
        return f"{len(waiting)} intents are open; get_intent shows each."
    return "get_market_scores ranks what could be held; simulate_margin answers what if."


def _pair(snapshot: DeskSnapshot, pair: ArbitragePair, end: LiquidationPrices | None) -> PairBlock:
    spec, legs = pair.spec, snapshot.legs.get(pair.spec.pair_id)
    zero = Decimal(0)
    long, short = (zero, zero) if legs is None else (legs.long_quantity, legs.short_quantity)
    unhedged = long - short
    price, outlook = reference_price(snapshot, spec.lead_leg), snapshot.funding.get(spec.lead_leg)
    basis = basis_bps(snapshot, spec)
    return PairBlock(
        pair=spec.pair_id,
        status=pair.status.value,
        narrative=pair.narrative,
        notional_usd=_text(notional_usd(snapshot, spec.pair_id, spec)),
        long_coins=plain(long),
        short_coins=plain(short),
        target_coins=plain(pair.size),
        unhedged_coins=plain(unhedged),
        unhedged_usd=None if price is None else usd(unhedged * price),
        carry_usd_per_day=_text(carry_usd_per_day(snapshot, spec, min(long, short))),
        funding_rate=None if outlook is None else ratio(outlook.predicted_rate, 8),
        interval_minutes=None if outlook is None else outlook.interval_minutes,
        basis_bps=None if basis is None else ratio(basis, 2),
        quality_score=None if pair.quality_score is None else ratio(pair.quality_score),
        liquidation_below_usd=None if end is None else _text(end.below),
        liquidation_above_usd=None if end is None else _text(end.above),
    )


def _guard(snapshot: DeskSnapshot, *, full: bool) -> GuardBlock:
    guard = snapshot.guard
    actions = guard.last_actions if full else guard.last_actions[:_CONCISE_MAX]
    return GuardBlock(
        state=guard.state,
        heartbeat_age_s=seconds(guard.heartbeat_age_ns),
        margin_gap=None if guard.margin_gap is None else ratio(guard.margin_gap, 6),
        held_pairs=list(guard.held_pairs),
        last_actions=[block for block in map(guard_action, actions) if block is not None],
    )


def guard_action(recorded: Recorded) -> GuardActionBlock | None:
    """A journalled guard action; None for any other entry."""
    entry = recorded.entry
    if not isinstance(entry, GuardActed):
        return None
    before, planned = entry.health_before, entry.health_planned
    return GuardActionBlock(
        at=moment(recorded.wire_ns),
        rule=entry.rule,
        pairs=list(entry.pairs),
        detail=entry.detail,
        health_before=None if before is None else ratio(before),
        health_planned=None if planned is None else ratio(planned),
    )


TOOL = Tool(
    name="get_portfolio",
    title="Portfolio",
    description=(
        "The carry book as it is now: margin and health, every held pair with its legs, carry a day and "
        "liquidation prices, the guard's state and last actions, what freezes entries and who lifts it, "
        "and open intents. Call it first, and again after anything changed. Amounts are USD unless the "
        "name says coins. Read-only; nobody is asked. For pairs you could enter use get_market_scores."
    ),
    arguments=PortfolioArguments,
    result=PortfolioResult,
    hints=READING,
    run=get_portfolio,
)
