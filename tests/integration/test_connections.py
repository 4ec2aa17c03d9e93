"""A private repository behind an Airflow connection, in real tasks of a real Dag run."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fixtures.git import Repository
    from tests.fixtures.git_hosts import HttpHost

pytestmark = pytest.mark.integration

TOKEN = "t0k3n-t0k3n"  # noqa: S105 - of a host on loopback
DAG_FILE = """
import os
from airflow.sdk import DAG
from understudy import MlflowRunOperator

with DAG("private") as dag:
    for name, connection in (("opened", "git_models"), ("closed", ""), ("nowhere", "not_there")):
        MlflowRunOperator(
            task_id=name,
            project=os.environ["PRIVATE_PROJECT"],
            git_conn_id=connection,
            entry_point="show",
            env_manager="local",
        )

if __name__ == "__main__":
    from airflow.utils import db

    db.initdb()
    for ti in dag.test().get_task_instances():
        print("STATE", ti.task_id, ti.state)
"""


@pytest.mark.timeout(300)
def test_a_connection_opens_what_is_closed_without_it(
    repository: Repository,
    http_host: Callable[..., AbstractContextManager[HttpHost]],
    run_dag_file: Callable[..., str],
    tmp_path: Path,
) -> None:
    """The token is in no log, command line or file, nor in Airflow's or MLflow's database."""
    repository.commit(MLproject="entry_points:\n  show:\n    command: 'echo it runs'\n")
    with http_host(tmp_path, f"bot:{TOKEN}") as host:
        connection = {"conn_type": "git", "host": host.url, "login": "bot", "password": TOKEN}
        said = run_dag_file(
            DAG_FILE,
            AIRFLOW_CONN_GIT_MODELS=json.dumps(connection),
            PRIVATE_PROJECT=f"{host.url}/repository",
            MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db",
            TMPDIR=str(tmp_path),
        )
    states = dict(line.split()[1:] for line in said.splitlines() if line.startswith("STATE"))
    assert states == {"opened": "success", "closed": "failed", "nowhere": "failed"}, said[-3000:]
    assert "refuses access" in said
    assert "There is no Airflow connection 'not_there'" in said
    shutil.rmtree(tmp_path / "repository")
    for secret in (TOKEN, base64.b64encode(f"bot:{TOKEN}".encode()).decode()):
        assert secret not in said
        found = subprocess.run(("grep", "-rl", secret, tmp_path), check=False, capture_output=True)
        assert found.stdout == b""
    assert not [line for line in host.command_lines if TOKEN.encode() in line]
