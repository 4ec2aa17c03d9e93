"""What both projects need has the same text in both: they may not import each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

PROJECTS = Path(__file__).resolve().parents[2] / "mlproject"
NAMES = {"tabular": "images", "TabularError": "ImagesError"}


def parsed(project: str, module: str) -> str:
    """Return a module's syntax with the names of `images`, imported names in alphabetical order."""
    text = (PROJECTS / project / project / f"{module}.py").read_text(encoding="utf-8")
    for theirs, ours in NAMES.items():
        text = text.replace(theirs, ours)
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            node.names.sort(key=lambda alias: alias.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = " ".join(node.value.split())
    return ast.dump(tree)


@pytest.mark.parametrize(
    "module",
    [
        *("addresses", "commandline", "errors", "fetch", "space", "tracking"),
        # A search, but for what is tried and how it is judged.
        *("objective", "pruners", "samplers", "search_results", "search_space", "searching"),
        *("space_reading", "study", "study_pictures", "study_storage", "trial_runs", "workers"),
    ],
)
def test_shared_modules_do_not_drift_apart(module: str) -> None:
    """A fault that is mended in one is mended in the other; tests/tabular tests them for both."""
    assert parsed("images", module) == parsed("tabular", module)
