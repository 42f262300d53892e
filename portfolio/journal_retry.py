"""Waiting for a journal that cannot be read or written now, instead of dying of it.

A full disk or a failed read passes, and while it lasts a desk that is up, with its guard awake, is worth more
than one that ended: nobody would watch the legs. What is repeated here reads the journal anew each time, so
nothing is decided from what was true before. Calls from outside are not repeated: their caller is told.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from portfolio.core.errors import JOURNAL_FATAL, JournalError

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: Pause between two attempts.
RETRY_SECONDS = 0.5


class JournalRetry:
    """Repeats attempts until the journal lets one of them end.

    One for all parts of a desk, so that the log says once, and not once for each part, that they wait.
    """

    def __init__(self) -> None:
        self._waiting = 0

    async def until_done(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What the first attempt returns that the journal does not fail; all other errors pass through.

        Args:
            attempt: May be begun again from its start, whatever of it has happened.

        Raises:
            JournalError: the journal may not be used by us at all.
        """
        try:
            return await attempt()
        except JOURNAL_FATAL:
            raise
        except JournalError as error:
            if not self._waiting:
                logger.warning("the journal cannot be used, what needs it waits: %s", error)
        self._waiting += 1
        try:
            result = await self._again(attempt)
        finally:
            self._waiting -= 1
        if not self._waiting:
            logger.warning("what waited for the journal goes on")
        return result

    async def _again(self, attempt: Callable[[], Awaitable[T]]) -> T:
        while True:
            await anyio.sleep(RETRY_SECONDS)
            try:
                return await attempt()
            except JOURNAL_FATAL:
                raise
            except JournalError:
                continue
