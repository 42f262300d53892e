"""Who is asking: signatures over the raw bytes, the clock window, the login of websockets."""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import unquote, unquote_plus

from exchanges.paper.bybit.wire import Refusal
from portfolio.core.decimals import parse_integer
from portfolio.core.errors import NumberError

WINDOW_DEFAULT_MS = 5000
#: A stamp this far ahead of the venue's clock, or farther, is refused whatever the window.
AHEAD_MS = 1000


def _hex(secret: str, message: bytes) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())


def check_window(timestamp: object, window: object, now_ms: int) -> None:
    """Server - window <= timestamp < server + 1000.

    Raises:
        Refusal: 10002, or 10001 when they are no numbers.
    """
    try:
        stamp, width = parse_integer(str(timestamp)), parse_integer(str(window or WINDOW_DEFAULT_MS))
    except NumberError:
        raise Refusal("10001", "params error: timestamp or recv_window is invalid") from None
    if not now_ms - width <= stamp < now_ms + AHEAD_MS:
        raise Refusal(
            "10002",
            "invalid request, please check your server timestamp or recv_window param. "
            f"req_timestamp[{stamp}],server_timestamp[{now_ms}],recv_window[{width}]",
        )


def check_request(headers: Mapping[str, str], payload: bytes, *, key: str, secret: str, now_ms: int) -> None:
    """A signed REST request; `payload` is the raw query of a GET or the raw body of a POST.

    A query may be signed as it stands on the wire or percent-decoded: SDKs differ, the venue takes both.

    Raises:
        Refusal: 10003, 10004 or 10002; HTTP 401 when the headers are not there at all.
    """
    given, sign = headers.get("x-bapi-api-key", ""), headers.get("x-bapi-sign", "")
    stamp = headers.get("x-bapi-timestamp", "")
    if not given or not sign or not stamp:
        raise Refusal("10003", "API key, timestamp or signature is missing", status=401)
    if not _same(given, key):
        raise Refusal("10003", "API key is invalid.")
    window = headers.get("x-bapi-recv-window", "")
    text = payload.decode(errors="replace")
    variants = {payload, unquote(text).encode(), unquote_plus(text).encode()}
    prefix = f"{stamp}{given}{window}".encode()
    if not any(_same(sign.lower(), _hex(secret, prefix + variant)) for variant in variants):
        raise Refusal("10004", "error sign! origin_string[...]")
    check_window(stamp, window, now_ms)


def check_login(args: object, *, key: str, secret: str, now_ms: int) -> None:
    """The `auth` frame of a websocket: [key, expires, signature]; expires may be a number or a text.

    Raises:
        Refusal: 10001, 10003 or 10004.
    """
    if not isinstance(args, list) or len(args) != 3:
        raise Refusal("10001", "Param error")
    given, expires, sign = (str(part) for part in args)
    try:
        past = parse_integer(expires) <= now_ms
    except NumberError:
        past = True
    if past:
        raise Refusal("10004", "Params Error: expires is in the past")
    if not _same(given, key):
        raise Refusal("10003", "Invalid API key")
    if not _same(sign.lower(), _hex(secret, f"GET/realtime{expires}".encode())):
        raise Refusal("10004", "Invalid sign")
