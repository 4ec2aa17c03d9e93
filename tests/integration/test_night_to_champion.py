"""From a verdict to the champion in real Dag runs: rehearsed, moved, told, rolled back, kept out.

``dag.test`` runs a Dag's tasks one after the other in one process; what Airflow's own scheduler
does is in test_nights.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow.tracking import MlflowClient

from understudy.registry.promoter import Promoter
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from tests.fixtures.git import Repository

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long(
        "nights by hand with rehearsals in environments of their own; the main lane has Airflow's"
    ),
]

MODEL = Path(__file__).parents[1] / "models" / "doubling.py"
MLPROJECT = """
entry_points:
  main:
    parameters: {error: float}
    command: "python train.py {error}"
"""
TRAIN = """
import sys
import mlflow
import pandas as pd

with mlflow.start_run():
    mlflow.log_metric("rmse", float(sys.argv[1]))
    mlflow.pyfunc.log_model(
        name="model",
        python_model="doubling.py",
        input_example=pd.DataFrame({"x": [1.5, 2.5]}),
        pip_requirements=["mlflow-skinny==3.17.2", "pandas==3.1.1"],
    )
"""
DAG_FILE = """
import os
from datetime import timedelta
from airflow.sdk import Param
from understudy import Gate, Metric, Project, Rehearsal, Steps, pipeline, rollback_dag

night = pipeline(
    "night",
    project=Project(os.environ["THE_PROJECT"]),
    steps=Steps.single("main"),
    parameters={"error": Param(1.0, type="number")},
    gate=Gate(Metric("rmse", min_gain=0.0)),
    rehearsal=Rehearsal(latency=timedelta(minutes=1)),
    env_manager="local",
    retries=0,
)
hasty = pipeline(
    "hasty",
    project=Project(os.environ["THE_PROJECT"]),
    steps=Steps.single("main"),
    parameters={"error": 1.0},
    gate=Gate(Metric("rmse", min_gain=0.0)),
    rehearsal=Rehearsal(startup=timedelta(milliseconds=1)),
    env_manager="local",
    retries=0,
)
back = rollback_dag()

if __name__ == "__main__":
    from airflow.utils import db

    db.initdb()
    takes = [
        (night, {"error": 3.0}),
        (night, {"error": 2.0}),
        (back, {"model": "night", "why": "it is odd", "block": "commit"}),
        (night, {"error": 1.0}),
        (hasty, {}),
    ]
    for number, (dag, conf) in enumerate(takes):
        for ti in dag.test(run_conf=conf).get_task_instances():
            print("STATE", number, ti.task_id, ti.state)
"""


@pytest.mark.timeout(900)
def test_champions_come_by_rehearsal_and_go_by_rollback(
    repository: Repository, mlflow_uri: str, run_dag_file: Callable[..., str]
) -> None:
    """Two nights promote, a person takes the second back, and no other of its commit wins."""
    files = {"train.py": TRAIN, "doubling.py": MODEL.read_text()}
    repository.commit(MLproject=MLPROJECT, **files)
    said = run_dag_file(DAG_FILE, THE_PROJECT=repository.url, MLFLOW_TRACKING_URI=mlflow_uri)
    states = {
        (int(number), task): state
        for _, number, task, state in map(
            str.split, (line for line in said.splitlines() if line.startswith("STATE"))
        )
    }
    expected = {0: "success", 1: "success", 3: "skipped"}
    assert {n: states.get((n, "rehearse")) for n in expected} == expected, said[-6000:]
    assert {n: states.get((n, "promote")) for n in expected} == expected, said[-6000:]
    assert states[2, "rollback"] == "success", said[-6000:]
    _check_history(mlflow_uri)
    _check_nights(mlflow_uri)
    assert (states[4, "rehearse"], states[4, "promote"]) == ("failed", "upstream_failed")
    _check_failure(mlflow_uri)


def _check_history(uri: str) -> None:
    """Each move names its rehearsal, which asked what the model was logged with."""
    client = MlflowClient(uri)
    moves = [one.move for one in Promoter(client, RunStore(client)).history("night").moves]
    assert [(move.before, move.after) for move in moves] == [(None, "1"), ("1", "2"), ("2", "1")]
    assert [move.cause for move in moves] == ["person", "person", "rollback"]
    assert moves[2].why == "it is odd"
    for move in moves:
        path = client.download_artifacts(move.rehearsal_run, "rehearsal/rehearsal.json")
        record = json.loads(Path(path).read_text())
        assert (record["version"], record["questions"]) == (move.after, 1)
    assert client.get_registered_model("night").aliases["champion"] == "1"


def _check_nights(uri: str) -> None:
    """How each ended, and why the last one did not win; nothing stays RUNNING."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("night")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    assert not [run for run in runs if run.info.status == "RUNNING"]
    nights = [run.data.tags for run in runs if run.data.tags.get("understudy.kind") == "night"]
    outcomes = [tags["understudy.outcome"] for tags in nights]
    assert outcomes == ["PROMOTED", "PROMOTED", "HELD"]
    assert "version 2 was rolled back by " in nights[-1]["understudy.reason"]


def _check_failure(uri: str) -> None:
    """The night names the rehearsal alone, with its three parts."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("hasty")
    assert experiment is not None
    night = "tags.`understudy.kind` = 'night'"
    (failed,) = client.search_runs([experiment.experiment_id], night)
    assert failed.data.tags["understudy.outcome"] == "FAILED"
    reason = failed.data.tags["understudy.reason"]
    assert reason.startswith("these tasks failed: rehearse; rehearse: The model's server did not")
    assert reason.count(" Allowed: ") == reason.count(" Next: ") == 1
