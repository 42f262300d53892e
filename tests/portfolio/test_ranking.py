"""Settled funding as ranking keeps it: read once, and again only when there is something new to read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest
from trio.testing import MockClock

from portfolio.clocks import LoopClocks
from portfolio.core.carry import DAY_NS
from portfolio.core.errors import UnknownNameError
from portfolio.core.limits import HOUR_NS, MINUTE_NS, RiskLimits
from portfolio.core.names import InstrumentId
from portfolio.core.risk import LeveragePolicy
from portfolio.ranking import HISTORY_DAYS, Ranking
from portfolio.runner import InlineRunner
from portfolio.view import AccountView
from tests.portfolio.rig import ACCOUNT, PAIRS, START_NS, Rig, Settings, perpetual, world

SOL = perpetual("SOL")
SETTLED_NS = START_NS + 8 * HOUR_NS
BEGAN_NS = SETTLED_NS - 3 * MINUTE_NS


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@dataclass
class Ahead:
    """The desk's clocks, some time later on the market."""

    clocks: LoopClocks
    by_ns: int = 0

    def wire_ns(self) -> int:
        return self.clocks.wire_ns()

    def monotonic_ns(self) -> int:
        return self.clocks.monotonic_ns()

    def market_ns(self) -> int:
        return self.clocks.market_ns() + self.by_ns


@dataclass
class Reader:
    """A ranking on a venue that says what it was asked."""

    rig: Rig
    ranking: Ranking
    clocks: Ahead

    async def until(self, market_ns: int) -> None:
        await anyio.sleep((market_ns - self.rig.clocks.market_ns()) / 1e9)

    async def times(self, since_market_ns: int = 0) -> list[int]:
        return [row.market_ns for row in await self.ranking.settlements(SOL, since_market_ns)]

    @property
    def asked(self) -> list[int]:
        """From when on the venue was asked to tell, question by question."""
        assert {name for name, _ in self.rig.exchange.asked_since} <= {SOL}
        return [since for _, since in self.rig.exchange.asked_since]


@asynccontextmanager
async def reading(*, interval_known: bool = True) -> AsyncIterator[Reader]:
    """Three minutes before a settlement."""
    given = Settings(recovered=False, start_ns=BEGAN_NS)
    async with world(":memory:", given) as made, made.desk(bookkeeping=False) as rig:
        view, clocks = rig.view, Ahead(rig.clocks)
        if not interval_known:
            view = AccountView(
                account=ACCOUNT,
                instruments=rig.instruments,
                pairs=PAIRS,
                clocks=rig.clocks,
                policy=LeveragePolicy(),
            )
        ranking = Ranking(
            exchange=rig.exchange, view=view, clocks=clocks, limits=RiskLimits(), offload=InlineRunner()
        )
        yield Reader(rig, ranking, clocks)


@pytest.mark.anyio
async def test_history_is_read_once_and_then_only_what_was_settled_since() -> None:
    async with reading() as reader:
        known = await reader.times()
        assert known[-1] == START_NS
        assert reader.asked == [BEGAN_NS - HISTORY_DAYS * DAY_NS]
        await reader.until(SETTLED_NS - MINUTE_NS // 2)
        assert await reader.times() == known
        assert len(reader.asked) == 1, "nothing was settled in between"
        await reader.until(SETTLED_NS + MINUTE_NS)
        assert await reader.times() == [*known, SETTLED_NS]
        assert reader.asked[1:] == [START_NS + 1]
        reader.clocks.by_ns = 7 * HOUR_NS
        assert await reader.times(since_market_ns=SETTLED_NS) == [SETTLED_NS]
        assert len(reader.asked) == 2


@pytest.mark.anyio
async def test_a_settlement_that_the_venue_tells_late_is_asked_for_once_a_minute() -> None:
    async with reading() as reader:
        known = await reader.times()
        await reader.until(SETTLED_NS + MINUTE_NS)
        reader.rig.exchange.funding_is_late = True
        for _ in range(3):
            assert await reader.times() == known
        assert reader.asked[1:] == [START_NS + 1], "not again at once"
        await reader.until(SETTLED_NS + 3 * MINUTE_NS)
        assert await reader.times() == known
        assert len(reader.asked) == 3
        reader.rig.exchange.funding_is_late = False
        await reader.until(SETTLED_NS + 5 * MINUTE_NS)
        assert await reader.times() == [*known, SETTLED_NS]
        await reader.until(SETTLED_NS + 7 * MINUTE_NS)
        assert await reader.times() == [*known, SETTLED_NS]
        assert len(reader.asked) == 4


@pytest.mark.anyio
async def test_without_a_known_interval_history_is_read_again_after_eight_hours_only() -> None:
    async with reading(interval_known=False) as reader:
        known = await reader.times()
        await reader.until(SETTLED_NS + MINUTE_NS)
        reader.clocks.by_ns = 7 * HOUR_NS
        assert await reader.times() == known
        assert len(reader.asked) == 1
        reader.clocks.by_ns = 8 * HOUR_NS
        assert await reader.times() == [*known, SETTLED_NS]
        assert len(reader.asked) == 2


@pytest.mark.anyio
async def test_readers_of_one_moment_share_one_reading() -> None:
    async with reading() as reader:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(reader.times)
        assert len(reader.asked) == 1


@pytest.mark.anyio
async def test_an_unknown_instrument_is_not_asked_for() -> None:
    async with reading() as reader:
        with pytest.raises(UnknownNameError):
            await reader.ranking.settlements(InstrumentId("bybit:linear:NOPEUSDT"), 0)
        assert reader.asked == []
