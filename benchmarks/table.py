"""A result as lines of text."""

from collections.abc import Iterator, Mapping

_SPREAD = ("n", "min", "p50", "p95", "p99", "max")


def lines(result: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """One line per number, spreads in columns."""
    for name, value in result.items():
        if not isinstance(value, Mapping):
            yield f"{prefix + name:<58} {_text(value)}"
        elif set(value) == set(_SPREAD):
            columns = "  ".join(f"{key} {value[key]:>9}" for key in _SPREAD[1:])
            yield f"{prefix + name:<58} {columns}  n {value['n']}"
        else:
            yield from lines(value, f"{prefix}{name}.")


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
