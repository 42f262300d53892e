"""Typed access to decoded JSON: a field that is missing or of another type is an error, never a default."""

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from exchanges.errors import unreadable
from portfolio.core.decimals import parse, parse_integer
from portfolio.core.errors import NumberError

Row = Mapping[str, object]


def decode(text: str | bytes, what: str) -> Row:
    """Decode a JSON object; numbers with a fraction become Decimal.

    Raises:
        VenueError: not JSON, or not an object.
    """
    try:
        value: object = json.loads(text, parse_float=Decimal)
    except (ValueError, InvalidOperation, RecursionError):
        raise unreadable(what, "body", text[:40]) from None
    if not isinstance(value, dict):
        raise unreadable(what, "body", type(value).__name__)
    return value


def text(row: Row, field: str) -> str:
    """A string field, which may be empty."""
    value = row.get(field)
    if not isinstance(value, str):
        raise unreadable("payload", field, value)
    return value


def decimal(row: Row, field: str) -> Decimal:
    """A number sent as text (or, as some venues slip, as a number)."""
    value = row.get(field)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal) or value == "":
        raise unreadable("payload", field, value)
    try:
        return parse(value, field)
    except NumberError:
        raise unreadable("payload", field, value) from None


def decimal_or_none(row: Row, field: str) -> Decimal | None:
    """Like `decimal`; the empty string and null mean "does not apply"."""
    return None if row.get(field) in ("", None) else decimal(row, field)


def integer(row: Row, field: str) -> int:
    """A whole number, sent as a number or as text."""
    value = row.get(field)
    if not isinstance(value, str | int):
        raise unreadable("payload", field, value)
    try:
        return parse_integer(value, field)
    except NumberError:
        raise unreadable("payload", field, value) from None


def boolean(row: Row, field: str) -> bool:
    """A JSON boolean."""
    value = row.get(field)
    if not isinstance(value, bool):
        raise unreadable("payload", field, value)
    return value


def mapping(row: Row, field: str) -> Row:
    """A JSON object."""
    value = row.get(field)
    if not isinstance(value, dict):
        raise unreadable("payload", field, value)
    return value


def rows(row: Row, field: str) -> tuple[Row, ...]:
    """A list of JSON objects."""
    value = row.get(field)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise unreadable("payload", field, value)
    return tuple(value)


def texts(row: Row, field: str) -> tuple[str, ...]:
    """A list of strings."""
    value = row.get(field)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise unreadable("payload", field, value)
    return tuple(value)


def table(row: Row, field: str) -> tuple[tuple[str, ...], ...]:
    """A list of lists of strings (book levels, candles)."""
    value = row.get(field)
    if not isinstance(value, list):
        raise unreadable("payload", field, value)
    result: list[tuple[str, ...]] = []
    for item in value:
        if not isinstance(item, list) or not all(isinstance(part, str) for part in item):
            raise unreadable("payload", field, item)
        result.append(tuple(item))
    return tuple(result)
