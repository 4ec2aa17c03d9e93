"""Nights of a project that does not know us: what goes from step to step, and when one is skipped.

``dag.test`` runs a Dag's tasks one after the other in one process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from mlflow.tracking import MlflowClient

if TYPE_CHECKING:
    from mlflow.entities import Run
    from tests.fixtures.git import Repository

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("eight nights of small steps by hand; what they pin is in tests/unit/airflow"),
]

MLPROJECT = """
name: theirs
python_env: python_env.yaml
entry_points:
  load:
    parameters: {outdir: string}
    command: "python act.py load {outdir}"
  fit:
    parameters: {outdir: string, run-id: string, source: uri, rows: float, made-in: string}
    command: "python act.py fit {outdir} {run-id} {source} {rows} {made-in}"
  solo:
    parameters: {alpha: float}
    command: "python act.py fit {alpha}"
"""
# Nothing is reused in the local environment, which has a package that lies in a folder.
PYTHON_ENV = """
python: "{}.{}"
dependencies: [mlflow-skinny==3.17.2]
""".format(*sys.version_info)
ACT = """
import sys
import mlflow

with mlflow.start_run():
    if sys.argv[1] == "load":
        mlflow.log_metric("rows", 3)
        mlflow.log_text("1,2,3", "rows.csv")
    else:
        mlflow.log_metric("rmse", 0.5)
        mlflow.log_text("flavors: {}", "model/MLmodel")
"""
DAG_FILE = """
import os
from understudy import Gate, Metric, Project, Steps, pipeline

COMMON = {
    "project": Project(os.environ["THE_PROJECT"]),
    "gate": Gate(Metric("rmse")),
    "rehearsal": None,
    "retries": 0,
}
STEPS = Steps(download="load", preprocess=None, train="fit", validate=None)
HANDED = {
    "outdir": "raw-{{ dag_run.run_after | ds_nodash }}",
    "train.outdir": "models",
    "run-id": "{{ steps.download.run_id }}",
    "source": "{{ steps.download.artifact_uri }}/rows.csv",
    "rows": "{{ steps.download.metrics.rows }}",
    "made-in": "here/{{ steps.download.params.outdir }}",
}
hands = pipeline("hands", steps=STEPS, parameters=HANDED, reuse={"download": True}, **COMMON)
LACKING = {**HANDED, "rows": "{{ steps.download.metrics.rowz }}"}
lacks = pipeline("lacks", steps=STEPS, parameters=LACKING, **COMMON)
alone = pipeline(
    "alone", steps=Steps.single("solo"), parameters={"alpha": 0.5}, reuse={"train": True}, **COMMON
)
early = pipeline(
    "early", steps=STEPS, parameters={**HANDED, "outdir": "{{ steps.train.run_id }}"}, **COMMON
)

if __name__ == "__main__":
    from airflow.utils import db

    db.initdb()
    literal = {"outdir": "{{ var.value.secret }}"}
    takes = [(hands, {}), (hands, {}), (hands, literal), (lacks, {}), (early, {}), (alone, {})]
    for dag, conf in [*takes, (alone, {}), (alone, {"alpha": 0.7})]:
        dag.test(run_conf=conf)
"""


@pytest.mark.timeout(900)
def test_steps_hand_things_on(
    repository: Repository, mlflow_uri: str, run_dag_file: Callable[..., str]
) -> None:
    """Values of a step's own, dates, and what an earlier step left; the form's text as it is."""
    files = {"act.py": ACT, "python_env.yaml": PYTHON_ENV}
    repository.commit(MLproject=MLPROJECT, **files)
    said = run_dag_file(DAG_FILE, THE_PROJECT=repository.url, MLFLOW_TRACKING_URI=mlflow_uri)
    client = MlflowClient(mlflow_uri)
    nights = _runs(client, "hands", "understudy.kind", "night")
    outcomes = [night.data.tags["understudy.outcome"] for night in nights]
    assert outcomes == ["PROMOTED", "SKIPPED", "PROMOTED"], said[-8000:]
    load, _, again = _runs(client, "hands", "understudy.entry_point", "load")
    fit, _ = _runs(client, "hands", "understudy.entry_point", "fit")
    day = nights[0].data.params["outdir"]
    assert day.startswith("raw-20")
    assert fit.data.params == {
        "outdir": "models",
        "run-id": load.info.run_id,
        "source": f"{load.info.artifact_uri}/rows.csv",
        "rows": "3.0",
        "made-in": f"here/{day}",
    }
    assert load.data.params["outdir"] == day
    assert nights[0].data.params["run-id"] == "{{ steps.download.run_id }}"
    assert again.data.params["outdir"] == "{{ var.value.secret }}"
    assert "The step download has logged no 'rowz' among its metrics (did you mean 'rows'?)" in said
    assert "The parameter 'outdir' is for download, and is {{ steps.train.run_id }}" in said
    [refused] = _runs(client, "early", "", "")  # the night alone: no step has run
    assert refused.data.tags["understudy.outcome"] == "FAILED"
    assert "is for download, and is {{ steps.train.run_id }}" in refused.data.tags["error"]
    outcomes = [
        night.data.tags["understudy.outcome"]
        for night in _runs(client, "alone", "understudy.kind", "night")
    ]
    assert outcomes == ["PROMOTED", "SKIPPED", "PROMOTED"], said[-8000:]


def _runs(client: MlflowClient, experiment: str, tag: str, value: str) -> list[Run]:
    """Return the runs with a tag, the eldest first."""
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    condition = f"tags.`{tag}` = '{value}'" if tag else ""
    return list(
        client.search_runs([found.experiment_id], condition, order_by=["attributes.start_time ASC"])
    )
