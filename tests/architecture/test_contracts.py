"""Every import contract holds, and every one of them fails when it is broken on purpose."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS = {contract["id"]: contract["name"] for contract in CONFIG["contracts"]}

# portfolio.planted_shell stands for any module of the shell.
SHELL = {"portfolio/planted_shell.py": "import decimal"}
# (contract, planted files): each must break its contract.
VIOLATIONS = [
    ("layers", {"portfolio/planted.py": "import server"}),
    ("layers", {"exchanges/planted.py": "import tools"}),
    ("layers", {"tools/planted.py": "import server"}),
    ("layers", {"tools/planted.py": "import prompts"}),
    ("layers", {"prompts/planted.py": "import tools"}),
    ("no-venue-in-tools", {"tools/planted.py": "import exchanges"}),
    ("no-venue-in-tools", {"prompts/planted.py": "import exchanges"}),
    ("exchanges-see-ports", SHELL | {"exchanges/planted.py": "import portfolio.planted_shell"}),
    ("exchanges-see-ports", SHELL | {"exchanges/planted.py": "from portfolio import planted_shell"}),
    ("portfolio-below", {"portfolio/planted.py": "import exchanges"}),
    ("portfolio-below", {"portfolio/core/planted.py": "import tools"}),
    ("core-pure", {"portfolio/core/planted.py": "import time"}),
    ("core-pure", {"portfolio/core/planted.py": "def f() -> None:\n    from os import path"}),
    ("core-pure", {"portfolio/core/planted.py": "from sqlalchemy.engine import Engine"}),
    ("core-pure", SHELL | {"portfolio/core/planted.py": "import portfolio.planted_shell"}),
    ("anyio-only", {"portfolio/planted.py": "import asyncio"}),
    ("anyio-only", {"portfolio/planted.py": "import trio.testing"}),
    ("anyio-only", {"portfolio/planted.py": "from concurrent.futures import ThreadPoolExecutor"}),
    ("desk-without-mcp", {"server/desk.py": "import mcp.types"}),
    ("desk-without-mcp", {"server/desk.py": "import tools.planted", "tools/planted.py": "import starlette"}),
]

# What the contracts are meant to leave open.
PERMITTED = {
    "portfolio/ports.py": "import anyio",
    "portfolio/planted.py": "import time, anyio, sqlalchemy\nimport portfolio.core.planted",
    "portfolio/core/planted.py": "import datetime, decimal, hashlib, numpy",
    "exchanges/planted.py": "import asyncio, portfolio.ports\nfrom portfolio.core import planted",
    "tools/planted.py": "import portfolio.planted",
    "server/planted.py": "import mcp, starlette\nimport exchanges.planted, tools.planted, prompts",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Copy the packages and the contracts to a place where a test may break them."""
    for package in CONFIG["root_packages"]:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.parquet")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(tree: Path, *options: str) -> tuple[int, str]:
    """Run lint-imports in the tree; return its exit code and its output as one line."""
    run = subprocess.run(
        [LINT, "--no-cache", *options], cwd=tree, capture_output=True, text=True, check=False, timeout=50
    )
    return run.returncode, " ".join((run.stdout + run.stderr).split())


def plant(tree: Path, files: dict[str, str]) -> None:
    """Append a source line to each file, creating it where it is missing."""
    for name, source in files.items():
        with (tree / name).open("a") as file:
            file.write(f"\n{source}\n")


def test_the_tree_keeps_every_contract_and_permitted_imports_too(tree: Path) -> None:
    plant(tree, PERMITTED)
    code, output = lint(tree)
    assert code == 0, output
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in output


def test_every_contract_is_broken_by_some_violation() -> None:
    assert {contract for contract, _ in VIOLATIONS} == set(CONTRACTS)


@pytest.mark.parametrize(
    ("contract", "files"), VIOLATIONS, ids=lambda part: part if isinstance(part, str) else ""
)
def test_a_violation_breaks_its_contract(tree: Path, contract: str, files: dict[str, str]) -> None:
    plant(tree, files)
    code, output = lint(tree, "--contract", contract)
    assert code == 1, output
    assert f"{CONTRACTS[contract]} BROKEN" in output
    assert "planted" in output or "server.desk" in output
