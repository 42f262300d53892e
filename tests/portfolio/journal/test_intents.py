"""The life of an intent in the journal: compare-and-set, one approval, one execution at a time."""

import pytest

from portfolio.core.entries import Entry, IntentMoved
from portfolio.core.errors import ConflictError
from portfolio.core.intents import IntentStatus
from portfolio.core.names import IntentId
from portfolio.journal import SqlJournal
from tests.portfolio.journal.making import INTENT, approval, approved, intent, moved, opened, proposed

PROPOSED, REQUESTED, EXECUTING = IntentStatus.PROPOSED, IntentStatus.REQUESTED, IntentStatus.EXECUTING
CANCELLING, DONE, CANCELLED = IntentStatus.CANCELLING, IntentStatus.DONE, IntentStatus.CANCELLED


def after(*entries: Entry) -> SqlJournal:
    journal = opened()
    for number, entry in enumerate(entries):
        journal.append([entry], 50 + number)
    return journal


def status(journal: SqlJournal, intent_id: str = INTENT) -> IntentStatus:
    row = journal.intent(IntentId(intent_id))
    assert row is not None
    return row.status


def refused(journal: SqlJournal, *entries: Entry) -> str:
    head = journal.head()
    with pytest.raises(ConflictError) as caught:
        journal.append(entries, 90)
    assert journal.head() == head
    assert journal.verify().ok
    return str(caught.value)


def test_a_proposal_is_kept_word_for_word() -> None:
    journal = after(proposed(request_id="r1"))
    row = journal.intent(INTENT)
    assert row is not None
    assert (row.intent, row.status, row.updated_wire_ns) == (intent(request_id="r1"), PROPOSED, 50)
    assert journal.intent_by_request("agent", "r1") == row
    assert journal.intent_by_request("other", "r1") is None
    assert journal.intents() == journal.intents(open_only=True) == (row,)


def test_an_intent_id_and_a_request_id_of_one_proposer_occur_once() -> None:
    journal = after(proposed(request_id="r1"))
    assert "exists already" in refused(journal, proposed())
    assert "'r1'" in refused(journal, proposed("i2", request_id="r1"))
    journal.append([proposed("i3", request_id="r1", proposed_by="another")], 91)


@pytest.mark.parametrize("before", [(), (moved(PROPOSED, REQUESTED),)])
def test_approval_itself_starts_execution(before: tuple[Entry, ...]) -> None:
    journal = after(proposed(), *before, approved())
    row = journal.intent(INTENT)
    assert row is not None
    assert (row.status, row.approval, row.moved_by) == (EXECUTING, approval(), "operator")


def test_an_approval_works_once() -> None:
    journal = after(proposed(), proposed("i2"), approved(), moved(EXECUTING, DONE))
    assert "used before" in refused(journal, approved("i2"))
    assert status(journal, "i2") is PROPOSED
    journal.append([approved("i2", "1" * 32)], 91)


@pytest.mark.parametrize(
    "ending",
    [DONE, CANCELLED, IntentStatus.STOPPED, IntentStatus.EXPIRED, IntentStatus.VOID, IntentStatus.REJECTED],
)
def test_what_has_ended_stays_ended(ending: IntentStatus) -> None:
    journal = after(proposed(), moved(PROPOSED, ending, note="why"))
    assert "can no longer be approved" in refused(journal, approved())
    assert "final" in refused(journal, moved(ending, REQUESTED))
    row = journal.intent(INTENT)
    assert row is not None
    assert (row.note, row.moved_by) == ("why", "desk")
    assert journal.intents(open_only=True) == ()
    assert journal.intents() == (row,)


def test_a_move_that_expects_another_status_is_a_conflict() -> None:
    journal = after(proposed(), moved(PROPOSED, REQUESTED))
    assert "is requested, not proposed" in refused(journal, moved(PROPOSED, CANCELLED))
    assert "never proposed" in refused(journal, moved(PROPOSED, CANCELLED, "i9"))
    assert "never proposed" in refused(journal, approved("i9"))


@pytest.mark.parametrize("expected", [PROPOSED, REQUESTED])
def test_only_a_signed_approval_starts_an_intent(expected: IntentStatus) -> None:
    before = [] if expected is PROPOSED else [moved(PROPOSED, REQUESTED)]
    journal = after(proposed(), *before)
    assert "signed approval" in refused(journal, moved(expected, EXECUTING))


def test_one_intent_executes_per_account_until_it_ends() -> None:
    journal = after(proposed(), proposed("i2"), proposed("i3", account="bybit:other"), approved())
    assert "one at a time" in refused(journal, approved("i2", "1" * 32))
    journal.append([approved("i3", "2" * 32)], 91)
    journal.append([moved(EXECUTING, CANCELLING)], 92)
    assert "Intent i1 is executing" in refused(journal, approved("i2", "1" * 32))
    journal.append([moved(CANCELLING, CANCELLED), approved("i2", "1" * 32)], 93)
    assert status(journal, "i2") is EXECUTING


def test_a_refused_approval_can_be_used_when_the_account_is_free() -> None:
    journal = after(proposed(), proposed("i2"), approved())
    refused(journal, approved("i2", "1" * 32))
    journal.append([moved(EXECUTING, DONE)], 91)
    journal.append([approved("i2", "1" * 32)], 92)
    assert status(journal, "i2") is EXECUTING


def test_a_batch_that_fails_in_its_last_entry_leaves_no_trace_of_the_first() -> None:
    journal = after(proposed())
    refused(
        journal, moved(PROPOSED, REQUESTED), proposed("i2"), IntentMoved(INTENT, PROPOSED, DONE, "desk", "")
    )
    assert status(journal) is PROPOSED
    assert journal.intent(IntentId("i2")) is None
    assert len(journal.intents(open_only=True)) == 1


def test_intents_come_newest_first() -> None:
    journal = after(proposed("b"), proposed("a"), proposed("c"), moved(PROPOSED, REQUESTED, "b"))
    assert [row.intent.intent_id for row in journal.intents()] == ["c", "a", "b"]
    assert [row.intent.intent_id for row in journal.intents(open_only=True)] == ["c", "a", "b"]


def test_no_more_intents_come_than_asked_for() -> None:
    journal = after(proposed("b"), proposed("a"), proposed("c"))
    assert [row.intent.intent_id for row in journal.intents(limit=2)] == ["c", "a"]
    assert [row.intent.intent_id for row in journal.intents(open_only=True, limit=1)] == ["c"]
