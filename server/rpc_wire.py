"""What crosses a process border: one JSON object per line, made by the codec from type hints.

A connection opens with one line that names the door, so that no socket works in place of another:

    -> {"carrydesk": "desk"}                                       <- {"carrydesk": "desk"}
    -> {"id": 1, "method": "read", "token": "...", "arguments": {}}    <- {"id": 1, "result": {...}}
                                                    or <- {"id": 1, "error": {"code": ..., "message": ...}}
"""

import inspect
import json
import os
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import anyio.abc

from portfolio.coders import Data, Decode, Encode, Misfit, coder, write
from portfolio.core import errors
from portfolio.core.errors import AccessError, CarrydeskError, Effect, InputError, VenueError
from portfolio.service import Principal

LINE_BYTES_MAX = 8 << 20


class UnreachableError(CarrydeskError):
    """The other process is not there: nothing was sent."""

    code = "unreachable"


class OutcomeUnknownError(CarrydeskError):
    """The connection or the time ended before an answer came: it may have happened."""

    code = "outcome_unknown"


class InternalError(CarrydeskError):
    """The other process failed in a way it did not expect; its log has the details."""

    code = "internal"


def _tree(base: type[CarrydeskError]) -> dict[str, type[CarrydeskError]]:
    found = {base.code: base}
    for child in base.__subclasses__():
        found |= _tree(child)
    return found


def _classes() -> dict[str, type[CarrydeskError]]:
    """Code to class, for the errors of the core and of this module only."""
    ours = (errors.__name__, __name__)
    return {code: cls for code, cls in _tree(CarrydeskError).items() if cls.__module__ in ours}


def error_data(error: CarrydeskError) -> dict[str, Data]:
    """An error as data. It names no secret, because no error text may."""
    data: dict[str, Data] = {
        "code": error.code,
        "message": error.message,
        "field": error.field,
        "allowed": error.allowed,
        "next_step": error.next_step,
    }
    if isinstance(error, VenueError):
        data |= {"effect": error.effect.value, "venue_code": error.venue_code}
    return data


def error_from(data: Mapping[str, Data]) -> CarrydeskError:
    """The error that the other side raised, as one of the same class."""
    message, next_step = str(data.get("message")), str(data.get("next_step") or "")
    if data.get("code") == VenueError.code:
        return VenueError(
            message,
            effect=Effect(data.get("effect", Effect.UNKNOWN.value)),
            venue_code=data.get("venue_code"),
            next_step=next_step,
        )
    cls = _classes().get(str(data.get("code")), InternalError)
    return cls(message, field=data.get("field"), allowed=data.get("allowed"), next_step=next_step)


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a protocol and how its arguments and its result are written."""

    name: str
    #: By parameter name, without `self` and the principal.
    parameters: Mapping[str, tuple[Encode, Decode]]
    result: tuple[Encode, Decode]
    #: The first parameter is the caller, which the server finds out from the token.
    principal: bool

    def encode_arguments(self, arguments: Mapping[str, object]) -> dict[str, Data]:
        """Arguments as data."""
        return {name: self.parameters[name][0](value) for name, value in arguments.items()}

    def decode_arguments(self, data: Data) -> dict[str, Any]:
        """Exactly the parameters.

        Raises:
            InputError: one is missing, unknown or of the wrong type.
        """
        if not isinstance(data, dict) or data.keys() != self.parameters.keys():
            raise InputError(f"{self.name}: the arguments are {', '.join(self.parameters) or 'none'}.")
        made = {}
        for name, (_, decode) in self.parameters.items():
            try:
                made[name] = decode(data[name])
            except Misfit as bad:
                path = ".".join((name, *reversed(bad.path)))
                raise InputError(f"{self.name}: {path}: {bad.message}.", field=path) from None
        return made


def methods_of(protocol: type) -> Mapping[str, Method]:
    """Every public async method of a Protocol.

    Raises:
        TypeError: an annotation that the codec does not know.
    """
    found = {}
    for name, function in vars(protocol).items():
        if name.startswith("_") or not inspect.iscoroutinefunction(function):
            continue
        hints = get_type_hints(function)
        result = hints.pop("return")
        principal = hints.pop("principal", None) is Principal
        parameters = {parameter: coder(hint) for parameter, hint in hints.items()}
        found[name] = Method(name, parameters, coder(result), principal)
    return found


def line_of(message: Mapping[str, Data]) -> bytes:
    """One frame."""
    return write(message).encode() + b"\n"


def message_of(line: bytes) -> dict[str, Data]:
    """One frame read.

    Raises:
        InputError: it is not a JSON object.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise InputError("This line is not a JSON object.")
    return message


def peer_uid(stream: anyio.abc.SocketStream) -> int | None:
    """User of the process at the other end; None where the system does not say."""
    if sys.platform != "linux":
        return None
    raw: socket.socket = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 - no Django
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)


def check_same_user(stream: anyio.abc.SocketStream) -> None:
    """Only processes of this user (or root) may talk here.

    Raises:
        AccessError: another user's process.
    """
    uid = peer_uid(stream)
    if uid not in (None, 0, os.getuid()):
        raise AccessError("This socket belongs to another user.")
