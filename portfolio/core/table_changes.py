"""What differs between two reads of the risk tables, in words for the audit and for whoever decides.

Borrow rates float all the time and enter no margin: one is named only when it moved by half or more since the
tables that it is compared with.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from portfolio.core.decimals import plain
from portfolio.core.risk import BorrowTable, CollateralTable, FeeRates, PositionTier, RiskTables

Name = TypeVar("Name", bound=str)
Table = TypeVar("Table")
#: What a table says, by label; two tables that say the same are the same.
Facts = dict[str, str]

#: Names listed per kind of table, and facts per name; the rest is counted.
_NAMED_MAX = 8
_FACTS_MAX = 3
_RATE_FACTOR = Decimal("1.5")


@dataclass(frozen=True, slots=True)
class TableChange:
    """The last change of an account's risk tables."""

    #: When it was seen, wire clock, integer ns.
    wire_ns: int
    summary: str


def table_changes(before: RiskTables, after: RiskTables) -> str | None:
    """What changed, appeared or went, old to new; None when nothing that matters differs."""
    steady = {coin: _steady(row, before.borrow.get(coin)) for coin, row in after.borrow.items()}
    parts = [
        _named("collateral", before.collateral, after.collateral, _collateral),
        _named("borrow", before.borrow, steady, _borrow),
        _named("positions", before.positions, after.positions, _positions),
        _named("fees", before.fees, after.fees, _fees),
        "" if before.venue == after.venue else "parameters of the venue's own rules",
    ]
    return "; ".join(part for part in parts if part) or None


def _named(
    kind: str, before: Mapping[Name, Table], after: Mapping[Name, Table], read: Callable[[Table], Facts]
) -> str:
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    told = [f"{name}: {text}" for name in names if (text := _told(before.get(name), after.get(name), read))]
    if not told:
        return ""
    more = f" and {len(told) - _NAMED_MAX} more" if len(told) > _NAMED_MAX else ""
    return f"{kind} of {', '.join(told[:_NAMED_MAX])}{more}"


def _told(before: Table | None, after: Table | None, read: Callable[[Table], Facts]) -> str:
    """The facts of one table that differ; "" when none does."""
    if after is None:
        return "gone"
    now = read(after)
    if before is None:
        return _listed([f"{label} {text}" for label, text in now.items()], "new, ")
    was = read(before)
    labels = dict.fromkeys((*was, *now))
    return _listed(
        [
            f"{label} {was.get(label, 'none')} -> {now.get(label, 'none')}"
            for label in labels
            if was.get(label) != now.get(label)
        ]
    )


def _listed(facts: list[str], prefix: str = "") -> str:
    if not facts:
        return ""
    more = f" (and {len(facts) - _FACTS_MAX} more)" if len(facts) > _FACTS_MAX else ""
    return prefix + " / ".join(facts[:_FACTS_MAX]) + more


def _steady(after: BorrowTable, before: BorrowTable | None) -> BorrowTable:
    """`after` with the rate of `before`, unless the rate really moved."""
    if before is None or before.hourly_rate == after.hourly_rate:
        return after
    low, high = sorted((before.hourly_rate, after.hourly_rate))
    if low <= 0 or high >= low * _RATE_FACTOR:
        return after
    return BorrowTable(after.coin, after.borrowable, before.hourly_rate, after.quantity_max, after.tiers)


def _collateral(table: CollateralTable) -> Facts:
    unit = " USD" if table.in_usd else ""
    tiers = [f"{plain(row.ratio)}{_up_to(row.quantity_to)}{unit}" for row in table.tiers]
    return {"ratio": ", ".join(tiers) or "none"} | ({} if table.enabled else {"switch": "off"})


def _borrow(table: BorrowTable) -> Facts:
    facts = {
        "lent": "yes" if table.borrowable else "no",
        "hourly rate": plain(table.hourly_rate),
        "quota": "none" if table.quantity_max is None else plain(table.quantity_max),
    }
    for number, row in enumerate(table.tiers, 1):
        rates = f"IM {plain(row.initial_rate)} MM {plain(row.maintenance_rate)} {plain(row.leverage_max)}x"
        facts[f"tier {number}"] = rates + _up_to(row.quantity_to)
    return facts


def _positions(tiers: tuple[PositionTier, ...]) -> Facts:
    facts = {}
    for number, row in enumerate(tiers, 1):
        rates = f"IM {plain(row.initial_rate)} MM {plain(row.maintenance_rate)} {plain(row.leverage_max)}x"
        if row.quantity_to is not None:
            # Its value in quote moves with the price; the border itself does not.
            facts[f"tier {number}"] = f"{rates}{_up_to(row.quantity_to)} coins"
        else:
            facts[f"tier {number}"] = f"{rates}{_up_to(row.notional_to)} less {plain(row.deduction)}"
    return facts


def _fees(rates: FeeRates) -> Facts:
    return {"maker": plain(rates.maker), "taker": plain(rates.taker)}


def _up_to(bound: Decimal | None) -> str:
    return "" if bound is None else f" to {plain(bound)}"
