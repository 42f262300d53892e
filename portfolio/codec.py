"""One codec between frozen dataclasses and canonical JSON.

Canonical: keys sorted, no spaces, ASCII, decimals as plain text ("0.1", never 1E-1), enums as their values,
integers as integers. Equal values give equal text, so the text can be hashed and signed.

Strict both ways, which is why this is not a `pydantic.TypeAdapter`: that one takes JSON floats as Decimals,
ignores unknown fields of standard dataclasses and cannot sort keys. Here a float where a Decimal belongs, an
unknown field, an absent field without default, or a bool for an int is an error that names its path.
`portfolio/coders.py` lists the supported annotations.
"""

import json
from typing import Any, TypeVar, cast

from portfolio.coders import Data, Misfit, coder, kind_of, write
from portfolio.core.errors import InputError

T = TypeVar("T")


def to_data(value: object) -> Data:
    """`value` (a dataclass) as dicts, lists, text, integers, booleans and None; keys in canonical order.

    Raises:
        InputError: a field's value does not have its annotated type, or a decimal is not finite.
    """
    return _encoded(type(value), value)


def to_json(value: object) -> str:
    """`value` (a dataclass) as canonical JSON text.

    Raises:
        InputError: a field's value does not have its annotated type, or a decimal is not finite.
    """
    return write(_encoded(type(value), value))


def from_data(cls: type[T], data: Data) -> T:
    """The inverse of `to_data`.

    Raises:
        InputError: `data` is not exactly a `cls`; the message names the path.
    """
    decode = coder(cast(Any, cls))[1]
    try:
        return cast(T, decode(data))
    except Misfit as bad:
        raise _input_error(cls, bad) from None


def from_json(cls: type[T], text: str | bytes) -> T:
    """The inverse of `to_json`.

    Raises:
        InputError: `text` is not JSON, repeats a key, or is not exactly a `cls`; the message names the path.
    """
    return from_data(cls, read_json(text))


def tagged_to_data(value: object) -> Data:
    """A member of a union with its kind: {"kind": "fill.booked", "body": {...}}."""
    return {"body": to_data(value), "kind": kind_of(type(value))}


def tagged_from_data(union: Any, data: Data) -> Any:
    """The inverse of `tagged_to_data` for a union of dataclasses such as `Entry`, `Outcome` or `VenueEvent`.

    Raises:
        InputError: an unknown kind, or a body that does not fit it.
    """
    decode = coder(union)[1]
    try:
        return decode(data)
    except Misfit as bad:
        raise _input_error(union, bad) from None


def canonical(data: Data) -> str:
    """JSON text of data that is already in canonical order."""
    return write(data)


def read_json(text: str | bytes) -> Data:
    """Parse JSON and refuse what JSON leaves open: repeated keys, NaN, infinities.

    Raises:
        InputError: not such a text.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"This is not valid JSON: {error}.", next_step="Send one JSON value.") from None


def _unique(pairs: list[tuple[str, Data]]) -> dict[str, Data]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key is repeated")
    return made


def _no_constant(name: str) -> Data:
    raise ValueError(f"{name} is not a number")


def _encoded(cls: type, value: object) -> Data:
    try:
        return coder(cast(Any, cls))[0](value)
    except Misfit as bad:
        raise _input_error(cls, bad) from None


def _input_error(cls: Any, bad: Misfit) -> InputError:
    path = ".".join(reversed(bad.path))
    name = getattr(cls, "__name__", str(cls))
    return InputError(f"{name}{'.' if path else ''}{path}: {bad.message}.", field=path or None)
