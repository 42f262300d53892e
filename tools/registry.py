"""Every tool, in the order clients see them."""

from typing import Any

from tools import intents, portfolio, propose, scores, simulate
from tools.spec import Tool

#: The order never changes: clients cache prompts by it.
TOOLS: tuple[Tool[Any, Any], ...] = (
    portfolio.TOOL,
    scores.TOOL,
    simulate.TOOL,
    propose.TOOL,
    intents.EXECUTE,
    intents.GET,
    intents.CANCEL,
)
