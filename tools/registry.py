"""Every tool, in the order clients see them."""

from typing import Any

from tools import intents, portfolio, propose, scores, simulate
from tools.backtest import backtest_tool
from tools.backtest_jobs import Backtests
from tools.spec import Tool

#: Those that need only the desk. The order never changes: clients cache prompts by it.
TOOLS: tuple[Tool[Any, Any], ...] = (
    portfolio.TOOL,
    scores.TOOL,
    simulate.TOOL,
    propose.TOOL,
    intents.EXECUTE,
    intents.GET,
    intents.CANCEL,
)


def every_tool(backtests: Backtests) -> tuple[Tool[Any, Any], ...]:
    """All tools of a front that can run backtests."""
    return (*TOOLS, backtest_tool(backtests))
