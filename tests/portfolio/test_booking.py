"""News in any order, any number of times and in any portions books the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.booking import LATE_FILL, ORPHAN_FILL, News, book
from portfolio.core.entries import OrderAnswered, OrderClosed, OrderPlanned
from portfolio.core.names import AccountId, ClientOrderId, Coin, InstrumentId, IntentId, PairId, VenueOrderId
from portfolio.core.orders import (
    Fill,
    OrderClass,
    OrderRequest,
    OrderState,
    OrderStatus,
    Side,
    TimeInForce,
)
from portfolio.journal.open import open_journal
from portfolio.journal.sql import SqlJournal

LEG = InstrumentId("bybit:linear:SOLUSDT")
PAIR = PairId("SOL@bybit")
KEY = ClientOrderId("a")


@contextmanager
def journal() -> Iterator[SqlJournal]:
    made = open_journal(
        ":memory:", account=AccountId("bybit:main"), uid="1", mode="paper", wire_ns=1, version="test"
    )
    try:
        yield made
    finally:
        made.close()


def plan(subject: SqlJournal, key: ClientOrderId = KEY, outcome: str | None = "accepted") -> None:
    request = OrderRequest(
        key,
        LEG,
        Side.SELL,
        Decimal(10),
        Decimal(150),
        TimeInForce.IOC,
        reduce_only=False,
        borrow=False,
        order_class=OrderClass.ENTRY,
        pair_id=PAIR,
        intent_id=IntentId("i1"),
    )
    subject.append([OrderPlanned(request, deadline_wire_ns=5)], 1)
    if outcome is not None:
        subject.append([OrderAnswered(key, outcome, None, "")], 1)


def fill(number: int, quantity: str = "2", key: str = KEY) -> Fill:
    return Fill(
        f"f{number}",
        ClientOrderId(key),
        VenueOrderId("v"),
        LEG,
        Side.SELL,
        Decimal(quantity),
        Decimal(150),
        Decimal("0.1"),
        Coin("USDT"),
        maker=False,
        event_market_ns=number,
    )


def state(filled: str, status: OrderStatus = OrderStatus.FILLED, key: str = KEY) -> OrderState:
    return OrderState(
        ClientOrderId(key),
        VenueOrderId("v"),
        LEG,
        Side.SELL,
        Decimal(10),
        Decimal(150),
        Decimal(filled),
        Decimal(150),
        status,
        reduce_only=False,
    )


FIVE = tuple(fill(number) for number in range(5))


@settings(max_examples=50, deadline=None)
@given(
    st.permutations([*FIVE, *FIVE, *FIVE]),
    st.lists(st.integers(1, 4), min_size=15, max_size=15),
    st.integers(0, 15),
    st.sampled_from(["accepted", "unknown", None]),
)
def test_repeated_and_reordered_fills_are_booked_once_and_close_the_order_once(
    fills: list[Fill], portions: list[int], terminal_at: int, outcome: str | None
) -> None:
    with journal() as subject:
        plan(subject, outcome=outcome)
        waiting: dict[ClientOrderId, OrderState] = {}
        closed = 0
        for portion in portions:
            now, fills = tuple(fills[:portion]), fills[portion:]
            if len(fills) <= terminal_at:
                waiting[KEY] = state("10")
            entries, booked = book(subject, News(now, dict(waiting)))
            subject.append(entries, 2)
            closed += sum(type(entry).__name__ == "OrderClosed" for entry in entries)
            row = subject.order(KEY)
            assert row is not None
            assert (KEY in booked.short_of_fills) == (KEY in waiting and row.filled < 10)
        assert closed == 1
        row = subject.order(KEY)
        assert row is not None
        assert (row.state, row.filled) == ("closed", Decimal(10))
        assert len(subject.fills()) == 5
        assert subject.holdings() == {(PAIR, LEG): Decimal(-10)}
        assert subject.freezes() == ()
        assert subject.verify().ok


def test_a_terminal_order_without_fills_is_closed_at_once() -> None:
    with journal() as subject:
        plan(subject)
        entries, booked = book(subject, News(states={KEY: state("0", OrderStatus.CANCELLED)}))
        subject.append(entries, 2)
        assert booked.settled == (KEY,)
        row = subject.order(KEY)
        assert row is not None
        assert (row.state, row.status) == ("closed", OrderStatus.CANCELLED)
        assert book(subject, News(states={KEY: state("0", OrderStatus.CANCELLED)}))[0] == []


def test_an_order_seen_at_the_venue_was_accepted() -> None:
    with journal() as subject:
        plan(subject, outcome="unknown")
        entries, booked = book(subject, News(states={KEY: state("0", OrderStatus.WORKING)}))
        subject.append(entries, 2)
        assert booked.known == (KEY,)
        row = subject.order(KEY)
        assert row is not None
        assert (row.state, row.venue_order_id) == ("accepted", "v")


def test_an_execution_of_nobodys_order_is_an_orphan_and_freezes_entries_once() -> None:
    with journal() as subject:
        for news in (
            News((fill(1, key=""), fill(2, key="stranger"))),
            News((fill(1, key=""), fill(3, key=""))),
        ):
            entries, _ = book(subject, news)
            subject.append(entries, 2)
        assert subject.fills() == ()
        assert [subject.has_fill(f"f{number}") for number in (1, 2, 3)] == [True] * 3
        (freeze,) = subject.freezes()
        assert (freeze.source, freeze.lifted_by) == (ORPHAN_FILL, "operator")
        assert "f1" in freeze.reason
        kinds = [type(one.entry).__name__ for one in subject.read()]
        assert kinds.count("EntriesFrozen") == 1
        assert kinds.count("FillOrphaned") == 3


def test_an_execution_on_another_leg_than_its_order_is_an_orphan() -> None:
    with journal() as subject:
        plan(subject)
        wrong = replace(fill(1), side=Side.BUY)
        entries, _ = book(subject, News((wrong,)))
        subject.append(entries, 2)
        assert subject.holdings() == {}
        assert [one.source for one in subject.freezes()] == [ORPHAN_FILL]


@pytest.mark.parametrize("outcome", ["absent", "rejected", "not_sent", "closed"])
def test_an_execution_that_contradicts_what_was_certain_is_booked_and_freezes_entries(outcome: str) -> None:
    with journal() as subject:
        plan(subject, outcome="accepted" if outcome == "closed" else outcome)
        if outcome == "closed":
            subject.append([OrderClosed(KEY, OrderStatus.CANCELLED, Decimal(0))], 1)
        entries, _ = book(subject, News((fill(1),)))
        subject.append(entries, 2)
        assert subject.holdings() == {(PAIR, LEG): Decimal(-2)}
        assert [one.source for one in subject.freezes()] == [LATE_FILL]


def test_absence_settles_an_order_unless_a_fill_says_otherwise() -> None:
    with journal() as subject:
        for key, outcome in (("u", "unknown"), ("p", None), ("a", "accepted"), ("f", "unknown")):
            plan(subject, ClientOrderId(key), outcome)
        absent = tuple(ClientOrderId(key) for key in ("u", "p", "a", "f", "nobody"))
        entries, booked = book(subject, News((fill(1, key="f"),), absent=absent))
        subject.append(entries, 2)
        assert booked.settled == ("u", "p", "a")
        states = {row.request.client_order_id: row.state for row in subject.orders()}
        assert states == {"u": "absent", "p": "absent", "a": "closed", "f": "accepted"}


def test_states_of_orders_that_are_not_ours_say_nothing() -> None:
    with journal() as subject:
        entries, booked = book(subject, News(states={ClientOrderId("x"): state("0", key="x")}))
        assert entries == []
        assert (booked.known, booked.settled) == ((), ())
