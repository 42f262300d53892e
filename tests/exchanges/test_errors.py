"""Every transport exception has a translation, and it never claims more than is certain."""

from collections.abc import Iterator

import httpx2
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from exchanges.errors import HTTP_EFFECTS, http_error, socket_error, unreadable
from portfolio.core.errors import Effect

NEVER_WRITTEN = {
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.InvalidURL,
}


def leaves(kind: type[Exception]) -> Iterator[type[Exception]]:
    children = kind.__subclasses__()
    if not children:
        yield kind
    for child in children:
        yield from leaves(child)


EXCEPTIONS = sorted(
    {*leaves(httpx2.HTTPError), *leaves(httpx2.InvalidURL), *leaves(httpx2.StreamError)},
    key=lambda kind: kind.__name__,
)


def made(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    Exception.__init__(error, "https://venue/?secret=s3cr3t")
    return error


@pytest.mark.parametrize("kind", EXCEPTIONS, ids=lambda kind: kind.__name__)
def test_every_exception_of_the_http_library_has_a_translation(kind: type[Exception]) -> None:
    assert any(base in HTTP_EFFECTS for base in kind.__mro__)
    error = http_error(made(kind), "POST /v5/order/create")
    assert error.effect is (Effect.NOT_SENT if kind in NEVER_WRITTEN else Effect.UNKNOWN)
    assert "s3cr3t" not in str(error)
    assert "POST /v5/order/create" in str(error)


def test_an_exception_that_nobody_thought_of_is_unknown() -> None:
    assert http_error(RuntimeError("new"), "GET /").effect is Effect.UNKNOWN


def test_a_broken_websocket_is_unknown_only_when_something_may_have_been_written() -> None:
    closed = ConnectionClosedError(Close(1012, "secret reason"), None)
    assert socket_error(closed, "trade", written=False).effect is Effect.NOT_SENT
    assert socket_error(closed, "trade", written=True).effect is Effect.UNKNOWN
    assert "secret reason" not in str(socket_error(closed, "trade", written=True))


def test_an_answer_that_cannot_be_read_is_unknown_and_is_shown_cut() -> None:
    error = unreadable("order", "orderStatus", "x" * 500)
    assert error.effect is Effect.UNKNOWN
    assert len(str(error)) < 300
