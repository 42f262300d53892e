"""What entries do to orders, fills, holdings and the rest, and which entries contradict the state."""

from decimal import Decimal

import pytest

from portfolio.core.entries import (
    CashBooked,
    DeskStarted,
    EntriesFrozen,
    EntriesThawed,
    Entry,
    FillOrphaned,
    GuardActed,
    GuardStateSaved,
    Halted,
    JournalOpened,
    Noted,
    OrderAnswered,
    OrderClosed,
    RepaymentMoved,
    Resumed,
    TablesChanged,
    TokenAdded,
    TokenRevoked,
    TreasuryAdopted,
)
from portfolio.core.errors import ConflictError, InputError
from portfolio.core.names import ClientOrderId, Coin, IntentId
from portfolio.core.orders import OrderStatus, Side
from portfolio.journal import SqlJournal
from portfolio.journal.projections import fee_in_base
from portfolio.ports import Freeze, OrderRow
from tests.portfolio.journal.making import (
    PAIR,
    PERPETUAL,
    SPOT,
    approval,
    booked,
    fill,
    opened,
    order,
    planned,
)


def answered(outcome: str, client_order_id: str = "c1", venue_order_id: str | None = None) -> OrderAnswered:
    return OrderAnswered(ClientOrderId(client_order_id), outcome, venue_order_id, detail=f"said {outcome}")


def closed(client_order_id: str = "c1", status: OrderStatus = OrderStatus.FILLED) -> OrderClosed:
    return OrderClosed(ClientOrderId(client_order_id), status, Decimal("0.1"))


def after(*entries: Entry) -> SqlJournal:
    journal = opened()
    for entry in entries:
        journal.append([entry], 50)
    return journal


def only_order(journal: SqlJournal) -> OrderRow:
    row = journal.order(ClientOrderId("c1"))
    assert row is not None
    assert journal.orders() == (row,)
    return row


def test_a_planned_order_is_unsettled_before_the_wire_sees_it() -> None:
    journal = after(planned())
    row = only_order(journal)
    assert (row.state, row.request, row.deadline_wire_ns, row.planned_wire_ns) == ("planned", order(), 99, 50)
    assert journal.orders(unsettled_only=True) == (row,)


@pytest.mark.parametrize("outcome", ["rejected", "not_sent", "absent"])
def test_an_order_without_effect_is_settled_and_still_readable(outcome: str) -> None:
    journal = after(planned(), answered(outcome))
    assert journal.orders(unsettled_only=True) == ()
    row = only_order(journal)
    assert (row.state, row.detail) == (outcome, f"said {outcome}")


@pytest.mark.parametrize("outcome", ["accepted", "unknown"])
def test_an_order_that_may_still_fill_is_unsettled(outcome: str) -> None:
    journal = after(planned(), answered(outcome, venue_order_id="v9"))
    (row,) = journal.orders(unsettled_only=True)
    assert (row.state, row.venue_order_id) == (outcome, "v9")


def test_a_late_answer_does_not_reopen_a_closed_order_but_brings_its_venue_id() -> None:
    row = only_order(after(planned(), closed(), answered("accepted", venue_order_id="v9")))
    assert (row.state, row.status, row.venue_order_id) == ("closed", OrderStatus.FILLED, "v9")


@pytest.mark.parametrize("before", ["accepted", "rejected", "absent"])
def test_unknown_takes_back_no_answer(before: str) -> None:
    assert only_order(after(planned(), answered(before), answered("unknown"))).state == before


@pytest.mark.parametrize("outcome", ["accepted", "absent", "rejected"])
def test_an_unknown_order_is_resolved_by_a_later_answer(outcome: str) -> None:
    assert only_order(after(planned(), answered("unknown"), answered(outcome))).state == outcome


@pytest.mark.parametrize("before", ["absent", "rejected", "not_sent"])
def test_a_fill_proves_that_an_order_exists(before: str) -> None:
    journal = after(planned(), answered(before), booked(fill()))
    (row,) = journal.orders(unsettled_only=True)
    assert (row.state, row.filled) == ("accepted", Decimal("0.1"))


@pytest.mark.parametrize("before", ["planned", "unknown"])
def test_a_fill_leaves_an_open_question_to_the_probe(before: str) -> None:
    entries: list[Entry] = [planned()] if before == "planned" else [planned(), answered("unknown")]
    assert only_order(after(*entries, booked(fill()))).state == before


def test_fills_add_up_in_the_order_and_in_the_holding_net_of_base_fees() -> None:
    journal = after(
        planned(quantity="0.3"),
        booked(fill("e1", price="64000")),
        booked(fill("e2", price="65000")),
        closed(),
        booked(fill("e3", price="66000")),
    )
    row = only_order(journal)
    assert row.state == "closed"
    assert (row.filled, row.filled_quote, row.fee_base) == (
        Decimal("0.3"),
        Decimal("19500"),
        Decimal("0.0003"),
    )
    assert journal.holdings() == {(PAIR, SPOT): Decimal("0.2997")}
    assert [one.fill.fill_id for one in journal.fills()] == ["e1", "e2", "e3"]
    assert journal.fills(IntentId("i1")) == journal.fills()
    assert journal.fills(IntentId("other")) == ()


def test_a_sale_reduces_the_holding_and_its_quote_fee_does_not() -> None:
    sale = fill("e2", "c2", side=Side.SELL, quantity="0.05", fee="3.2", fee_coin="USDT")
    journal = after(planned(), booked(fill()), planned("c2", side=Side.SELL), booked(sale))
    assert journal.holdings() == {(PAIR, SPOT): Decimal("0.0499")}


def test_a_short_perpetual_is_a_negative_holding() -> None:
    short = fill(instrument_id=PERPETUAL, side=Side.SELL, fee="3.5", fee_coin="USDT")
    journal = after(planned(instrument_id=PERPETUAL, side=Side.SELL), booked(short))
    assert journal.holdings() == {(PAIR, PERPETUAL): Decimal("-0.1")}


def test_a_holding_that_adds_up_to_nothing_is_absent() -> None:
    sale = fill("e2", "c2", side=Side.SELL, quantity="0.0999", fee="0", fee_coin="USDT")
    journal = after(planned(), booked(fill()), planned("c2", side=Side.SELL), booked(sale))
    assert journal.holdings() == {}
    assert journal.verify().ok


@pytest.mark.parametrize(
    ("instrument", "fee_coin", "expected"),
    [
        ("bybit:spot:BTCUSDT", "BTC", "0.0001"),
        ("bybit:spot:BTCUSDT", "USDT", "0"),
        ("bybit:spot:ETHBTC", "BTC", "0"),
        ("bybit:linear:BTCUSDT", "BTC", "0"),
        ("bybit:spot:BTCUSDT", "MNT", "0"),
    ],
)
def test_only_a_spot_fee_in_the_base_coin_comes_off_the_coins(
    instrument: str, fee_coin: str, expected: str
) -> None:
    one = fill(instrument_id=instrument, fee_coin=fee_coin)  # type: ignore[arg-type]
    assert fee_in_base(one) == Decimal(expected)


def test_orders_of_an_intent_come_in_the_order_planned() -> None:
    journal = after(planned("z"), planned("a", intent_id="i2"), planned("b"), answered("accepted", "z"))
    assert [one.request.client_order_id for one in journal.orders(intent_id=IntentId("i1"))] == ["z", "b"]
    found = journal.orders(unsettled_only=True, intent_id=IntentId("i2"))
    assert [one.request.client_order_id for one in found] == ["a"]
    assert journal.order(ClientOrderId("never")) is None


def test_an_orphan_is_known_but_belongs_to_no_pair() -> None:
    journal = after(FillOrphaned(fill("e1", "foreign")))
    assert journal.has_fill("e1")
    assert not journal.has_fill("e2")
    assert journal.fills() == ()
    assert journal.holdings() == {}


@pytest.mark.parametrize(
    "entries",
    [
        (planned(), planned()),
        (planned(), closed(), planned()),
        (planned(), booked(fill()), booked(fill())),
        (planned(), booked(fill()), FillOrphaned(fill())),
        (FillOrphaned(fill()), planned(), booked(fill())),
        (booked(fill()),),
        (answered("accepted"),),
        (closed(),),
        (planned(), booked(fill(instrument_id=PERPETUAL))),
        (planned(), booked(fill(side=Side.SELL))),
        (TokenAdded("t", "h", ()), TokenAdded("t", "h2", ())),
        (TokenAdded("t", "h", ()), TokenRevoked("t"), TokenAdded("t", "h2", ())),
        (TokenRevoked("t"),),
        (Halted("operator", ""), Resumed(approval()), Resumed(approval())),
        (JournalOpened("bybit:main", "u1", "paper"),),  # type: ignore[arg-type]
        (DeskStarted(9, ""),),
    ],
)
def test_an_entry_that_contradicts_the_state_changes_nothing(entries: tuple[Entry, ...]) -> None:
    journal = after(*entries[:-1])
    before = journal.head()
    with pytest.raises(ConflictError):
        journal.append([entries[-1]], 60)
    assert journal.head() == before
    journal.append([Noted("still", "writable")], 61)
    assert journal.verify().ok


@pytest.mark.parametrize(
    ("entry", "field"), [(answered("lost"), "outcome"), (closed(status=OrderStatus.WORKING), "status")]
)
def test_an_entry_that_is_not_valid_in_itself_is_bad_input(entry: Entry, field: str) -> None:
    journal = after(planned())
    with pytest.raises(InputError) as caught:
        journal.append([entry], 60)
    assert caught.value.field == field


def test_a_ledger_row_is_booked_once() -> None:
    row = CashBooked("funding", "r1", PERPETUAL, Coin("USDT"), Decimal("1.25"), 9)
    journal = after(row)
    assert journal.has_cash("funding", "r1")
    assert not journal.has_cash("interest", "r1")
    with pytest.raises(ConflictError, match="funding r1"):
        journal.append([row], 60)
    (found,) = journal.cash()
    assert found.entry == row
    assert journal.cash(found.seq) == ()


def test_treasury_is_absolute_and_zero_removes_it() -> None:
    coin = Coin("USDT")
    journal = after(TreasuryAdopted(coin, Decimal(100), ""), TreasuryAdopted(coin, Decimal(90), ""))
    assert journal.treasury() == {coin: Decimal(90)}
    journal.append([TreasuryAdopted(coin, Decimal(0), "")], 60)
    assert journal.treasury() == {}


def test_a_freeze_stands_since_it_began_until_it_is_thawed() -> None:
    journal = opened()
    journal.append([EntriesFrozen("stale", "prices", "self")], 50)
    journal.append([EntriesFrozen("stale", "account", "self"), EntriesFrozen("gap", "5 %", "operator")], 60)
    assert journal.freezes() == (
        Freeze("stale", "account", "self", 50),
        Freeze("gap", "5 %", "operator", 60),
    )
    journal.append([EntriesThawed("stale", "guard"), EntriesThawed("never", "guard")], 70)
    assert [one.source for one in journal.freezes()] == ["gap"]


def test_a_freeze_that_only_the_operator_lifts_does_not_become_milder() -> None:
    journal = after(EntriesFrozen("gap", "5 %", "operator"), EntriesFrozen("gap", "2 %", "self"))
    assert [(one.reason, one.lifted_by) for one in journal.freezes()] == [("2 %", "operator")]


def test_a_halt_stands_until_a_signed_resume() -> None:
    journal = after(Halted("operator", "first"), Halted("operator", "again"))
    assert journal.halted()
    journal.append([Resumed(approval())], 60)
    assert not journal.halted()


def test_tokens_keep_their_name_after_they_are_revoked() -> None:
    journal = after(TokenAdded("b", "h1", ("read",)), TokenAdded("a", "h2", ()), TokenRevoked("b"))
    assert [(one.name, one.scopes, one.revoked) for one in journal.tokens()] == [
        ("a", (), False),
        ("b", ("read",), True),
    ]


def test_the_guard_finds_its_last_state_and_its_actions_newest_first() -> None:
    actions = [GuardActed(f"g{n}", "ladder", (PAIR,), "cut", Decimal("0.66"), None) for n in range(3)]
    journal = after(GuardStateSaved("{}"), *actions, GuardStateSaved('{"peak":"1"}'))
    assert journal.guard_state() == '{"peak":"1"}'
    assert [one.entry for one in journal.guard_actions(2)] == [actions[2], actions[1]]
    assert opened().guard_state() is None


def test_audit_lines_change_no_projection() -> None:
    journal = after(RepaymentMoved("g1", Coin("BTC"), Decimal(1), "done", ""), TablesChanged("BTC tier 2"))
    assert journal.orders() == ()
    assert journal.verify().ok
