import pytest

from portfolio.core.errors import ConflictError
from portfolio.core.intents import IntentStatus
from server.operator_commands import check_waiting
from tests.tools.sample_desk import intent_row

WAITING = (IntentStatus.PROPOSED, IntentStatus.REQUESTED)


@pytest.mark.parametrize("status", list(IntentStatus))
def test_only_a_waiting_intent_is_shown_for_approval(status: IntentStatus) -> None:
    row = intent_row(status)
    if status in WAITING:
        check_waiting(row)
    else:
        with pytest.raises(ConflictError, match=f"{row.intent.intent_id} is {status}"):
            check_waiting(row)
