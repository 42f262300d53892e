"""A book made of a snapshot and deltas equals the fold of them, and knows when it is not whole."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.bybit.book import Book, MergedTicker
from exchanges.fields import Row
from portfolio.core.errors import VenueError
from portfolio.core.market import Quote
from portfolio.core.names import InstrumentId

NAME = InstrumentId("bybit:linear:BTCUSDT")
Side = dict[str, str]

prices = st.integers(1, 30).map(str)
sides = st.dictionaries(prices, st.integers(1, 9).map(str), max_size=12)
changes = st.dictionaries(prices, st.integers(0, 9).map(str), max_size=6)
deltas = st.lists(st.tuples(changes, changes), max_size=8)


def frame(kind: str, update: int, bids: Side, asks: Side) -> Row:
    return {
        "topic": "orderbook.50.BTCUSDT",
        "type": kind,
        "ts": 1,
        "data": {
            "s": "BTCUSDT",
            "b": [list(level) for level in bids.items()],
            "a": [list(level) for level in asks.items()],
            "u": update,
            "seq": update,
        },
    }


def fold(start: Side, steps: list[Side]) -> list[tuple[Decimal, Decimal]]:
    book = dict(start)
    for step in steps:
        book.update(step)
    return sorted((Decimal(price), Decimal(size)) for price, size in book.items() if size != "0")


def shown(quote: Quote) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
    return (
        [(level.price, level.quantity) for level in quote.bids],
        [(level.price, level.quantity) for level in quote.asks],
    )


@given(sides, sides, deltas)
def test_a_snapshot_and_its_deltas_give_what_folding_them_gives(
    bids: Side, asks: Side, steps: list[tuple[Side, Side]]
) -> None:
    book = Book(NAME)
    assert book.apply(frame("snapshot", 10, bids, asks))
    for index, (bid_step, ask_step) in enumerate(steps):
        assert book.apply(frame("delta", 11 + index, bid_step, ask_step))
    shown_bids, shown_asks = shown(book.quote(1, 2))
    assert shown_bids == fold(bids, [step for step, _ in steps])[::-1]
    assert shown_asks == fold(asks, [step for _, step in steps])


@given(sides, sides, deltas, st.integers(0, 7))
def test_a_missed_update_is_told_once_and_the_book_stays_incomplete_until_a_snapshot(
    bids: Side, asks: Side, steps: list[tuple[Side, Side]], lost: int
) -> None:
    book = Book(NAME)
    book.apply(frame("snapshot", 1, bids, asks))
    answers = [
        book.apply(frame("delta", 2 + index, *step)) for index, step in enumerate(steps) if index != lost
    ]
    missed = lost < len(steps) - 1
    assert answers.count(False) == (1 if missed else 0)
    assert book.complete is not missed
    assert book.apply(frame("snapshot", 50, bids, asks))
    assert book.complete
    assert shown(book.quote(1, 2)) == (fold(bids, [])[::-1], fold(asks, []))


def test_a_delta_before_any_snapshot_changes_nothing_and_is_no_gap() -> None:
    book = Book(NAME)
    assert book.apply(frame("delta", 5, {"1": "1"}, {}))
    assert not book.complete


def test_deleting_a_level_that_is_not_there_is_nothing() -> None:
    book = Book(NAME)
    book.apply(frame("snapshot", 1, {"10": "1"}, {}))
    assert book.apply(frame("delta", 2, {"9": "0"}, {"11": "0"}))
    assert shown(book.quote(1, 2)) == ([(Decimal(10), Decimal(1))], [])


def test_a_ticker_keeps_what_a_delta_does_not_mention() -> None:
    ticker = MergedTicker()
    assert not ticker.apply({"type": "delta", "data": {"markPrice": "1"}})
    assert ticker.apply({"type": "snapshot", "data": {"markPrice": "1", "fundingRate": "0.0001"}})
    assert ticker.apply({"type": "delta", "data": {"markPrice": "2"}})
    assert ticker.row == {"markPrice": "2", "fundingRate": "0.0001"}


@pytest.mark.parametrize("quantity", ["NaN", "Infinity", "1e-999999999", "0e-999999999", "1_0", "\uff11", ""])
def test_a_level_that_is_no_short_finite_number_is_an_error(quantity: str) -> None:
    with pytest.raises(VenueError, match="orderbook"):
        Book(NAME).apply(frame("snapshot", 1, {"10": quantity}, {}))
