"""The guard's sign of life: one number in a small mapped file, so that a beat is a store and never waits."""

import mmap
import os
import struct
import time
from pathlib import Path

_FORMAT = "<q"
_SIZE = struct.calcsize(_FORMAT)


class Heartbeat:
    """Written by the desk. CLOCK_MONOTONIC is one clock for all processes of a machine."""

    def __init__(self, path: Path) -> None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(handle, _SIZE)
            self._map = mmap.mmap(handle, _SIZE)
            struct.pack_into(_FORMAT, self._map, 0, 0)  # what an earlier desk wrote is not ours
        finally:
            os.close(handle)

    def beat(self) -> None:
        """Alive now."""
        struct.pack_into(_FORMAT, self._map, 0, time.monotonic_ns())


def heartbeat_age_ns(path: Path) -> int | None:
    """Time since the last beat, integer ns; None before the first."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(content) != _SIZE:
        return None
    (at,) = struct.unpack(_FORMAT, content)
    return None if at == 0 else max(0, time.monotonic_ns() - at)
