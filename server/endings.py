"""How a process of ours ends: the error on stdout, where the supervisor reads it, and an exit code."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping

from portfolio.core.errors import (
    JOURNAL_FATAL,
    CarrydeskError,
    Effect,
    RefusedError,
    SettingsError,
    VenueError,
)
from server.rpc_wire import error_data
from server.supervisor import EX_CONFIG

logger = logging.getLogger(__name__)

#: Starting again would end the same way, or do harm. Not so after another JournalError: a disk is freed some
#: time, and until a desk is up again nobody watches the legs. Who starts the first sees the error at once:
#: a supervisor restarts only what was up before.
_PERMANENT = (SettingsError, RefusedError, *JOURNAL_FATAL)


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
    found = list(_ours(error))
    if not found:
        return 1
    # Whatever failed beside it: two desks that start again would take the journal from each other for ever.
    first = next((one for one in found if isinstance(one, JOURNAL_FATAL)), found[0])
    say({"error": error_data(first)})
    rejected = isinstance(first, VenueError) and first.effect is Effect.REJECTED
    return EX_CONFIG if isinstance(first, _PERMANENT) or rejected else 1
