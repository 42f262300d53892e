"""A slow reader gets every account event in order and only the newest prices."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream

from exchanges.event_buffer import EventBuffer
from portfolio.core.events import EndOfData, VenueEvent
from portfolio.core.market import CoinPrice
from portfolio.core.names import Coin

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def price(value: int) -> CoinPrice:
    return CoinPrice(Coin("BTC"), Decimal(value), 0, value)


def account(number: int) -> EndOfData:
    return EndOfData(number, 0)


@asynccontextmanager
async def pumped(buffer: EventBuffer) -> AsyncIterator[MemoryObjectReceiveStream[VenueEvent]]:
    send, receive = anyio.create_memory_object_stream[VenueEvent](0)
    async with send, receive, anyio.create_task_group() as tasks:
        tasks.start_soon(buffer.pump, send)
        with anyio.fail_after(5):
            yield receive
        tasks.cancel_scope.cancel()


async def test_prices_that_wait_are_replaced_and_account_events_are_not() -> None:
    buffer = EventBuffer(lambda: None)
    for value in range(5):
        buffer.put_price("BTC", lambda value=value: price(value))  # type: ignore[misc]
        buffer.put_account(account(value))
    buffer.put_first(account(-1))
    async with pumped(buffer) as events:
        seen = [await events.receive() for _ in range(7)]
    assert seen == [*(account(number) for number in range(-1, 5)), price(4)]


async def test_a_price_that_has_nothing_to_say_is_skipped() -> None:
    buffer = EventBuffer(lambda: None)
    buffer.put_price("BTC", lambda: None)
    buffer.put_price("ETH", lambda: price(1))
    async with pumped(buffer) as events:
        assert await events.receive() == price(1)


async def test_too_many_account_events_are_dropped_together_and_told() -> None:
    overflows: list[int] = []
    buffer = EventBuffer(lambda: overflows.append(1), account_max=3)
    for number in range(4):
        buffer.put_account(account(number))
    assert overflows == [1]
    async with pumped(buffer) as events:
        assert await events.receive() == account(3)
