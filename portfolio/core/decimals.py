"""Decimal arithmetic for money: the one place that parses numbers and rounds them.

Rules: numbers come from text (or int), never from float; every rounding names its direction, and the
direction is the same for negative numbers ("down" is towards minus infinity, "toward_zero" towards zero).
"""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation

from portfolio.core.errors import NumberError

ZERO = Decimal(0)
ONE = Decimal(1)
BPS = Decimal("0.0001")
#: Larger magnitudes than this are refused at the door: no account has them, and 28 digits must suffice
#: everywhere.
MAGNITUDE_MAX = Decimal("1e18")


def parse(text: str | int | Decimal, field: str = "number") -> Decimal:
    """Turn a decimal text (or int) into a finite Decimal.

    Raises:
        NumberError: `text` is a float, a bool, not a number, NaN, infinite, or beyond +-1e18.
    """
    if isinstance(text, bool | float) or not isinstance(text, str | int | Decimal):
        raise NumberError(
            f"{field}: {text!r} is not a decimal text.",
            field=field,
            next_step="Send it as a string such as '1.5'.",
        )
    try:
        value = Decimal(text.strip() if isinstance(text, str) else text)
    except InvalidOperation:
        raise NumberError(
            f"{field}: {text!r} is not a number.", field=field, next_step="Send a decimal such as '1.5'."
        ) from None
    if not value.is_finite():
        raise NumberError(
            f"{field}: {text!r} is not finite.", field=field, next_step="Send a finite decimal."
        )
    if abs(value) > MAGNITUDE_MAX:
        raise NumberError(
            f"{field}: {text!r} is beyond any account.", field=field, allowed="at most 1e18 in magnitude"
        )
    return value


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
