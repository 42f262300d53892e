"""The kill switch and the freezes that watchers see while the journal cannot commit."""

import anyio
import pytest

from portfolio.core.digest import operator_digest
from portfolio.core.entries import Halted
from portfolio.core.errors import ApprovalError, RefusedError
from portfolio.writer import NotCommitted
from server.simulation.world import ACCOUNT, MODE
from tests.portfolio.living_desk import AGENT, SOL, Living, with_desk
from tests.portfolio.test_guard_parts import Kept
from tests.portfolio.test_journal_outage import journal_writes


def halts(living: Living) -> int:
    return sum(isinstance(row.entry, Halted) for row in living.world.journal.read(0, 100_000))


def test_a_halt_is_kept_while_the_disk_is_full_and_stands_when_there_is_space_again() -> None:
    kept = Kept()

    async def test(living: Living) -> None:
        desk = living.desk
        row = (await living.propose((SOL, 1_000))).row
        assert row is not None
        journal_writes(living, fail=True)
        await desk.halt("smoke")
        assert len(kept.records()) == 1
        shown = await desk.status()
        assert shown.halted
        assert [freeze.source for freeze in shown.freezes] == ["journal"]
        assert halts(living) == 0
        journal_writes(living, fail=False)
        await anyio.sleep(30)
        assert halts(living) == 1
        assert kept.records() == ()
        shown = await desk.read(AGENT)
        assert (shown.halted, shown.freezes) == (True, ())
        with pytest.raises(RefusedError, match="halted"):
            await desk.approve(row.intent.intent_id, living.sign(row.intent.digest))

    with_desk(test, emergency=kept)


def test_a_resume_lifts_a_halt_that_the_journal_did_not_have_yet() -> None:
    async def test(living: Living) -> None:
        desk = living.desk
        journal_writes(living, fail=True)
        await desk.halt("smoke")
        journal_writes(living, fail=False)
        token = living.sign(operator_digest("resume", ACCOUNT, MODE), purpose="resume")
        await desk.resume(token)
        await anyio.sleep(30)
        assert not (await desk.status()).halted
        assert halts(living) == 1

    with_desk(test, emergency=Kept())


def test_a_halt_that_nothing_can_keep_is_refused_for_the_disks_reason() -> None:
    async def test(living: Living) -> None:
        journal_writes(living, fail=True)
        with pytest.raises(NotCommitted, match="read-only"):
            await living.desk.halt("smoke")
        assert not (await living.desk.status()).halted
        with pytest.raises(ApprovalError):
            await living.desk.resume(living.sign("0" * 64))
        journal_writes(living, fail=False)

    with_desk(test)
