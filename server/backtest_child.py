"""What `carrydesk run-backtest` does: what `carrydesk backtest` does, for an agent, below the front."""

import json
import sys
from pathlib import Path
from typing import Any

from portfolio.backtest.result import to_json
from server.backtest import backtest, request_of
from server.backtest_report import render_report
from server.console import Console, run


def backtest_child(venue: str | None, start: str | None, end: str | None, report: Path) -> int:
    """Run on the package's own history, write the report, say the figures; the exit code.

    See `server.backtest_jobs` for what goes to stdout and stderr.
    """

    def work(console: Console) -> dict[str, Any]:
        result = backtest(None, venue, request_of(start, end), _say)
        _say("report", 1, 1)
        report.write_text(render_report(result), encoding="utf-8")
        return to_json(result)

    return run(True, work)


def _say(stage: str, done: int, planned: int) -> None:
    """A line of progress."""
    line = {"progress": done / planned if planned else 0.0, "stage": stage}
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()
