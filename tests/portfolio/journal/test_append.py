"""What an append promises: all or nothing, in a chain, by the owner alone."""

import pytest

from portfolio.codec import to_json
from portfolio.core.entries import DeskStarted, JournalOpened, Noted
from portfolio.core.errors import InputError, JournalError, JournalFencedError
from portfolio.core.names import ClientOrderId, IntentId
from portfolio.journal.chain import GENESIS, entry_hash
from tests.portfolio.journal.making import ACCOUNT, booked, fill, opened, planned


def test_a_new_journal_says_first_whose_it_is_and_which_desk_started() -> None:
    first, second = opened().read()
    assert (first.seq, first.fence, first.entry) == (1, 1, JournalOpened(ACCOUNT, "u1", "paper"))
    assert (second.seq, second.fence, second.entry) == (2, 1, DeskStarted(1, "0.1.0"))


def test_each_entry_seals_the_one_before_it() -> None:
    journal = opened()
    (made,) = journal.append([Noted("a", "b")], 77)
    first, second, third = journal.read()
    assert third == made
    assert made.hash == entry_hash("desk", 3, 1, 77, "note", to_json(Noted("a", "b")), second.hash)
    assert first.hash == entry_hash("desk", 1, 1, 1, "journal.opened", to_json(first.entry), GENESIS)
    assert journal.head() == (3, made.hash)


def test_a_batch_is_recorded_in_order_and_an_empty_one_is_nothing() -> None:
    journal = opened()
    made = journal.append([Noted("n", str(number)) for number in range(20)], 5)
    assert [one.seq for one in made] == list(range(3, 23))
    assert journal.read(after_seq=2) == made
    assert journal.read(after_seq=20, limit=1) == made[18:19]
    assert journal.append([], 6) == ()
    assert journal.head()[0] == 22


def test_an_order_and_its_fill_may_come_in_one_batch() -> None:
    journal = opened()
    journal.append([planned(), booked(fill())], 5)
    row = journal.order(ClientOrderId("c1"))
    assert row is not None
    assert row.filled == fill().quantity
    assert journal.verify().ok


def test_the_desk_that_was_replaced_can_write_nothing_more() -> None:
    first = opened()
    second = first.reopen(5)
    with pytest.raises(JournalFencedError, match="fence 1"):
        first.append([Noted("a", "b")], 6)
    second.append([planned()], 7)
    assert (second.fence, second.read(after_seq=2)[0].entry) == (2, DeskStarted(2, ""))
    assert second.verify().ok


def test_a_desk_that_starts_again_finds_everything_it_knew() -> None:
    first = opened()
    first.append([planned(), planned("c2"), booked(fill())], 5)
    second = first.reopen(6)
    assert second.orders() == first.orders()
    assert second.orders(unsettled_only=True) == first.orders(unsettled_only=True)
    assert second.holdings() == first.holdings()


@pytest.mark.parametrize("text", ["\x00", "\ud800", "\u2028", "\U0001f600", "'; drop table event; --"])
def test_any_text_an_agent_sends_is_kept_as_it_is(text: str) -> None:
    journal = opened()
    journal.append([Noted(text, text)], 5)
    assert journal.read(after_seq=2)[0].entry == Noted(text, text)
    assert journal.verify().ok


def test_a_key_that_no_database_can_hold_is_bad_input_and_changes_nothing() -> None:
    journal = opened()
    with pytest.raises(InputError, match="not valid Unicode"):
        journal.append([planned("\ud800")], 5)
    assert journal.head()[0] == 2
    journal.append([planned()], 6)
    assert journal.verify().ok


def test_a_time_that_is_no_integer_is_bad_input() -> None:
    journal = opened()
    with pytest.raises(InputError, match="wire_ns"):
        journal.append([Noted("a", "b")], 5.0)  # type: ignore[arg-type]
    assert journal.head()[0] == 2


def test_more_operations_than_memory_keeps_are_read_from_the_tables() -> None:
    journal = opened()
    ids = [IntentId(f"i{number}") for number in range(100)]
    for number, intent_id in enumerate(ids):
        journal.append([planned(f"c{number}", intent_id=intent_id)], 5)
        assert len(journal.orders(intent_id=intent_id)) == 1
    journal.append([planned("again", intent_id=ids[0]), planned("more", intent_id=ids[99])], 6)
    found = [[one.request.client_order_id for one in journal.orders(intent_id=one)] for one in ids]
    assert found[0] == ["c0", "again"]
    assert found[99] == ["c99", "more"]
    assert all(len(one) == 1 for one in found[1:99])


@pytest.mark.parametrize("method", ["read", "guard_actions"])
def test_a_negative_limit_is_bad_input(method: str) -> None:
    with pytest.raises(InputError, match="limit"):
        getattr(opened(), method)(limit=-1)


def test_a_closed_journal_says_so_and_can_be_closed_again() -> None:
    journal = opened()
    journal.close()
    journal.close()
    for use in (lambda: journal.append([Noted("a", "b")], 5), journal.read, journal.verify, journal.orders):
        with pytest.raises(JournalError, match="closed"):
            use()
