"""Planned trouble on the wire: answers that are lost or late, refusals, cut connections, holes in a book.

A plan is a list of rules; a request takes the first rule that names it and has some of its count left.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exchanges.paper.bybit.wire import Refusal
from portfolio.core.errors import InputError

#: lose_request: never handled, never answered. lose_answer: handled, never answered (REST: HTTP 504).
#: late: answered after `late_ms` more. refuse: answered with `code`. http: answered with that HTTP status.
EFFECTS = ("lose_request", "lose_answer", "late", "refuse", "http")


@dataclass(slots=True)
class Fault:
    """One rule. `on` is an endpoint such as `order/create-batch`, for REST and the trade socket alike."""

    on: str
    effect: str
    count: int = 1
    #: Requests that pass before it starts.
    after: int = 0
    late_ms: int = 0
    code: str = "10016"
    status: int = 500


class FaultPlan:
    """The rules that are left."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._faults = list(faults)

    def add(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Append rules from JSON objects.

        Raises:
            InputError: an unknown field or effect.
        """
        self._faults.extend(_fault(row) for row in rows)

    def meet(self, endpoint: str) -> Fault | None:
        """The trouble that this request runs into."""
        for fault in self._faults:
            if fault.on != endpoint or fault.count <= 0:
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            fault.count -= 1
            return fault
        return None


def refuse_if_planned(fault: Fault | None) -> None:
    """Raise the refusal that the plan has for this request."""
    if fault is not None and fault.effect == "refuse":
        raise Refusal(fault.code, "planned")


def _fault(row: Mapping[str, object]) -> Fault:
    known = {"on": str, "effect": str, "count": int, "after": int, "late_ms": int, "code": str, "status": int}
    for name, value in row.items():
        if name not in known or not isinstance(value, known[name]):
            raise InputError(
                f"A fault has no {name} = {value!r}.",
                field=name,
                allowed=", ".join(known),
                next_step="Fix the file.",
            )
    if row.get("effect") not in EFFECTS or "on" not in row:
        raise InputError("A fault needs `on` and an `effect`.", field="effect", allowed=", ".join(EFFECTS))
    return Fault(**row)  # type: ignore[arg-type]


def read_plan(path: Path | None) -> FaultPlan:
    """The plan in a JSON file (a list of rules); an empty one without a file.

    Raises:
        InputError: the file is not such a list.
    """
    plan = FaultPlan()
    if path is not None:
        try:
            rows: object = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"The fault plan {path} cannot be read: {error}.", field="faults") from None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"The fault plan {path} is not a list of rules.", field="faults")
        plan.add(rows)
    return plan
