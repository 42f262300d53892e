"""An intent as results show it."""

from pydantic import BaseModel, Field

from portfolio.core.intents import IntentStatus
from portfolio.ports import IntentRow
from tools.results import moment

#: What a model should do with an intent in each status.
NEXT = {
    IntentStatus.PROPOSED: "Call execute_intent with its digest to ask the operator, or cancel_intent.",
    IntentStatus.REQUESTED: "The operator must approve it outside this channel; poll get_intent with wait_s.",
    IntentStatus.EXECUTING: "Poll get_intent with wait_s until the status is final.",
    IntentStatus.CANCELLING: "Poll get_intent with wait_s until the status is final.",
    IntentStatus.DONE: "Nothing more to do.",
    IntentStatus.STOPPED: "It stopped hedged and keeps its fills. Read the reason before proposing again.",
    IntentStatus.CANCELLED: "Nothing more to do. Do not repeat it unless the user asks.",
    IntentStatus.REJECTED: "NOT EXECUTED. Read the operator's note; do not propose it again unless asked.",
    IntentStatus.EXPIRED: "NOT EXECUTED. Propose again if it is still wanted.",
    IntentStatus.VOID: "NOT EXECUTED: the market or the account moved. Propose again from the new state.",
}


class IntentBlock(BaseModel):
    """One intent in a list."""

    intent_id: str
    status: str
    kind: str
    pairs: list[str]
    proposed_by: str
    created_at: str
    expires_at: str
    digest: str
    note: str = Field(description="The reason of the last change, or the operator's words.")


def intent_block(row: IntentRow) -> IntentBlock:
    """A row as text."""
    return IntentBlock(
        intent_id=row.intent.intent_id,
        status=row.status.value,
        kind=row.intent.kind,
        pairs=[target.pair_id for target in row.intent.targets],
        proposed_by=row.intent.proposed_by,
        created_at=moment(row.intent.created_wire_ns),
        expires_at=moment(row.intent.expires_wire_ns),
        digest=row.intent.digest,
        note=row.note,
    )
