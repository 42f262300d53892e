"""The commands that start and stop processes."""

import logging
import os
from pathlib import Path
from typing import Any

from portfolio.approvals import load_operator_key
from portfolio.core.errors import SettingsError
from server.console import Console
from server.endings import say
from server.home import Home, prepare, read_token
from server.logs import setup_logging
from server.process import begin
from server.settings import FILE_NAME, Settings, log_level_from
from server.supervisor import serve as supervise
from server.supervisor import stop_all

logger = logging.getLogger(__name__)

#: What a paper venue replays.
_MARKET_FILES = ("hourly.parquet", "panel.parquet")


def check_market_files(settings: Settings) -> None:
    """Find what `paper.data_dir` promises before anything is started.

    Raises:
        SettingsError: a file is not there: replaying the bundled history instead would trade another market.
    """
    folder = settings.paper.data_dir
    if settings.mode != "paper" or not folder:
        return
    for name in _MARKET_FILES:
        path = Path(folder).absolute() / name
        if not path.is_file():
            raise SettingsError(
                f"{settings.home / FILE_NAME}: paper.data_dir: there is no file {path}.",
                field="paper.data_dir",
                allowed=f"a folder with {' and '.join(_MARKET_FILES)}, or empty for the bundled history",
                next_step="Correct it or remove it. Nothing was started.",
            )


def serve(console: Console, settings: Settings) -> dict[str, Any]:
    """Supervise until stopped.

    Raises:
        SettingsError: the home is not set up, or its market files are not there.
        RefusedError, ChildFailedError: it runs already, or a process refused to start.
    """
    begin()
    check_market_files(settings)
    home = Home(settings.home)
    prepare(home, separated=settings.install == "separated")
    load_operator_key(home.operator_file)
    read_token(home)
    setup_logging(log_level_from(os.environ))

    def ready(pids: dict[str, Any]) -> None:
        try:
            if console.as_json:
                say({"ready": True, "mode": settings.mode, "home": str(settings.home), "pids": pids})
            console.say(f"Carrydesk runs ({settings.mode}). Agents: {home.agent_socket}.")
            console.say("Stop: carrydesk stop")
        except OSError as error:
            # Whoever started it hears no more. What it watches must be watched all the same.
            logger.warning("nobody reads that it is ready: %s", error)

    supervise(settings, os.environ, ready)
    return {"stopped": True, "mode": settings.mode}


def stop(console: Console, home: Home) -> dict[str, Any]:
    """Stop everything of the home."""
    ran = stop_all(home)
    console.say(f"Stopped: {', '.join(ran)}." if ran else "Nothing was running.")
    return {"stopped": ran}
