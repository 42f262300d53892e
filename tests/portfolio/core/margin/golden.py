"""Golden cases: what a page or a recorded payload prints, beside what our rule says.

Every module `golden_*.py` beside this one lists its own in `cases()`. The table of all of them stands in
portfolio/README.md; `python -m tests.portfolio.core.margin.golden` writes it there.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from portfolio.core.decimals import plain

HERE = Path(__file__).parent
README = Path(__file__).parents[4] / "portfolio" / "README.md"
HEADING = "## Margin: golden cases"
_COLUMNS = ("case", "figure", "ours", "expected", "relative error", "source")
_DIGITS = Decimal("1e-8")


@dataclass(frozen=True, slots=True)
class GoldenCase:
    #: Of the account or position, e.g. "carry with a loan".
    name: str
    #: Where the expected number is printed.
    source: str
    #: Which number of it, e.g. "uniMMR".
    figure: str
    ours: Decimal
    expected: Decimal

    @property
    def relative_error(self) -> Decimal:
        """|ours - expected| / |expected|; where zero is expected anything else is infinitely wrong."""
        if self.ours == self.expected:
            return Decimal(0)
        return abs(self.ours - self.expected) / abs(self.expected) if self.expected else Decimal("Infinity")


def graduated(tiers: Iterable[tuple[str, str]], notional: str) -> Decimal:
    """Maintenance margin of a notional over (upper limit, rate) tiers, added up like a tax, no deductions."""
    total, floor, whole = Decimal(0), Decimal(0), Decimal(notional)
    for limit, rate in tiers:
        total += max(Decimal(0), min(whole, Decimal(limit)) - floor) * Decimal(rate)
        floor = Decimal(limit)
    return total


def all_cases() -> tuple[GoldenCase, ...]:
    """The cases of every golden module, in the order of their names."""
    names = sorted(row.name for row in pkgutil.iter_modules([str(HERE)]) if row.name.startswith("golden_"))
    modules = [importlib.import_module(f"tests.portfolio.core.margin.{name}") for name in names]
    return tuple(case for module in modules for case in module.cases())


def section(cases: Sequence[GoldenCase]) -> str:
    """The section of the README, heading and table."""
    rows = [
        (
            case.name,
            case.figure,
            plain(round(case.ours, 8)),
            plain(round(case.expected, 8)),
            "0" if case.relative_error == 0 else f"{case.relative_error:.1e}",
            case.source,
        )
        for case in cases
    ]
    worst = max(case.relative_error for case in cases)
    return "\n".join(
        (
            HEADING,
            "",
            f"What is printed or recorded, beside what the rule says: {len(cases)} cases, none further apart",
            f"than {worst:.1e}. `python -m tests.portfolio.core.margin.golden` writes this table.",
            "",
            *(f"| {' | '.join(row)} |" for row in (_COLUMNS, ("---",) * len(_COLUMNS), *rows)),
            "",
        )
    )


def with_section(text: str, new: str) -> str:
    """A document with its section of golden cases replaced, or added at its end."""
    before, found, after = text.partition(HEADING + "\n")
    _, following, rest = after.partition("\n## ")
    body = before if found else f"{before.rstrip()}\n\n"
    return body + new + (f"\n## {rest}" if following else "")


if __name__ == "__main__":
    README.write_text(with_section(README.read_text(), section(all_cases())))
