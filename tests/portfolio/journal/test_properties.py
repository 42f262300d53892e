"""Random histories: what is accepted verifies, reopens and adds up; what is refused leaves no trace."""

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.core.entries import (
    CashBooked,
    EntriesFrozen,
    EntriesThawed,
    Entry,
    FillOrphaned,
    GuardStateSaved,
    Halted,
    OrderAnswered,
    OrderClosed,
    Resumed,
    TokenAdded,
    TokenRevoked,
    TreasuryAdopted,
)
from portfolio.core.errors import ConflictError
from portfolio.core.intents import IntentStatus
from portfolio.core.names import ClientOrderId, Coin, IntentId
from portfolio.core.orders import OrderStatus, Side
from portfolio.journal import SqlJournal
from portfolio.journal.projections import ANSWERS, fee_in_base
from tests.portfolio.journal.making import (
    PERPETUAL,
    SPOT,
    approval,
    approved,
    booked,
    fill,
    moved,
    opened,
    planned,
    proposed,
)

order_ids = st.sampled_from(["c1", "c2", "c3", "c4"])
fill_ids = st.sampled_from(["e1", "e2", "e3", "e4", "e5", "e6"])
intent_ids = st.sampled_from(["i1", "i2", "i3"])
nonces = st.sampled_from(["1" * 32, "2" * 32, "3" * 32])
names = st.sampled_from(["a", "b"])
instruments = st.sampled_from([SPOT, PERPETUAL])
sides = st.sampled_from(Side)
quantities = st.sampled_from(["0.1", "0.25", "1e-8", "3"])
amounts = st.decimals(min_value=-100, max_value=100, places=4)

entries: st.SearchStrategy[Entry] = st.one_of(
    st.builds(planned, order_ids, instrument_id=instruments, side=sides, intent_id=intent_ids),
    st.builds(
        lambda fill_id, order_id, instrument, side, quantity, fee_coin: booked(
            fill(fill_id, order_id, instrument_id=instrument, side=side, quantity=quantity, fee_coin=fee_coin)
        ),
        fill_ids,
        order_ids,
        instruments,
        sides,
        quantities,
        st.sampled_from(["BTC", "USDT"]),
    ),
    st.builds(lambda fill_id: FillOrphaned(fill(fill_id, "foreign")), fill_ids),
    st.builds(
        lambda order_id, outcome: OrderAnswered(ClientOrderId(order_id), outcome, None, ""),
        order_ids,
        st.sampled_from(sorted(ANSWERS)),
    ),
    st.builds(
        lambda order_id: OrderClosed(ClientOrderId(order_id), OrderStatus.CANCELLED, Decimal(0)), order_ids
    ),
    st.builds(proposed, intent_ids, request_id=st.none() | names, proposed_by=names),
    st.builds(approved, intent_ids, nonces),
    st.builds(moved, st.sampled_from(IntentStatus), st.sampled_from(IntentStatus), intent_ids),
    st.builds(CashBooked, names, names, st.none(), st.just(Coin("USDT")), amounts, st.just(1)),
    st.builds(TreasuryAdopted, st.just(Coin("USDT")), amounts, st.just("")),
    st.builds(EntriesFrozen, names, names, st.sampled_from(["self", "operator"])),
    st.builds(EntriesThawed, names, names),
    st.builds(Halted, names, names),
    st.builds(lambda nonce: Resumed(approval(nonce, purpose="resume")), nonces),
    st.builds(TokenAdded, names, names, st.lists(names).map(tuple)),
    st.builds(TokenRevoked, names),
    st.builds(GuardStateSaved, names),
)
batches = st.lists(st.lists(entries, min_size=1, max_size=4), max_size=40)

READS: tuple[Callable[[SqlJournal], Any], ...] = (
    SqlJournal.orders,
    lambda journal: journal.orders(unsettled_only=True),
    SqlJournal.fills,
    lambda journal: [journal.orders(intent_id=IntentId(one)) for one in ("i1", "i2")],
    lambda journal: journal.fills(IntentId("i1")),
    SqlJournal.holdings,
    SqlJournal.treasury,
    SqlJournal.intents,
    lambda journal: journal.intents(open_only=True),
    SqlJournal.freezes,
    SqlJournal.halted,
    SqlJournal.guard_state,
    SqlJournal.tokens,
    SqlJournal.cash,
)


def seen(journal: SqlJournal) -> list[Any]:
    return [read(journal) for read in READS]


@settings(max_examples=150)
@given(batches)
def test_any_history_verifies_and_a_desk_that_starts_again_sees_the_same(batches: list[list[Entry]]) -> None:
    journal = opened()
    for batch in batches:
        head = journal.head()
        try:
            journal.append(batch, 5)
        except ConflictError:
            assert journal.head() == head
    before = seen(journal)
    assert journal.verify().ok
    again = journal.reopen(6)
    assert seen(again) == before
    assert again.verify().ok


@settings(max_examples=60)
@given(batches)
def test_the_memory_of_a_refused_batch_is_that_of_the_tables(batches: list[list[Entry]]) -> None:
    journal = opened()
    for batch in batches:
        head, before = journal.head(), seen(journal)
        try:
            journal.append(batch, 5)
        except ConflictError:
            assert seen(journal) == before
            assert journal.head() == head
            assert journal.read(after_seq=head[0]) == ()
            journal = journal.reopen(6)
            assert seen(journal) == before


@settings(max_examples=100)
@given(batches)
def test_orders_and_holdings_add_up_to_the_fills(batches: list[list[Entry]]) -> None:
    journal = opened()
    for batch in batches:
        try:
            journal.append(batch, 5)
        except ConflictError:
            continue
    held: dict[Any, Decimal] = defaultdict(Decimal)
    filled: dict[str, Decimal] = defaultdict(Decimal)
    for row in journal.fills():
        one = row.fill
        held[(row.pair_id, one.instrument_id)] += one.side.sign * one.quantity - fee_in_base(one)
        filled[one.client_order_id] += one.quantity
    assert journal.holdings() == {key: quantity for key, quantity in held.items() if quantity != 0}
    for order in journal.orders():
        assert order.filled == filled[order.request.client_order_id]
