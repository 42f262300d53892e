"""A process that works for the front beside the desk: it must never slow the guard nor outlive the front."""

import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

#: Processor time of one, whoever still waits for it.
CPU_SECONDS_MAX = 1800
_NICE_MOST = 19
_AUTOGROUP = Path("/proc/self/autogroup")
#: One core: numeric libraries read these when they are first imported.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
}


def begin_background(cpu_seconds_max: int = CPU_SECONDS_MAX) -> None:
    """First thing in such a process; it must lead its session, and its stdin be a pipe of the front's.

    - Lowest priority. Where Linux groups processes by session, a nice value counts within the session only,
      so the session's own weight is lowered as well.
    - Ends when the front does, even by kill -9: the system then closes the pipe.
    - Ends after so much processor time, whoever still waits for it.
    """
    os.nice(_NICE_MOST)
    if sys.platform == "linux":
        with suppress(OSError):  # a kernel without this grouping has no such file
            _AUTOGROUP.write_text(f"{_NICE_MOST}\n", encoding="ascii")
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    soft = cpu_seconds_max if most == resource.RLIM_INFINITY else min(cpu_seconds_max, most)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, most))
    threading.Thread(target=_end_with_the_front, daemon=True).start()


def _end_with_the_front() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)  # the session's only group: this process and whatever it started
