"""The commands that start and stop processes."""

import os
from typing import Any

from portfolio.approvals import load_operator_key
from server.console import Console
from server.endings import say
from server.home import Home, prepare, read_token
from server.logs import setup_logging
from server.process import begin
from server.settings import Settings, log_level_from
from server.supervisor import serve as supervise
from server.supervisor import stop_all


def serve(console: Console, settings: Settings) -> dict[str, Any]:
    """Supervise until stopped.

    Raises:
        SettingsError: the home is not set up.
        RefusedError, ChildFailedError: it runs already, or a process refused to start.
    """
    begin()
    home = Home(settings.home)
    prepare(home, separated=settings.install == "separated")
    load_operator_key(home.operator_file)
    read_token(home)
    setup_logging(log_level_from(os.environ))

    def ready(pids: dict[str, Any]) -> None:
        if console.as_json:
            say({"ready": True, "mode": settings.mode, "home": str(settings.home), "pids": pids})
        console.say(f"Carrydesk runs ({settings.mode}). Agents: {home.agent_socket}. Stop: carrydesk stop")

    supervise(settings, os.environ, ready)
    return {"stopped": True, "mode": settings.mode}


def stop(console: Console, settings: Settings) -> dict[str, Any]:
    """Stop everything of the home."""
    ran = stop_all(settings, os.environ)
    console.say(f"Stopped: {', '.join(ran)}." if ran else "Nothing was running.")
    return {"stopped": ran}
