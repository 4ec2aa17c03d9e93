"""Parts of the runner that need no server, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from understudy.runner.runner import absolute_store

pytestmark = pytest.mark.unit


def test_importing_it_brings_nothing_heavy() -> None:
    """Airflow's workers import it for every task."""
    heavy = ["mlflow", "pandas", "numpy", "yaml", "git", "airflow", "requests"]
    script = (
        f"import sys, understudy.runner.runner; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": str(Path(__file__).parents[3] / "plugins")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_stores_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A child runs in another folder."""
    monkeypatch.chdir(tmp_path)
    assert absolute_store("sqlite:///m.db") == f"sqlite:///{tmp_path}/m.db"
    assert absolute_store("sqlite:////a/m.db") == "sqlite:////a/m.db"
    assert absolute_store("mlruns") == str(tmp_path / "mlruns")
    assert absolute_store("http://host:1") == "http://host:1"
    assert absolute_store("databricks") == "databricks"
