"""`python -m benchmarks [--only NAME ...]`: run, write build/bench.json, print a table.

Tables and progress go to stdout; the exit code is 1 when a benchmark could not run.
"""

import argparse
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import backtest, breach, dcc, front, guard_wake, journal, margin, rebalance, scores, tick
from benchmarks.measure import Result, noise
from benchmarks.table import lines

BENCHMARKS: Mapping[str, Callable[[], Result]] = {
    "margin": margin.run,
    "tick": tick.run,
    "breach": breach.run,
    "rebalance": rebalance.run,
    "journal": journal.run,
    "front": front.run,
    "guard_wake": guard_wake.run,
    "scores": scores.run,
    "dcc": dcc.run,
    "backtest": backtest.run,
}
OUTPUT = Path("build/bench.json")


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; 1 when something could not run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Carrydesk.")
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="run this one (repeatable)")
    chosen = parser.parse_args(arguments).only or list(BENCHMARKS)
    started = time.monotonic()
    report: Result = {"machine": _machine(), "benchmarks": {}, "failed": {}}
    for name in chosen:
        _run_one(name, report)
    report["figures"] = _figures(_into(report, "benchmarks"))
    report["noise_after"] = noise()
    report["seconds"] = round(time.monotonic() - started, 1)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{report['seconds']} s; all of it is in {OUTPUT}")
    return 1 if report["failed"] else 0


def _run_one(name: str, report: Result) -> None:
    """One benchmark into the report; one that breaks must not take the others with it."""
    started = time.monotonic()
    before = noise()
    try:
        result = BENCHMARKS[name]()
    except Exception:  # noqa: BLE001 - reported, and the exit code says so
        traceback.print_exc()
        _into(report, "failed")[name] = traceback.format_exc(limit=-1).splitlines()[-1]
        return
    took = round(time.monotonic() - started, 1)
    _into(report, "benchmarks")[name] = {**result, "noise_before": before, "seconds": took}
    print(f"{name}  ({took} s)")
    for line in lines(result):
        print(f"  {line}")
    sys.stdout.flush()


def _figures(benchmarks: Result) -> Result:
    """Every number under its name, such as `margin.tick_us`; of a spread its median."""
    found: dict[str, object] = {}
    for name, result in benchmarks.items():
        assert isinstance(result, dict)
        for key, figure in result.items():
            value = figure.get("p50") if isinstance(figure, dict) else figure
            if isinstance(value, int | float):
                found[f"{name}.{key}"] = value
    return found


def _into(report: Result, key: str) -> Result:
    part = report[key]
    assert isinstance(part, dict)
    return part


def _machine() -> Result:
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "noise_before": noise(),
    }


if __name__ == "__main__":
    sys.exit(main())
