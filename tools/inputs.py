"""Argument types that several tools share."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from portfolio.core.decimals import parse
from portfolio.core.errors import NumberError
from tools.spec import Arguments


def _amount(value: object) -> object:
    """A JSON number as it was written, or a decimal text."""
    if isinstance(value, float):
        value = repr(value)
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        try:
            return parse(value)
        except NumberError as error:
            raise ValueError(error.message.removeprefix("number: ")) from None
    raise ValueError("send a number or a decimal text such as '1500.50'")


#: A finite decimal; clients send a number or a decimal text.
Amount = Annotated[
    Decimal,
    BeforeValidator(_amount),
    WithJsonSchema(
        {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}]},
        mode="validation",
    ),
]
NotionalUsd = Annotated[
    Amount, Field(ge=0, le=1_000_000_000, description="USD of ONE leg, absolute (not a delta); 0 closes it.")
]
PairName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9]{1,20}@[a-z0-9]{1,20}(>[a-z0-9]{1,20})?(:reverse)?$",
        description="Pair id such as SOL@bybit (long spot, short perpetual) or SOL@bybit:reverse.",
    ),
]
Fraction = Annotated[Amount, Field(ge=0, le=1, description="A fraction from 0 to 1.")]
Detail = Annotated[
    Literal["concise", "full"],
    Field(description="concise: what the next decision needs; full: everything known."),
]
WaitSeconds = Annotated[
    int, Field(ge=0, le=25, description="Wait up to this many seconds for a final status; 0 answers at once.")
]
IntentName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,64}$", description="Id of an intent.")]
RequestName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_.:-]{1,64}$",
        description="Your own id of this request: repeating a proposal with it returns the same intent.",
    ),
]


class TargetArgument(Arguments):
    """One pair's wanted size."""

    pair: PairName
    notional_usd: NotionalUsd
