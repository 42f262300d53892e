"""The raw client: bytes on the wire, the envelope, paging, and what each failure proves."""

import json
from collections.abc import Callable

import httpx2
import pytest

from exchanges.bybit.client import BybitClient, limit_seen
from exchanges.bybit.server_time import ServerTime, TimeSample
from exchanges.bybit.sign import ApiKey, signature
from exchanges.rest import RestClient
from portfolio.core.errors import Effect, VenueError

pytestmark = pytest.mark.anyio

KEY = ApiKey("key-0123456789", "secret-0123456789")
NOW_MS = 1_700_000_000_000


class Clocks:
    def wire_ns(self) -> int:
        return NOW_MS * 1_000_000

    def monotonic_ns(self) -> int:
        return 0

    def market_ns(self) -> int:
        return self.wire_ns()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def client(answer: Callable[[httpx2.Request], httpx2.Response]) -> BybitClient:
    known = ServerTime()
    known.learn((TimeSample(0, 0, 0),))
    rest = RestClient("http://venue", transport=httpx2.MockTransport(answer))
    return BybitClient(rest, KEY, Clocks(), known)


def envelope(result: object, code: int = 0, message: str = "OK") -> httpx2.Response:
    body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": NOW_MS}
    return httpx2.Response(200, json=body)


async def test_a_signed_read_goes_out_exactly_as_it_was_signed() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return envelope({})

    await client(answer).get("/v5/x", {"symbol": "BTCUSDT", "cursor": "132766%3A2%2C132766%3A2"})
    query = seen[0].url.query.decode()
    assert query == "symbol=BTCUSDT&cursor=132766%3A2%2C132766%3A2"
    message = f"{NOW_MS}{KEY.key}5000{query}".encode()
    assert seen[0].headers["X-BAPI-SIGN"] == signature(KEY.secret, message)


async def test_a_write_is_signed_over_the_bytes_of_its_body_and_carries_its_window() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return envelope({})

    await client(answer).post("/v5/x", {"a": "b"}, recv_window_ms=1234)
    message = f"{NOW_MS}{KEY.key}1234".encode() + seen[0].content
    assert seen[0].headers["X-BAPI-RECV-WINDOW"] == "1234"
    assert seen[0].headers["X-BAPI-SIGN"] == signature(KEY.secret, message)
    assert json.loads(seen[0].content) == {"a": "b"}


async def test_pages_are_read_until_the_cursor_is_empty() -> None:
    cursors: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        cursor = request.url.params.get("cursor", "")
        cursors.append(cursor)
        following = {"": "a%3A1", "a:1": "b%3A2", "b:2": ""}[cursor]
        return envelope({"list": [{"n": cursor}], "nextPageCursor": following})

    found = await client(answer).pages("/v5/list", {"limit": 1})
    assert [row["n"] for row in found] == ["", "a:1", "b:2"]


async def test_a_cursor_that_never_ends_is_an_error() -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return envelope({"list": [], "nextPageCursor": "again"})

    with pytest.raises(VenueError, match="nextPageCursor"):
        await client(answer).pages("/v5/list", {})


@pytest.mark.parametrize(
    ("response", "effect", "code"),
    [
        (envelope({}, 10001, "params error"), Effect.REJECTED, "10001"),
        (envelope({}, 10016, "System error"), Effect.UNKNOWN, "10016"),
        (envelope({}, 123456, "never seen"), Effect.UNKNOWN, "123456"),
        (httpx2.Response(403), Effect.REJECTED, "http_403"),
        (httpx2.Response(502, text="<html>"), Effect.UNKNOWN, "http_502"),
        (httpx2.Response(200, text="<html>"), Effect.UNKNOWN, "unreadable"),
        (httpx2.Response(200, text="[]"), Effect.UNKNOWN, "unreadable"),
        (httpx2.Response(200, text="[" * 100_000), Effect.UNKNOWN, "unreadable"),
        (httpx2.Response(200, text='{"retCode": 1e99999999999999999999}'), Effect.UNKNOWN, "unreadable"),
        (httpx2.Response(200, text='{"retCode": ' + "9" * 5000 + "}"), Effect.UNKNOWN, "unreadable"),
    ],
)
async def test_an_answer_that_is_no_success_says_what_it_proves(
    response: httpx2.Response, effect: Effect, code: str
) -> None:
    with pytest.raises(VenueError) as caught:
        await client(lambda _: response).post("/v5/order/create", {})
    assert (caught.value.effect, caught.value.venue_code) == (effect, code)
    assert KEY.secret not in str(caught.value)
    assert KEY.key not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "effect"),
    [
        (httpx2.ConnectError("refused"), Effect.NOT_SENT),
        (httpx2.ReadTimeout("slow"), Effect.UNKNOWN),
        (httpx2.RemoteProtocolError("cut"), Effect.UNKNOWN),
    ],
)
async def test_a_transport_that_fails_says_whether_the_request_may_have_arrived(
    error: Exception, effect: Effect
) -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        raise error

    with pytest.raises(VenueError) as caught:
        await client(answer).post("/v5/order/create", {})
    assert caught.value.effect is effect


async def test_a_refused_stamp_makes_the_difference_to_the_venues_clock_unknown() -> None:
    one = client(lambda _: envelope({}, 10002, "invalid request"))
    with pytest.raises(VenueError):
        await one.get("/v5/x", {})
    with pytest.raises(VenueError) as caught:
        await one.get("/v5/x", {})
    assert caught.value.effect is Effect.NOT_SENT
    assert caught.value.venue_code == "clock"


async def test_a_leverage_that_is_so_already_is_fine() -> None:
    await client(lambda _: envelope({}, 110043, "leverage not modified")).set_leverage("BTCUSDT", "10")
    with pytest.raises(VenueError):
        await client(lambda _: envelope({}, 110013, "cannot set")).set_leverage("BTCUSDT", "1000")


async def test_a_rate_limit_says_until_when_to_wait() -> None:
    headers = {
        "X-Bapi-Limit": "10",
        "X-Bapi-Limit-Status": "0",
        "X-Bapi-Limit-Reset-Timestamp": str(NOW_MS + 400),
    }
    body = {"retCode": 10006, "retMsg": "Too many visits!", "result": {}}
    limited = httpx2.Response(200, json=body, headers=headers)
    with pytest.raises(VenueError) as caught:
        await client(lambda _: limited).get("/v5/x", {})
    assert caught.value.retry_after_ns == (NOW_MS + 400) * 1_000_000
    assert limit_seen({name.lower(): value for name, value in headers.items()}) is not None
    assert limit_seen({}) is None
    for bad in ("\u00b2", "9" * 5000, "-1", ""):
        told = {"x-bapi-limit": bad, "x-bapi-limit-status": "0", "x-bapi-limit-reset-timestamp": "1"}
        assert limit_seen(told) is None
