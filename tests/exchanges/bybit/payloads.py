"""Recorded payloads by file name."""

import json
from decimal import Decimal
from pathlib import Path

from exchanges.fields import Row, mapping, rows

DATA = Path(__file__).with_name("data")


def envelope(name: str) -> Row:
    value: dict[str, object] = json.loads((DATA / f"{name}.json").read_text(), parse_float=Decimal)
    return value


def result(name: str) -> Row:
    return mapping(envelope(name), "result")


def first(name: str) -> dict[str, object]:
    return dict(rows(result(name), "list")[0])
