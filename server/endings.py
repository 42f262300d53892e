"""How a process of ours ends: the error on stdout, where the supervisor reads it, and an exit code."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping

from portfolio.core.errors import (
    CarrydeskError,
    Effect,
    JournalError,
    RefusedError,
    SettingsError,
    VenueError,
)
from server.rpc_wire import error_data
from server.supervisor import EX_CONFIG

logger = logging.getLogger(__name__)

#: Starting again would end the same way.
_PERMANENT = (SettingsError, RefusedError, JournalError)


def say(line: Mapping[str, object]) -> None:
    """One JSON line on stdout, at once."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _ours(error: BaseException) -> Iterator[CarrydeskError]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _ours(inner)
    elif isinstance(error, CarrydeskError):
        yield error


def ended(error: BaseException) -> int:
    """Say why and log it; the exit code."""
    logger.error("the process ends", exc_info=error)
    found = next(_ours(error), None)
    if found is None:
        return 1
    say({"error": error_data(found)})
    rejected = isinstance(found, VenueError) and found.effect is Effect.REJECTED
    return EX_CONFIG if isinstance(found, _PERMANENT) or rejected else 1
