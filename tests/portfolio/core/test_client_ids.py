"""Client order ids: form, determinism and distance."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.client_ids import client_order_id
from portfolio.core.errors import InputError
from portfolio.core.names import InstrumentId, IntentId

names = st.text(min_size=1, max_size=60)
numbers = st.integers(min_value=0, max_value=10**9)


@given(names, names, numbers, numbers)
def test_an_id_has_the_form_that_every_venue_takes_and_is_the_same_every_time(
    intent: str, instrument: str, slice_no: int, attempt: int
) -> None:
    first = client_order_id(IntentId(intent), InstrumentId(instrument), slice_no, attempt)
    assert re.fullmatch(r"[A-Za-z0-9]{1,32}", first)
    assert first == client_order_id(IntentId(intent), InstrumentId(instrument), slice_no, attempt)


@given(st.lists(st.tuples(names, names, numbers, numbers), unique=True, max_size=50))
def test_different_sends_never_share_an_id_even_where_case_is_ignored(
    sends: list[tuple[str, str, int, int]],
) -> None:
    ids = {
        client_order_id(IntentId(intent), InstrumentId(instrument), slice_no, attempt).lower()
        for intent, instrument, slice_no, attempt in sends
    }
    assert len(ids) == len(sends)


def test_a_large_book_of_orders_has_no_two_equal_ids() -> None:
    ids = {
        client_order_id(IntentId(f"i{intent}"), InstrumentId(f"bybit:{kind}:C{coin}USDT"), slice_no, attempt)
        for intent in range(25)
        for kind in ("linear", "spot")
        for coin in range(20)
        for slice_no in range(25)
        for attempt in range(4)
    }
    assert len(ids) == 25 * 2 * 20 * 25 * 4


def test_an_id_never_changes_between_versions() -> None:
    # A changed value would send again what an older version already sent.
    known = client_order_id(IntentId("i1"), InstrumentId("bybit:linear:SOLUSDT"), 0, 0)
    assert known == "cdat5mjpsw6ywmtleqdwxygirldft6cr"


@pytest.mark.parametrize(
    ("intent", "instrument", "slice_no", "attempt"),
    [("", "x", 0, 0), ("x", "", 0, 0), ("x", "y", -1, 0), ("x", "y", 0, -1)],
)
def test_a_send_without_a_name_or_with_a_negative_number_has_no_id(
    intent: str, instrument: str, slice_no: int, attempt: int
) -> None:
    with pytest.raises(InputError):
        client_order_id(IntentId(intent), InstrumentId(instrument), slice_no, attempt)
