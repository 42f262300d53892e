"""What a failed transport means: where exceptions of httpx2 and websockets become VenueError.

Every translation says whether the request may have taken effect. Whoever is unsure says `unknown`: only what
certainly never left this process is `not_sent`. No text repeats a URL, a header or a body, so none can
carry a secret.
"""

from collections.abc import Mapping

import httpx2
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from portfolio.core.errors import Effect, VenueError

#: By class; a subclass not listed takes the entry of its nearest base. The test walks the whole tree.
HTTP_EFFECTS: Mapping[type[Exception], Effect] = {
    # No connection existed, so no byte of the request was written.
    httpx2.ConnectError: Effect.NOT_SENT,
    httpx2.ConnectTimeout: Effect.NOT_SENT,
    httpx2.PoolTimeout: Effect.NOT_SENT,
    httpx2.ProxyError: Effect.NOT_SENT,
    httpx2.UnsupportedProtocol: Effect.NOT_SENT,
    httpx2.InvalidURL: Effect.NOT_SENT,
    # Bytes may have gone out, or an answer was lost.
    httpx2.ReadError: Effect.UNKNOWN,
    httpx2.ReadTimeout: Effect.UNKNOWN,
    httpx2.WriteError: Effect.UNKNOWN,
    httpx2.WriteTimeout: Effect.UNKNOWN,
    httpx2.CloseError: Effect.UNKNOWN,
    httpx2.LocalProtocolError: Effect.UNKNOWN,
    httpx2.RemoteProtocolError: Effect.UNKNOWN,
    httpx2.SSEError: Effect.UNKNOWN,
    httpx2.DecodingError: Effect.UNKNOWN,
    httpx2.TooManyRedirects: Effect.UNKNOWN,
    httpx2.HTTPStatusError: Effect.UNKNOWN,
    httpx2.StreamError: Effect.UNKNOWN,
}

_SAID: Mapping[Effect, str] = {
    Effect.NOT_SENT: "the request was not sent",
    Effect.UNKNOWN: "the request may have taken effect",
    Effect.REJECTED: "the venue refused the request",
}


def http_error(error: Exception, what: str) -> VenueError:
    """Translate an exception of httpx2 that ended the request `what` (such as "POST /v5/order/create")."""
    effect = next(
        (HTTP_EFFECTS[kind] for kind in type(error).__mro__ if kind in HTTP_EFFECTS), Effect.UNKNOWN
    )
    return VenueError(
        f"{what}: {type(error).__name__}; {_SAID[effect]}.", effect=effect, venue_code="transport"
    )


def socket_error(error: Exception, what: str, *, written: bool) -> VenueError:
    """Translate a failure of a websocket; `written` says whether a frame may have gone out before it."""
    effect = Effect.UNKNOWN if written else Effect.NOT_SENT
    return VenueError(f"{what}: {socket_reason(error)}; {_SAID[effect]}.", effect=effect, venue_code="socket")


def socket_reason(error: Exception) -> str:
    """Say in a few words why a websocket failed."""
    if isinstance(error, ConnectionClosed):
        code = error.rcvd.code if error.rcvd is not None else "no close frame"
        return f"connection closed ({code})"
    if isinstance(error, InvalidStatus):
        return f"connection refused with HTTP {error.response.status_code}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError | EOFError):
        return f"no connection ({type(error).__name__})"
    if isinstance(error, WebSocketException):
        return f"protocol failure ({type(error).__name__})"
    return type(error).__name__


def unreadable(what: str, field: str, seen: object) -> VenueError:
    """The venue answered something we do not understand: it may well have acted, so the effect is unknown."""
    text = repr(seen)
    shown = text if len(text) <= 80 else text[:80] + "..."
    return VenueError(
        f"{what}: field {field} is {shown}, which this adapter does not know.",
        effect=Effect.UNKNOWN,
        venue_code="unreadable",
        next_step="Check the venue's change log; nothing is guessed from it.",
    )
