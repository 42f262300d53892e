"""One desk per venue account and one front per home, on one machine."""

import os
import stat
from pathlib import Path

import anyio
import pytest

from portfolio.core.errors import RefusedError, SettingsError
from server.front import serve
from server.home import Home, prepare
from server.locks import account_lock, front_lock


def test_a_copied_home_does_not_bring_up_a_second_desk_on_the_account(tmp_path: Path) -> None:
    first, copied = tmp_path / "first", tmp_path / "copied"
    account = {"venue": "bybit", "mode": "testnet", "uid": "77"}
    with account_lock(first, **account, shared=tmp_path):
        with (
            pytest.raises(RefusedError, match="uid 77") as caught,
            account_lock(copied, **account, shared=tmp_path),
        ):
            pytest.fail("two desks on one account")
        assert f"pid {os.getpid()}, home {first}" in caught.value.message
        assert "carrydesk stop" in caught.value.next_step
    with account_lock(copied, **account, shared=tmp_path):
        pass  # the first one ended


@pytest.mark.parametrize("other", [{"uid": "78"}, {"mode": "live"}, {"venue": "okx"}])
def test_desks_on_different_accounts_run_side_by_side(tmp_path: Path, other: dict[str, str]) -> None:
    account = {"venue": "bybit", "mode": "testnet", "uid": "77"}
    with (
        account_lock(tmp_path, **account, shared=tmp_path),
        account_lock(tmp_path, **(account | other), shared=tmp_path),
    ):
        names = {path.name for path in tmp_path.glob("carrydesk-*/*")}
    assert len(names) == 2


def test_the_locks_lie_in_a_folder_of_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / f"carrydesk-{os.getuid()}"
    folder.mkdir(mode=0o755)
    with account_lock(tmp_path, venue="bybit", mode="live", uid="1", shared=tmp_path):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_somebody_else_laid_there_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / f"carrydesk-{os.getuid()}").symlink_to(elsewhere)
    with (
        pytest.raises(SettingsError, match="not a folder of this user"),
        account_lock(tmp_path, venue="bybit", mode="live", uid="1", shared=tmp_path),
    ):
        pytest.fail("locked in a foreign folder")
    assert list(elsewhere.iterdir()) == []


def test_a_second_front_of_a_home_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    prepare(home)
    with front_lock(home), pytest.raises(RefusedError, match=f"pid {os.getpid()}"), front_lock(home):
        pytest.fail("two fronts on one socket")
    with front_lock(home):
        pass


def test_a_second_front_leaves_the_first_one_s_socket_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    prepare(home)
    home.agent_socket.touch()
    before = home.agent_socket.stat().st_ino
    with front_lock(home), pytest.raises(RefusedError, match="Another front"):
        anyio.run(serve, home)
    assert home.agent_socket.stat().st_ino == before
