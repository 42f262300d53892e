"""`carrydesk simulate`: many episodes, one report."""

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from portfolio.core.errors import InputError
from server.console import EX_FAILED, Console
from server.simulation.episode import Outcome, run_episode

FAULTS = ("all", "none")


def run_simulation(*, episodes: int, seed: int, faults: str, workers: int) -> dict[str, object]:
    """Run episodes `seed` .. `seed + episodes - 1` over processes and add them up (keys: DESIGN 14).

    Raises:
        InputError: faults are neither all nor none.
    """
    if faults not in FAULTS:
        raise InputError(
            f"--faults {faults}: there are no such faults.",
            field="faults",
            allowed=", ".join(FAULTS),
            next_step="Use --faults all or --faults none; nothing was run.",
        )
    started = time.monotonic()
    run = partial(run_episode, faults=faults == "all")
    seeds = range(seed, seed + episodes)
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            outcomes = list(pool.map(run, seeds, chunksize=4))
    else:
        outcomes = [run(one) for one in seeds]
    return _report(outcomes, seed, time.monotonic() - started)


def _report(outcomes: list[Outcome], first_seed: int, seconds: float) -> dict[str, object]:
    broken = [row for row in outcomes if row.violations]
    for row in broken:
        for violation in row.violations:
            print(f"seed {row.seed}: {violation}", file=sys.stderr)  # noqa: T201
    return {
        "episodes": len(outcomes),
        "events": sum(row.events for row in outcomes),
        "fills": sum(row.fills for row in outcomes),
        "crashes": sum(row.crashes for row in outcomes),
        "guard_actions": sum(row.guard_actions for row in outcomes),
        "liquidations": sum(row.liquidations for row in outcomes),
        "virtual_hours": round(sum(row.virtual_seconds for row in outcomes) / 3600, 3),
        "naked_seconds_max": round(max((row.naked_seconds_max for row in outcomes), default=0.0), 3),
        "idle_seconds_max": round(max((row.idle_seconds_max for row in outcomes), default=0.0), 3),
        "entry_health_min": round(min((row.entry_health_min for row in outcomes), default=1.0), 3),
        "violations": sum(len(row.violations) for row in outcomes),
        "broken_seeds": [row.seed for row in broken],
        "first_seed": broken[0].seed if broken else first_seed,
        "seconds": round(seconds, 1),
    }


def main(*, episodes: int, seed: int, faults: str, workers: int, as_json: bool) -> int:
    """Print the report; 1 when an invariant was violated or nothing could be run."""
    try:
        report = run_simulation(episodes=episodes, seed=seed, faults=faults, workers=workers)
    except InputError as error:
        Console(as_json=as_json).fail(error)
        return EX_FAILED
    print(json.dumps(report) if as_json else "\n".join(f"{k}: {v}" for k, v in report.items()))  # noqa: T201
    return 1 if report["violations"] else 0
