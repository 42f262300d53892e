"""`carrydesk init`: one home has one mode."""

from pathlib import Path

import pytest

from portfolio.core.errors import SettingsError
from server.console import Console
from server.install import init

QUIET = Console(as_json=True)


@pytest.fixture
def paper(tmp_path: Path) -> tuple[Path, Path]:
    """A home in paper mode, and the file with its passphrase."""
    home, secret = tmp_path / "h", tmp_path / "pass"
    secret.write_text("correct horse battery")
    init(QUIET, home, None, secret)
    return home, secret


@pytest.mark.parametrize("mode", [None, "paper"])
def test_a_home_that_is_complete_stays_as_it_is(paper: tuple[Path, Path], mode: str | None) -> None:
    again = init(QUIET, paper[0], mode, paper[1])
    assert (again["mode"], again["created"]) == ("paper", [])


@pytest.mark.parametrize("mode", ["testnet", "live", "nonsense"])
def test_another_mode_than_the_homes_is_refused_and_changes_nothing(
    paper: tuple[Path, Path], mode: str
) -> None:
    home, secret = paper
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    with pytest.raises(SettingsError, match="set up for paper") as error:
        init(QUIET, home, mode, secret)
    assert mode in error.value.next_step
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
