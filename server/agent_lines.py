"""Lines between an MCP client, the bridge (stdio.py) and the front (agent_door.py): how long, and whose.

Standard library only: the bridge loads it. A line that cannot be served is answered, never dropped in
silence, and with its request's id where that can be told: without it the client waits for its own timeout.
An id is never guessed: a wrong one would end another call of the client.
"""

import json
import re
from typing import Any

#: A longer line is refused and left out, in the bridge and in the front.
LINE_BYTES_MAX = 4 << 20
#: How much of the end of an overlong line is kept, to look for an id.
TAIL_BYTES = 512
_HEAD_BYTES = 4096
#: JSON-RPC 2.0, section 5.1.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
_DIGITS_MAX = 100

_SCALAR = rb'(?:"[^"\\]*"|-?\d+(?:\.\d+)?|true|false|null)'
_ID = rb'("[^"\\]{0,200}"|-?\d{1,18})'
#: The id among the members that stand before the first nested one: {"jsonrpc":"2.0","id":5,"method":...
_ID_FIRST = re.compile(
    rb'\s*\{\s*(?:"[^"\\]*"\s*:\s*' + _SCALAR + rb'\s*,\s*)*?"id"\s*:\s*' + _ID + rb"\s*[,}]"
)
#: The id as the last member: ..."jsonrpc":"2.0","id":5}. Only the outermost brace can end a JSON text.
_ID_LAST = re.compile(rb',\s*"id"\s*:\s*' + _ID + rb"\s*\}\s*\Z")
#: An answer to a request of ours: its id is not one of the client's.
_ANSWER = re.compile(
    rb'\s*\{\s*(?:"(?:jsonrpc|id)"\s*:\s*' + _SCALAR + rb'\s*,\s*){0,2}"(?:result|error)"\s*:'
)


def rpc_error(number: int, code: str, message: str, next_step: str) -> dict[str, Any]:
    """A JSON-RPC error whose text is an error of ours."""
    said = {"code": code, "message": message, "field": None, "allowed": None, "next": next_step}
    return {"code": number, "message": json.dumps(said, ensure_ascii=False)}


def too_long() -> dict[str, Any]:
    """For a line beyond `LINE_BYTES_MAX`."""
    message = f"This message is longer than {LINE_BYTES_MAX} bytes, the most of one line."
    return rpc_error(INVALID_REQUEST, "bad_input", message, "Send less; nothing was done.")


def no_json(reason: str) -> dict[str, Any]:
    """For a line that cannot be read as JSON."""
    message = f"This line cannot be read as JSON: {reason}."
    return rpc_error(PARSE_ERROR, "bad_input", message, "Send one JSON object a line; nothing was done.")


def no_request(reason: str) -> dict[str, Any]:
    """For JSON that is no message of the protocol."""
    return rpc_error(
        INVALID_REQUEST, "bad_input", f"{reason}.", "Correct it and call again; nothing was done."
    )


def is_id(value: object) -> bool:
    """Whether MCP allows it as a request's id: an integer, or a text that can be written back."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair
            return False
        return True
    return isinstance(value, int) and not isinstance(value, bool)


def request_id(line: bytes) -> int | str | None:
    """The id of the request in a line that cannot be served; None: there is none that is sure.

    An overlong line may come without its middle.
    """
    if len(line) > LINE_BYTES_MAX:
        return _id_seen(line, whole=True)
    try:
        message = json.loads(line, parse_int=_integer)
    except RecursionError:
        return _id_seen(line, whole=True)
    except ValueError:
        return _id_seen(line, whole=False)  # where it breaks off is not its end
    if not isinstance(message, dict):
        return None
    if "method" not in message and ("result" in message or "error" in message):
        return None
    found: int | str | None = message.get("id")
    return found if is_id(found) else None


def _integer(digits: str) -> int | None:
    """Python refuses integers of thousands of digits; here only the id matters."""
    return int(digits) if len(digits) <= _DIGITS_MAX else None


def _id_seen(line: bytes, *, whole: bool) -> int | str | None:
    """The id without parsing the line."""
    head = line[:_HEAD_BYTES]
    if _ANSWER.match(head):
        return None
    found = _ID_FIRST.match(head)
    if found is None and whole:
        found = _ID_LAST.search(line[-TAIL_BYTES:])
    if found is None:
        return None
    try:
        value: int | str = json.loads(found[1])
    except ValueError:  # not UTF-8, or 007
        return None
    return value
