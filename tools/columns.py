"""Rows of texts as a plain-text table."""

from collections.abc import Iterable, Sequence


def columns(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """First column to the left, the others to the right; as wide as their widest cell."""
    lines = [names, *rows]
    widths = [max(len(row[column]) for row in lines) for column in range(len(names))]
    return "\n".join(
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for row in lines
    )
