"""propose_rebalance: store exact new targets as an intent, for the operator to decide on."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from portfolio.core.decimals import ZERO, plain
from portfolio.core.errors import InputError, MissingDataError, RefusedError
from portfolio.core.names import InstrumentId, PairId
from portfolio.core.risk import FeeRates
from portfolio.service import DeskService, DeskSnapshot, Principal, Proposal, ProposalRequest, WantedTarget
from tools.book import notional_usd
from tools.engine_target import Allocation, engine_target
from tools.inputs import Amount, Fraction, PairName, RequestName, TargetArgument
from tools.intent_rows import NEXT
from tools.results import Common, MarginBlock, head, margin_block, moment, ratio, usd
from tools.spec import Arguments, Hints, Tool


class Constraints(Arguments):
    """What the proposal must keep to; each only ever makes it smaller."""

    turnover_max_usd: Annotated[
        Amount | None, Field(description="Largest sum of both legs' trades, USD.")
    ] = None
    cost_max_usd: Annotated[Amount | None, Field(description="Largest taker cost, USD.")] = None
    min_health: Annotated[
        Fraction | None,
        Field(description="Smallest health_score after; the desk's own minimum holds anyway."),
    ] = None
    reduce_only: Annotated[bool, Field(description="No pair may grow.")] = False
    exclude: Annotated[
        tuple[PairName, ...], Field(max_length=40, description="Pairs to leave as they are.")
    ] = ()


class ProposeArguments(Arguments):
    """Input."""

    kind: Annotated[
        Literal["engine_target", "changes"],
        Field(description="engine_target: the engine's own allocation; changes: the targets you give."),
    ]
    targets: Annotated[
        tuple[TargetArgument, ...],
        Field(max_length=40, description="For kind changes; pairs not named stay as they are."),
    ] = ()
    constraints: Constraints = Constraints()
    reason: Annotated[
        str,
        Field(min_length=1, max_length=500, description="Why, for the operator; shown marked as unverified."),
    ]
    request_id: RequestName | None = None
    expires_in_minutes: Annotated[int, Field(ge=1, le=30)] = 30

    @model_validator(mode="before")
    @classmethod
    def _targets_fit_kind(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("kind") in ("engine_target", "changes"):
            if data["kind"] == "changes" and not data.get("targets"):
                raise ValueError("kind changes needs targets")
            if data["kind"] == "engine_target" and data.get("targets"):
                raise ValueError("kind engine_target takes no targets; use kind changes")
        return data


class ChangeBlock(BaseModel):
    """One pair of the proposal; coins and USD of one leg."""

    pair: str
    from_coins: str
    to_coins: str
    from_usd: str
    to_usd: str
    cost_usd: str
    carry_usd_per_day: str
    gate: str = Field(description="The verdict of the gates in one line.")


class SkippedBlock(BaseModel):
    """A pair that is not part of the proposal."""

    pair: str
    why: str


class ProposeResult(Common):
    """Output."""

    status: str = Field(description="proposed, or no_change.")
    intent_id: str | None
    digest: str | None = Field(description="Pass it to execute_intent unchanged.")
    will_need: str = Field(description="human or mandate.")
    repeated: bool = Field(description="This request_id was proposed before; nothing new was stored.")
    changes: list[ChangeBlock]
    skipped: list[SkippedBlock]
    book_bound_by: str | None = Field(
        description="For engine_target: the limit that keeps the engine's book from being larger."
    )
    best_rejected: str | None = Field(description="For no_change: what came closest, and what stopped it.")
    cost_usd: str
    expected_carry_usd_per_day: str
    before: MarginBlock
    after: MarginBlock
    worst_stress: str
    worst_stress_health: str
    void_if: list[str]
    expires_at: str | None


async def propose_rebalance(
    desk: DeskService, principal: Principal, arguments: ProposeArguments
) -> ProposeResult:
    """Collect the targets, check the caller's own constraints, and let the desk compute the rest."""
    snapshot = await desk.read(principal)
    constraints = arguments.constraints
    allocation: Allocation | None = None
    if arguments.kind == "changes":
        wanted = _own_targets(arguments)
    else:
        allocation = await engine_target(desk, principal, snapshot, frozenset(constraints.exclude))
        wanted = allocation.targets
        if not wanted:
            return _nothing(snapshot, allocation)
        if constraints.reduce_only:
            wanted = tuple(w for w in wanted if w.notional_usd <= _held(snapshot, w.pair_id))
    _check_budget(snapshot, wanted, constraints)
    request = ProposalRequest(
        kind=arguments.kind,
        targets=wanted,
        reason=arguments.reason,
        request_id=arguments.request_id,
        expires_in_minutes=arguments.expires_in_minutes,
        reduce_only=constraints.reduce_only,
        min_health=constraints.min_health,
    )
    return _answer(snapshot, await desk.propose(principal, request), allocation)


def _own_targets(arguments: ProposeArguments) -> tuple[WantedTarget, ...]:
    excluded = sorted({t.pair for t in arguments.targets} & set(arguments.constraints.exclude))
    if excluded:
        raise InputError(
            f"{excluded[0]} is both a target and excluded.",
            field="constraints.exclude",
            next_step="Name it in one of the two.",
        )
    return tuple(WantedTarget(PairId(t.pair), t.notional_usd) for t in arguments.targets)


def _held(snapshot: DeskSnapshot, pair_id: PairId) -> Decimal:
    for pair in snapshot.pairs:
        if pair.spec.pair_id == pair_id:
            held = notional_usd(snapshot, pair_id, pair.spec)
            if held is None:
                raise MissingDataError(f"{pair_id} has no price now.", field="prices", next_step="Wait.")
            return held
    return ZERO


def _check_budget(snapshot: DeskSnapshot, wanted: tuple[WantedTarget, ...], constraints: Constraints) -> None:
    """The caller's own limits on turnover and cost, from the snapshot; the desk computes the exact ones."""
    turnover = {w.pair_id: 2 * abs(w.notional_usd - _held(snapshot, w.pair_id)) for w in wanted}
    total = sum(turnover.values(), ZERO)
    limit = constraints.turnover_max_usd
    if limit is not None and total > limit:
        raise RefusedError(
            f"The turnover would be {usd(total)} USD, above your {usd(limit)}.",
            field="constraints.turnover_max_usd",
            next_step="Move fewer or smaller targets, or raise it.",
        )
    if constraints.cost_max_usd is not None:
        cost = sum((amount * _taker(snapshot, pair) for pair, amount in turnover.items()), ZERO)
        if cost > constraints.cost_max_usd:
            raise RefusedError(
                f"It would cost about {usd(cost)} USD, above your {usd(constraints.cost_max_usd)}.",
                field="constraints.cost_max_usd",
                next_step="Move fewer or smaller targets, or raise it.",
            )


def _taker(snapshot: DeskSnapshot, pair_id: PairId) -> Decimal:
    """Mean taker rate of the two legs, a fraction of notional."""
    fees: Mapping[InstrumentId, FeeRates] = {} if snapshot.state is None else snapshot.state.tables.fees
    for pair in snapshot.pairs:
        if pair.spec.pair_id == pair_id and pair.spec.long_leg in fees and pair.spec.short_leg in fees:
            return (fees[pair.spec.long_leg].taker + fees[pair.spec.short_leg].taker) / 2
    raise MissingDataError(
        f"The fee rates of {pair_id} are unknown.", field="fees", next_step="Drop cost_max_usd or wait."
    )


def _nothing(snapshot: DeskSnapshot, allocation: Allocation) -> ProposeResult:
    """The engine wants no change, so nothing was sent to the desk."""
    totals = snapshot.guard.figures or (None if snapshot.venue is None else snapshot.venue.figures)
    if totals is None:
        raise MissingDataError("The account has not been read yet.", field="account", next_step="Wait.")
    block = margin_block(totals)
    return ProposeResult(
        **head(snapshot, "The engine wants no change now.", "Nothing to do; look again after a settlement."),
        status="no_change",
        intent_id=None,
        digest=None,
        will_need="human",
        repeated=False,
        changes=[],
        skipped=[SkippedBlock(pair=pair, why=why) for pair, why in allocation.reasons],
        book_bound_by=allocation.binding,
        best_rejected=allocation.best_rejected,
        cost_usd="0",
        expected_carry_usd_per_day="0",
        before=block,
        after=block,
        worst_stress="",
        worst_stress_health=block.health_score,
        void_if=[],
        expires_at=None,
    )


def _answer(snapshot: DeskSnapshot, proposal: Proposal, allocation: Allocation | None) -> ProposeResult:
    row = proposal.row
    if row is None:
        summary = "Nothing would change."
        next_step = "Read why each pair was skipped."
    elif proposal.repeated:
        summary = (
            f"This request_id already stands for intent {row.intent.intent_id}, which is {row.status.value}; "
            "nothing new was stored."
        )
        if allocation is not None:
            summary += " Its sizes are the engine's of that time, not of now."
        next_step = NEXT[row.status]
    else:
        count = len(row.intent.targets)
        summary = (
            f"Intent {row.intent.intent_id} would move {count} pair{'s' if count != 1 else ''} "
            f"for {usd(proposal.cost_usd)} USD; it is {row.status.value} and nothing has been traded."
        )
        next_step = NEXT[row.status]
    best_rejected = None if allocation is None else allocation.best_rejected
    if best_rejected is None and row is None and proposal.skipped:
        first = proposal.skipped[0]
        best_rejected = f"{first.pair_id}: {first.why}"
    return ProposeResult(
        **head(snapshot, summary, next_step),
        status=proposal.status,
        intent_id=None if row is None else row.intent.intent_id,
        digest=None if row is None else row.intent.digest,
        will_need="human",
        repeated=proposal.repeated,
        changes=[
            ChangeBlock(
                pair=change.pair_id,
                from_coins=plain(change.from_quantity),
                to_coins=plain(change.to_quantity),
                from_usd=usd(change.from_usd),
                to_usd=usd(change.to_usd),
                cost_usd=usd(change.cost_usd),
                carry_usd_per_day=usd(change.carry_usd_per_day),
                gate=_gate(change.pair_id, change.note, allocation),
            )
            for change in proposal.changes
        ],
        skipped=_skipped(proposal, allocation),
        book_bound_by=None if allocation is None else allocation.binding,
        best_rejected=best_rejected if row is None else None,
        cost_usd=usd(proposal.cost_usd),
        expected_carry_usd_per_day=usd(proposal.carry_usd_per_day),
        before=margin_block(proposal.before),
        after=margin_block(proposal.after),
        worst_stress=proposal.worst_stress,
        worst_stress_health=ratio(proposal.worst_stress_health),
        void_if=[] if row is None else _void_if(proposal),
        expires_at=None if row is None else moment(row.intent.expires_wire_ns),
    )


def _gate(pair_id: str, note: str, allocation: Allocation | None) -> str:
    """The desk's line, after what the engine's band decided."""
    line = None if allocation is None else allocation.lines.get(PairId(pair_id))
    return note if line is None else f"{line}; {note}"


def _skipped(proposal: Proposal, allocation: Allocation | None) -> list[SkippedBlock]:
    """What the desk left out, then what the engine did not want to change."""
    rows = [(row.pair_id, row.why) for row in proposal.skipped]
    if allocation is not None:
        named = {pair_id for pair_id, _ in rows}
        rows += [row for row in allocation.reasons if row[0] not in named]
    return [SkippedBlock(pair=pair_id, why=why) for pair_id, why in rows]


def _void_if(proposal: Proposal) -> list[str]:
    assert proposal.row is not None, "asked only for a stored intent"
    drift = proposal.row.intent.drift
    return [
        f"a leg's mark moves more than {ratio(drift.mark_move_max)} (a fraction)",
        f"the net basis worsens by more than {plain(drift.basis_worsening_bps_max)} bps",
        f"simulated health falls by more than {ratio(drift.health_drop_max)}",
        "positions change outside this desk",
        f"it is not approved by {moment(proposal.row.intent.expires_wire_ns)}",
    ]


TOOL = Tool(
    name="propose_rebalance",
    title="Propose a rebalance",
    description=(
        "Store a proposal of new sizes as an intent, with the full text that the operator will see. "
        "Nothing is traded and nobody is asked yet: call execute_intent with the returned digest for "
        "that. Sizes are USD of ONE leg, absolute. kind engine_target lets the engine choose the sizes; "
        "kind changes takes yours. Give a request_id so that repeating a lost call returns the same "
        "intent; it is refused with another kind, reduce_only or, for changes, other targets. An answer "
        "no_change says which gate stopped the best candidate. Check with simulate_margin first."
    ),
    arguments=ProposeArguments,
    result=ProposeResult,
    hints=Hints(read_only=False, destructive=False, idempotent=False, open_world=False),
    run=propose_rebalance,
)
