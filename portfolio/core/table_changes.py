"""Which risk tables differ from the ones before, in words for the audit."""

from collections.abc import Mapping
from typing import TypeVar

from portfolio.core.risk import RiskTables

Name = TypeVar("Name", bound=str)

#: Names listed per kind of table; the rest is counted.
_NAMED_MAX = 8


def table_changes(before: RiskTables, after: RiskTables) -> str | None:
    """What changed, appeared or went, by kind and name; None when nothing but the age differs."""
    parts = [
        _named("collateral", before.collateral, after.collateral),
        _named("borrow", before.borrow, after.borrow),
        _named("positions", before.positions, after.positions),
        _named("fees", before.fees, after.fees),
    ]
    return "; ".join(part for part in parts if part) or None


def _named(kind: str, before: Mapping[Name, object], after: Mapping[Name, object]) -> str:
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if not names:
        return ""
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return f"{kind} of {', '.join(names[:_NAMED_MAX])}{more}"
