"""The desk's composition, without its processes: what it refuses before anything is traded."""

from pathlib import Path

import anyio
import pytest

from portfolio.approvals import create_operator_key, save_operator_key
from portfolio.core.errors import JournalError, SettingsError
from portfolio.core.intents import IntentStatus
from portfolio.desk import hash_token
from portfolio.journal.lock import lock_file
from portfolio.runner import InlineRunner
from server.desk import STOP_SECONDS_MAX, STOPPING, _settle, journal_path, run_desk
from server.heartbeat import Heartbeat, heartbeat_age_ns
from server.home import Home, prepare, token_hash
from tests.portfolio.living_desk import SOL, Living, with_desk
from tests.server.test_venue_access import SECRETS, settings


def test_without_the_operators_key_there_is_no_desk(tmp_path: Path) -> None:
    found = settings(tmp_path, "testnet")
    with pytest.raises(SettingsError, match="no operator key"):
        anyio.run(run_desk, found, SECRETS)


def test_a_second_desk_on_the_account_is_refused_before_it_touches_the_venue(tmp_path: Path) -> None:
    found = settings(tmp_path, "testnet")
    save_operator_key(create_operator_key("correct horse", scrypt_n=2), Home(tmp_path).operator_file)
    prepare(Home(tmp_path))
    Heartbeat(Home(tmp_path).heartbeat_file).beat()
    with lock_file(journal_path(found)), pytest.raises(JournalError, match="Another desk"):
        anyio.run(run_desk, found, SECRETS)
    # Wiped, it would look to the supervisor as if the first desk had died.
    assert heartbeat_age_ns(Home(tmp_path).heartbeat_file) is not None


def test_each_mode_and_account_has_a_journal_of_its_own(tmp_path: Path) -> None:
    names = {journal_path(settings(tmp_path, mode)).name for mode in ("paper", "testnet", "live")}
    assert names == {"paper-bybit-main.db", "testnet-bybit-main.db", "live-bybit-main.db"}


def test_the_front_and_the_desk_hash_tokens_alike() -> None:
    assert token_hash("cda_x") == hash_token("cda_x")


def disk(living: Living, *, fails: bool) -> None:
    connection = living.world.journal._connection
    assert connection is not None
    connection.exec_driver_sql(f"PRAGMA query_only = {int(fails)}")
    if connection.in_transaction():
        connection.rollback()


@pytest.mark.parametrize("outage", [5, 600])
def test_a_stop_waits_for_the_journal_and_no_longer_than_a_stop_may_take(outage: int) -> None:
    async def test(living: Living) -> None:
        row = (await living.propose((SOL, 40_000))).row
        assert row is not None
        await living.desk.approve(row.intent.intent_id, living.sign(row.intent.digest))
        await anyio.sleep(0.025)
        world = living.world
        assert world.assembly is not None
        disk(living, fails=True)
        before = world.journal.intent(row.intent.intent_id)
        assert before is not None
        assert before.status is IntentStatus.EXECUTING
        began = world.clocks.monotonic_ns()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_settle, world.assembly, world.journal, InlineRunner(), world.clocks)
            await anyio.sleep(min(outage, STOP_SECONDS_MAX + 2))
            disk(living, fails=False)
        seconds = (world.clocks.monotonic_ns() - began) / 1e9
        assert seconds < STOP_SECONDS_MAX + 3
        if outage < STOP_SECONDS_MAX:
            assert STOPPING in {freeze.source for freeze in world.journal.freezes()}
            after = world.journal.intent(row.intent.intent_id)
            assert after is not None
            assert after.status.final

    with_desk(test)
