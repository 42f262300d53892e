"""What `carrydesk run-desk` does."""

import os

import anyio

from portfolio.core.errors import CarrydeskError
from server.desk import run_desk
from server.endings import ended
from server.home import Home, prepare
from server.logs import setup_logging
from server.process import begin
from server.settings import home_from, load, log_level_from


def desk_process() -> int:
    """The desk, until it is told to stop; the exit code."""
    begin()
    try:
        secrets = [os.environ.get(f"CARRYDESK_BYBIT_{name}", "") for name in ("KEY", "SECRET")]
        setup_logging(log_level_from(os.environ), secrets)
        settings = load(home_from(os.environ))
        prepare(Home(settings.home), separated=settings.install == "separated")
        anyio.run(run_desk, settings, dict(os.environ))
    except (CarrydeskError, BaseExceptionGroup) as error:
        return ended(error)
    return 0
