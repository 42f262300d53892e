"""What stands in the tables: figures as people read them, and a dash with its reason where there is none."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
UNDEFINED = "Not defined: too few days, or no spread between them."
_SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * _SECOND_NS
_ACRONYMS = {"btc": "BTC", "eth": "ETH", "dcc": "DCC", "usd": "USD", "ewma": "EWMA", "garch": "GARCH"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell."""

    text: str
    #: Why there is nothing to show; the text is a dash then.
    reason: str = ""
    #: good, bad, or nothing.
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its head, what the head means, its cells."""

    head: str
    cells: tuple[Cell, ...]
    note: str = ""
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `columns` names the heads first, then each cell."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    #: Said instead of the table when it has no rows.
    empty: str = "Nothing to show."
    note: str = ""
    #: Cells are words, not figures.
    words: bool = False
    #: Heads above the heads, each with the number of columns that it spans; all columns, or none.
    groups: tuple[tuple[str, int], ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why cells show a dash, each reason once, in order."""
        found = (cell.reason for row in self.rows for cell in row.cells if cell.reason)
        return tuple(dict.fromkeys(found))


def missing(reason: str) -> Cell:
    """No figure, and why."""
    return Cell(DASH, reason)


def number(value: float | None, digits: int = 2, *, signed: bool = False, reason: str = UNDEFINED) -> Cell:
    """A plain figure such as 1,234.50."""
    if value is None or not math.isfinite(value):
        return missing(reason)
    rounded = round(value, digits)
    text = f"{abs(rounded):,.{digits}f}"
    if rounded < 0:
        return Cell(MINUS + text)
    return Cell(f"+{text}" if signed and rounded > 0 else text)


def percent(value: float | None, digits: int = 2, *, signed: bool = False, reason: str = UNDEFINED) -> Cell:
    """A fraction as per cent: 0.1234 is 12.34 %."""
    scaled = None if value is None else 100 * value
    cell = number(scaled, digits, signed=signed, reason=reason)
    return cell if cell.reason else Cell(f"{cell.text} %")


def usd(value: float | None, *, signed: bool = False, reason: str = UNDEFINED) -> Cell:
    """Money to the dollar."""
    return number(value, 0, signed=signed, reason=reason)


def times(value: float | None, *, reason: str = UNDEFINED) -> Cell:
    """A multiple such as 3.52x."""
    cell = number(value, 2, reason=reason)
    return cell if cell.reason else Cell(f"{cell.text}x")


def count(value: int) -> Cell:
    """A number of things."""
    return Cell(f"{value:,}")


def words(text: str, tone: str = "") -> Cell:
    """A text."""
    return Cell(text, tone=tone)


def label(name: str) -> str:
    """A run's or a limit's name for people: `btc_static` is BTC static, `stress:up` is Stress: up."""
    parts = [_ACRONYMS.get(part, part) for part in name.replace(":", ": ").split("_") if part]
    text = " ".join(parts)
    return text[:1].upper() + text[1:]


def day_of(end_ns: int) -> int:
    """Number since the epoch of the UTC day that ends at `end_ns`, or that `end_ns` lies in."""
    return (end_ns - 1) // DAY_NS


def date_text(time_ns: int) -> str:
    """The UTC day of a time, as 2024-08-05."""
    return datetime.fromtimestamp(time_ns // _SECOND_NS, tz=UTC).strftime("%Y-%m-%d")


def minute_text(time_ns: int) -> str:
    """A time to the minute, UTC."""
    return datetime.fromtimestamp(time_ns // _SECOND_NS, tz=UTC).strftime("%Y-%m-%d %H:%M")
