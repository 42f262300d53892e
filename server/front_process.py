"""What `carrydesk run-front` does."""

import os
from functools import partial

import anyio

from portfolio.core.errors import CarrydeskError
from server.endings import ended, say
from server.front import serve
from server.home import Home
from server.logs import setup_logging
from server.process import begin
from server.settings import home_from, load, log_level_from


def front_process() -> int:
    """The front, until it is told to stop; the exit code."""
    begin()
    try:
        setup_logging(log_level_from(os.environ))
        settings = load(home_from(os.environ))
        separated = settings.install == "separated"
        work = partial(
            serve,
            Home(settings.home),
            separated=separated,
            agent_group=settings.agent_group if separated else "",
            ready=lambda: say({"ready": "front"}),
        )
        anyio.run(work)
    except (CarrydeskError, BaseExceptionGroup) as error:
        return ended(error)
    return 0
