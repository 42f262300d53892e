"""Numbers come from text, are finite, and every rounding goes where its name says, for both signs."""

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portfolio.core.decimals import (
    EXPONENT_MIN,
    INTEGER_MAX,
    MAGNITUDE_MAX,
    PLAIN_TEXT_MAX,
    TEXT_MAX,
    clamp,
    parse,
    parse_integer,
    parse_plain,
    parse_positive,
    plain,
    round_down_to_step,
    round_half_even_to_step,
    round_toward_zero_to_step,
    round_up_to_step,
)
from portfolio.core.errors import NumberError

values = st.decimals("-1e9", "1e9", places=8)
steps = st.sampled_from([Decimal(text) for text in ("0.00000001", "0.001", "0.5", "1", "10", "0.3")])


@pytest.mark.parametrize(
    "bad", ["", "abc", "NaN", "sNaN", "Infinity", "-inf", "1e19", "1,5", 1.5, True, None]
)
def test_what_is_no_finite_decimal_text_is_refused(bad: object) -> None:
    with pytest.raises(NumberError):
        parse(bad, "size")  # type: ignore[arg-type]


@pytest.mark.parametrize("good", ["1.5", " 1.5 ", "-3", 7, Decimal("1e-8"), "1e18"])
def test_texts_ints_and_decimals_pass_unchanged(good: str | int | Decimal) -> None:
    assert parse(good) == Decimal(str(good).strip())
    assert abs(parse(good)) <= MAGNITUDE_MAX


@pytest.mark.parametrize(
    "bad",
    [
        *("1e-999999999", "1e999999999", "-1e999999999", "0E-999999999", "0e999999999", "1e-41", "9e18"),
        *(Decimal("1e-999999999"), Decimal("0E-999999999"), Decimal("0." + "3" * 100)),
        *(10**18 + 1, "0" * (TEXT_MAX + 1), "1." + "0" * TEXT_MAX),
    ],
)
def test_a_number_that_would_be_long_when_written_out_is_refused_before_anything_is_computed(
    bad: str | int | Decimal,
) -> None:
    with pytest.raises(
        NumberError, match=r"^size: .* out of range; allowed is 0, or 1e-40 to 1e18"
    ) as refused:
        parse(bad, "size")
    assert refused.value.field == "size"
    assert len(refused.value.message) < 200


@pytest.mark.parametrize(
    "bad", ["1_000", "_1", "\uff11\uff12", "\u0661", "1\u00b2", "1e99999999999999999999", "1\x00", "x" * 60]
)
def test_digits_are_0_to_9_and_no_separators(bad: str) -> None:
    with pytest.raises(NumberError, match="is not a number"):
        parse(bad, "size")


def test_an_integer_of_thousands_of_digits_is_refused_without_being_written() -> None:
    with pytest.raises(NumberError, match="out of range"):
        parse(-(10**5000), "size")
    with pytest.raises(NumberError, match="64 bits"):
        parse_integer(10**5000, "seq")


@pytest.mark.parametrize("bad", [[["1"]], {"a": 1}, 2.5])
def test_what_is_no_text_is_named_by_its_kind(bad: object) -> None:
    with pytest.raises(NumberError, match="is not a decimal text"):
        parse(bad, "size")  # type: ignore[arg-type]


number_texts = st.one_of(
    st.text(max_size=80),
    st.from_regex(r"[+-]?[0-9]{0,30}\.?[0-9]{0,50}([eE][+-]?[0-9]{1,12})?", fullmatch=True),
    st.text(alphabet="0123456789eE+-._ naifty\uff11\u0663", max_size=70),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
)


@given(number_texts)
@example("1e-40")
@example("9.99e17")
@example("0e-40")
@example("1." + "9" * 57 + "e-40")
def test_whatever_text_comes_in_is_refused_or_is_a_short_finite_number(text: str) -> None:
    try:
        value = parse(text, "size")
    except NumberError:
        return
    assert value.is_finite()
    assert abs(value) <= MAGNITUDE_MAX
    assert value == 0 or abs(value) >= Decimal(1).scaleb(EXPONENT_MIN)
    assert len(plain(value)) <= 2 * TEXT_MAX
    assert parse_plain(plain(value)) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=60))
def test_what_plain_writes_is_read_back_however_fine(value: Decimal) -> None:
    assert parse_plain(plain(value), "gap") == value


@pytest.mark.parametrize(
    "bad", ["1e5", "+1", ".5", "1_0", "\uff11", "", "NaN", 1, None, "1" * (PLAIN_TEXT_MAX + 1)]
)
def test_what_plain_does_not_write_is_not_read_as_its_text(bad: object) -> None:
    with pytest.raises(NumberError, match=r"^gap: "):
        parse_plain(bad, "gap")


def test_whole_numbers_are_digits_of_at_most_64_bits() -> None:
    good: list[str | int] = ["0", "-7", "0012", 5, str(INTEGER_MAX), -INTEGER_MAX]
    assert [parse_integer(one) for one in good] == [0, -7, 12, 5, INTEGER_MAX, -INTEGER_MAX]


@pytest.mark.parametrize(
    "bad",
    ["", "-", "--1", "+1", "1.0", "\u00b2", "\uff11", "1_0", " 1", "9" * 5000, "9" * 19, 10**19, True, 1.0],
)
def test_no_other_whole_number_is_taken(bad: object) -> None:
    with pytest.raises(NumberError, match=r"^seq: .* is not a whole number"):
        parse_integer(bad, "seq")  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", ["0", "-1", "-0"])
def test_a_positive_number_is_above_zero(bad: str) -> None:
    with pytest.raises(NumberError, match="greater than zero"):
        parse_positive(bad, "size")
    assert parse_positive("0.1") == Decimal("0.1")


@given(values, steps)
def test_each_rounding_goes_where_its_name_says(value: Decimal, step: Decimal) -> None:
    down, up = round_down_to_step(value, step), round_up_to_step(value, step)
    inward, near = round_toward_zero_to_step(value, step), round_half_even_to_step(value, step)
    assert down <= value <= up
    assert up - down in (0, step)
    assert abs(inward) <= abs(value)
    assert abs(near - value) * 2 <= step
    for rounded in (down, up, inward, near):
        assert rounded % step == 0


def test_a_step_that_is_not_above_zero_is_refused() -> None:
    with pytest.raises(NumberError, match="step"):
        round_down_to_step(Decimal(1), Decimal(0))


def test_more_steps_than_can_be_counted_are_our_own_error() -> None:
    with pytest.raises(NumberError, match="countable"):
        round_toward_zero_to_step(Decimal("1e18"), Decimal("1e-18"))


@given(values)
def test_plain_text_has_no_exponent_and_equal_values_have_equal_text(value: Decimal) -> None:
    text = plain(value)
    assert Decimal(text) == value
    assert "e" not in text.lower()
    assert plain(value + Decimal("0E-12")) == text


def test_plain_text_of_zero_of_whole_and_of_large_numbers() -> None:
    assert [plain(Decimal(text)) for text in ("-0.00", "1E+3", "120", "1.500")] == ["0", "1000", "120", "1.5"]


def test_clamp_keeps_within_its_ends() -> None:
    ends = (Decimal(0), Decimal(1))
    assert [clamp(Decimal(text), *ends) for text in ("-1", "0.5", "2")] == [0, Decimal("0.5"), 1]
