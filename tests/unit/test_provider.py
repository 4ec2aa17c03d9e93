"""Files that Airflow is told to read: those of its own rule, and all that name this package."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import yaml
from tests.fixtures.machine import CHECKOUT

from understudy.devstack import settings
from understudy.devstack.place import StackPlace
from understudy.devstack.readiness import dag_files
from understudy.provider import might_contain_dag

pytestmark = pytest.mark.unit

CALLABLE = f"{might_contain_dag.__module__}.{might_contain_dag.__qualname__}"
OURS = "from understudy import Gate, Metric, Project, pipeline\n\nnightly = pipeline('p')\n"
AIRFLOWS = {
    "plain.py": "from airflow.sdk import DAG\nDAG('a')\n",
    "shouted.py": "import AIRFLOW  # a DAG\n",
    "asset.py": "from airflow.sdk import Asset\nAsset('a')\n",
    "hook.py": "import airflow\n",
    "words.py": "DAGS = 'directed acyclic graphs'\n",
    "helper.py": "def area(side):\n    return side * side\n",
    "empty.py": "",
    "latin.py": "# \xe9\n".encode("latin-1"),
}


def _folder(place: Path) -> Path:
    place.mkdir()
    for name, content in AIRFLOWS.items():
        (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with zipfile.ZipFile(place / "packed.zip", "w") as archive:
        archive.writestr("packed.py", OURS)
        archive.writestr("helper.py", AIRFLOWS["helper.py"])
    return place


def test_a_file_that_only_imports_this_package_is_read(tmp_path: Path) -> None:
    """Airflow's rule passes over it; its author finds the Dag in no list, and no error."""
    from airflow.utils.file import might_contain_dag_via_default_heuristic

    (file := tmp_path / "nightly.py").write_text(OURS)
    assert not might_contain_dag_via_default_heuristic(str(file))
    assert might_contain_dag(str(file))
    assert dag_files(tmp_path) == {"nightly.py"}


def test_every_other_file_is_judged_as_airflow_judges_it(tmp_path: Path) -> None:
    """A folder has helpers, too, which are not to be run at every look."""
    from airflow.utils.file import might_contain_dag_via_default_heuristic as airflows

    folder = _folder(tmp_path / "dags")
    for path in folder.iterdir():
        assert might_contain_dag(str(path)) == airflows(str(path)), path.name
    assert dag_files(folder) == {"plain.py", "shouted.py", "asset.py"}
    with zipfile.ZipFile(folder / "packed.zip") as archive:
        assert might_contain_dag("packed.py", archive)
        assert not might_contain_dag("helper.py", archive)


def test_airflow_obeys_it_where_this_package_configures_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In ``make up``, the container stack and the values for Helm: by Airflow's own search."""
    from airflow.utils.file import list_py_file_paths

    folder = _folder(tmp_path / "dags")
    (folder / "nightly.py").write_text(OURS)
    stack = yaml.safe_load((CHECKOUT / "docker-compose.yaml").read_text("utf-8"))
    values = yaml.safe_load((CHECKOUT / "docs/kubernetes/airflow-values.yaml").read_text("utf-8"))
    place = StackPlace(tmp_path / "stack")
    ports = dict.fromkeys(("api-server", "git", "mlflow", "task-api"), 1)
    variable = "AIRFLOW__CORE__MIGHT_CONTAIN_DAG_CALLABLE"
    assert stack["x-task-environment"][variable] == CALLABLE
    assert values["config"]["core"]["might_contain_dag_callable"] == CALLABLE
    assert settings.sections(place, ports)["core"]["might_contain_dag_callable"] == CALLABLE
    assert str(folder / "nightly.py") not in list_py_file_paths(folder, safe_mode=True)
    monkeypatch.setenv(variable, CALLABLE)
    assert str(folder / "nightly.py") in list_py_file_paths(folder, safe_mode=True)
