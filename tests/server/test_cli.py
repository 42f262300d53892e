import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli import app


def test_version_prints_one_json_object_on_the_last_line() -> None:
    result = CliRunner().invoke(app, ["version", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout.splitlines()[-1]) == {"version": version("carrydesk")}


def test_version_without_json_is_a_sentence_for_people() -> None:
    result = CliRunner().invoke(app, ["version"])
    assert result.stdout == f"carrydesk {version('carrydesk')}\n"


def test_an_unknown_command_fails() -> None:
    assert CliRunner().invoke(app, ["nonsense"]).exit_code != 0


@pytest.mark.parametrize("heavy", ["mcp", "numpy", "polars", "sqlalchemy", "starlette", "trio"])
def test_the_command_line_loads_nothing_heavy_by_itself(heavy: str, tmp_path: Path) -> None:
    script = f"import sys, server.cli; sys.exit({heavy!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, timeout=50)


def carrydesk(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command without a terminal; exit code, stdout, stderr."""
    run = subprocess.run(
        [sys.executable, "-P", "-m", "server.cli", *arguments],
        env={**os.environ, "CARRYDESK_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    return run.returncode, run.stdout, run.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("approve", "i1"),
        ("reject", "i1"),
        ("halt",),
        ("resume",),
        ("token", "list"),
        ("serve",),
        ("stop",),
    ],
    ids=" ".join,
)
def test_every_command_of_a_home_without_settings_says_what_to_do(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    code, out, err = carrydesk(tmp_path, *command, "--json")
    assert code == 1
    error = json.loads(out.splitlines()[-1])["error"]
    assert error["code"] == "bad_settings"
    assert "carrydesk init" in error["next"]
    assert "carrydesk init" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "command",
    [("status",), ("approve", "i1"), ("reject", "i1"), ("halt",), ("resume",), ("token", "list")],
    ids=" ".join,
)
@pytest.mark.parametrize("fault", ["unknown key", "no file"])
def test_no_fault_of_the_settings_file_stands_between_the_operator_and_the_desk(
    tmp_path: Path, command: tuple[str, ...], fault: str
) -> None:
    (tmp_path / "run").mkdir()
    if fault == "unknown key":
        (tmp_path / "carrydesk.toml").write_text("foo = 1")
    result = CliRunner().invoke(app, [*command, "--json"], env={"CARRYDESK_HOME": str(tmp_path)})
    assert json.loads(result.stdout.splitlines()[-1])["error"]["code"] == "unreachable"  # nothing runs there


def test_stop_needs_no_settings(tmp_path: Path) -> None:
    (tmp_path / "carrydesk.toml").write_text("foo = 1")
    result = CliRunner().invoke(app, ["stop", "--json"], env={"CARRYDESK_HOME": str(tmp_path)})
    assert json.loads(result.stdout.splitlines()[-1]) == {"stopped": []}


def test_init_makes_a_home_once_and_the_passphrase_is_nowhere_in_it(tmp_path: Path) -> None:
    home, secret = tmp_path / "h", tmp_path / "pass"
    secret.write_text("correct horse battery")
    code, out, _ = carrydesk(home, "init", "--passphrase-file", str(secret), "--json")
    assert code == 0
    made = json.loads(out.splitlines()[-1])
    assert made["created"] == ["carrydesk.toml", "operator.json", "agent.token"]
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert not any(b"correct horse" in content for content in before.values())
    code, out, _ = carrydesk(home, "init", "--passphrase-file", str(secret), "--json")
    assert (code, json.loads(out.splitlines()[-1])["created"]) == (0, [])
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_without_a_terminal_no_passphrase_is_taken(tmp_path: Path) -> None:
    code, out, _ = carrydesk(tmp_path / "h", "init", "--json")
    assert code == 1
    assert "no terminal" in json.loads(out.splitlines()[-1])["error"]["message"]


def test_outside_of_paper_a_passphrase_file_is_refused(tmp_path: Path) -> None:
    home, secret = tmp_path / "h", tmp_path / "pass"
    secret.write_text("correct horse battery")
    code, out, _ = carrydesk(home, "init", "--mode", "testnet", "--passphrase-file", str(secret), "--json")
    assert code == 1
    assert "paper mode only" in json.loads(out.splitlines()[-1])["error"]["message"]
    assert not (home / "operator.json").exists()


def test_live_for_the_same_user_is_not_even_set_up(tmp_path: Path) -> None:
    code, out, _ = carrydesk(tmp_path / "h", "init", "--mode", "live", "--json")
    assert code == 1
    assert json.loads(out.splitlines()[-1])["error"]["field"] == "live_same_user"
    assert not (tmp_path / "h" / "carrydesk.toml").exists()


def test_a_paper_venue_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    code, out, _ = carrydesk(tmp_path, "paper", "--venue", "nowhere", "--json")
    assert code == 1
    assert json.loads(out.splitlines()[-1])["error"]["field"] == "venue"


def test_a_paper_option_that_cannot_be_used_is_one_json_error_without_a_traceback(tmp_path: Path) -> None:
    code, out, err = carrydesk(tmp_path, "paper", "--from", "2031-01-01", "--json")
    assert code == 1
    error = json.loads(out.splitlines()[-1])["error"]
    assert (error["field"], error["next"]) == ("from", "Choose a day within it.")
    assert "2031-01-01 lies outside" in err
    assert "Traceback" not in err


def set_up(home: Path, old: str, new: str) -> Path:
    """A home in paper mode with one line of its settings changed."""
    secret = home.with_suffix(".pass")
    secret.write_text("correct horse battery")
    assert carrydesk(home, "init", "--passphrase-file", str(secret))[0] == 0
    settings = home / "carrydesk.toml"
    written = settings.read_text()
    assert old in written
    settings.write_text(written.replace(old, new))
    return home


def test_serve_says_why_its_paper_venue_did_not_start(tmp_path: Path) -> None:
    home = set_up(tmp_path / "h", "from = 2024-03-01 ", "from = 2031-01-01 ")
    code, out, err = carrydesk(home, "serve", "--json")
    assert code == 1
    error = json.loads(out.splitlines()[-1])["error"]
    assert error["message"].startswith("The paper did not start: from: 2031-01-01")
    assert (error["field"], error["next"]) == ("from", "Choose a day within it.")
    assert "2025-07-01" in error["allowed"]
    assert "Traceback" not in err


def test_serve_refuses_a_market_folder_that_is_not_there_and_does_not_make_it(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "at" / "all"
    home = set_up(tmp_path / "h", '# data_dir = "/path" ', f'data_dir = "{nowhere}" ')
    code, out, _ = carrydesk(home, "serve", "--json")
    assert code == 1
    error = json.loads(out.splitlines()[-1])["error"]
    assert (error["code"], error["field"]) == ("bad_settings", "paper.data_dir")
    assert f"{nowhere / 'hourly.parquet'}" in error["message"]
    assert not (tmp_path / "nowhere").exists()
    assert not (home / "run" / "paper.pid").exists()
