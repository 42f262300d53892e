"""Unmodified SDKs trade on the facade. Runs where they are installed (ccxt, pybit)."""

import json
from decimal import Decimal
from queue import Queue
from typing import Any

import anyio
import anyio.to_thread
import pytest

from exchanges.bybit.urls import BybitUrls
from tests.exchanges.bybit.rig import KEY, facade
from tests.exchanges.paper.venues import SOL_PERP

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pointed(value: Any, rest: str) -> Any:
    """Every REST address of a ccxt url table, replaced."""
    if isinstance(value, dict):
        return {name: pointed(part, rest) for name, part in value.items()}
    return rest


def ccxt_client(ccxt: Any, urls: BybitUrls) -> Any:
    client = ccxt.bybit({"apiKey": KEY.api_key, "secret": KEY.api_secret})
    client.urls["api"] = pointed(client.urls["api"], urls.rest)
    client.options["fetchMarkets"] = {"types": ["spot", "linear"]}
    client.trust_env = False
    return client


async def test_ccxt_reads_and_trades() -> None:
    ccxt = pytest.importorskip("ccxt")
    async with facade() as (venue, urls):
        client = ccxt_client(ccxt, urls)

        def trade() -> dict[str, Any]:
            markets = client.load_markets()
            seen: dict[str, Any] = {"markets": set(markets), "time": client.fetch_time()}
            seen["balance"] = client.fetch_balance()
            client.set_leverage(5, "SOL/USDT:USDT")
            order = client.create_order("SOL/USDT:USDT", "market", "sell", 3)
            resting = client.create_order("SOL/USDT", "limit", "buy", 2, 149.0)
            seen["open"] = client.fetch_open_orders("SOL/USDT")
            client.cancel_order(resting["id"], "SOL/USDT")
            seen["order"] = order
            seen["positions"] = client.fetch_positions()
            seen["trades"] = client.fetch_my_trades("SOL/USDT:USDT")
            seen["book"] = client.fetch_order_book("SOL/USDT:USDT")
            seen["rate"] = client.fetch_funding_rate("SOL/USDT:USDT")
            seen["rates"] = client.fetch_funding_rate_history("SOL/USDT:USDT")
            seen["candles"] = client.fetch_ohlcv("SOL/USDT:USDT", "1h", limit=5)
            seen["tiers"] = client.fetch_leverage_tiers(["SOL/USDT:USDT"])
            seen["fees"] = client.fetch_trading_fee("SOL/USDT:USDT")
            seen["batch"] = client.create_orders(
                [
                    {"symbol": "SOL/USDT:USDT", "type": "limit", "side": "buy", "amount": 1, "price": 140.0},
                    {"symbol": "SOL/USDT:USDT", "type": "limit", "side": "buy", "amount": 1, "price": 141.0},
                ]
            )
            client.cancel_all_orders("SOL/USDT:USDT")
            seen["ledger"] = client.fetch_ledger("USDT")
            return seen

        seen = await anyio.to_thread.run_sync(trade)
        assert {"SOL/USDT", "SOL/USDT:USDT", "BTC/USDT", "BTC/USDT:USDT"} <= seen["markets"]
        assert seen["balance"]["USDT"]["total"] == 100000
        assert [row["side"] for row in seen["positions"]] == ["short"]
        assert seen["positions"][0]["contracts"] == 3
        assert [row["price"] for row in seen["open"]] == [149.0]
        assert seen["trades"][0]["amount"] == 3
        assert seen["book"]["bids"]
        assert seen["rate"]["fundingRate"] is not None
        assert len(seen["batch"]) == 2
        assert venue.core.leverage(SOL_PERP) == 5
        assert venue.core.open_orders() == ()


async def test_ccxt_tells_a_refusal_apart() -> None:
    ccxt = pytest.importorskip("ccxt")
    async with facade() as (_, urls):
        client = ccxt_client(ccxt, urls)

        def refuse() -> None:
            client.load_markets()
            with pytest.raises(ccxt.InsufficientFunds):
                client.create_order("BTC/USDT", "limit", "buy", 5, 59900)
            with pytest.raises(ccxt.OrderNotFound):
                client.cancel_order("nothing", "BTC/USDT")
            client.secret = "wrong"
            with pytest.raises(ccxt.AuthenticationError):
                client.fetch_balance()

        await anyio.to_thread.run_sync(refuse)


async def test_pybit_reads_trades_and_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    trading = pytest.importorskip("pybit.unified_trading")
    async with facade() as (venue, urls):
        monkeypatch.setattr(trading, "PRIVATE_WSS", urls.ws_private)
        monkeypatch.setattr(trading, "PUBLIC_WSS", f"{urls.ws_public}/{{CHANNEL_TYPE}}")

        def trade() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
            session = trading.HTTP(api_key=KEY.api_key, api_secret=KEY.api_secret)
            session.endpoint = urls.rest
            pushed: Queue[dict[str, Any]] = Queue()
            books: Queue[dict[str, Any]] = Queue()
            private = trading.WebSocket(
                testnet=False, channel_type="private", api_key=KEY.api_key, api_secret=KEY.api_secret
            )
            public = trading.WebSocket(testnet=False, channel_type="linear")
            try:
                private.execution_stream(callback=pushed.put)
                public.orderbook_stream(50, "SOLUSDT", callback=books.put)
                order = session.place_order(
                    category="linear", symbol="SOLUSDT", side="Sell", orderType="Market", qty="2"
                )
                return order, pushed.get(timeout=10), books.get(timeout=10)
            finally:
                private.exit()
                public.exit()

        order, execution, book = await anyio.to_thread.run_sync(trade)
        assert order["retCode"] == 0
        assert execution["data"][0]["orderId"] == order["result"]["orderId"]
        assert Decimal(execution["data"][0]["execQty"]) == 2
        assert book["data"]["b"]
        assert json.dumps(book)
        assert [row.instrument_id for row in venue.core.positions()] == [SOL_PERP]
