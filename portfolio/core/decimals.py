"""Decimal arithmetic for money: the one place that parses numbers and rounds them.

Rules: numbers come from text (or int), never from float; every rounding names its direction, and the
direction is the same for negative numbers ("down" is towards minus infinity, "toward_zero" towards zero).
"""

import re
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation

from portfolio.core.errors import NumberError

ZERO = Decimal(0)
ONE = Decimal(1)
BPS = Decimal("0.0001")
#: Larger magnitudes than this are refused at the door: no account has them, and 28 digits must suffice
#: everywhere.
MAGNITUDE_MAX = Decimal("1e18")
#: Finer ones are refused there too, zeros written with such an exponent included: no venue counts so finely,
#: and written out without its exponent such a number takes as many characters as the exponent says.
EXPONENT_MIN = -40
#: Characters of a number that comes in: 19 digits before the point, 40 after it, sign, point and some more.
TEXT_MAX = 64
#: Characters of a number that was written by `plain`: 28 digits of anything that can be computed from numbers
#: that came in, and far more.
PLAIN_TEXT_MAX = 256
#: Whole numbers that come in fit into 64 bits: times, counters, sequence numbers.
INTEGER_MAX = (1 << 63) - 1

_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_ALLOWED = f"0, or 1e{EXPONENT_MIN} to 1e18 in magnitude, in at most {TEXT_MAX} characters"
_EXPONENT_MAX = MAGNITUDE_MAX.adjusted()
_LEAST = -MAGNITUDE_MAX
_WHOLE_MAX = int(MAGNITUDE_MAX)
_INTEGER_DIGITS = len(str(INTEGER_MAX))


def parse(text: str | int | Decimal, field: str = "number") -> Decimal:
    """Turn a decimal text (or int) into a finite Decimal that is short when written out.

    Digits are 0 to 9 without separators, an exponent is allowed; blanks around the number are ignored. All
    bounds are checked before anything is computed or written with the value.

    Raises:
        NumberError: `text` is a float, a bool, not a number, NaN, infinite, longer than 64 characters, beyond
            +-1e18, or finer than 1e-40.
    """
    if isinstance(text, str):
        written = text
    elif isinstance(text, Decimal):
        written = str(text)
    elif type(text) is int:
        if not -_WHOLE_MAX <= text <= _WHOLE_MAX:
            raise _out_of_range(text, field)
        return Decimal(text)
    else:
        raise NumberError(
            f"{field}: {_shown(text)} is not a decimal text.",
            field=field,
            next_step="Send it as a string such as '1.5'.",
        )
    if len(written) > TEXT_MAX:
        raise _out_of_range(text, field)
    # Decimal itself would take 1_000 and the digits of every script.
    if "_" in written or not written.isascii():
        raise _no_number(text, field)
    try:
        value = Decimal(written)
    except InvalidOperation:
        raise _no_number(text, field) from None
    if not value.is_finite():
        raise NumberError(
            f"{field}: {_shown(text)} is not finite.", field=field, next_step="Send a finite decimal."
        )
    if EXPONENT_MIN <= value.adjusted() <= _EXPONENT_MAX and _LEAST <= value <= MAGNITUDE_MAX:
        return value
    raise _out_of_range(text, field)


def parse_integer(text: str | int, field: str = "number") -> int:
    """Turn a text of digits 0 to 9, after a minus sign or not, into an int of at most 64 bits.

    Raises:
        NumberError: `text` is no such text and no int, or beyond +-(2**63 - 1).
    """
    if isinstance(text, bool) or not isinstance(text, str | int):
        raise _no_integer(text, field)
    if isinstance(text, str):
        digits = text.removeprefix("-")
        # isdigit alone takes the digits of every script, and superscripts that int does not.
        if not (digits.isascii() and digits.isdigit()) or len(digits) > _INTEGER_DIGITS:
            raise _no_integer(text, field)
        text = int(text)
    if not -INTEGER_MAX <= text <= INTEGER_MAX:
        raise _no_integer(text, field)
    return text


def parse_plain(text: object, field: str = "number") -> Decimal:
    """The inverse of `plain`: numbers that this program computed, finer ones than `parse` takes.

    Raises:
        NumberError: `text` is no text of `plain`, or longer than 256 characters.
    """
    if not isinstance(text, str) or len(text) > PLAIN_TEXT_MAX or _PLAIN.fullmatch(text) is None:
        raise _no_number(text, field)
    return Decimal(text)


def _shown(given: object) -> str:
    """What was given, short: never the text of an integer that has thousands of digits."""
    if isinstance(given, str | Decimal):
        text = str(given)
        return repr(text if len(text) <= 40 else f"{text[:37]}...")
    if isinstance(given, float) or given is None or isinstance(given, bool):
        return repr(given)
    return f"what was sent (a value of type {type(given).__name__})"


def _no_number(given: object, field: str) -> NumberError:
    return NumberError(
        f"{field}: {_shown(given)} is not a number.",
        field=field,
        allowed=_ALLOWED,
        next_step="Send a decimal such as '1.5': digits 0 to 9, no separators.",
    )


def _out_of_range(given: object, field: str) -> NumberError:
    return NumberError(
        f"{field}: {_shown(given)} is out of range; allowed is {_ALLOWED}.",
        field=field,
        allowed=_ALLOWED,
        next_step="Send a decimal such as '1.5'.",
    )


def _no_integer(given: object, field: str) -> NumberError:
    return NumberError(
        f"{field}: {_shown(given)} is not a whole number of at most 64 bits.",
        field=field,
        allowed=f"-{INTEGER_MAX} to {INTEGER_MAX}, digits 0 to 9",
    )


def parse_positive(text: str | int | Decimal, field: str = "number") -> Decimal:
    """Like `parse`, and greater than zero.

    Raises:
        NumberError: not a finite number, or not greater than zero.
    """
    value = parse(text, field)
    if value <= 0:
        raise NumberError(f"{field}: {value} must be greater than zero.", field=field, allowed="> 0")
    return value


def _quotient(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    """`NumberError` for a step that is not above zero, and for more steps than 28 digits count."""
    if step <= 0:
        raise NumberError(f"step {step} must be greater than zero.", field="step", allowed="> 0")
    try:
        return (value / step).quantize(ONE, rounding=rounding) * step
    except InvalidOperation:
        raise NumberError(
            f"{value} is no countable number of steps of {step}.", allowed="fewer than 1e28 steps"
        ) from None


def round_down_to_step(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is <= `value` (towards minus infinity)."""
    return _quotient(value, step, ROUND_FLOOR)


def round_up_to_step(value: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` that is >= `value` (towards plus infinity)."""
    return _quotient(value, step, ROUND_CEILING)


def round_toward_zero_to_step(value: Decimal, step: Decimal) -> Decimal:
    """The multiple of `step` nearest to `value` of no larger magnitude: never trades more than asked."""
    return _quotient(value, step, ROUND_DOWN)


def round_half_even_to_step(value: Decimal, step: Decimal) -> Decimal:
    """The multiple of `step` nearest to `value`; ties to the even one. For made-up data, not for orders."""
    return _quotient(value, step, ROUND_HALF_EVEN)


def clamp(value: Decimal, low: Decimal, high: Decimal) -> Decimal:
    """`value` limited to [low, high]."""
    return max(low, min(high, value))


def plain(value: Decimal) -> str:
    """Canonical text: no exponent, no trailing zeros, no negative zero. Equal values give equal text."""
    if value == 0:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
