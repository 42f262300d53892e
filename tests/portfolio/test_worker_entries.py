"""ENTRY passes only with everything in order; hedges and reductions are never stopped by it."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import anyio
import pytest

from exchanges.memory import MemoryOptions
from portfolio.approvals import create_operator_key
from portfolio.core.entries import (
    EntriesFrozen,
    EntriesThawed,
    Halted,
    IntentApproved,
    IntentMoved,
    IntentProposed,
)
from portfolio.core.instrument import InstrumentKind
from portfolio.core.intents import Intent, IntentStatus, SignedApproval
from portfolio.core.limits import SECOND_NS
from portfolio.core.names import AccountId, PairId
from portfolio.core.orders import Accepted, NotSent, OrderClass, Outcome, Priority, Side, TimeInForce
from tests.portfolio.rig import PASSPHRASE, Rig, Settings, desk, perpetual, spot, world

pytestmark = pytest.mark.anyio
FAR = Settings(options=MemoryOptions(latency_ns=50_000_000))


async def refusal(rig: Rig, *, quantity: str = "4", intent: str = "i1") -> str:
    """Why an entry is refused now, after making sure that a hedge still passes."""
    lead = rig.entry("SOL", quantity, intent=intent)
    (outcome,) = await rig.send(lead)
    assert isinstance(outcome, NotSent), outcome
    assert rig.journal.order(lead.client_order_id) is None, "what is not sent is not planned"
    hedge = rig.hedge("SOL", "1", intent=intent)
    (hedged,) = await rig.send(hedge)
    assert isinstance(hedged, Accepted), hedged
    assert rig.exchange.placed == [hedge.client_order_id]
    return outcome.reason


async def test_nothing_is_entered_without_an_intent() -> None:
    async with desk() as rig:
        assert "no intent" in await refusal(rig)


async def test_nothing_is_entered_before_the_operator_approved() -> None:
    async with desk() as rig:
        intent = rig.intent(("SOL", "10"))
        rig.journal.append([IntentProposed(intent)], rig.clocks.wire_ns())
        moved = IntentMoved(intent.intent_id, IntentStatus.PROPOSED, IntentStatus.REQUESTED, "agent", "")
        rig.journal.append([moved], rig.clocks.wire_ns())
        assert "is requested" in await refusal(rig)


Approve = Callable[[Rig, Intent], tuple[Intent, SignedApproval]]
STRANGER = create_operator_key(PASSPHRASE, scrypt_n=2)


def forged(rig: Rig, intent: Intent) -> tuple[Intent, SignedApproval]:
    good = rig.sign(intent)
    last = "0" if good.signature[-1] != "0" else "1"
    return intent, replace(good, signature=good.signature[:-1] + last)


def by_a_stranger(rig: Rig, intent: Intent) -> tuple[Intent, SignedApproval]:
    return intent, rig.sign(intent, key=STRANGER)


def for_another_intent(rig: Rig, intent: Intent) -> tuple[Intent, SignedApproval]:
    return intent, rig.sign(rig.intent(("BTC", "1"), intent_id="other"))


def stretched_afterwards(rig: Rig, intent: Intent) -> tuple[Intent, SignedApproval]:
    """The row in the database says more than was signed, under the digest that was signed."""
    grown = replace(intent, targets=(replace(intent.targets[0], to_quantity=Decimal(1000)),))
    return grown, rig.sign(intent)


def for_another_account(rig: Rig, intent: Intent) -> tuple[Intent, SignedApproval]:
    foreign = rig.intent(("SOL", "10"), account=AccountId("bybit:other"))
    return foreign, rig.sign(foreign)


def for_another_mode(rig: Rig, intent: Intent) -> tuple[Intent, SignedApproval]:
    live = rig.intent(("SOL", "10"), mode="live")
    return live, rig.sign(live)


def signed_for_another_account(rig: Rig, intent: Intent) -> tuple[Intent, SignedApproval]:
    return intent, rig.sign(replace(intent, account=AccountId("bybit:other")))


@pytest.mark.parametrize(
    ("approve", "reason"),
    [
        (forged, "not signed by the operator"),
        (by_a_stranger, "not signed by the operator"),
        (for_another_intent, "another digest"),
        (stretched_afterwards, "another digest"),
        (for_another_account, "is for bybit:other"),
        (for_another_mode, "in mode live"),
        (signed_for_another_account, "for account bybit:other"),
    ],
)
async def test_a_row_in_a_database_approves_nothing(approve: Approve, reason: str) -> None:
    async with desk() as rig:
        intent, approval = approve(rig, rig.intent(("SOL", "10")))
        rig.journal.append(
            [IntentProposed(intent), IntentApproved(intent.intent_id, approval)], rig.clocks.wire_ns()
        )
        assert reason in await refusal(rig)


async def test_an_approval_that_ran_out_stops_entries_in_the_middle() -> None:
    async with desk() as rig:
        intent = rig.intent(("SOL", "10"))
        approved = IntentApproved(intent.intent_id, rig.sign(intent, seconds=5))
        rig.journal.append([IntentProposed(intent), approved], rig.clocks.wire_ns())
        (first,) = await rig.send(rig.entry("SOL", "4"))
        assert isinstance(first, Accepted)
        await anyio.sleep(5)
        rig.exchange.requests.clear()
        assert "expired" in await refusal(rig)


async def test_an_intent_that_is_over_enters_nothing_more() -> None:
    async with desk() as rig:
        rig.finish(rig.approve(("SOL", "10")))
        assert "is done" in await refusal(rig)


async def test_an_approval_is_spent_by_what_it_approved() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        first, second = rig.entry("SOL", "6"), rig.entry("SOL", "6")
        outcomes = await rig.send(first, second)
        assert isinstance(outcomes[0], Accepted)
        assert isinstance(outcomes[1], NotSent)
        assert "approved" in outcomes[1].reason
        await rig.settle(first)
        (rest,) = await rig.send(rig.entry("SOL", "4"))
        assert isinstance(rest, Accepted)
        rig.exchange.requests.clear()
        assert "10 + 4 coins are more than the 10 approved" in await refusal(rig)


async def test_what_an_order_did_not_fill_is_free_again() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        away = rig.price(perpetual("SOL"), Side.BUY)
        nothing = rig.entry("SOL", "10", price=away)  # an IOC sale above the market fills nothing
        assert isinstance((await rig.send(nothing))[0], Accepted)
        await rig.settle(nothing)
        assert isinstance((await rig.send(rig.entry("SOL", "10")))[0], Accepted)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"side": Side.BUY}, "never means to buy"),
        ({"pair_id": PairId("BTC@bybit")}, "is not in the intent"),
        ({"pair_id": PairId("NOPE@bybit")}, "not a pair of this desk"),
        ({"instrument_id": perpetual("BTC"), "quantity": Decimal("0.01")}, "is no leg"),
        ({"limit_price": None}, "no price"),
        ({"limit_price": Decimal(1)}, "beyond the approved"),
    ],
)
async def test_an_entry_outside_of_what_the_operator_saw_is_refused(
    change: dict[str, object], reason: str
) -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        (outcome,) = await rig.send(replace(rig.entry("SOL", "4"), **change))  # type: ignore[arg-type]
        assert isinstance(outcome, NotSent)
        assert reason in outcome.reason
        assert rig.exchange.placed == []


async def test_entries_wait_out_a_freeze_and_a_halt() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        rig.journal.append([EntriesFrozen("stale", "prices are old", "self")], rig.clocks.wire_ns())
        assert "prices are old" in await refusal(rig)
        rig.journal.append([EntriesThawed("stale", "guard")], rig.clocks.wire_ns())
        (outcome,) = await rig.send(rig.entry("SOL", "1"))
        assert isinstance(outcome, Accepted)
        rig.journal.append([Halted("operator", "")], rig.clocks.wire_ns())
        rig.exchange.requests.clear()
        assert "halted" in await refusal(rig)


async def test_a_halt_stops_entries_that_are_queued_already() -> None:
    async with desk(settings=FAR) as rig:
        rig.approve(("BTC", "0.2"))
        entries = [rig.entry("BTC", "0.01") for _ in range(16)]
        outcomes: list[Outcome] = []
        async with anyio.create_task_group() as group:

            async def send() -> None:
                outcomes.extend(await rig.send(*entries))

            group.start_soon(send)
            await anyio.sleep(0.2)
            rig.journal.append([Halted("operator", "")], rig.clocks.wire_ns())
        assert [type(one) for one in outcomes] == [Accepted] * 8 + [NotSent] * 8


async def test_the_guard_has_the_last_word_on_entries() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        rig.guard.refused[PairId("SOL@bybit")] = "health after it would be 0.79"
        assert await refusal(rig) == "health after it would be 0.79"


async def test_without_a_guard_nothing_is_entered() -> None:
    async with desk(settings=Settings(guard=False)) as rig:
        rig.approve(("SOL", "10"))
        assert await refusal(rig) == "no guard is watching"
        rig.worker.veto = rig.guard
        (outcome,) = await rig.send(rig.entry("SOL", "1"))
        assert isinstance(outcome, Accepted)


async def test_a_veto_on_one_pair_does_not_stop_the_others_of_its_batch() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"), ("ETH", "1"), ("BNB", "2"))
        rig.guard.refused[PairId("ETH@bybit")] = "cooling down"
        leads = [rig.entry("SOL", "10"), rig.entry("ETH", "1"), rig.entry("BNB", "2")]
        outcomes = await rig.send(*leads)
        assert [type(one) for one in outcomes] == [Accepted, NotSent, Accepted]


async def test_the_guard_sees_entries_that_the_account_does_not_show_yet() -> None:
    async with desk(settings=FAR) as rig:
        rig.approve(("SOL", "10"))
        first, second, third = (rig.entry("SOL", "1") for _ in range(3))
        async with anyio.create_task_group() as group:
            group.start_soon(rig.send, first)
            await anyio.sleep(0.01)
            await rig.send(second)
        assert list(rig.guard.asked[-1]) == [first, second]
        await rig.settle(first, second)
        await rig.send(third)
        assert list(rig.guard.asked[-1]) == [third]


async def test_a_resting_entry_is_seen_by_the_guard_in_the_account_and_not_twice() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        price = rig.price(perpetual("SOL"), Side.BUY)
        resting = rig.entry("SOL", "1", price=price, time_in_force=TimeInForce.POST_ONLY)
        await rig.send(resting)
        await anyio.sleep(1)
        other = rig.entry("SOL", "1")
        await rig.send(other)
        assert list(rig.guard.asked[-1]) == [other]


async def test_no_entry_passes_before_the_recovery_is_complete_but_hedges_do() -> None:
    async with world(":memory:", Settings(recovered=False)) as made, made.desk(bookkeeping=False) as rig:
        rig.approve(("SOL", "10"))
        assert "recovering" in await refusal(rig)


async def test_an_intent_may_enter_both_legs_up_to_its_size_each() -> None:
    async with desk() as rig:
        rig.approve(("SOL", "10"))
        long = rig.order("SOL", InstrumentKind.SPOT, Side.BUY, Decimal(10), OrderClass.ENTRY)
        outcomes = await rig.send(rig.entry("SOL", "10"), long, priority=Priority.ENTRY)
        assert [type(one) for one in outcomes] == [Accepted, Accepted]
        more = rig.order("SOL", InstrumentKind.SPOT, Side.BUY, Decimal(1), OrderClass.ENTRY)
        (outcome,) = await rig.send(more)
        assert isinstance(outcome, NotSent)
        assert long.instrument_id == spot("SOL")
        await rig.worker.settled(long.client_order_id, timeout_ns=SECOND_NS)
