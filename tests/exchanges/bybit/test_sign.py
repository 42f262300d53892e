"""Signatures come out as published and independently recomputed (reference 1.4)."""

import json

import pytest

from exchanges.bybit.sign import ApiKey, rest_headers, signature, socket_auth

KEY = ApiKey("TESTKEY1234567890ab", "TestSecret0123456789abcdefABCDEF0123")
OTHER = ApiKey("test_api_key", "test_secret")
AT = 1_700_000_000_000
ORDER = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "orderType": "Limit",
    "qty": "0.001",
    "price": "50000",
    "timeInForce": "PostOnly",
    "orderLinkId": "t-1",
}


@pytest.mark.parametrize(
    ("key", "payload", "expected"),
    [
        pytest.param(
            KEY,
            "category=linear&symbol=BTCUSDT",
            "fcac9d098b63b4c508af33dc6f6ee5b6c941d19e14b47e34846965c94c293213",
            id="G",
        ),
        pytest.param(
            KEY,
            json.dumps(ORDER, separators=(",", ":")),
            "e5f8279ec4ea24ffa35e3248eabbe17d3c6a42245e60831f25d2a107ae933655",
            id="P1",
        ),
        pytest.param(
            KEY,
            json.dumps(ORDER),
            "71188aa599dda967d0f23b0267d8c2c61c44129a4d1e83b87181d423f7ff196a",
            id="P2",
        ),
        pytest.param(
            OTHER,
            "category=linear&symbol=BTCUSDT",
            "fd4f31228a46109dc6673062328693696df9a96c7ff04e6491a45e7f63a0fdd7",
            id="second GET",
        ),
        pytest.param(
            OTHER,
            '{"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "test-order-1"}',
            "2df4a0603d69c08d5dea29ba85b46eb7db64ce9e9ebd34a7802a3d69700cb2a1",
            id="second POST",
        ),
    ],
)
def test_a_rest_request_is_signed_as_the_vectors_say(key: ApiKey, payload: str, expected: str) -> None:
    headers = rest_headers(key, timestamp_ms=AT, recv_window_ms=5000, payload=payload.encode())
    assert headers["X-BAPI-SIGN"] == expected
    assert headers["X-BAPI-TIMESTAMP"] == str(AT)
    assert headers["X-BAPI-RECV-WINDOW"] == "5000"
    assert headers["X-BAPI-API-KEY"] == key.key


@pytest.mark.parametrize(
    ("key", "expires", "expected"),
    [
        pytest.param(
            KEY, AT + 10_000, "5912f25fc97042dbd768d162259c43ff19f917b79ca95a8087bd4d1821fc57ca", id="W"
        ),
        pytest.param(
            OTHER, AT, "bacffe7500499eb829bb58c45d36d1b3e5ac67c14eaeba91df5e99ccee013925", id="second"
        ),
    ],
)
def test_a_websocket_login_is_signed_as_the_vectors_say(key: ApiKey, expires: int, expected: str) -> None:
    frame = socket_auth(key, expires_ms=expires)
    assert frame == {"op": "auth", "args": [key.key, expires, expected]}
    assert signature(key.secret, f"GET/realtime{expires}".encode()) == expected


def test_a_key_shows_neither_its_secret_nor_all_of_itself() -> None:
    for shown in (repr(KEY), str(KEY), f"{KEY}", repr([KEY])):
        assert KEY.secret not in shown
        assert KEY.key not in shown
