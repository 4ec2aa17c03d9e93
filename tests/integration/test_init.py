"""``understudy init project``: the project that it writes passes its own test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from understudy.cli.main import main

pytestmark = pytest.mark.integration


def test_a_new_project_s_own_test_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its README says, in this environment."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", "project", "my-model"]) == 0
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    done = subprocess.run(
        argv, cwd=tmp_path / "my-model", capture_output=True, text=True, check=False
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
