import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolio.codec import (
    canonical,
    from_data,
    from_json,
    read_json,
    tagged_from_data,
    tagged_to_data,
    to_data,
    to_json,
)
from portfolio.coders import kind_of
from portfolio.core.entries import KINDS, CashBooked, Entry, FillBooked, Noted
from portfolio.core.errors import InputError
from portfolio.core.events import FillUpdate, VenueEvent
from portfolio.core.limits import RiskLimits
from portfolio.core.names import Coin, InstrumentId, PairId
from portfolio.core.orders import Accepted, OrderStatus, Outcome, Unknown
from portfolio.core.risk import RiskTables
from portfolio.ports import MarketSnapshot
from tests.portfolio.journal.making import fill
from tests.portfolio.strategies import values_of

CASH = CashBooked("funding", "r1", InstrumentId("bybit:linear:BTCUSDT"), Coin("USDT"), Decimal("-0.10"), 5)


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Everything:
    held: Mapping[tuple[PairId, InstrumentId], Decimal]
    counts: Mapping[str, int]
    names: frozenset[str]
    either: Literal["a", "b"]
    ratio: float
    two: tuple[str, int]
    colour: Colour
    outcomes: tuple[Outcome, ...] = ()
    note: str | None = None


EVERYTHING = Everything(
    held={
        (PairId("SOL@bybit"), InstrumentId("bybit:spot:SOLUSDT")): Decimal("1.50"),
        (PairId("BTC@bybit"), InstrumentId("bybit:spot:BTCUSDT")): Decimal(-2),
    },
    counts={"b": 1, "a": 2},
    names=frozenset({"x", "y"}),
    either="a",
    ratio=0.5,
    two=("k", 3),
    colour=Colour.RED,
    outcomes=(Unknown("lost"),),
)


@pytest.mark.parametrize("cls", KINDS, ids=KINDS.values())
def test_every_kind_of_entry_comes_back_as_it_went(cls: type) -> None:
    @given(values_of(cls))
    def there_and_back(entry: Any) -> None:
        text = to_json(entry)
        assert text.isascii()
        assert from_json(cls, text) == entry
        assert json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")) == text

    there_and_back()


@given(values_of(VenueEvent))
def test_every_venue_event_comes_back_with_its_kind(event: VenueEvent) -> None:
    assert tagged_from_data(VenueEvent, read_json(canonical(tagged_to_data(event)))) == event


@pytest.mark.parametrize("cls", [RiskTables, MarketSnapshot, RiskLimits])
def test_tables_prices_and_limits_come_back_as_they_went(cls: type) -> None:
    @given(values_of(cls))
    def there_and_back(value: Any) -> None:
        assert from_json(cls, to_json(value)) == value

    there_and_back()


def test_canonical_text_is_sorted_compact_and_plain() -> None:
    assert to_json(CASH) == (
        '{"amount":"-0.1","coin":"USDT","event_market_ns":5,'
        '"instrument_id":"bybit:linear:BTCUSDT","kind":"funding","reference":"r1"}'
    )


@given(st.decimals(min_value=-(10**18), max_value=10**18), st.integers(0, 6))
def test_equal_decimals_give_equal_text(value: Decimal, zeros: int) -> None:
    longer = value.scaleb(zeros) * Decimal(1).scaleb(-zeros)
    if longer == value:
        first = CashBooked("a", "b", None, Coin("c"), value, 1)
        second = CashBooked("a", "b", None, Coin("c"), longer, 1)
        assert to_json(first) == to_json(second)


def test_mappings_with_tuple_keys_become_sorted_pairs() -> None:
    data = to_data(EVERYTHING)
    assert data["held"] == [
        [["BTC@bybit", "bybit:spot:BTCUSDT"], "-2"],
        [["SOL@bybit", "bybit:spot:SOLUSDT"], "1.5"],
    ]
    assert from_json(Everything, to_json(EVERYTHING)) == EVERYTHING


def test_the_order_of_a_mapping_does_not_change_the_text() -> None:
    other = Everything(
        **{
            **{name: getattr(EVERYTHING, name) for name in EVERYTHING.__dataclass_fields__},
            "held": dict(reversed(list(EVERYTHING.held.items()))),
            "counts": {"a": 2, "b": 1},
        }
    )
    assert to_json(other) == to_json(EVERYTHING)


def test_members_of_a_union_carry_their_kind() -> None:
    assert to_data(EVERYTHING)["outcomes"] == [{"body": {"reason": "lost"}, "kind": "Unknown"}]
    assert tagged_to_data(Noted("a", "b")) == {"body": {"text": "b", "topic": "a"}, "kind": "note"}
    assert kind_of(Accepted) == "Accepted"
    assert {kind_of(cls) for cls in get_args(Entry)} == set(KINDS.values())


def changed(path: str, value: object) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(to_json(EVERYTHING))
    data[path] = value
    return data


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (changed("ratio", "0.5"), "ratio"),
        (changed("ratio", True), "ratio"),
        (changed("counts", {"a": 1.0}), "counts.a"),
        (changed("counts", {"a": True}), "counts.a"),
        (changed("counts", [["a", 1]]), "counts"),
        (changed("held", {}), "held"),
        (changed("held", [[["P", "I"], 1.5]]), "held.0"),
        (changed("held", [[["P", "I"], "1"], [["P", "I"], "2"]]), "held"),
        (changed("held", [["P"]]), "held.0"),
        (changed("names", ["x", "x"]), "names"),
        (changed("names", "x"), "names"),
        (changed("either", "c"), "either"),
        (changed("two", ["k"]), "two"),
        (changed("two", ["k", "3"]), "two"),
        (changed("colour", 3), "colour"),
        (changed("colour", [1]), "colour"),
        (changed("outcomes", {}), "outcomes"),
        (changed("outcomes", [{"kind": "Other", "body": {}}]), "outcomes.0"),
        (changed("outcomes", [{"kind": ["Unknown"], "body": {}}]), "outcomes.0"),
        (changed("outcomes", [{"reason": "lost"}]), "outcomes.0"),
        (changed("outcomes", [{"kind": "Unknown", "body": []}]), "outcomes.0"),
        (changed("note", 1), "note"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_its_path(data: object, path: str) -> None:
    with pytest.raises(InputError) as caught:
        from_data(Everything, data)
    assert caught.value.field == path


@pytest.mark.parametrize(
    "text", [1, 1.5, True, None, "", "1e3", " 1", "1_0", "NaN", "Infinity", "+1", ".5", "5.", "\u0661"]
)
def test_a_decimal_is_read_from_plain_text_only(text: object) -> None:
    data = {**to_data(CASH), "amount": text}
    with pytest.raises(InputError, match=r"CashBooked\.amount"):
        from_data(CashBooked, data)


@pytest.mark.parametrize("amount", [1.5, 1, "1.5", Decimal("NaN"), Decimal("Infinity")])
def test_only_a_finite_decimal_is_written_as_one(amount: Any) -> None:
    with pytest.raises(InputError, match=r"CashBooked\.amount"):
        to_json(CashBooked("a", "b", None, Coin("c"), amount, 1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("held", ()),
        ("counts", {"a": "1"}),
        ("counts", None),
        ("names", {"x"}),
        ("ratio", float("nan")),
        ("two", ["k", 3]),
        ("colour", 1),
        ("outcomes", [Unknown("x")]),
        ("outcomes", ("x",)),
        ("note", 1),
    ],
)
def test_a_value_of_another_type_than_its_annotation_is_not_written(name: str, value: Any) -> None:
    fields = {one: getattr(EVERYTHING, one) for one in EVERYTHING.__dataclass_fields__}
    with pytest.raises(InputError, match=name):
        to_json(Everything(**{**fields, name: value}))


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(InputError, match="unknown field 'extra'"):
        from_data(CashBooked, {**to_data(CASH), "extra": 1})


def test_a_missing_field_is_refused_unless_it_has_a_default() -> None:
    data = to_data(CASH)
    del data["coin"]
    with pytest.raises(InputError, match="'coin' is missing"):
        from_data(CashBooked, data)
    older = to_data(EVERYTHING)
    del older["note"], older["outcomes"]
    assert from_data(Everything, older).outcomes == ()


def test_a_member_of_an_enum_of_texts_is_a_text() -> None:
    assert to_json(Noted(OrderStatus.FILLED, "x")) == '{"text":"x","topic":"filled"}'


def test_a_field_holds_its_own_class_only() -> None:
    with pytest.raises(InputError, match=r"FillUpdate\.fill"):
        to_json(FillUpdate(Noted("a", "b"), 1))  # type: ignore[arg-type]


def test_an_unknown_kind_of_a_union_is_refused() -> None:
    with pytest.raises(InputError, match=r"kind 'order\.lost' is none of"):
        tagged_from_data(Entry, {"kind": "order.lost", "body": {}})


def test_a_nested_path_is_named_in_full() -> None:
    data = to_data(FillBooked(fill("e1", "c1"), PairId("P"), fill("e1", "c1").client_order_id))  # type: ignore[arg-type]
    data["fill"]["price"] = 64000.5
    with pytest.raises(InputError, match=r"^FillBooked\.fill\.price: 64000\.5 is not a decimal text"):
        from_data(FillBooked, data)


@pytest.mark.parametrize(
    "text", ["", "{", '{"topic":"a","topic":"b","text":"c"}', '{"topic":NaN,"text":"c"}', "[" * 100_000, "[]"]
)
def test_text_that_is_not_one_clear_json_object_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        from_json(Noted, text)


@pytest.mark.parametrize("amount", ["1E-999999999", "1E+999999999", "1E-256", "9" * 300])
def test_a_decimal_that_no_text_should_hold_is_neither_written_nor_read(amount: str) -> None:
    with pytest.raises(InputError, match=r"^CashBooked\.amount: .* more digits than can be written"):
        to_json(replace(CASH, amount=Decimal(amount)))
    with pytest.raises(InputError, match="is not a decimal text"):
        from_data(CashBooked, {**to_data(CASH), "amount": "0." + "0" * 300 + "1"})


@pytest.mark.parametrize("amount", ["0E-999999999", "1.234567890123456789012345678E-200", "1E+200"])
def test_zero_and_what_28_digits_can_compute_are_written_and_read_again(amount: str) -> None:
    cash = replace(CASH, amount=Decimal(amount))
    assert from_json(CashBooked, to_json(cash)) == cash


def test_an_integer_of_more_than_64_bits_is_neither_written_nor_read() -> None:
    with pytest.raises(InputError, match=r"^CashBooked\.event_market_ns: .* 64 bits"):
        to_json(replace(CASH, event_market_ns=1 << 64))
    with pytest.raises(InputError, match=r"^CashBooked\.event_market_ns: .* 64 bits"):
        from_json(CashBooked, to_json(CASH).replace('_market_ns":5', '_market_ns":' + "9" * 4000))


def test_a_long_wrong_value_is_shown_shortened() -> None:
    with pytest.raises(InputError) as caught:
        from_data(Noted, {"topic": ["x" * 500], "text": "t"})
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("annotation", [bytes, list[int], int | str, set[str], complex])
def test_an_annotation_that_the_codec_does_not_know_is_an_error_at_first_use(annotation: Any) -> None:
    @dataclass(frozen=True)
    class Strange:
        value: Any

    Strange.__annotations__["value"] = annotation
    with pytest.raises(TypeError, match=r"the codec (knows|does not know)"):
        to_json(Strange(value=1))
