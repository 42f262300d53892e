"""The guard while the journal cannot commit: what it sends, what the journal learns of it, and when."""

from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from trio.testing import MockClock

from portfolio.core.entries import CashBooked, GuardActed, Noted
from portfolio.core.names import Coin
from tests.portfolio.guard_rig import Post, guarded, pair
from tests.portfolio.rig import Settings
from tests.portfolio.test_guard_parts import Kept

D = Decimal
FLAT = (D(0), D(0))


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def lone_lead(post: Post) -> None:
    post.rig.approve(("SOL", "20"))
    lead = post.rig.entry("SOL", "20")
    await post.trade(lead)
    await post.rig.settle(lead)


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [0.5, 1])
async def test_a_journal_that_fails_slowly_holds_up_no_order_of_the_guard(
    tmp_path: Path, seconds: float
) -> None:
    settings = Settings(emergency=Kept())
    async with guarded({}, settings=settings, path=str(tmp_path / "journal.db")) as post:
        await lone_lead(post)
        post.rig.rails.failing_seconds = seconds
        post.rig.disk(fails=True)
        await anyio.sleep(30)
        assert post.sides("SOL") == FLAT
        post.rig.disk(fails=False)


@pytest.mark.anyio
async def test_the_journal_learns_that_the_guard_acted_together_with_the_orders_that_were_kept_aside(
    tmp_path: Path,
) -> None:
    settings = Settings(emergency=Kept())
    async with guarded({}, settings=settings, path=str(tmp_path / "journal.db")) as post:
        await lone_lead(post)
        post.rig.disk(fails=True)
        await post.until(lambda: post.sides("SOL") == FLAT)
        post.rig.disk(fails=False)
        await post.rig.worker.writer.append(())
        assert post.orders() != ()
        assert [row.pairs for row in post.entries(GuardActed)][:1] == [(pair("SOL"),)]


@pytest.mark.anyio
async def test_one_failed_line_of_the_guard_does_not_keep_entries_out_once_the_journal_is_back(
    tmp_path: Path,
) -> None:
    async with guarded({}, path=str(tmp_path / "journal.db")) as post:
        memory = post.guard._memory
        post.rig.disk(fails=True)
        assert not await memory.commit([Noted("guard", "something small")])
        assert post.guard.journal_failure is not None
        post.rig.disk(fails=False)
        await anyio.sleep(5)
        assert post.guard.journal_failure is None
        assert [row.text for row in post.entries(Noted)].count("something small") == 1


@pytest.mark.anyio
async def test_what_came_in_explains_no_fall_though_its_kind_is_not_known() -> None:
    async with guarded({}) as post:
        for amount in ("5", "-5"):
            row = CashBooked("unknown", f"NEWKIND:{amount}", None, Coin("USDT"), D(amount), 2**62)
            post.rig.journal.append([row], post.rig.clocks.wire_ns())
        await anyio.sleep(3)
        assert [row.name for row in post.guard._memory.uncounted()] == ["-5 USDT (unknown NEWKIND:-5)"]
