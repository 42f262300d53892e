"""What a tool is: a name, two models, four hints and one function of the desk and the caller.

Nothing here knows the transport: `server/front.py` offers the tools over MCP, tests call them directly.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from portfolio.service import DeskService, Principal


class Arguments(BaseModel):
    """Base of every tool's input. An unknown argument is an error: a typo must not drop a limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


A = TypeVar("A", bound=Arguments)
R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Hints:
    """The four hints of MCP, all said out loud. They inform; the desk enforces."""

    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool


@dataclass(frozen=True, slots=True)
class Tool(Generic[A, R]):
    """One tool."""

    name: str
    title: str
    description: str
    arguments: type[A]
    result: type[R]
    hints: Hints
    run: Callable[[DeskService, Principal, A], Awaitable[R]]
    #: The result for a person, shown before its JSON; None: the JSON alone.
    text: Callable[[R], str] | None = None


#: Looks only, at this desk only.
READING = Hints(read_only=True, destructive=False, idempotent=True, open_world=False)
