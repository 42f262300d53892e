"""A venue cuts a collateral ratio: over real sockets, from its door to journal, guard and tools."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import anyio
import pytest

from portfolio.approvals import PinnedVerifier
from portfolio.assembly import Assembly, Surroundings
from portfolio.core.entries import TablesChanged
from portfolio.core.limits import RiskLimits
from portfolio.core.names import Coin
from portfolio.core.risk import LeveragePolicy
from portfolio.journal.open import open_journal
from portfolio.journal.sql import SqlJournal
from portfolio.runner import InlineRunner
from portfolio.service import Principal
from server.simulation.episode import simulated_key
from tests.exchanges.bybit.rig import Rig, connected
from tests.exchanges.paper.venues import SOL, SOL_PERP, SOL_SPOT, USDT, venue
from tests.portfolio.core.margin.accounts import carry_pair
from tools.portfolio import PortfolioArguments, get_portfolio
from tools.simulate import SimulateArguments, simulate_margin

AGENT = Principal("agent", ("read", "simulate"))
PAIR = carry_pair("SOL")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def desk(rig: Rig) -> AsyncIterator[tuple[Assembly, SqlJournal]]:
    """A whole desk on the paper venue."""
    account = rig.exchange.settings.account
    journal = open_journal(
        ":memory:",
        account=account,
        uid=rig.venue.core.config.uid,
        mode="paper",
        wire_ns=rig.clocks.wire_ns(),
        version="test",
    )
    assembly = Assembly(
        Surroundings(
            account=account,
            mode="paper",
            install="test",
            exchange=rig.exchange,
            journal=journal,
            runner=InlineRunner(),
            offload=InlineRunner(),
            clocks=rig.clocks,
            verifier=PinnedVerifier(simulated_key()),
            instruments={row.instrument_id: row for row in await rig.exchange.instruments()},
            pairs={PAIR.pair_id: PAIR},
            limits=RiskLimits(),
            policy=LeveragePolicy(),
            heartbeat=lambda: None,
        )
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(assembly.run)
        yield assembly, journal
        tasks.cancel_scope.cancel()


def changes(journal: SqlJournal) -> list[str]:
    return [row.entry.summary for row in journal.read(0) if isinstance(row.entry, TablesChanged)]


@pytest.mark.anyio
async def test_a_cut_ratio_reaches_journal_guard_and_tools_without_waiting_for_the_next_read() -> None:
    core = venue(uid="12345678", balances={USDT: Decimal(50_000), SOL: Decimal(500)})
    assert {SOL_PERP, SOL_SPOT} == {PAIR.short_leg, PAIR.long_leg}
    with anyio.fail_after(40):
        async with connected(core) as rig, desk(rig) as (assembly, journal):
            while assembly.guard.status().margin_gap is None:
                await assembly.view.changed()
            before = assembly.guard.status().figures
            assert before is not None
            (old,) = {tier.ratio for tier in core.tables(0).collateral[SOL].tiers[:1]}

            await rig.control("ratio", coin="SOL", shift="-0.2")
            while not changes(journal):
                await assembly.view.changed()
            (summary,) = changes(journal)
            assert summary.startswith(f"collateral of SOL: ratio {old} to 4000")
            assert f"-> {old - Decimal('0.2')} to 4000" in summary

            # The guard looked again at once: its figure is the venue's.
            venue_now = core.figures()
            while assembly.guard.status().gap_over:
                await assembly.view.changed()
            after = assembly.guard.status().figures
            assert after is not None
            assert before.adjusted_equity - after.adjusted_equity == pytest.approx(15_000, rel=0.01)
            assert after.adjusted_equity == pytest.approx(venue_now.adjusted_equity, rel=Decimal("0.0001"))

            snapshot = await assembly.desk.read(AGENT)
            assert snapshot.state is not None
            assert snapshot.state.tables.collateral[Coin("SOL")].tiers[0].ratio == old - Decimal("0.2")
            simulated = await simulate_margin(assembly.desk, AGENT, SimulateArguments(stress=False))
            shown = Decimal(simulated.before.adjusted_equity_usd)
            assert shown == pytest.approx(venue_now.adjusted_equity, rel=Decimal("0.0001"))
            book = await get_portfolio(assembly.desk, AGENT, PortfolioArguments())
            assert any("changed its risk tables" in text and "SOL" in text for text in book.warnings)
            assert book.data_age_s.risk is not None
