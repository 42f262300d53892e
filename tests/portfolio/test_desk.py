"""The desk's doors: what an agent may ask, what an operator must sign, and what is refused."""

from dataclasses import replace
from decimal import Decimal

import anyio
import pytest

from portfolio.core.digest import operator_digest
from portfolio.core.errors import (
    AccessError,
    ApprovalError,
    CarrydeskError,
    ConflictError,
    InputError,
    NumberError,
    RefusedError,
    StaleDataError,
    UnknownNameError,
)
from portfolio.core.events import Gap
from portfolio.core.intents import IntentStatus
from portfolio.core.names import InstrumentId, IntentId, PairId
from portfolio.desk import hash_token
from portfolio.service import Principal, Scope
from server.simulation.world import ACCOUNT, MODE
from tests.portfolio.living_desk import AGENT, BTC, FOREIGN, OTHER, SOL, Living, request, with_desk

DONE_NS = 25_000_000_000


def test_an_approved_proposal_becomes_hedged_fills_and_its_progress_says_so() -> None:
    async def test(living: Living) -> None:
        proposal = await living.propose((SOL, 20_000), (BTC, 30_000))
        assert proposal.status == "proposed"
        assert proposal.row is not None
        intent = proposal.row.intent
        assert intent.text.startswith("Carrydesk asks for your approval: paper account bybit:main")
        requested = await living.desk.request_execution(AGENT, intent.intent_id, intent.digest)
        assert requested.status is IntentStatus.REQUESTED
        started = await living.desk.approve(intent.intent_id, living.sign(intent.digest))
        assert started.status is IntentStatus.EXECUTING
        progress = await living.desk.intent(AGENT, intent.intent_id, None, DONE_NS)
        assert progress.row.status is IntentStatus.DONE
        for pair, target in zip(progress.pairs, intent.targets, strict=True):
            assert abs(pair.hedged - target.to_quantity) <= target.to_quantity * Decimal("0.001")
        assert progress.fills > 0
        assert progress.fees_usd > 0
        snapshot = await living.desk.read(AGENT)
        assert {p.spec.pair_id for p in snapshot.pairs if p.status == "held"} == {SOL, BTC}
        assert snapshot.venue is not None
        assert snapshot.guard.margin_gap is not None
        assert snapshot.guard.margin_gap < Decimal("0.0001")

    with_desk(test)


def test_the_same_request_id_is_the_same_intent() -> None:
    async def test(living: Living) -> None:
        first = await living.propose((SOL, 20_000), request_id="r1")
        again = await living.propose((SOL, 20_000), request_id="r1")
        other = await living.propose((SOL, 20_000), request_id="r1", by=OTHER)
        assert first.row is not None
        assert again.row is not None
        assert other.row is not None
        assert again.repeated
        assert again.row.intent == first.row.intent
        assert other.row.intent.intent_id != first.row.intent.intent_id
        found = await living.desk.intent(AGENT, None, "r1", 0)
        assert found.row.intent == first.row.intent

    with_desk(test)


def test_a_request_id_that_stands_for_something_else_is_refused_and_says_for_what() -> None:
    async def test(living: Living) -> None:
        first = await living.propose((SOL, 20_000), request_id="r1")
        assert first.row is not None
        known = first.row.intent.intent_id
        for wanted in (((SOL, 90_000),), ((BTC, 20_000),), ((SOL, 20_000), (BTC, 20_000))):
            with pytest.raises(InputError, match=f"another proposal, {known}") as error:
                await living.propose(*wanted, request_id="r1")
            assert error.value.field == "request_id"
        with pytest.raises(InputError, match="reduce-only"):
            await living.propose((SOL, 20_000), request_id="r1", reduce_only=True)
        with pytest.raises(InputError, match="it was changes"):
            await living.propose((SOL, 20_000), request_id="r1", kind="engine_target")
        assert len(living.world.journal.intents()) == 1

    with_desk(test)


def test_each_change_says_what_it_costs_and_what_the_gates_decided_of_its_pair() -> None:
    async def test(living: Living) -> None:
        assembly = living.world.assembly
        assert assembly is not None
        await assembly.ranking.refresh()
        proposal = await living.propose((SOL, 20_000), (BTC, 30_000))
        gates = assembly.ranking.gates()
        for change in proposal.changes:
            assert change.note.startswith("costs ")
            assert change.note.endswith(f"; {gates[change.pair_id]}")

    with_desk(test)


def test_a_token_may_keep_three_intents_waiting() -> None:
    async def test(living: Living) -> None:
        for size in (1_000, 2_000, 3_000):
            await living.propose((SOL, size))
        with pytest.raises(RefusedError, match="3 intents of this token wait"):
            await living.propose((SOL, 4_000))
        assert (await living.propose((SOL, 4_000), by=OTHER)).row is not None

    with_desk(test)


def test_a_book_beyond_a_limit_is_refused_by_name_and_nothing_is_stored() -> None:
    async def test(living: Living) -> None:
        with pytest.raises(RefusedError, match="would cross: "):
            await living.propose((SOL, 900_000))
        with pytest.raises(RefusedError, match="below your minimum"):
            await living.propose((SOL, 100_000), min_health=Decimal("0.9999"))
        assert living.world.journal.intents() == ()

    with_desk(test)


@pytest.mark.parametrize(
    ("wanted", "other", "error"),
    [
        (((PairId("PEPE@bybit"), 100),), {}, UnknownNameError),
        (((SOL, -1),), {}, NumberError),
        (((SOL, 10**12),), {}, NumberError),
        (((SOL, 100), (SOL, 200)), {}, InputError),
        (((SOL, 10_000),), {"reduce_only": True}, InputError),
        ((), {}, InputError),
        (((SOL, 100),) * 41, {}, InputError),
        (((SOL, 100),), {"kind": "yolo"}, InputError),
        (((SOL, 100),), {"expires_in_minutes": 0}, InputError),
        (((SOL, 100),), {"expires_in_minutes": 31}, InputError),
    ],
)
def test_a_malformed_request_is_refused_and_nothing_is_stored(
    wanted: tuple[tuple[PairId, int], ...], other: dict[str, object], error: type[Exception]
) -> None:
    async def test(living: Living) -> None:
        with pytest.raises(error):
            await living.desk.propose(AGENT, request(*wanted, **other))
        assert living.world.journal.intents() == ()

    with_desk(test)


def test_a_proposal_that_changes_nothing_stores_nothing() -> None:
    async def test(living: Living) -> None:
        proposal = await living.propose((SOL, 0))
        assert proposal.status == "no_change"
        assert proposal.row is None
        assert proposal.skipped[0].why == "already there"

    with_desk(test)


def test_after_a_gap_nothing_is_proposed_before_the_account_was_read_again() -> None:
    async def test(living: Living) -> None:
        assert living.world.assembly is not None
        living.world.assembly.view.apply(Gap("private", "a test", living.world.clocks.wire_ns()))
        with pytest.raises(StaleDataError, match="account"):
            await living.propose((SOL, 1_000))

    with_desk(test)


def test_tokens_open_what_their_scopes_say_until_they_are_revoked() -> None:
    async def test(living: Living) -> None:
        desk = living.desk
        await desk.add_token("reader", hash_token("secret"), ("read",))
        reader = await desk.authenticate("secret")
        assert reader == Principal("reader", ("read",))
        assert (await desk.read(reader)).mode == MODE
        with pytest.raises(AccessError, match="lacks the scope propose"):
            await desk.propose(reader, request((SOL, 1_000)))
        with pytest.raises(AccessError, match="opens nothing"):
            await desk.authenticate("guess")
        with pytest.raises(ConflictError, match="carrydesk token add reader-2"):
            await desk.add_token("reader", hash_token("again"), ("read",))
        with pytest.raises(InputError, match="cannot be given"):
            await desk.add_token("root", hash_token("x"), ("approve",))
        await desk.revoke_token("reader")
        with pytest.raises(AccessError):
            await desk.authenticate("secret")
        with pytest.raises(UnknownNameError):
            await desk.revoke_token("reader")
        assert [(row.name, row.revoked) for row in await desk.tokens()] == [("reader", True)]

    with_desk(test)


@pytest.mark.parametrize(
    "name",
    ["", " ", " bot", "bot ", "a\nb", "\x1b[2J", "\x7f", "a\u202eb", "x" * 65, "operator", "guard", "desk"],
)
def test_a_token_is_named_by_one_short_printable_line_that_nobody_else_has(name: str) -> None:
    async def test(living: Living) -> None:
        with pytest.raises(InputError) as refused:
            await living.desk.add_token(name, hash_token("secret"), ("read",))
        error = refused.value
        assert error.field == "name"
        assert "1 to 64 printable" in str(error.allowed)
        assert "carrydesk token add" in error.next_step
        assert str(error).isprintable()
        assert await living.desk.tokens() == ()

    with_desk(test)


def test_a_long_token_name_that_was_used_is_answered_with_one_that_may_be_used() -> None:
    async def test(living: Living) -> None:
        for name in ("my agent", "x" * 64):
            await living.desk.add_token(name, hash_token(name), ("read",))
        with pytest.raises(ConflictError, match="carrydesk token add 'my agent-2'"):
            await living.desk.add_token("my agent", hash_token("again"), ("read",))
        with pytest.raises(ConflictError, match=f"carrydesk token add {'x' * 62}-2`"):
            await living.desk.add_token("x" * 64, hash_token("again"), ("read",))

    with_desk(test)


@pytest.mark.parametrize("scope", list(Scope))
def test_every_call_checks_its_scope(scope: Scope) -> None:
    without = Principal("x", tuple(s.value for s in Scope if s is not scope))
    calls = {
        Scope.READ: lambda living: living.desk.read(without),
        Scope.PROPOSE: lambda living: living.desk.propose(without, request((SOL, 1_000))),
        Scope.REQUEST: lambda living: living.desk.request_execution(without, IntentId("i"), "d"),
        Scope.SIMULATE: None,
    }

    async def test(living: Living) -> None:
        call = calls[scope]
        if call is not None:
            with pytest.raises(AccessError, match=f"lacks the scope {scope.value}"):
                await call(living)

    with_desk(test)


def test_an_agent_reaches_only_its_own_intents_and_only_with_their_digest() -> None:
    async def test(living: Living) -> None:
        proposal = await living.propose((SOL, 1_000))
        assert proposal.row is not None
        intent = proposal.row.intent
        with pytest.raises(AccessError, match="another token"):
            await living.desk.cancel(OTHER, intent.intent_id, "mine now")
        with pytest.raises(ConflictError, match="digest"):
            await living.desk.request_execution(AGENT, intent.intent_id, "0" * 64)
        with pytest.raises(UnknownNameError):
            await living.desk.intent(AGENT, IntentId("i404"), None, 0)
        with pytest.raises(UnknownNameError):
            await living.desk.intent(AGENT, None, "r404", 0)
        with pytest.raises(InputError):
            await living.desk.intent(AGENT, None, None, 0)
        with pytest.raises(InputError):
            await living.desk.intent(AGENT, intent.intent_id, None, 26_000_000_000)
        cancelled = await living.desk.cancel(AGENT, intent.intent_id, "changed my mind")
        assert cancelled.status is IntentStatus.CANCELLED
        assert (await living.desk.cancel(AGENT, intent.intent_id, "again")).status is IntentStatus.CANCELLED

    with_desk(test)


def test_forged_foreign_expired_and_misdirected_approvals_start_nothing() -> None:
    async def test(living: Living) -> None:
        desk, now = living.desk, living.world.clocks.wire_ns()
        first = (await living.propose((SOL, 1_000))).row
        second = (await living.propose((SOL, 2_000))).row
        assert first is not None
        assert second is not None
        key, digest = first.intent.intent_id, first.intent.digest
        good = living.sign(digest)
        flipped = ("0" if good.signature[0] != "0" else "1") + good.signature[1:]
        for bad in (
            replace(good, signature=flipped),
            replace(good, expires_wire_ns=good.expires_wire_ns + 1),
            living.sign(digest, expires_wire_ns=now - 1),
            living.sign(digest, accounts=(FOREIGN,)),
            living.sign(digest, mode="live"),
            living.sign(digest, purpose="resume"),
            living.sign(second.intent.digest),
        ):
            with pytest.raises(ApprovalError):
                await desk.approve(key, bad)
        await anyio.sleep(3)
        assert living.world.journal.orders() == ()
        assert (await desk.progress(key)).row.status is IntentStatus.PROPOSED

    with_desk(test)


def test_an_approval_is_burnt_by_its_use() -> None:
    async def test(living: Living) -> None:
        row = (await living.propose((SOL, 1_000))).row
        assert row is not None
        approval = living.sign(row.intent.digest)
        await living.desk.approve(row.intent.intent_id, approval)
        with pytest.raises(ConflictError):
            await living.desk.approve(row.intent.intent_id, approval)

    with_desk(test)


def test_a_halt_needs_no_signature_and_resuming_needs_one() -> None:
    async def test(living: Living) -> None:
        desk = living.desk
        row = (await living.propose((SOL, 1_000))).row
        assert row is not None
        await desk.halt("smoke")
        assert (await desk.status()).halted
        with pytest.raises(RefusedError, match="halted"):
            await desk.approve(row.intent.intent_id, living.sign(row.intent.digest))
        with pytest.raises(ApprovalError):
            await desk.resume(living.sign(row.intent.digest))
        token = living.sign(operator_digest("resume", ACCOUNT, MODE), purpose="resume")
        await desk.resume(token)
        assert not (await desk.status()).halted
        await desk.halt("again")
        with pytest.raises(ConflictError):
            await desk.resume(token)

    with_desk(test)


def test_the_operators_rejection_carries_a_note_the_agent_can_read() -> None:
    async def test(living: Living) -> None:
        row = (await living.propose((SOL, 1_000))).row
        assert row is not None
        await living.desk.reject(row.intent.intent_id, "too large for a Friday")
        seen = await living.desk.intent(AGENT, row.intent.intent_id, None, 0)
        assert (seen.row.status, seen.row.note) == (IntentStatus.REJECTED, "too large for a Friday")
        with pytest.raises(ConflictError):
            await living.desk.reject(row.intent.intent_id, "again")
        with pytest.raises(ConflictError):
            await living.desk.approve(row.intent.intent_id, living.sign(row.intent.digest))

    with_desk(test)


def test_every_refusal_says_to_whoever_asked_what_to_do_next() -> None:
    async def test(living: Living) -> None:
        desk, gone = living.desk, IntentId("i404")
        row = (await living.propose((SOL, 1_000))).row
        assert row is not None
        known = row.intent.intent_id
        await desk.reject(known, "too large")
        operators = (
            (lambda: desk.approve(gone, living.sign(row.intent.digest)), "carrydesk status"),
            (lambda: desk.reject(gone, ""), "carrydesk status"),
            (lambda: desk.progress(gone), "carrydesk status"),
            (lambda: desk.reject(known, "again"), "carrydesk status"),
            (lambda: desk.add_token("bot", "ab" * 32, ("bogus",)), "--scopes"),
        )
        agents = (
            (lambda: desk.intent(AGENT, gone, None, 0), "get_portfolio"),
            (lambda: desk.cancel(AGENT, gone, ""), "get_portfolio"),
            (lambda: desk.intent(AGENT, None, "r404", 0), "propose_rebalance"),
            (lambda: desk.intent(AGENT, None, None, 0), "get_intent"),
            (lambda: desk.intent(AGENT, known, None, 26_000_000_000), "wait_s"),
        )
        for ask, named in (*operators, *agents):
            with pytest.raises(CarrydeskError) as error:
                await ask()
            assert named in error.value.next_step, error.value

    with_desk(test)


def test_settlements_come_from_the_cache_and_never_from_the_future() -> None:
    async def test(living: Living) -> None:
        leg = InstrumentId("bybit:linear:SOLUSDT")
        rows = await living.desk.settlements(AGENT, leg, 0)
        assert len(rows) > 60
        assert rows[-1].market_ns <= living.world.clocks.market_ns()
        with pytest.raises(UnknownNameError):
            await living.desk.settlements(AGENT, InstrumentId("bybit:linear:PEPEUSDT"), 0)

    with_desk(test)


def test_stopping_and_auditing_are_the_operators() -> None:
    async def test(living: Living) -> None:
        entries = await living.desk.recorded(0, 5)
        assert [row.seq for row in entries] == [1, 2, 3, 4, 5][: len(entries)]
        await living.desk.stop()
        assert living.desk.stopping.is_set()

    with_desk(test)


def test_what_is_approved_right_after_a_resume_is_entered() -> None:
    async def test(living: Living) -> None:
        desk = living.desk
        row = (await living.propose((SOL, 1_000))).row
        assert row is not None
        await desk.halt("smoke")
        await anyio.sleep(3)  # virtual: the guard has read the halt
        await desk.resume(living.sign(operator_digest("resume", ACCOUNT, MODE), purpose="resume"))
        await desk.approve(row.intent.intent_id, living.sign(row.intent.digest))
        ended = await desk.intent(AGENT, row.intent.intent_id, None, DONE_NS)
        assert (ended.row.status, ended.row.note) == (IntentStatus.DONE, ended.row.note)

    with_desk(test)
