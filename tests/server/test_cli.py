import json
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
