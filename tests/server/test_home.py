import stat
from pathlib import Path

import pytest

from portfolio.core.errors import SettingsError
from server.home import Home, check_socket_paths, new_token, prepare, read_token, token_hash, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folders_are_private_and_tightened_when_they_were_not(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.root.mkdir(mode=0o755)
    prepare(home)
    for folder in (home.root, home.run_dir, home.journal_dir, home.logs_dir):
        assert mode(folder) == 0o700


def test_a_separated_home_lets_agents_pass_to_their_socket_and_nowhere_else(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    prepare(home, separated=True)
    assert (mode(home.root), mode(home.run_dir)) == (0o711, 0o711)
    assert (mode(home.journal_dir), mode(home.logs_dir)) == (0o700, 0o700)


def test_a_home_whose_sockets_would_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="shorter home"):
        check_socket_paths(Home(tmp_path / ("x" * 100)))


def test_a_home_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be made"):
        prepare(Home(tmp_path / "file" / "home"))


def test_private_files_are_replaced_whole_and_readable_by_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "agent.token"
    write_private(path, "one")
    write_private(path, "two")
    assert (path.read_text(), mode(path)) == ("two", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_token_file_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(SettingsError, match="carrydesk init"):
        read_token(home)
    write_private(home.token_file, new_token() + "\n")
    assert read_token(home).startswith("cda_")
    home.token_file.chmod(0o644)
    with pytest.raises(SettingsError, match="other users") as caught:
        read_token(home)
    assert f"chmod 600 {home.token_file}" in caught.value.next_step


def test_tokens_are_random_and_stored_as_hashes() -> None:
    one, other = new_token(), new_token()
    assert one != other
    assert token_hash(one) != token_hash(other)
    assert len(token_hash(one)) == 64
