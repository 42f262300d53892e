"""A pair and its reverse on one coin: the venue nets their legs, and nobody may mistake one for the other."""

import anyio

from exchanges.paper.commands import RejectNext
from portfolio.core.entries import GuardActed
from portfolio.core.intents import IntentStatus
from portfolio.core.names import Coin, InstrumentId, IntentId, PairId
from tests.portfolio.living_desk import AGENT, SOL, Living, with_desk

REVERSE = PairId("SOL@bybit:reverse")
SPOT = InstrumentId("bybit:spot:SOLUSDT")


async def carried_out(living: Living, *wanted: tuple[PairId, int]) -> IntentId:
    """Propose, request and sign this."""
    proposal = await living.propose(*wanted)
    assert proposal.row is not None
    intent = proposal.row.intent
    await living.desk.request_execution(AGENT, intent.intent_id, intent.digest)
    await living.desk.approve(intent.intent_id, living.sign(intent.digest))
    return intent.intent_id


def test_the_reverse_pairs_lead_is_not_taken_for_a_reduction_by_the_venue_while_its_hedge_is_late() -> None:
    async def test(living: Living) -> None:
        await carried_out(living, (SOL, 40_000))
        await anyio.sleep(20)
        # Each refusal for the rate costs the hedge about a second.
        living.world.venue.command(RejectNext(SPOT, "10006", "too many visits", count=3))
        wanted = await carried_out(living, (SOL, 40_000), (REVERSE, 15_000))
        await anyio.sleep(20)
        journal = living.world.journal
        acted = [row.entry for row in journal.guard_actions() if isinstance(row.entry, GuardActed)]
        assert acted == []
        row = journal.intent(wanted)
        assert row is not None
        assert row.status is IntentStatus.DONE

    with_desk(test, both_ways=frozenset({Coin("SOL")}))
