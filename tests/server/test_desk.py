"""The desk's composition, without its processes: what it refuses before anything is traded."""

from pathlib import Path

import anyio
import pytest

from portfolio.approvals import create_operator_key, save_operator_key
from portfolio.core.errors import JournalError, SettingsError
from portfolio.desk import hash_token
from portfolio.journal.lock import lock_file
from server.desk import journal_path, run_desk
from server.heartbeat import Heartbeat, heartbeat_age_ns
from server.home import Home, prepare, token_hash
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
