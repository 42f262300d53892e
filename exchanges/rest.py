"""One HTTP request to a venue: the bytes given are the bytes sent, and every failure is a VenueError.

The caller builds the query string itself, because signatures cover it as it stands on the wire.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx2

from exchanges.errors import http_error

#: The library tells every request at INFO, several a second here.
logging.getLogger("httpx2").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An answer, whatever its status."""

    status: int
    #: Names in lower case.
    headers: Mapping[str, str]
    body: bytes


class RestClient:
    """A connection pool to one base URL. Proxies of the environment are ignored: hosts come from the file."""

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float = 10.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, 5.0)),
            transport=transport,
            trust_env=False,
            limits=httpx2.Limits(max_connections=50, max_keepalive_connections=50, keepalive_expiry=60.0),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> HttpReply:
        """Send it once.

        Raises:
            VenueError: no complete answer came; its effect says whether the request may have arrived.
        """
        url = f"{self._base}{path}?{query}" if query else f"{self._base}{path}"
        timeout = httpx2.USE_CLIENT_DEFAULT if timeout_s is None else httpx2.Timeout(timeout_s)
        try:
            reply = await self._client.request(
                method, url, content=body or None, headers=dict(headers or {}), timeout=timeout
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise http_error(error, f"{method} {path}") from None
        return HttpReply(
            reply.status_code, {name.lower(): value for name, value in reply.headers.items()}, reply.content
        )
