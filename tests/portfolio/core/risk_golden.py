"""What arch and pymgarch made of ten pairs of the bundled history, recorded, to be compared with anywhere.

`CARRYDESK_PEERS_PYTHON=... python -m tests.portfolio.core.risk_golden` writes the file anew, in minutes.
"""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.carry_panel import ten_pairs
from benchmarks.risk_peers import SKIP_REASON, ask, interpreter
from portfolio.core.carry import Floats

FILE = Path(__file__).with_name("data") / "risk_golden.json"
#: The unit of their answers.
BPS = 1e4
JOBS = ("constant", "zero", "composite", "all", "full")


def recorded() -> dict[str, Any]:
    """Versions, and one mapping per job."""
    answer = json.loads(FILE.read_text())
    assert isinstance(answer, dict)
    return answer


@cache
def returns() -> Floats:
    """What was asked about: 1500 days of ten pairs, fractions."""
    return ten_pairs()


def main() -> int:
    """Record."""
    python = interpreter()
    if python is None:
        print(SKIP_REASON, file=sys.stderr)  # noqa: T201 - a command
        return 1
    answer = ask(python, returns() * BPS, JOBS)
    for job in JOBS:
        del answer[job]["seconds"]
        for name, value in answer[job].items():
            answer[job][name] = np.round(value, 8).tolist()
    FILE.write_text(json.dumps(answer, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
