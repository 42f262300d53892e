"""Our flat import names belong to us alone, and the test tree cannot shadow them."""

import importlib.util
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("server", "tools", "prompts", "portfolio", "exchanges")


def test_the_wheel_ships_exactly_the_five_packages() -> None:
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_no_other_distribution_ships_a_package_of_this_name(name: str) -> None:
    assert set(packages_distributions().get(name, ())) <= {"carrydesk"}


@pytest.mark.parametrize("name", PACKAGES)
def test_the_name_is_imported_from_this_tree(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin == str(ROOT / name / "__init__.py")


@pytest.mark.parametrize("top", [*PACKAGES, "tests"])
def test_every_folder_with_modules_is_a_package_all_the_way_down(top: str) -> None:
    folders = {
        parent
        for path in (ROOT / top).rglob("*.py")
        for parent in path.parents
        if parent.is_relative_to(ROOT / top)
    }
    assert folders
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_the_installed_version_is_the_one_of_the_project() -> None:
    assert version("carrydesk") == PROJECT["project"]["version"]


def test_the_newest_version_of_the_changelog_is_the_one_of_the_project() -> None:
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0].split()[1] == PROJECT["project"]["version"]


def test_the_lock_names_no_package_index_but_pypi() -> None:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    registries = {package["source"].get("registry") for package in packages if package["name"] != "carrydesk"}
    assert registries == {"https://pypi.org/simple"}
    files = [
        file for package in packages for file in [package.get("sdist"), *package.get("wheels", ())] if file
    ]
    assert [
        file["url"] for file in files if not file["url"].startswith("https://files.pythonhosted.org/")
    ] == []
