"""The Dag files that ship: they load, quickly and without side effects, the same every time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WRONG = {
    "mistyped": ("gate=Gate(Metric('rmse')), retires=3", "no field (did you mean 'retries'?)"),
    "no_gate": ("gate=None", "'gate' is None"),
    "missing": ("schedule='@daily'", "'gate' is missing"),
    "metric": ("gate=Gate(Metric('rmse', at_last=1))", "(did you mean 'at_least'?)"),
}
PROBE = """
import gc, json, socket, sys
sys.dont_write_bytecode = True
gc.disable()  # a quarter of the seconds that Airflow takes to import
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

def refuse(*args, **kwargs):
    raise AssertionError(f"a Dag file opened a connection: {args}")

def loaded(folder):
    bag = DagBag(folder)
    dags = {name: DagSerialization.to_dict(dag)["dag"] for name, dag in bag.dags.items()}
    return {
        "errors": bag.import_errors,
        "heavy": sorted(heavy & {name.partition(".")[0] for name in sys.modules}),
        "dags": json.dumps(dags, sort_keys=True, default=str),
        "ids": sorted(bag.dags),
    }

socket.socket.connect = refuse
heavy = {"mlflow", "pandas", "numpy", "sklearn", "matplotlib", "tensorflow", "git"}
print("\\n" + json.dumps([loaded(folder) for folder in sys.argv[1:]]))
"""


Loaded = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def loaded(airflow_variables: Callable[..., dict[str, str]]) -> Loaded:
    """Return what returns what a fresh process sees of folders of Dag files, in Airflow's way."""

    def load(home: Path, *folders: Path) -> list[dict[str, Any]]:
        settings = {
            "AIRFLOW__CORE__DAGS_FOLDER": str(folders[0]),
            "PYTHONPATH": str(ROOT / "plugins"),
        }
        probe = subprocess.run(
            [sys.executable, "-c", PROBE, *map(str, folders)],
            env=airflow_variables(home, **settings),
            cwd=home,
            capture_output=True,
            text=True,
            check=True,
        )
        result: list[dict[str, Any]] = json.loads(probe.stdout.splitlines()[-1])
        return result

    return load


@pytest.fixture(scope="module")
def once(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the first process saw in dags/."""
    return loaded(tmp_path_factory.mktemp("home"), ROOT / "dags")[0]


@pytest.fixture(scope="module")
def again(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what another process saw: in dags/, then in a folder of wrong files."""
    home = tmp_path_factory.mktemp("home")
    wrong = home / "wrong"
    wrong.mkdir()
    for name, (line, _) in WRONG.items():
        (wrong / f"{name}.py").write_text(
            '"""A Dag for Airflow."""\n'
            "from understudy import Gate, Metric, Project, pipeline\n"
            f"dag = pipeline('p', project=Project('https://example.com/x.git'), {line})\n"
        )
    return loaded(home, ROOT / "dags", wrong)


def test_they_load_without_errors(once: dict[str, Any]) -> None:
    """Every file in dags/ gives its Dag."""
    assert once["errors"] == {}
    assert once["ids"] == sorted(path.stem for path in (ROOT / "dags").glob("*.py"))


def test_they_import_nothing_heavy(once: dict[str, Any]) -> None:
    """Airflow parses them every few seconds, and again in every task."""
    assert once["heavy"] == []


def test_they_are_the_same_in_every_process(
    once: dict[str, Any], again: list[dict[str, Any]]
) -> None:
    """Anything that differs from parse to parse would make endless Dag versions."""
    assert again[0]["dags"] == once["dags"]


def test_they_write_nothing() -> None:
    """No file appears beside them."""
    listing = subprocess.run(
        ["git", "status", "--porcelain", "--ignored", "--", "dags"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    strangers = [line for line in listing.stdout.splitlines() if line[:2] in {"??", "!!"}]
    assert [line for line in strangers if "__pycache__" not in line and ".py" not in line] == []


def test_a_wrong_file_is_an_import_error_that_names_the_field(
    again: list[dict[str, Any]],
) -> None:
    """Airflow shows it in its UI as soon as the file is parsed."""
    errors = {Path(path).stem: text for path, text in again[1]["errors"].items()}
    assert errors.keys() == WRONG.keys()
    for name, (_, message) in WRONG.items():
        assert message in errors[name]
        assert "Allowed: " in errors[name]
        assert "Next: " in errors[name]
