"""How each annotation becomes JSON data and comes back: the parts of `portfolio/codec.py`.

Supported: str, int, bool, float (finite), Decimal (finite), None, NewType, Enum, Literal, frozen dataclasses,
`X | None`, unions of dataclasses (written as {"kind": ..., "body": ...}), tuple[X, ...], tuple[X, Y],
frozenset[X], Mapping/dict. A mapping with text keys is an object; one with other keys (tuples) is a list of
[key, value] pairs sorted by the key's text. Anything else is a TypeError when the class is first used.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, NewType, Union, cast, get_args, get_origin, get_type_hints

from portfolio.core.decimals import INTEGER_MAX, PLAIN_TEXT_MAX, plain
from portfolio.core.entries import KINDS

#: What JSON can say. `Any` stays inside the codec: each value is checked where it is used.
Data = Any
Encode = Callable[[Any], Data]
Decode = Callable[[Data], Any]

_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
write = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


class Misfit(Exception):
    """A value that does not fit, and the path to it, innermost first."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str] = []


def kind_of(cls: type) -> str:
    """The tag of a class in a union: the journal's kind for entries, else the class name."""
    return KINDS.get(cls, cls.__name__)


@cache
def coder(annotation: Any) -> tuple[Encode, Decode]:
    """The pair of functions (encode, decode) for one annotation, made once.

    Raises:
        TypeError: the annotation is not supported.
    """
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if isinstance(annotation, NewType):
        return coder(annotation.__supertype__)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return _union(arguments)
    if origin is Literal:
        return _literal(arguments)
    if origin is tuple:
        return _sequence(arguments[0]) if arguments[1:] == (...,) else _fixed(arguments)
    if origin is frozenset:
        return _set(arguments[0])
    if origin in (dict, Mapping):
        return _mapping(*arguments)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _enum(annotation)
    if isinstance(annotation, type) and is_dataclass(annotation):
        return _dataclass(annotation)
    raise TypeError(f"the codec does not know {annotation!r}")


def _scalar(cls: type) -> tuple[Encode, Decode]:
    name = cls.__name__

    def same(value: Any) -> Any:
        if type(value) is not cls:
            if cls is str and isinstance(value, str):  # a StrEnum member
                return str(value)
            raise Misfit(f"{_shown(value)} is not {name}")
        return value

    return same, same


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _encode_decimal(value: Any) -> str:
    if type(value) is not Decimal or not value.is_finite():
        raise Misfit(f"{_shown(value)} is not a finite Decimal")
    # Before it is written: without its exponent the text may need more memory than there is.
    if value and not -PLAIN_TEXT_MAX < value.adjusted() < PLAIN_TEXT_MAX:
        raise Misfit(f"{_shown(value)} has more digits than can be written")
    text = plain(value)
    if len(text) > PLAIN_TEXT_MAX:
        raise Misfit(f"{_shown(value)} has more digits than can be written")
    return text


def _decode_decimal(data: Data) -> Decimal:
    if type(data) is not str or len(data) > PLAIN_TEXT_MAX or _DECIMAL.fullmatch(data) is None:
        raise Misfit(f"{_shown(data)} is not a decimal text such as '1.5'")
    return Decimal(data)


def _integer(value: Any) -> Any:
    if type(value) is not int:
        raise Misfit(f"{_shown(value)} is not int")
    if not -INTEGER_MAX <= value <= INTEGER_MAX:
        raise Misfit("it is an integer of more than 64 bits")
    return value


def _float(value: Any) -> float:
    if type(value) not in (float, int) or not isfinite(value):
        raise Misfit(f"{_shown(value)} is not a finite number")
    return float(value)


_SCALARS: dict[Any, tuple[Encode, Decode]] = {
    str: _scalar(str),
    int: (_integer, _integer),
    bool: _scalar(bool),
    NoneType: _scalar(NoneType),
    float: (_float, _float),
    Decimal: (_encode_decimal, _decode_decimal),
}


def _union(arguments: tuple[Any, ...]) -> tuple[Encode, Decode]:
    rest = tuple(argument for argument in arguments if argument is not NoneType)
    if len(rest) == 1:
        encode, decode = coder(rest[0])
    else:
        encode, decode = _tagged(rest)
    if len(rest) == len(arguments):
        return encode, decode

    def encode_optional(value: Any) -> Data:
        return None if value is None else encode(value)

    def decode_optional(data: Data) -> Any:
        return None if data is None else decode(data)

    return encode_optional, decode_optional


def _tagged(members: tuple[Any, ...]) -> tuple[Encode, Decode]:
    if not all(isinstance(member, type) and is_dataclass(member) for member in members):
        raise TypeError(f"the codec knows unions of dataclasses only, not {members!r}")
    kinds = {kind_of(member): member for member in members}

    def encode(value: Any) -> Data:
        if type(value) not in members:
            raise Misfit(f"{_shown(value)} is none of {', '.join(kinds)}")
        return {"body": coder(cast(Any, type(value)))[0](value), "kind": kind_of(type(value))}

    def decode(data: Data) -> Any:
        if type(data) is not dict or data.keys() != {"kind", "body"}:
            raise Misfit("expected an object with 'kind' and 'body'")
        kind = data["kind"]
        if type(kind) is not str or kind not in kinds:
            raise Misfit(f"kind {_shown(kind)} is none of {', '.join(kinds)}")
        return coder(kinds[kind])[1](data["body"])

    return encode, decode


def _literal(values: tuple[Any, ...]) -> tuple[Encode, Decode]:
    def same(value: Any) -> Any:
        if not any(value == one and type(value) is type(one) for one in values):
            raise Misfit(f"{_shown(value)} is none of {values}")
        return value

    return same, same


def _enum(cls: type[Enum]) -> tuple[Encode, Decode]:
    members = {member.value: member for member in cls}
    values = {member: member.value for member in cls}

    def encode(value: Any) -> Data:
        if type(value) is not cls:
            raise Misfit(f"{_shown(value)} is not a {cls.__name__}")
        return values[value]

    def decode(data: Data) -> Any:
        if type(data) not in (str, int) or data not in members:
            raise Misfit(f"{_shown(data)} is none of {', '.join(map(str, members))}")
        return members[data]

    return encode, decode


def _sequence(item: Any) -> tuple[Encode, Decode]:
    encode_item, decode_item = coder(item)

    def encode(value: Any) -> Data:
        if type(value) is not tuple:
            raise Misfit(f"{_shown(value)} is not a tuple")
        return _each(encode_item, value)

    def decode(data: Data) -> Any:
        if type(data) is not list:
            raise Misfit(f"{_shown(data)} is not a list")
        return tuple(_each(decode_item, data))

    return encode, decode


def _each(convert: Callable[[Any], Any], items: Any) -> list[Any]:
    index = 0
    try:
        made = []
        for index, item in enumerate(items):  # noqa: B007 - names the item that does not fit
            made.append(convert(item))
    except Misfit as bad:
        bad.path.append(str(index))
        raise
    return made


def _fixed(items: tuple[Any, ...]) -> tuple[Encode, Decode]:
    coders = tuple(coder(item) for item in items)

    def encode(value: Any) -> Data:
        if type(value) is not tuple or len(value) != len(coders):
            raise Misfit(f"{_shown(value)} is not a tuple of {len(coders)}")
        return [one[0](item) for one, item in zip(coders, value, strict=True)]

    def decode(data: Data) -> Any:
        if type(data) is not list or len(data) != len(coders):
            raise Misfit(f"{_shown(data)} is not a list of {len(coders)}")
        return tuple(one[1](item) for one, item in zip(coders, data, strict=True))

    return encode, decode


def _set(item: Any) -> tuple[Encode, Decode]:
    encode_item, decode_item = coder(item)

    def encode(value: Any) -> Data:
        if type(value) is not frozenset:
            raise Misfit(f"{_shown(value)} is not a frozenset")
        return sorted(_each(encode_item, value), key=write)

    def decode(data: Data) -> Any:
        if type(data) is not list:
            raise Misfit(f"{_shown(data)} is not a list")
        made = frozenset(_each(decode_item, data))
        if len(made) != len(data):
            raise Misfit("an element is repeated")
        return made

    return encode, decode


def _mapping(key: Any, item: Any) -> tuple[Encode, Decode]:
    return _object(key, item) if _is_text(key) else _pairs(key, item)


def _object(key: Any, item: Any) -> tuple[Encode, Decode]:
    encode_key, decode_key = coder(key)
    encode_item, decode_item = coder(item)

    def encode(value: Any) -> Data:
        if not isinstance(value, Mapping):
            raise Misfit(f"{_shown(value)} is not a mapping")
        made = {encode_key(one): _at(one, encode_item, other) for one, other in value.items()}
        return {one: made[one] for one in sorted(made)}

    def decode(data: Data) -> Any:
        if type(data) is not dict:
            raise Misfit(f"{_shown(data)} is not an object")
        return {decode_key(one): _at(one, decode_item, other) for one, other in data.items()}

    return encode, decode


def _pairs(key: Any, item: Any) -> tuple[Encode, Decode]:
    encode_pair, decode_pair = _fixed((key, item))

    def encode(value: Any) -> Data:
        if not isinstance(value, Mapping):
            raise Misfit(f"{_shown(value)} is not a mapping")
        return sorted(_each(encode_pair, value.items()), key=lambda pair: write(pair[0]))

    def decode(data: Data) -> Any:
        if type(data) is not list:
            raise Misfit(f"{_shown(data)} is not a list of [key, value] pairs")
        made = dict(_each(decode_pair, data))
        if len(made) != len(data):
            raise Misfit("a key is repeated")
        return made

    return encode, decode


def _is_text(key: Any) -> bool:
    while isinstance(key, NewType):
        key = key.__supertype__
    return isinstance(key, type) and issubclass(key, str)


def _at(step: str, convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except Misfit as bad:
        bad.path.append(step)
        raise


def _dataclass(cls: type) -> tuple[Encode, Decode]:
    hints = get_type_hints(cls)
    members = [(field.name, *coder(hints[field.name])) for field in fields(cast(Any, cls))]
    encoders = [(name, encode) for name, encode, _ in sorted(members, key=lambda member: member[0])]

    def encode(value: Any) -> Data:
        if type(value) is not cls:
            raise Misfit(f"{_shown(value)} is not a {cls.__name__}")
        made = {}
        name = ""
        try:
            for name, encode_field in encoders:
                made[name] = encode_field(getattr(value, name))
        except Misfit as bad:
            bad.path.append(name)
            raise
        return made

    return encode, _decode_dataclass(cls, [(name, decode) for name, _, decode in members])


def _decode_dataclass(cls: type, decoders: list[tuple[str, Decode]]) -> Decode:
    names = frozenset(name for name, _ in decoders)
    optional = frozenset(
        field.name
        for field in fields(cast(Any, cls))
        if field.default is not MISSING or field.default_factory is not MISSING
    )

    def decode(data: Data) -> Any:
        if type(data) is not dict:
            raise Misfit(f"{_shown(data)} is not an object ({cls.__name__})")
        if data.keys() != names:
            _check_names(data, names, optional)
        made = {}
        name = ""
        try:
            for name, decode_field in decoders:
                if name in data:  # an absent one has a default: written before the field existed
                    made[name] = decode_field(data[name])
        except Misfit as bad:
            bad.path.append(name)
            raise
        return cls(**made)

    return decode


def _check_names(data: dict[str, Data], names: frozenset[str], optional: frozenset[str]) -> None:
    unknown = sorted(data.keys() - names)
    if unknown:
        raise Misfit(f"unknown field {_shown(unknown[0])}; known are {', '.join(sorted(names))}")
    absent = sorted(names - optional - data.keys())
    if absent:
        raise Misfit(f"field {absent[0]!r} is missing")
