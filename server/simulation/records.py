"""What must be true of a whole journal, read from its first entry to its last.

1. Fences and times never go back, and the chain and every projection verify.
2. Nothing is planned as ENTRY while the desk is halted or a freeze stands.
3. Whatever the guard did has orders, or a line that says why not - unless the desk died right then.
4. No order is planned twice.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from portfolio.core.entries import (
    DeskStarted,
    EntriesFrozen,
    EntriesThawed,
    GuardActed,
    Halted,
    Noted,
    OrderPlanned,
    Resumed,
)
from portfolio.core.limits import SECOND_NS
from portfolio.core.orders import OrderClass
from portfolio.ports import Journal, Recorded

#: A guard operation ends, with its line, within this.
_OPERATION_NS = 10 * SECOND_NS
_READ = 10_000


def broken_records(journal: Journal) -> Iterator[str]:
    """Each breach in words."""
    entries = read_all(journal)
    yield from _order_of(entries)
    yield from _entries_while_closed(entries)
    yield from _silent_acts(entries)
    checked = journal.verify()
    if not checked.ok:
        yield f"the journal does not verify: {checked.detail}"


def read_all(journal: Journal) -> tuple[Recorded, ...]:
    """Every entry."""
    found: list[Recorded] = []
    while batch := journal.read(found[-1].seq if found else 0, _READ):
        found += batch
    return tuple(found)


def _order_of(entries: Sequence[Recorded]) -> Iterator[str]:
    planned: set[str] = set()
    for before, row in pairwise(entries):
        if row.fence < before.fence:
            yield f"entry {row.seq} has fence {row.fence} after {before.fence}"
        if row.wire_ns < before.wire_ns:
            yield f"entry {row.seq} is older than the one before it"
    for row in entries:
        if isinstance(row.entry, OrderPlanned):
            key = row.entry.request.client_order_id
            if key in planned:
                yield f"{key} is planned twice"
            planned.add(key)


def _entries_while_closed(entries: Sequence[Recorded]) -> Iterator[str]:
    halted = False
    frozen: set[str] = set()
    for row in entries:
        match row.entry:
            case Halted():
                halted = True
            case Resumed():
                halted = False
            case EntriesFrozen(source=source):
                frozen.add(source)
            case EntriesThawed(source=source):
                frozen.discard(source)
            case OrderPlanned(request=order) if order.order_class is OrderClass.ENTRY and (halted or frozen):
                why = "halted" if halted else f"frozen by {', '.join(sorted(frozen))}"
                yield f"ENTRY {order.client_order_id} is planned while {why}"
            case _:
                continue


def _silent_acts(entries: Sequence[Recorded]) -> Iterator[str]:
    with_orders = {row.entry.request.intent_id for row in entries if isinstance(row.entry, OrderPlanned)}
    explained = {row.entry.topic for row in entries if isinstance(row.entry, Noted)}
    deaths = [(row.seq, row.wire_ns) for row in entries if isinstance(row.entry, DeskStarted)]
    deaths += [(row.seq + 1, row.wire_ns) for row in entries[-1:]]
    for row in entries:
        if not isinstance(row.entry, GuardActed):
            continue
        action = row.entry.action_id
        died = any(seq > row.seq and at <= row.wire_ns + _OPERATION_NS for seq, at in deaths)
        if action not in with_orders and f"guard {action}" not in explained and not died:
            yield f"guard operation {action} left neither an order nor a reason: {row.entry.detail}"
