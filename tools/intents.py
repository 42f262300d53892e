"""execute_intent, get_intent, cancel_intent: the life of a proposal. None of them trades by itself."""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, Field, model_validator

from portfolio.core.decimals import plain
from portfolio.core.intents import IntentStatus
from portfolio.core.limits import SECOND_NS
from portfolio.core.names import IntentId
from portfolio.ports import IntentRow
from portfolio.service import DeskService, IntentProgress, PairProgress, Principal, Scope
from tools.inputs import IntentName, RequestName, WaitSeconds
from tools.intent_rows import NEXT
from tools.portfolio import GuardActionBlock, guard_action
from tools.results import Common, intent_head, moment, usd
from tools.spec import READING, Arguments, Hints, Tool

#: Share of a pair's larger size, before or after, that fees in coins and lots may leave open.
_DUST = Decimal("0.002")
_WAITING = (IntentStatus.PROPOSED, IntentStatus.REQUESTED)


class ExecuteArguments(Arguments):
    """Input."""

    intent_id: IntentName
    digest: Annotated[
        str, Field(pattern=r"^[0-9a-f]{64}$", description="The digest that propose_rebalance answered.")
    ]
    wait_s: WaitSeconds = 0


class ExecuteResult(Common):
    """Output."""

    intent_id: str
    status: str
    digest: str
    approve_at: str = Field(description="Where the operator decides; you cannot.")
    notified: list[str] = Field(description="Channels on which the operator was told.")
    mandate: str | None = Field(description="The standing permission used; null: a human decides.")
    expires_at: str


class GetArguments(Arguments):
    """Input. Give exactly one of the two ids."""

    intent_id: IntentName | None = None
    request_id: RequestName | None = None
    wait_s: WaitSeconds = 0

    @model_validator(mode="before")
    @classmethod
    def _one_id(cls, data: Any) -> Any:
        if isinstance(data, dict) and (data.get("intent_id") is None) == (data.get("request_id") is None):
            raise ValueError("give intent_id or request_id, one of them")
        return data


class PairProgressBlock(BaseModel):
    """How far one pair is, in base coins of one leg."""

    pair: str
    from_coins: str
    target_coins: str
    hedged_coins: str
    unhedged_coins: str


class IntentResult(Common):
    """Output."""

    intent_id: str
    status: str
    final: bool
    reason: str = Field(description="Why it has this status.")
    operator_note: str | None
    requested_by: str
    digest: str
    expires_at: str
    pairs: list[PairProgressBlock]
    orders: int
    fills: int
    fees_usd: str = Field(description="Paid so far, to compare with the proposal's cost.")
    unknown_orders: int = Field(description="Orders whose fate is being looked up; their pairs wait.")
    guard_actions: list[GuardActionBlock]


class CancelArguments(Arguments):
    """Input."""

    intent_id: IntentName
    reason: Annotated[str, Field(min_length=1, max_length=500, description="For the audit trail.")]


class CancelResult(Common):
    """Output."""

    intent_id: str
    status: str
    kept: str = Field(description="What remains of what was done already.")


async def execute_intent(
    desk: DeskService, principal: Principal, arguments: ExecuteArguments
) -> ExecuteResult:
    """Ask for execution; wait for an end if wanted and allowed to read."""
    intent_id = IntentId(arguments.intent_id)
    row = await desk.request_execution(principal, intent_id, arguments.digest)
    if arguments.wait_s and not row.status.final and Scope.READ in principal.scopes:
        row = (await desk.intent(principal, intent_id, None, arguments.wait_s * SECOND_NS)).row
    summary = f"Intent {row.intent.intent_id} is {row.status.value}"
    summary += "; nothing trades before the operator approves." if row.status in _WAITING else "."
    return ExecuteResult(
        **await intent_head(desk, principal, row, summary, NEXT[row.status]),
        intent_id=row.intent.intent_id,
        status=row.status.value,
        digest=row.intent.digest,
        approve_at=f"the operator's terminal: carrydesk approve {row.intent.intent_id}",
        notified=[],
        mandate=None,
        expires_at=moment(row.intent.expires_wire_ns),
    )


async def get_intent(desk: DeskService, principal: Principal, arguments: GetArguments) -> IntentResult:
    """Read an intent's progress, waiting for its end if wanted."""
    intent_id = None if arguments.intent_id is None else IntentId(arguments.intent_id)
    progress = await desk.intent(principal, intent_id, arguments.request_id, arguments.wait_s * SECOND_NS)
    row = progress.row
    return IntentResult(
        **await intent_head(desk, principal, row, _progress_summary(progress), NEXT[row.status]),
        intent_id=row.intent.intent_id,
        status=row.status.value,
        final=row.status.final,
        reason=row.note,
        operator_note=row.note if row.moved_by == "operator" and row.note else None,
        requested_by=row.intent.proposed_by,
        digest=row.intent.digest,
        expires_at=moment(row.intent.expires_wire_ns),
        pairs=[
            PairProgressBlock(
                pair=pair.pair_id,
                from_coins=plain(pair.from_quantity),
                target_coins=plain(pair.target),
                hedged_coins=plain(pair.hedged),
                unhedged_coins=plain(pair.unhedged),
            )
            for pair in progress.pairs
        ],
        orders=progress.orders,
        fills=progress.fills,
        fees_usd=usd(progress.fees_usd),
        unknown_orders=progress.unknown_orders,
        guard_actions=[b for b in map(guard_action, progress.guard_actions) if b is not None],
    )


def _progress_summary(progress: IntentProgress) -> str:
    row = progress.row
    text = (
        f"Intent {row.intent.intent_id} is {row.status.value}: {_reached(progress)}, {progress.fills} fills"
    )
    if progress.unknown_orders:
        text += f", {progress.unknown_orders} orders being looked up"
    return f"{text}."


def _reached(progress: IntentProgress) -> str:
    """Done is the desk's word for every target: it knows the lots; what pairs hold may change later."""
    count = len(progress.pairs)
    if progress.row.status is IntentStatus.DONE:
        return f"{count} of {count} pairs reached their targets"
    done = sum(1 for pair in progress.pairs if _at_target(pair))
    return f"{done} of {count} pairs at target"


def _at_target(pair: PairProgress) -> bool:
    return abs(pair.hedged - pair.target) <= _DUST * max(pair.from_quantity, pair.target)


async def cancel_intent(desk: DeskService, principal: Principal, arguments: CancelArguments) -> CancelResult:
    """Stop what was not sent yet."""
    row = await desk.cancel(principal, IntentId(arguments.intent_id), arguments.reason)
    return CancelResult(
        **await intent_head(desk, principal, row, _cancel_summary(row), NEXT[row.status]),
        intent_id=row.intent.intent_id,
        status=row.status.value,
        kept="Unsent slices are dropped, hedges are completed, fills are kept.",
    )


def _cancel_summary(row: IntentRow) -> str:
    return f"Intent {row.intent.intent_id} is {row.status.value}."


EXECUTE = Tool(
    name="execute_intent",
    title="Request execution",
    description=(
        "Ask for an intent to be executed. You cannot approve it: the operator reads the full text "
        "elsewhere and signs, or rejects with a note; approval itself starts execution. Needs the digest "
        "of the proposal. Repeating the call changes nothing. Poll get_intent with wait_s afterwards; do "
        "not ask the user to approve in this chat."
    ),
    arguments=ExecuteArguments,
    result=ExecuteResult,
    hints=Hints(read_only=False, destructive=True, idempotent=True, open_world=True),
    run=execute_intent,
)
GET = Tool(
    name="get_intent",
    title="Intent",
    description=(
        "How far an intent is: status, reason, the operator's note, per pair target, hedged and unhedged "
        "coins, fills, fees, and what the guard did meanwhile. Give intent_id, or the request_id of your "
        "own proposal (for instance after an answer was lost). wait_s up to 25 waits for a final status. "
        "Read-only."
    ),
    arguments=GetArguments,
    result=IntentResult,
    hints=READING,
    run=get_intent,
)
CANCEL = Tool(
    name="cancel_intent",
    title="Cancel intent",
    description=(
        "Withdraw one of your own intents. One that waits is cancelled at once; one that executes stops "
        "hedged: unsent slices are dropped, hedges are completed, fills are kept (nothing is sold back)."
    ),
    arguments=CancelArguments,
    result=CancelResult,
    hints=Hints(read_only=False, destructive=True, idempotent=True, open_world=True),
    run=cancel_intent,
)
