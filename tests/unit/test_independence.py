"""The projects and the package share a contract on paper, and not one import."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = [path.parent for path in (ROOT / "mlproject").glob("*/MLproject")]


@cache
def imported(folder: Path) -> frozenset[str]:
    """Return the top-level names that the Python files below a folder import."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return frozenset(names)


SHARED = ROOT / "mlproject" / "shared"
NAMES = {path.name for path in PROJECTS}


@pytest.mark.parametrize("project", [*PROJECTS, SHARED], ids=lambda path: path.name)
def test_a_project_can_be_copied_out(project: Path) -> None:
    """It knows neither the package nor Airflow nor another project; the package knows none."""
    assert not imported(project) & ({"understudy", "airflow", *NAMES} - {project.name})
    assert project.name not in imported(ROOT / "plugins" / "understudy")


def test_there_is_a_project() -> None:
    """The check above has something to check."""
    assert PROJECTS
