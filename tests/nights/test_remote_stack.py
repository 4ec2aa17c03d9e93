"""Steps as Jobs in a whole stack: Airflow's own triggerer waits, is killed, and cancels."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from understudy.contract import Tag
from understudy.devstack.settings import mlflow_account

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation
    from tests.fixtures.git import Repository
    from tests.fixtures.kubernetes_cluster import Server

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("starts an Airflow of its own, and a stand-in of a cluster"),
]

CLIENT = ("kubernetes", "oauthlib", "requests_oauthlib", "websocket", "durationpy")
"""What the extra ``kubernetes`` adds to the environment of a stack, which has it not."""
MLPROJECT = """
entry_points:
  wait:
    parameters: {gate: string}
    command: "echo started; until [ -e {gate} ]; do sleep 0.2; done"
"""
DAG_FILE = """
from airflow.sdk import DAG
from understudy import Gate, Metric, MlflowRunOperator, Project, pipeline

ELSEWHERE = {
    "backend": "kubernetes",
    "backend_config": {
        "connection": "k8s",
        "namespace": "training",
        "image": "acme/training",
        "tracking-uri": "TRACKING",
        "poll-seconds": 0.5,
    },
}
with DAG("remote_wait", schedule=None) as waits:
    MlflowRunOperator(
        task_id="wait",
        project="PROJECT#waits",
        entry_point="wait",
        parameters={"gate": "{{ dag_run.conf['gate'] }}"},
        **ELSEWHERE,
    )
night = pipeline(
    "remote_night",
    project=Project("PROJECT#project", version="main"),
    parameters={"factor": 1.0, "broken": "no"},
    gate=Gate(Metric("rmse", min_gain=0.1)),
    rehearsal=None,  # a number is no model that MLflow could serve
    retries=0,
    **ELSEWHERE,
)
"""


@dataclass
class Elsewhere:
    """A stack whose steps run on a cluster."""

    stack: Installation
    server: Server

    def run(self, run_id: str) -> Any:  # noqa: ANN401 -- MLflow's
        """Return the MLflow run of the waiting task of a Dag run."""
        condition = f"tags.`{Tag.DAG_RUN_ID.value}` = '{run_id}'"
        (found,) = self.stack.runs("remote_wait", condition)
        return found


@pytest.fixture(scope="module")
def elsewhere(
    installation_to_break: Installation,
    models: Repository,
    kubernetes_cluster: Callable[[Path], AbstractContextManager[Server]],
    eventually: Callable[..., bool],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Elsewhere]:
    """Add a cluster, its connection and two Dags to the stack."""
    installation = installation_to_break
    place, node = installation.stack.place, tmp_path_factory.mktemp("node")
    # As docs/kubernetes.md has it: a file in the home of the Jobs' image.
    account = "\n".join(f"{name.lower()} = {one}" for name, one in mlflow_account(place).items())
    (node / ".mlflow").mkdir(mode=0o700)
    (node / ".mlflow" / "credentials").write_text(f"[mlflow]\n{account}\n")
    _lend_client(place.airflow / "config")
    (models.folder / "waits").mkdir(exist_ok=True)
    (models.folder / "waits" / "MLproject").write_text(MLPROJECT)
    models.commit("a project that waits")
    dag_file = DAG_FILE.replace("PROJECT", models.url)
    dag_file = dag_file.replace("TRACKING", installation.stack.addresses().mlflow)
    (place.dags / "remote.py").write_text(dag_file)
    with kubernetes_cluster(node) as server:
        extra = json.dumps({"kube_config": json.dumps(server.kubeconfig())})
        named = {"connection_id": "k8s", "conn_type": "kubernetes"}
        installation.call("POST", "connections", **named, extra=extra)
        for component in ("scheduler", "triggerer"):
            installation.kill(component)  # they look for modules when they start
        installation.up()
        wanted = {"remote_wait", "remote_night"}
        assert eventually(lambda: wanted <= _dags(installation), 120, pause=0.2)
        yield Elsewhere(installation, server)


def _dags(installation: Installation) -> set[str]:
    return {dag["dag_id"] for dag in installation.call("GET", "dags?limit=100")["dags"]}


def _lend_client(folder: Path) -> None:
    """Let the stack import the client from a folder that Airflow adds to the path."""
    folder.mkdir(exist_ok=True)
    for name in CLIENT:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        here = Path(spec.origin)
        source = here.parent if here.name == "__init__.py" else here
        (folder / source.name).symlink_to(source)


@pytest.mark.timeout(600)
def test_a_night_whose_steps_are_jobs_ends_with_a_champion(elsewhere: Elsewhere) -> None:
    """Every step had one Job, and each task waited in the triggerer."""
    stack = elsewhere.stack
    run_id = stack.trigger("remote_night", "one")
    assert stack.wait("remote_night", run_id) == "success"
    (night,) = stack.nights("remote_night")
    assert night[Tag.OUTCOME.value] == "PROMOTED"
    steps = stack.runs("remote_night", "tags.`understudy.kind` = 'step'")
    assert len({run.data.tags[Tag.JOB.value] for run in steps}) == len(steps) == 4
    assert {run.data.tags[Tag.JOB_STATE.value] for run in steps} == {"watched"}
    assert {run.info.status for run in steps} == {"FINISHED"}


@pytest.mark.timeout(600)
def test_a_triggerer_that_dies_loses_nothing(
    eventually: Callable[..., bool], elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """Nor does it cancel anything: the same Job goes on to its end."""
    stack, gate = elsewhere.stack, tmp_path / "gate"
    run_id = stack.trigger("remote_wait", "restart", gate=str(gate))
    stack.wait_for_task("remote_wait", run_id, "wait", {"deferred"})
    assert eventually(lambda: elsewhere.run(run_id).data.tags[Tag.JOB_STATE.value] == "watched")
    job = elsewhere.run(run_id).data.tags[Tag.JOB.value]
    stack.kill("triggerer")
    assert job in {pod.job for pod in elsewhere.server.running()}
    stack.up()
    gate.touch()
    assert stack.wait("remote_wait", run_id) == "success"
    assert elsewhere.run(run_id).info.status == "FINISHED"
    log = stack.log("remote_wait", run_id, "wait")
    assert "started" in log
    assert elsewhere.server.token not in log


@pytest.mark.timeout(600)
def test_a_task_that_is_marked_failed_cancels_its_job(
    eventually: Callable[..., bool], elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """The pod ends, and its run says KILLED."""
    stack = elsewhere.stack
    run_id = stack.trigger("remote_wait", "marked", gate=str(tmp_path / "never"))
    stack.wait_for_task("remote_wait", run_id, "wait", {"deferred"})
    assert eventually(lambda: elsewhere.run(run_id).data.tags[Tag.JOB_STATE.value] == "watched")
    job = elsewhere.run(run_id).data.tags[Tag.JOB.value]
    path = f"dags/remote_wait/dagRuns/{run_id}/taskInstances/wait"
    stack.call("PATCH", path, new_state="failed")
    assert eventually(lambda: job not in {pod.job for pod in elsewhere.server.running()})
    assert eventually(lambda: elsewhere.run(run_id).info.status == "KILLED")


@pytest.mark.timeout(600)
def test_the_next_night_cancels_what_nobody_waits_for(
    eventually: Callable[..., bool], elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """No triggerer ran when a person stopped the night: the Job ran on, and is KILLED now."""
    stack, server = elsewhere.stack, elsewhere.server
    run_id = stack.trigger("remote_night", "left", force=True, broken=str(tmp_path / "never"))
    stack.wait_for_task("remote_night", run_id, "download", {"deferred"})
    condition = f"tags.`{Tag.DAG_RUN_ID.value}` = '{run_id}' and tags.`{Tag.JOB.value}` != ''"
    assert eventually(server.running)
    stack.kill("triggerer")
    stack.call("PATCH", f"dags/remote_night/dagRuns/{run_id}", state="failed")
    stack.up()
    (left,) = stack.runs("remote_night", condition)
    job = left.data.tags[Tag.JOB.value]
    assert left.info.status == "RUNNING"
    assert job in {pod.job for pod in server.running()}
    after = stack.trigger("remote_night", "after", force=True)
    assert stack.wait("remote_night", after) == "success"
    assert job not in {pod.job for pod in server.running()}
    (left,) = stack.runs("remote_night", condition)
    assert left.info.status == "KILLED"
    assert left.data.tags[Tag.ERROR.value].startswith("abandoned: its night was over")
    assert "RUNNING" not in {run.info.status for run in stack.runs("remote_night")}
    log = stack.log("remote_night", after, "pin")
    assert f"Cancelling the job {job}, for which nobody waits" in log
