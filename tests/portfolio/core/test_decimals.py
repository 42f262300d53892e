"""Numbers come from text, are finite, and every rounding goes where its name says, for both signs."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolio.core.decimals import (
    MAGNITUDE_MAX,
    clamp,
    parse,
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
