"""Our tools as MCP tools: one flat input schema that refuses unknown arguments, errors as one JSON object."""

import json
import logging
from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool as McpTool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import PrivateAttr, ValidationError

from portfolio.core.errors import CarrydeskError
from server.callers import Caller
from tools.failures import bad_arguments, failure, refusal
from tools.spec import Tool

logger = logging.getLogger(__name__)


class OfferedTool(McpTool):
    """One of ours. Replaces the SDK's `run`, which ignores unknown arguments and prefixes error texts."""

    _tool: Tool[Any, Any] = PrivateAttr()
    _caller: Callable[[], Caller] = PrivateAttr()

    async def run(self, arguments: dict[str, Any], context: Any, convert_result: bool = False) -> Any:
        """Validate, call, answer.

        Raises:
            ToolError: with the JSON text of tools/failures.py.
        """
        tool = self._tool
        try:
            parsed = tool.arguments.model_validate(_unquoted(arguments))
        except ValidationError as error:
            fields = tool.arguments.model_fields
            names = tuple(field.alias or name for name, field in fields.items())
            raise ToolError(bad_arguments(tool.name, names, error)) from error
        try:
            caller = self._caller()
            async with caller.calling() as principal:
                result = await tool.run(caller.desk, principal, parsed)
        except CarrydeskError as error:
            raise ToolError(refusal(error)) from error
        except Exception as error:
            text = failure(
                "internal", f"{tool.name} failed.", next_step="Tell the operator; the front's log has it."
            )
            raise UnexpectedToolError(text) from error
        if not convert_result:
            return result
        texts = [result.model_dump_json()]
        if tool.text is not None:
            texts.insert(0, tool.text(result))
        return CallToolResult(
            content=[TextContent(type="text", text=text) for text in texts],
            structured_content=result.model_dump(mode="json"),
        )


def _unquoted(arguments: dict[str, Any]) -> dict[str, Any]:
    """Some clients send lists and objects as JSON texts: take them as meant."""
    found = dict(arguments)
    for name, value in arguments.items():
        if isinstance(value, str) and value[:1] in ("[", "{"):
            try:
                found[name] = json.loads(value)
            except (ValueError, RecursionError):
                continue
    return found


def offer(tool: Tool[Any, Any], caller: Callable[[], Caller]) -> McpTool:
    """The MCP tool of one of ours. `caller` says who makes the running request."""
    hints = tool.hints
    offered = OfferedTool(
        fn=tool.run,
        name=tool.name,
        title=tool.title,
        description=tool.description,
        parameters=tool.arguments.model_json_schema(),
        fn_metadata=FuncMetadata(arg_model=ArgModelBase, output_model=tool.result),
        is_async=True,
        context_kwarg=None,
        annotations=ToolAnnotations(
            title=tool.title,
            read_only_hint=hints.read_only,
            destructive_hint=hints.destructive,
            idempotent_hint=hints.idempotent,
            open_world_hint=hints.open_world,
        ),
    )
    offered._tool = tool
    offered._caller = caller
    return offered
