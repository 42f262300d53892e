"""Functions and files stay small enough to be read in one go."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("server", "tools", "prompts", "portfolio", "exchanges")
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 450
# path, or path::function, to the reason why it may be longer
ALLOWED: dict[str, str] = {}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def functions(source: str) -> Iterator[Function]:
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, Function))


def line_count(function: Function) -> int:
    """Count the lines of a function without its decorators and its docstring."""
    total = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function, clean=False) is None:
        return total
    docstring = function.body[0]
    return total - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def too_long(name: str, source: str) -> list[str]:
    """Describe what in a source text passes its limit."""
    found = [
        f"{name}::{function.name} has {line_count(function)} lines, at most {FUNCTION_LINES_MAX}"
        for function in functions(source)
        if line_count(function) > FUNCTION_LINES_MAX and f"{name}::{function.name}" not in ALLOWED
    ]
    lines = len(source.splitlines())
    if lines > FILE_LINES_MAX and name not in ALLOWED:
        found.append(f"{name} has {lines} lines, at most {FILE_LINES_MAX}")
    return found


def test_no_function_and_no_file_is_too_long() -> None:
    assert [
        finding
        for path in sources()
        for finding in too_long(path.relative_to(ROOT).as_posix(), path.read_text())
    ] == []


@pytest.mark.parametrize("excess", [0, 1])
def test_the_limits_count_lines_without_decorators_and_docstring(excess: int) -> None:
    body = "    x = 1\n" * (FUNCTION_LINES_MAX - 1 + excess)
    source = f'@decorated\nasync def planted():\n    """One.\n\n    Two.\n    """\n{body}'
    assert len(too_long("planted.py", source)) == excess
    assert len(too_long("planted.py", "x = 1\n" * (FILE_LINES_MAX + excess))) == excess
