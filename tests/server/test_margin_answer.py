"""What an agent reads of a real carry book over MCP: one answer says why a rally, not a crash, hurts it."""

from decimal import Decimal
from typing import Any

import pytest
from mcp_types import CallToolResult, TextContent

from portfolio.service import DeskSnapshot
from tests.server.front_client import ERAS, in_memory
from tests.tools.carry_book import carry_core, carry_snapshot
from tests.tools.sample_desk import SampleDesk

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def book() -> DeskSnapshot:
    return carry_snapshot(carry_core())


async def ask(book: DeskSnapshot, era: str, **arguments: object) -> tuple[CallToolResult, str]:
    async with in_memory(SampleDesk(book=book), era) as client:
        result = await client.call_tool("simulate_margin", arguments)
    table = result.content[0]  # then the same as JSON, for clients that read no structured part
    assert isinstance(table, TextContent)
    return result, table.text


@pytest.mark.parametrize("era", ERAS)
async def test_the_text_alone_explains_it_with_its_numbers(book: DeskSnapshot, era: str) -> None:
    result, text = await ask(book, era)
    assert not result.is_error
    found: dict[str, Any] = result.structured_content or {}
    paragraphs = text.split("\n\n")
    assert paragraphs[0] == found["summary"]
    (why,) = (row for row in paragraphs if row.startswith("Haircut delta: "))
    assert "A rally, not a crash, is what hurts this delta-neutral account" in why
    assert "count only at their collateral ratios" in why
    assert "the losses of what is short count in full" in why
    move = found["joint_move"]
    assert f"per +1 % adjusted equity changes by -{move['haircut_delta_usd']} USD" in why
    assert f"maintenance margin by {move['maintenance_change_usd']} USD" in why
    assert f"total equity changes by only {move['equity_change_usd']} USD" in why
    assert "a joint rise of" in why
    assert "no fall does" in why
    worst, calm = (Decimal(why.split(f" at market {move}")[0].split()[-1]) for move in ("+40%", "-40%"))
    assert worst < Decimal(found["after"]["health_score"]) < calm
    assert found["worst_stress"]["scenario"] == "market +40%"
    (gap,) = (row for row in paragraphs if row.startswith("Ours / venue now: "))
    assert "gap 0, " in gap


async def test_buying_more_until_refused_ends_where_the_answer_said(book: DeskSnapshot) -> None:
    result, text = await ask(book, "auto", find_max="SOL@bybit")
    found: dict[str, Any] = result.structured_content or {}
    most = found["find_max"]
    assert f"{most['binding_limit']} binds" in text
    low, high = Decimal(0), Decimal(2) * Decimal(most["max_notional_usd"])
    price = Decimal(most["max_notional_usd"]) / Decimal(most["max_quantity_coins"])
    lot_usd = Decimal(most["lot_coins"]) * price
    while high - low > lot_usd / 4:
        middle = (low + high) / 2
        target = [{"pair": "SOL@bybit", "notional_usd": f"{middle:.4f}"}]
        answer, _ = await ask(book, "auto", targets=target, stress=False)
        allowed = (answer.structured_content or {})["allowed"]
        low, high = (middle, high) if allowed else (low, middle)
    # What is held is no whole lot: the first lot more only completes it.
    assert abs(low - Decimal(most["max_notional_usd"])) <= 2 * lot_usd
