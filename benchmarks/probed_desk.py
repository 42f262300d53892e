"""The desk process with a probe on its event loop: how late does what sleeps there wake up?

`python -m benchmarks.probed_desk` is `carrydesk run-desk` and one task more. The guard sleeps on the same
loop, so the probe's lateness is the guard's. Samples lie in a mapped ring in the home's run folder, stamped
with CLOCK_MONOTONIC, which is one clock for all processes of a machine.
"""

import mmap
import os
import struct
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import anyio

from portfolio.core.errors import CarrydeskError
from server.desk import run_desk
from server.endings import ended
from server.home import Home, prepare
from server.logs import setup_logging
from server.process import begin
from server.settings import Settings, home_from, load, log_level_from

EVERY_NS = 5_000_000
_SAMPLES = 1 << 14
_ONE = struct.Struct("<qq")


def ring_path(home: Home) -> Path:
    """Where the samples are."""
    return home.run_dir / "lateness"


class Ring:
    """(moment, lateness) in ns; the oldest are overwritten."""

    def __init__(self, path: Path) -> None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(handle, _SAMPLES * _ONE.size)
            self._map = mmap.mmap(handle, _SAMPLES * _ONE.size)
        finally:
            os.close(handle)
        self._next = 0

    def add(self, at_ns: int, late_ns: int) -> None:
        """Keep one."""
        _ONE.pack_into(self._map, self._next % _SAMPLES * _ONE.size, at_ns, late_ns)
        self._next += 1


def lateness_ms(home: Home, since_ns: int, until_ns: int) -> list[float]:
    """What the probe saw between two moments."""
    rows = _ONE.iter_unpack(ring_path(home).read_bytes())
    return [late / 1e6 for at, late in rows if since_ns <= at <= until_ns]


async def probe(ring: Ring) -> None:
    """Sleep and compare, for ever."""
    while True:
        due = time.monotonic_ns() + EVERY_NS
        await anyio.sleep(EVERY_NS / 1e9)
        now = time.monotonic_ns()
        ring.add(now, max(0, now - due))


async def run_probed(settings: Settings, environment: Mapping[str, str]) -> None:
    """The desk, watched."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(probe, Ring(ring_path(Home(settings.home))))
        await run_desk(settings, environment)
        tasks.cancel_scope.cancel()


def main() -> int:
    """As the desk's own process begins."""
    begin()
    try:
        setup_logging(log_level_from(os.environ))
        settings = load(home_from(os.environ))
        prepare(Home(settings.home))
        anyio.run(run_probed, settings, dict(os.environ))
    except (CarrydeskError, BaseExceptionGroup) as error:
        return ended(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
