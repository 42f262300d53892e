"""Logging of every process: to stderr, which the supervisor points at a file, with secrets taken out."""

import logging
import re
import sys
import time
from collections.abc import Iterable

#: Agent tokens are recognised by their shape, whoever prints them.
_TOKEN = re.compile(r"cda_[A-Za-z0-9_-]{8,}")
_HIDDEN = "[hidden]"
#: Shorter texts would hide half of the log.
_SECRET_LENGTH_MIN = 6


class RedactingFormatter(logging.Formatter):
    """UTC times, one line per record; known secrets and tokens are replaced, tracebacks included."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime
        self._secrets = tuple(secret for secret in secrets if len(secret) >= _SECRET_LENGTH_MIN)

    def format(self, record: logging.LogRecord) -> str:
        """The record without secrets."""
        text = _TOKEN.sub(_HIDDEN, super().format(record))
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text


def setup_logging(level: str, secrets: Iterable[str] = ()) -> None:
    """Send everything of `level` and above to stderr. Replaces earlier handlers."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("httpx2", "httpcore", "websockets", "mcp"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
