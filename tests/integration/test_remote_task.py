"""A task whose step is a Job: deferred, watched by the trigger, resumed; in a real Dag run.

``dag.test`` runs the trigger in the task's process. What Airflow's own triggerer does is in
test_remote_stack.py.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow.tracking import MlflowClient

from understudy.contract import Tag

if TYPE_CHECKING:
    from tests.fixtures.git import Repository
    from tests.fixtures.kubernetes_cluster import Server

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("a stand-in of a cluster, and an Airflow that defers to it"),
]

MLPROJECT = """
docker_env: {image: acme/training}
entry_points:
  show: {parameters: {word: string}, command: "echo the word is {word}"}
  fail: {command: "echo it is bad; exit 65"}
"""
DAG_FILE = """
import os
from airflow.sdk import DAG
from understudy import MlflowRunOperator

CONFIG = {
    "connection": "k8s",
    "namespace": "training",
    "tracking-uri": os.environ["MLFLOW_TRACKING_URI"],
    "poll-seconds": 0.2,
}
with DAG("deferred") as dag:
    for name, parameters in (("show", {"word": "it's"}), ("fail", {}), ("typo", {})):
        MlflowRunOperator(
            task_id=name,
            project=os.environ["THE_PROJECT"],
            entry_point="show" if name == "typo" else name,
            parameters=parameters,
            backend="kubernetes",
            backend_config=CONFIG,
        )

if __name__ == "__main__":
    from airflow.utils import db

    db.initdb()
    for ti in dag.test().get_task_instances():
        print("STATE", ti.task_id, ti.state)
"""


@pytest.mark.timeout(300)
def test_a_task_defers_and_ends_as_its_job_did(
    repository: Repository,
    tmp_path: Path,
    mlflow_uri: str,
    kubernetes_cluster: Callable[[Path], AbstractContextManager[Server]],
    run_dag_file: Callable[..., str],
) -> None:
    """Its log has the job's last lines; nothing anywhere has the cluster's token."""
    repository.commit(MLproject=MLPROJECT)
    with kubernetes_cluster(tmp_path) as server:
        extra = {"kube_config": json.dumps(server.kubeconfig())}
        said = run_dag_file(
            DAG_FILE,
            AIRFLOW_CONN_K8S=json.dumps({"conn_type": "kubernetes", "extra": extra}),
            THE_PROJECT=repository.url,
            MLFLOW_TRACKING_URI=mlflow_uri,
        )
        assert len(server.jobs) == 2
    states = dict(line.split()[1:] for line in said.splitlines() if line.startswith("STATE"))
    assert states == {"show": "success", "fail": "failed", "typo": "failed"}, said[-6000:]
    for words in ("the word is it's", "ended with exit code 65", "'word' is missing"):
        assert words in said, said[-6000:]
    _check_runs(MlflowClient(mlflow_uri))
    assert server.token not in said
    found = subprocess.run(
        ("grep", "-rl", server.token, tmp_path), check=False, capture_output=True
    )
    assert found.stdout == b""


def _check_runs(client: MlflowClient) -> None:
    """Each job has one run, which ended as it did and says where it was."""
    experiment = client.get_experiment_by_name("deferred")
    assert experiment is not None
    runs = {
        r.data.tags[Tag.TASK_ID.value]: r for r in client.search_runs([experiment.experiment_id])
    }
    ended = {name: run.info.status for name, run in runs.items()}
    assert ended == {"show": "FINISHED", "fail": "FAILED"}
    assert {run.data.tags[Tag.JOB_STATE.value] for run in runs.values()} == {"watched"}
