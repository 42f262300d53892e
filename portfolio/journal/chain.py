"""The hash chain: each entry seals itself and the one before it."""

import hashlib
from collections.abc import Iterable
from typing import Any, Final

from portfolio.codec import canonical, from_json, to_json
from portfolio.core.entries import KINDS, Entry
from portfolio.core.errors import InputError, JournalCorruptError
from portfolio.ports import Recorded

#: `prev` of the first entry.
GENESIS: Final = "0" * 64
CLASSES: dict[str, type[Any]] = {kind: cls for cls, kind in KINDS.items()}
#: What to do about a journal that cannot be trusted.
RESTORE = (
    "Stop the desk, keep the file for inspection, and put the last copy that you have of it in its place. "
    "Nothing was traded."
)


def entry_hash(stream: str, seq: int, fence: int, wire_ns: int, kind: str, body: str, prev: str) -> str:
    """SHA-256 over the canonical JSON list of all columns; hex."""
    text = canonical([stream, seq, fence, wire_ns, kind, body, prev])
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def link(
    entries: Iterable[Entry], *, stream: str, fence: int, wire_ns: int, head: tuple[int, str]
) -> list[tuple[Recorded, dict[str, Any]]]:
    """Each entry after `head` as the caller sees it and as its row.

    Raises:
        InputError: an entry holds a value that cannot be written, or the time is not an integer.
    """
    if type(wire_ns) is not int:
        raise InputError(f"wire_ns: {wire_ns!r} is not an integer.", field="wire_ns")
    made: list[tuple[Recorded, dict[str, Any]]] = []
    seq, prev = head
    for entry in entries:
        kind = KINDS[type(entry)]
        seq, body = seq + 1, to_json(entry)
        sealed = entry_hash(stream, seq, fence, wire_ns, kind, body, prev)
        row = {
            "stream": stream,
            "seq": seq,
            "fence": fence,
            "wire_ns": wire_ns,
            "kind": kind,
            "body": body,
            "prev": prev,
            "hash": sealed,
        }
        made.append((Recorded(seq=seq, fence=fence, wire_ns=wire_ns, entry=entry, hash=sealed), row))
        prev = sealed
    return made


def recorded(row: Any) -> Recorded:
    """A stored row as the entry it says.

    Raises:
        JournalCorruptError: its kind or body cannot be understood.
    """
    cls = CLASSES.get(row.kind)
    if cls is None:
        raise broken(row.seq, f"its kind {row.kind!r} is not known to this version")
    try:
        entry: Entry = from_json(cls, row.body)
    except InputError as error:
        raise broken(row.seq, str(error)) from error
    return Recorded(seq=row.seq, fence=row.fence, wire_ns=row.wire_ns, entry=entry, hash=row.hash)


def follow(row: Any, *, stream: str, head: tuple[int, str], fence: int) -> None:
    """Check that a stored row continues the chain after `head`, whose fence was `fence`.

    Raises:
        JournalCorruptError: it does not.
    """
    seq, prev = head[0] + 1, head[1]
    if row.seq != seq:
        raise broken(seq, f"it is missing (the next one is {row.seq})")
    if row.prev != prev:
        raise broken(seq, "it does not follow from the entry before it")
    if row.hash != entry_hash(stream, row.seq, row.fence, row.wire_ns, row.kind, row.body, row.prev):
        raise broken(seq, "it was altered: its hash does not match")
    if row.fence < fence:
        raise broken(seq, f"its fence {row.fence} is lower than {fence} before it")


def broken(seq: int, why: str) -> JournalCorruptError:
    """The error that names the first bad entry."""
    error = JournalCorruptError(f"Journal entry {seq} cannot be trusted: {why}.", next_step=RESTORE)
    error.field = f"seq {seq}"
    return error
