from dataclasses import dataclass, replace
from decimal import Decimal as D

import pytest

from portfolio.core.errors import ConflictError, UnknownNameError
from portfolio.core.intents import IntentStatus
from portfolio.core.names import IntentId, PairId
from portfolio.service import IntentProgress, PairProgress, Principal
from tests.tools.sample_desk import SampleDesk, intent_row
from tools.intent_rows import NEXT
from tools.intents import (
    CancelArguments,
    ExecuteArguments,
    GetArguments,
    cancel_intent,
    execute_intent,
    get_intent,
)

pytestmark = pytest.mark.anyio
DIGEST = "ef" * 32


@dataclass
class Telling(SampleDesk):
    """A desk that tells this of an intent."""

    progress: IntentProgress | None = None

    async def intent(
        self, principal: Principal, intent_id: IntentId | None, request_id: str | None, wait_ns: int
    ) -> IntentProgress:
        assert self.progress is not None
        return self.progress


async def test_requesting_execution_points_to_the_operator_and_trades_nothing(
    desk: SampleDesk, agent: Principal
) -> None:
    result = await execute_intent(desk, agent, ExecuteArguments(intent_id="i7f3a", digest=DIGEST, wait_s=5))
    assert result.status == "requested"
    assert "nothing trades before the operator approves" in result.summary
    assert "carrydesk approve i7f3a" in result.approve_at
    assert result.mandate is None


async def test_another_digest_is_a_conflict(desk: SampleDesk, agent: Principal) -> None:
    with pytest.raises(ConflictError):
        await execute_intent(desk, agent, ExecuteArguments(intent_id="i7f3a", digest="00" * 32))


async def test_a_token_without_read_still_learns_what_it_asked_for(desk: SampleDesk) -> None:
    requester = Principal("requester", ("request",))
    result = await execute_intent(
        desk, requester, ExecuteArguments(intent_id="i7f3a", digest=DIGEST, wait_s=5)
    )
    assert (result.mode, result.account, result.market_time) == ("paper", "bybit:main", None)
    assert desk.calls == ["request"]


async def test_progress_is_per_pair_with_fills_fees_and_the_guard(desk: SampleDesk, agent: Principal) -> None:
    result = await get_intent(desk, agent, GetArguments(intent_id="i7f3a"))
    assert result.pairs[0].model_dump() == {
        "pair": "SOL@bybit",
        "from_coins": "100",
        "target_coins": "150",
        "hedged_coins": "120",
        "unhedged_coins": "0.5",
    }
    assert (result.orders, result.fills, result.fees_usd) == (6, 4, "3.25")
    assert result.guard_actions[0].rule == "usage reduction"
    assert not result.final


async def test_an_intent_that_is_done_reached_every_target_whatever_lots_left_over(
    agent: Principal,
) -> None:
    shrunk = PairProgress(PairId("SOL@bybit"), D(100), D("0.5"), D("0.52"), D(0))
    row = replace(intent_row(IntentStatus.DONE), note="every target is reached")
    answer = IntentProgress(row, (shrunk,), 6, 4, D("3.25"), 0, ())

    result = await get_intent(Telling(progress=answer), agent, GetArguments(intent_id="i7f3a"))
    assert result.reason == "every target is reached"
    assert "is done: 1 of 1 pairs reached their targets" in result.summary


@pytest.mark.parametrize(
    ("before", "target", "hedged", "reached"),
    [("100", "0.5", "0.52", 1), ("100", "0", "0.1", 1), ("0", "100", "99.9", 1), ("100", "0.5", "0.8", 0)],
)
async def test_a_pair_is_at_its_target_up_to_dust_of_the_larger_size(
    agent: Principal,
    before: str,
    target: str,
    hedged: str,
    reached: int,
) -> None:
    pair = PairProgress(PairId("SOL@bybit"), D(before), D(target), D(hedged), D(0))
    answer = IntentProgress(intent_row(IntentStatus.EXECUTING), (pair,), 6, 4, D("3.25"), 0, ())

    result = await get_intent(Telling(progress=answer), agent, GetArguments(intent_id="i7f3a"))
    assert f"is executing: {reached} of 1 pairs at target" in result.summary


async def test_a_lost_proposal_is_found_by_its_request_id(desk: SampleDesk, agent: Principal) -> None:
    assert (await get_intent(desk, agent, GetArguments(request_id="r1"))).intent_id == "i7f3a"


@pytest.mark.parametrize(
    "arguments", [{}, {"intent_id": "a", "request_id": "b"}, {"intent_id": "a", "wait_s": 26}]
)
def test_exactly_one_id_and_a_bounded_wait(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        GetArguments.model_validate(arguments)


async def test_cancelling_says_what_is_kept(desk: SampleDesk, agent: Principal) -> None:
    result = await cancel_intent(desk, agent, CancelArguments(intent_id="i7f3a", reason="no longer"))
    assert result.status == "cancelled"
    assert "fills are kept" in result.kept
    with pytest.raises(UnknownNameError):
        await cancel_intent(desk, agent, CancelArguments(intent_id="other", reason="x"))


def test_every_status_tells_what_to_do_next() -> None:
    assert set(NEXT) == set(IntentStatus)
