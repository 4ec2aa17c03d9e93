"""The gate's own Python: one that is named, one that has the libraries, or one that is built."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from understudy.decide.evaluator import user_folders
from understudy.decide.gate_process import PYTHON_VARIABLE, gate_python, project
from understudy.errors import SettingsError
from understudy.runner.environment import dependencies
from understudy.runner.process.process import ProcessRunner
from understudy.runner.settings import Settings

ROOT = Path(__file__).parents[3]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings whose folders nobody else has."""
    return Settings(cache=tmp_path / "cache", scratch=tmp_path / "scratch")


def test_a_named_python_is_taken(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is built then."""
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    with gate_python(settings, ProcessRunner(), pytest.fail) as python:
        assert python.executable == Path(sys.executable)


def test_a_named_python_that_is_not_there_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the variable."""
    monkeypatch.setenv(PYTHON_VARIABLE, "/no/such/python")
    with (
        pytest.raises(SettingsError, match=rf"{PYTHON_VARIABLE} is '/no/such/python'.*Next: "),
        gate_python(settings, ProcessRunner(), pytest.fail),
    ):
        pytest.fail("no Python there")


def test_libraries_that_are_here_are_used(settings: Settings) -> None:
    """The command line of ``pip install understudy[gate]`` builds nothing."""
    with gate_python(settings, ProcessRunner(), pytest.fail) as python:
        assert python.executable == Path(sys.executable)


def test_the_environment_is_locked_and_the_package_has_the_lock() -> None:
    """Every line of what is installed has hashes, and no index is named."""
    file = project().environment_file
    assert file is not None
    wanted = dependencies.read(project())
    (lock,) = wanted.files
    text = lock.read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)==.*\\$", text, re.MULTILINE)
    assert {"numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "pydantic"} <= set(pins)
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text


def test_the_lock_agrees_with_that_of_the_tests() -> None:
    """What the tests saw is what runs at night."""
    file = project().environment_file
    assert file is not None
    (lock,) = dependencies.read(project()).files
    ours, tested = (
        set(re.findall(r"^[\w.-]+==\S+", path.read_text(encoding="utf-8"), re.MULTILINE))
        for path in (lock, ROOT / "requirements" / "dev.txt")
    )
    assert ours <= tested


def test_folders_of_the_user_are_passed_on_and_those_of_environments_are_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A metric's module lies beside the Dag file; Airflow's packages stay Airflow's."""
    installed = str(Path(sys.prefix) / "lib")
    monkeypatch.setattr(sys, "path", [str(tmp_path), installed, str(tmp_path / "none")])
    assert user_folders() == (str(tmp_path),)
