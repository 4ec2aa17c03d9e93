"""The Dag files that ship: they load, quickly and without side effects, the same every time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures import dag_files
from tests.fixtures.machine import CHECKOUT

DAGS = CHECKOUT / "dags"
WRONG = {
    "mistyped": (
        "gate=Gate(Metric('rmse')), retires=3",
        "unknown field 'retires' (did you mean 'retries'?)",
    ),
    "no_gate": ("gate=None", "'gate' is None"),
    "missing": ("schedule='@daily'", "'gate' is missing"),
    "metric": ("gate=Gate(Metric('rmse', at_last=1))", "(did you mean 'at_least'?)"),
}


@pytest.fixture(scope="module")
def once(
    airflow_variables: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Return what a fresh process saw in dags/."""
    home = tmp_path_factory.mktemp("home")
    settings = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "PYTHONPATH": str(CHECKOUT / "plugins"),
    }
    program = subprocess.run(
        [sys.executable, "-P", dag_files.__file__, str(DAGS)],  # -P: not with its folder first
        env=airflow_variables(home, **settings),
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(program.stdout.splitlines()[-1])
    return result


@pytest.fixture
def again() -> dict[str, Any]:
    """Return what this process sees in dags/."""
    return dag_files.seen(str(DAGS))


def test_they_load_without_errors(once: dict[str, Any]) -> None:
    """Every file in dags/ gives its Dag."""
    assert once["errors"] == {}
    assert once["ids"] == sorted(path.stem for path in (DAGS).glob("*.py"))


def test_they_import_nothing_heavy(once: dict[str, Any]) -> None:
    """Airflow parses them every few seconds, and again in every task."""
    assert once["heavy"] == []


def test_they_are_the_same_in_every_process(once: dict[str, Any], again: dict[str, Any]) -> None:
    """Anything that differs from parse to parse would make endless Dag versions."""
    assert again["dags"] == once["dags"]


def test_they_write_nothing() -> None:
    """No file appears beside them."""
    listing = subprocess.run(
        ["git", "status", "--porcelain", "--ignored", "--", "dags"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    strangers = [line for line in listing.stdout.splitlines() if line[:2] in {"??", "!!"}]
    assert [line for line in strangers if "__pycache__" not in line and ".py" not in line] == []


def test_a_wrong_file_is_an_import_error_that_names_the_field(tmp_path: Path) -> None:
    """Airflow shows it in its UI as soon as the file is parsed."""
    for name, (line, _) in WRONG.items():
        (tmp_path / f"{name}.py").write_text(
            '"""A Dag for Airflow."""\n'
            "from understudy import Gate, Metric, Project, pipeline\n"
            f"dag = pipeline('p', project=Project('https://example.com/x.git'), {line})\n"
        )
    found = dag_files.seen(str(tmp_path))["errors"]
    errors = {Path(path).stem: text for path, text in found.items()}
    assert errors.keys() == WRONG.keys()
    for name, (_, message) in WRONG.items():
        assert message in errors[name]
        assert "Allowed: " in errors[name]
        assert "Next: " in errors[name]
