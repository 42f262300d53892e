"""What commands print: for people through rich, or one JSON object as the last line of stdout."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console as Rich
from rich.table import Table
from rich.text import Text

from portfolio.core.errors import CarrydeskError

EX_FAILED = 1


class Console:
    """Output of one command. With `as_json`, everything but the result goes to stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def say(self, text: str) -> None:
        """Something for people, unstyled: venue and agent texts must not be read as markup."""
        stream = sys.stderr if self.as_json else sys.stdout
        stream.write(text + "\n")
        stream.flush()

    def table(self, title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        """A table for people."""
        table = Table(title=title, title_justify="left")
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Rich(stderr=self.as_json).print(table)

    def result(self, found: dict[str, Any]) -> None:
        """The command's result; printed with `--json` only."""
        if self.as_json:
            sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
            sys.stdout.flush()

    def fail(self, error: CarrydeskError) -> None:
        """An error with what to do next."""
        sys.stderr.write(f"{error.message}\n")
        if error.allowed:
            sys.stderr.write(f"Allowed: {error.allowed}\n")
        if error.next_step:
            sys.stderr.write(f"{error.next_step}\n")
        self.result(
            {
                "error": {
                    "code": error.code,
                    "message": error.message,
                    "field": error.field,
                    "allowed": error.allowed,
                    "next": error.next_step,
                }
            }
        )


def _only_one(group: BaseExceptionGroup[BaseException]) -> CarrydeskError | None:
    """The error of ours in groups of one, as task groups make them; one beside it needs its traceback."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, CarrydeskError) else None


def run(as_json: bool, work: Callable[[Console], dict[str, Any]]) -> int:
    """Do a command's work; the exit code."""
    console = Console(as_json=as_json)
    try:
        console.result(work(console))
    except CarrydeskError as error:
        console.fail(error)
        return EX_FAILED
    except BaseExceptionGroup as group:
        error_of_ours = _only_one(group)
        if error_of_ours is None:
            raise
        console.fail(error_of_ours)
        return EX_FAILED
    return 0
