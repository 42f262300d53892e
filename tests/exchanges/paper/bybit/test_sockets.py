"""The facade's websockets and envelopes as SDKs see them: casing, pongs, echoes, refusals."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect

from exchanges.bybit.sign import ApiKey, rest_headers, socket_auth
from exchanges.bybit.urls import BybitUrls
from exchanges.paper.bybit.venue import PaperVenue
from tests.exchanges.bybit.rig import KEY, facade

pytestmark = pytest.mark.anyio
API_KEY = ApiKey(KEY.api_key, KEY.api_secret)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def client(url: str) -> AsyncIterator[ClientConnection]:
    raw = await connect(url, proxy=None, ping_interval=None, close_timeout=1)
    try:
        yield raw
    finally:
        await raw.close()


async def ask(raw: ClientConnection, frame: dict[str, object]) -> dict[str, object]:
    await raw.send(json.dumps(frame))
    return await heard(raw)


async def heard(raw: ClientConnection) -> dict[str, object]:
    with anyio.fail_after(5):
        answer: dict[str, object] = json.loads(await raw.recv())
    return answer


def login(venue: PaperVenue) -> dict[str, object]:
    return socket_auth(API_KEY, expires_ms=venue.clock.wire_ms() + 5000)


async def get(urls: BybitUrls, path: str, *, sign: bool = True, now_ms: int = 0) -> httpx2.Response:
    query = path.partition("?")[2]
    headers = (
        rest_headers(API_KEY, timestamp_ms=now_ms, recv_window_ms=5000, payload=query.encode())
        if sign
        else {}
    )
    async with httpx2.AsyncClient(trust_env=False) as http:
        return await http.get(f"{urls.rest}{path}", headers=headers)


async def test_each_kind_of_socket_has_its_own_pong() -> None:
    async with facade() as (_, urls):
        async with client(f"{urls.ws_public}/spot") as raw:
            pong = await ask(raw, {"op": "ping"})
            assert (pong["op"], pong["ret_msg"], pong["success"]) == ("ping", "pong", True)
            assert "req_id" not in pong
        async with client(f"{urls.ws_public}/linear") as raw:
            assert (await ask(raw, {"op": "ping"}))["req_id"] == ""
        async with client(urls.ws_private) as raw:
            pong = await ask(raw, {"op": "ping", "req_id": "test"})
            assert (pong["op"], pong["req_id"]) == ("pong", "test")
            assert isinstance(pong["args"], list)
        async with client(urls.ws_trade) as raw:
            pong = await ask(raw, {"op": "ping"})
            assert (pong["op"], pong["retCode"]) == ("pong", 0)
            assert isinstance(pong["data"], list)


async def test_protocol_pings_are_answered_too() -> None:
    async with facade() as (_, urls), client(f"{urls.ws_public}/linear") as raw:
        with anyio.fail_after(5):
            await (await raw.ping())


async def test_a_subscription_echoes_its_id_as_sent_and_brings_a_snapshot_then_numbered_deltas() -> None:
    async with facade() as (_, urls), client(f"{urls.ws_public}/linear") as raw:
        said = await ask(raw, {"op": "subscribe", "req_id": 7, "args": ["orderbook.50.BTCUSDT"]})
        assert (said["success"], said["req_id"], said["op"]) == (True, 7, "subscribe")
        first = await heard(raw)
        assert (first["type"], first["topic"]) == ("snapshot", "orderbook.50.BTCUSDT")
        updates = [first["data"]["u"]]  # type: ignore[index]
        while len(updates) < 4:
            frame = await heard(raw)
            assert frame["type"] == "delta"
            updates.append(frame["data"]["u"])  # type: ignore[index]
        assert updates == list(range(updates[0], updates[0] + 4))


async def test_an_unknown_topic_fails_the_whole_subscription() -> None:
    async with facade() as (_, urls), client(f"{urls.ws_public}/spot") as raw:
        said = await ask(raw, {"op": "subscribe", "args": ["tickers.BTCUSDT", "tickers.NOPEUSDT"]})
        assert said["success"] is False
        too_many = [f"orderbook.50.{name}USDT" for name in "ABCDEFGHIJK"]
        assert (await ask(raw, {"op": "subscribe", "args": too_many}))["success"] is False


async def test_private_topics_need_a_login_and_a_topic_excludes_its_own_category() -> None:
    async with facade() as (venue, urls), client(urls.ws_private) as raw:
        assert (await ask(raw, {"op": "subscribe", "args": ["order"]}))["success"] is False
        assert (await ask(raw, login(venue)))["success"] is True
        both: dict[str, object] = {"op": "subscribe", "args": ["order", "order.linear"]}
        assert (await ask(raw, both))["success"] is False
        assert (await ask(raw, {"op": "subscribe", "args": ["order.linear", "wallet"]}))["success"] is True


async def test_the_trade_socket_answers_in_camel_case_with_its_limits() -> None:
    async with facade() as (venue, urls), client(urls.ws_trade) as raw:
        order = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit"}
        order |= {"qty": "0.01", "price": "50000", "orderLinkId": "w1"}
        frame: dict[str, object] = {
            "reqId": "r1",
            "header": {"X-BAPI-TIMESTAMP": venue.clock.wire_ms()},
            "op": "order.create",
            "args": [order],
        }
        assert (await ask(raw, frame))["retCode"] == 10003
        said = await ask(raw, login(venue))
        assert (said["retCode"], said["op"]) == (0, "auth")
        assert (await ask(raw, login(venue)))["retCode"] == 20001
        ack = await ask(raw, frame)
        assert (ack["retCode"], ack["reqId"], ack["op"]) == (0, "r1", "order.create")
        assert ack["data"]["orderLinkId"] == "w1"  # type: ignore[index]
        assert ack["header"]["X-Bapi-Limit-Status"] == "9"  # type: ignore[index]
        assert (await ask(raw, frame))["retCode"] == 20006
        assert (await ask(raw, frame | {"reqId": "r2", "op": "order.fly"}))["retCode"] == 10404
        late = {"X-BAPI-TIMESTAMP": str(venue.clock.wire_ms() - 6000), "X-BAPI-RECV-WINDOW": "5000"}
        assert (await ask(raw, frame | {"reqId": "r3", "header": late}))["retCode"] == 10002


async def test_rest_answers_carry_envelope_limits_and_the_two_times() -> None:
    async with facade() as (venue, urls):
        time = (await get(urls, "/v5/market/time", sign=False)).json()
        assert abs(int(time["result"]["timeNano"]) // 1_000_000 - time["time"]) < 1000
        now = venue.clock.wire_ms()
        reply = await get(urls, "/v5/account/info?", now_ms=now)
        assert reply.json()["retCode"] == 0
        assert reply.headers["X-Bapi-Limit"] == "50"
        assert (await get(urls, "/v5/account/info", sign=False)).status_code == 401
        assert (await get(urls, "/v5/nothing/here", sign=False)).status_code == 404
        tiers = (await get(urls, "/v5/spot-margin-trade/position-tiers", sign=False)).json()
        assert tiers["retExtInfo"] == "{}"
        empty = (await get(urls, "/v5/market/instruments-info?category=inverse", sign=False)).json()
        assert empty["result"]["list"] == []
        wrong = (await get(urls, "/v5/market/tickers?category=linear&symbol=NOPE", sign=False)).json()
        assert wrong["retCode"] == 10001


async def test_a_limit_that_is_used_up_refuses_with_a_reset_in_the_future() -> None:
    async with facade() as (venue, urls):
        replies = [await get(urls, "/v5/account/fee-rate", now_ms=venue.clock.wire_ms()) for _ in range(7)]
        limited = [one for one in replies if one.json()["retCode"] == 10006]
        assert limited
        for one in limited:
            assert int(one.headers["X-Bapi-Limit-Reset-Timestamp"]) >= one.json()["time"]


async def test_the_operators_door_is_closed_without_the_secret() -> None:
    async with facade() as (_, urls), httpx2.AsyncClient(trust_env=False) as http:
        body = {"multipliers": {"*": "0.5"}}
        assert (await http.post(f"{urls.rest}/paper/shock", json=body)).status_code == 403
        guessed = {"x-paper-secret": KEY.api_key}
        assert (await http.post(f"{urls.rest}/paper/shock", json=body, headers=guessed)).status_code == 403
        opened = {"x-paper-secret": KEY.api_secret}
        assert (await http.post(f"{urls.rest}/paper/nothing", headers=opened)).status_code == 400
        clock = (await http.get(f"{urls.rest}/paper/clock", headers=opened)).json()
        assert clock["uid"] == "12345678"
