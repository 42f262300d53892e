"""Signatures of Bybit v5, pure. Source: docs/v5/guide (read 2026-07-24); vectors in the tests.

GET signs timestamp + key + recv_window + query as it stands on the wire; POST the exact body instead. Neither
method nor path is covered.
"""

import hashlib
import hmac
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key with its secret, which neither repr nor str shows."""

    key: str
    secret: str = field(repr=False)

    def __str__(self) -> str:
        return f"ApiKey({self.key[:4]}...)"

    def __repr__(self) -> str:
        return str(self)


def signature(secret: str, message: bytes) -> str:
    """HMAC-SHA256 as lower-case hex."""
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def rest_headers(key: ApiKey, *, timestamp_ms: int, recv_window_ms: int, payload: bytes) -> dict[str, str]:
    """Headers of a signed request. `payload` is the raw query of a GET or the raw body of a POST."""
    window = str(recv_window_ms)
    message = f"{timestamp_ms}{key.key}{window}".encode() + payload
    return {
        "X-BAPI-API-KEY": key.key,
        "X-BAPI-TIMESTAMP": str(timestamp_ms),
        "X-BAPI-RECV-WINDOW": window,
        "X-BAPI-SIGN": signature(key.secret, message),
    }


def socket_auth(key: ApiKey, *, expires_ms: int) -> dict[str, object]:
    """The frame that logs a private or trade websocket in; it must arrive before `expires_ms`."""
    sign = signature(key.secret, f"GET/realtime{expires_ms}".encode())
    return {"op": "auth", "args": [key.key, expires_ms, sign]}
