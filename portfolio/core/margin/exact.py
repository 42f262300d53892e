"""Sums whose result depends neither on the order of their parts nor on the way they came about.

Every part of a margin figure (a position's IM, a coin's collateral) is computed in the ordinary context of 28
digits; the sum of the parts is exact, and rounded once, to 28 digits, where a figure is made of it. So a part
can be taken out and put back changed, and the total is, digit by digit, that of a full addition.

Nothing rounds on the way: `Inexact` is trapped, so a sum that did not fit would be an error, not a
difference. Digits are only spent where they are needed; parts of real accounts span less than 80 of them.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from functools import reduce

from portfolio.core.decimals import ZERO
from portfolio.core.errors import NumberError

_EXACT = Context(prec=1000, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])

_add, _subtract = _EXACT.add, _EXACT.subtract
_ROUNDING = Context(prec=1000, traps=[InvalidOperation])


def exact_sum(parts: Iterable[Decimal]) -> Decimal:
    """All parts, unrounded; `+` in front of it rounds it.

    Raises:
        NumberError: parts lie more than a thousand digits apart, or one is not finite.
    """
    try:
        return reduce(_add, parts, ZERO)
    except (Inexact, InvalidOperation) as error:
        raise _apart() from error


def exact_change(
    totals: tuple[Decimal, ...], before: tuple[Decimal, ...], after: tuple[Decimal, ...]
) -> tuple[Decimal, ...]:
    """Exact totals with one part of each replaced, unrounded.

    Raises:
        NumberError: as in `exact_sum`.
    """
    try:
        return tuple(
            [
                total if old is new else _add(total, _subtract(new, old))
                for total, old, new in zip(totals, before, after, strict=True)
            ]
        )
    except (Inexact, InvalidOperation) as error:
        raise _apart() from error


def half_even(value: Decimal, step: Decimal) -> Decimal:
    """The multiple of `step` (a power of ten) nearest to `value`, ties to the even one, however large.

    Raises:
        NumberError: it is not finite, or has more than a thousand digits.
    """
    try:
        return value.quantize(step, ROUND_HALF_EVEN, _ROUNDING)
    except InvalidOperation as error:
        raise _apart() from error


def _apart() -> NumberError:
    return NumberError(
        "Amounts of this account cannot be added exactly.",
        allowed="finite amounts within a thousand digits",
        next_step="Read the account again.",
    )
