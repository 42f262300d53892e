"""Errors as a model reads them: {code, message, field, allowed, next} as JSON text."""

import json

from pydantic import ValidationError

from portfolio.core.errors import CarrydeskError

_TEXT_MAX = 600


def failure(
    code: str, message: str, *, field: str | None = None, allowed: str | None = None, next_step: str = ""
) -> str:
    """The JSON text of one failure."""
    return json.dumps(
        {"code": code, "message": message, "field": field, "allowed": allowed, "next": next_step},
        ensure_ascii=False,
    )


def refusal(error: CarrydeskError) -> str:
    """One of our own errors."""
    return failure(
        error.code,
        error.message[:_TEXT_MAX],
        field=error.field,
        allowed=error.allowed,
        next_step=error.next_step,
    )


def bad_arguments(name: str, known: tuple[str, ...], error: ValidationError) -> str:
    """The first thing that is wrong with a call's arguments; the values are not repeated."""
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or None
    if first["type"] == "extra_forbidden":
        message = f"{name}: unknown argument {field}."
        return failure(
            "bad_input",
            message,
            field=field,
            allowed=", ".join(known),
            next_step="Correct or drop it; nothing was done.",
        )
    reason = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    return failure(
        "bad_input",
        ": ".join(part for part in (name, field, f"{reason}.") if part)[:_TEXT_MAX],
        field=field,
        next_step="Correct it and call again; nothing was done.",
    )
