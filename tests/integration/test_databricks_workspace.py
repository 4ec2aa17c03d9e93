"""Steps as Databricks job runs: a real MLflow server, the official SDK, a stand-in for a workspace.

The stand-in runs the uploaded program as a process, so that what a run is told is really done.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow.tracking import MlflowClient

from understudy.airflow.remote_trigger import RemoteStepTrigger
from understudy.contract import DATABRICKS, Tag
from understudy.errors import (
    ClusterError,
    ClusterUnavailableError,
    ProjectError,
    StepFailedError,
    StepStoppedError,
)
from understudy.runner.cluster.databricks_workspace import DatabricksWorkspace
from understudy.runner.cluster.remote import JobState, JobStatus, RemoteSteps, Started
from understudy.runner.runner import StepRunner
from understudy.runner.settings import Settings
from understudy.runner.step import StepRequest
from understudy.spec.placement import DatabricksPlacement
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from tests.fixtures.databricks_workspace import Workspace
    from tests.fixtures.git import Repository

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("a stand-in of a workspace, whose clusters build environments"),
]

MLPROJECT = """
name: elsewhere
python_env: python_env.yaml
entry_points:
  show:
    parameters: {word: string, data: {type: path, default: ""}, own: {type: path, default: here}}
    command: "python show.py {word} {data} {own}"
  fail:
    command: "echo it is bad; exit 65"
  sleep:
    command: "echo started; sleep 300"
  needs:
    command: "python -c 'import six, sys; print(six.__version__, sys.prefix)'"
"""
SHOW = """
import pathlib, sys
import mlflow
print("word", sys.argv[1])
print("data", sorted(path.name for path in pathlib.Path(sys.argv[2]).iterdir()))
print("own", pathlib.Path(sys.argv[3]).read_text())
with mlflow.start_run():
    mlflow.log_metric("rmse", 1.5)
"""
WORD = 'it\'s $(touch /tmp/no) `no` "{a}" ü ' + "x" * 100_000


@dataclass
class Site:
    """A workspace, a tracking server and a project, and what a test does with them."""

    server: Workspace
    client: MlflowClient
    runner: StepRunner
    where: DatabricksPlacement
    url: str

    def __post_init__(self) -> None:
        self.runs = RunStore(self.client)
        self.experiment_id = self.runs.experiment("elsewhere")

    def steps(self, limit: float | None = None, **where: Any) -> RemoteSteps:
        """Return what starts and ends steps, as a process of its own would have it."""
        given = {"host": self.server.address, "login": "", "password": self.server.token}
        there = DatabricksWorkspace(replace(self.where, **where), given)
        return RemoteSteps(self.runs, self.client, there, limit)

    def start(self, steps: RemoteSteps, entry_point: str, **fields: Any) -> Started:
        """Start a step."""
        ids = {"experiment_id": self.experiment_id, "key": uuid.uuid4().hex, "name": entry_point}
        given = {"parameters": {}, **ids, **fields}
        request = StepRequest(project=self.url, version="main", entry_point=entry_point, **given)
        with self.runner.source(request.project, request.version) as source:
            return steps.start(request, source)

    def end(self, steps: RemoteSteps, started: Started) -> JobStatus:
        """Wait for a run's end."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            seen = steps.look(started.run_id, started.job)
            if seen.state.ended:
                return seen
            time.sleep(0.1)
        pytest.fail(f"the run is {seen}")

    def status(self, started: Started) -> str:
        """Return the status of a run's MLflow run."""
        return str(self.runs.get(started.run_id).info.status)


@pytest.fixture
def site(
    tmp_path: Path,
    mlflow_uri: str,
    repository: Repository,
    databricks_workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    """Return a site with the project of these tests."""
    files = {"show.py": SHOW, "here": "my own", "python_env.yaml": "dependencies: []"}
    repository.commit(MLproject=MLPROJECT, **files)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    client = MlflowClient(mlflow_uri)
    runner = StepRunner(RunStore(client), client, Settings.from_environment())
    variables = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}"}
    spec = {"spark_version": "17.3.x-cpu-ml-scala2.13", "node_type_id": "m5.large",
            "num_workers": 0, "spark_env_vars": variables}  # fmt: skip
    where = DatabricksPlacement(new_cluster=spec, tracking_uri=mlflow_uri, poll_seconds=0.1)
    return Site(databricks_workspace, client, runner, where, repository.url)


def test_a_step_runs_as_a_job_run_and_its_values_arrive_unharmed(site: Site) -> None:
    """Code, path parameters and 100 kB of text arrive; the MLflow run ends FINISHED."""
    given = site.client.create_run(site.experiment_id).info.run_id
    site.client.log_text(given, "rows", "data/rows.csv")
    steps = site.steps(limit=120)
    parameters = {"word": WORD, "data": f"runs:/{given}/data"}
    started = site.start(steps, "show", parameters=parameters)
    seen = site.end(steps, started)
    said = steps.cluster.tail(started.job, 50)
    assert seen == JobStatus(JobState.SUCCEEDED, "", 0), said
    steps.conclude(seen.event(started.run_id, started.job), print)
    assert {line[:40] for line in said} >= {f"word {WORD}"[:40], "data ['rows.csv']", "own my own"}
    run = site.runs.get(started.run_id)
    assert (run.info.status, run.data.metrics["rmse"]) == ("FINISHED", 1.5)
    assert run.data.params["data"] == parameters["data"]
    tags = run.data.tags
    assert (tags[Tag.JOB.value], tags[Tag.JOB_PLACE.value]) == (started.job, "127.0.0.1")
    assert tags["mlflow.project.backend"] == DATABRICKS
    (body,) = [run.body for run in site.server.runs.values()]
    assert (body["timeout_seconds"], body["tasks"][0]["max_retries"]) == (120, 0)
    assert site.server.token not in json.dumps([body, dict(tags)])


def test_the_projects_environment_is_built_on_the_cluster(
    site: Site, repository: Repository
) -> None:
    """From the files of the commit, apart from the runtime's packages; a wrong Python is told."""
    files = {"python_env.yaml": "dependencies: [-r lock.txt]", "lock.txt": "six==1.17.0"}
    repository.commit("another environment", **files)
    steps = site.steps()
    started = site.start(steps, "needs")
    seen = site.end(steps, started)
    said = steps.cluster.tail(started.job, 50)
    assert seen.state is JobState.SUCCEEDED, said
    assert any(line.startswith("1.17.0 ") and "environment" in line for line in said)
    repository.commit(python_env_DOT_yaml='python: "3.7"\ndependencies: []')
    started = site.start(steps, "needs")
    seen = site.end(steps, started)
    assert (seen.state, seen.exit_code) == (JobState.FAILED, 64)
    assert any("wants Python 3.7" in line for line in steps.cluster.tail(started.job, 50))


def test_a_lost_answer_makes_no_second_run(site: Site) -> None:
    """The SDK asks again with the same token, and finds the run; its failure has an exit code."""
    site.server.lose_answers = 1
    steps = site.steps()
    started = site.start(steps, "fail")
    assert len(site.server.runs) == 1
    seen = site.end(steps, started)
    assert (seen.state, seen.exit_code) == (JobState.FAILED, 65)
    with pytest.raises(StepFailedError, match="exit code 65") as caught:
        steps.conclude(seen.event(started.run_id, started.job), print)
    assert not caught.value.can_retry
    assert site.status(started) == "FAILED"


def test_a_next_try_finds_the_run_that_nobody_watches(site: Site) -> None:
    """Also where the first worker died before it had heard the run's number."""
    tags = {Tag.ATTEMPT_OF.value: uuid.uuid4().hex}
    first = site.start(site.steps(), "sleep", tags=tags)
    nameless = first.job.partition(".")[0]
    for job in (first.job, nameless):
        site.runs.tag(first.run_id, {Tag.JOB: job})
        again = site.start(site.steps(), "sleep", tags=tags)
        assert (again.run_id, again.job, again.found) == (first.run_id, first.job, True)
    assert len(site.server.runs) == 1
    assert site.steps().look(first.run_id, nameless).state is JobState.RUNNING
    site.steps().cluster.cancel(nameless)
    assert site.steps().look(first.run_id, first.job).state is JobState.STOPPED


def test_a_cleared_task_begins_anew(site: Site) -> None:
    """A run that does something else is cancelled, and its MLflow run is KILLED."""
    tags = {Tag.ATTEMPT_OF.value: uuid.uuid4().hex}
    first = site.start(site.steps(), "sleep", tags=tags)
    again = site.start(site.steps(), "fail", tags=tags)
    assert again.job != first.job
    assert site.status(first) == "KILLED"
    assert site.steps().cluster.look(first.job).state is JobState.STOPPED


def test_a_refusal_leaves_no_run_behind_that_says_running(site: Site) -> None:
    """The workspace's word arrives, without what opens it; an outage may be retried."""
    for status, kind in ((400, ClusterError), (500, ClusterUnavailableError)):
        site.server.refuse_with = status
        key = uuid.uuid4().hex
        with pytest.raises(kind, match="by the test") as caught:
            site.start(site.steps(), "sleep", key=key)
        assert caught.value.can_retry is (status == 500)
        assert site.server.token not in str(caught.value)
        (run,) = site.runs.tagged(site.experiment_id, Tag.KEY, key)
        assert run.info.status == "FAILED"


def test_what_cannot_run_there_is_refused_before_anything_exists(
    site: Site, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image of the project's own, an address of this machine, a login that is none."""
    monkeypatch.delenv("DATABRICKS_HOST", raising=False)
    with pytest.raises(ClusterError, match="of this machine only"):
        site.start(site.steps(tracking_uri=""), "sleep", key="checked")
    docker = MLPROJECT.replace("python_env: python_env.yaml", "docker_env: {image: acme/x}")
    repository.commit(MLproject=docker)
    with pytest.raises(ProjectError, match="docker_env"):
        site.start(site.steps(), "sleep", key="checked")
    assert not site.runs.tagged(site.experiment_id, Tag.KEY, "checked")
    assert not site.server.requests
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", os.devnull)
    with pytest.raises(ClusterError, match="can be opened"):
        DatabricksWorkspace(site.where).look("x.1")
    stranger = {"host": site.server.address, "password": "wrong"}
    with pytest.raises(ClusterError, match="refuses"):
        DatabricksWorkspace(site.where, stranger).look("x.1")


def test_the_workspace_ends_a_run_in_time_without_us(site: Site) -> None:
    """The time-out stands in the run itself."""
    steps = site.steps(limit=1)
    started = site.start(steps, "sleep")
    seen = site.end(steps, started)
    assert seen.state is JobState.TIMED_OUT
    with pytest.raises(StepStoppedError):
        steps.conclude(seen.event(started.run_id, started.job), print)
    assert site.status(started) == "KILLED"


def test_the_trigger_waits_and_cancels(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened by the Airflow connection; stored and read again, it holds no secret."""
    extra = {"conn_type": "databricks", "host": site.server.address, "password": site.server.token}
    monkeypatch.setenv("AIRFLOW_CONN_DBX", json.dumps(extra))
    steps = site.steps(connection="dbx")
    waiting, stopped = site.start(steps, "fail"), site.start(steps, "sleep")

    def trigger(started: Started) -> RemoteStepTrigger:
        watched = {"connection": "dbx", "poll_seconds": 0.1}
        made = RemoteStepTrigger(
            backend=DATABRICKS,
            placement=watched,
            run_id=started.run_id,
            job=started.job,
            deadline=None,
        )
        stored = json.dumps(made.serialize()[1])
        assert site.server.token not in stored
        return RemoteStepTrigger(**json.loads(stored))

    async def fired() -> dict[str, Any]:
        async for event in trigger(waiting).run():
            return dict(event.payload)
        pytest.fail("the trigger fired nothing")

    event = asyncio.run(fired())
    assert (event["state"], event["exit_code"]) == ("FAILED", 65)
    asyncio.run(trigger(stopped).on_kill())
    assert steps.cluster.look(stopped.job).state is JobState.STOPPED
    assert site.status(stopped) == "KILLED"
    assert steps.cluster.watched == DatabricksPlacement(
        connection="dbx", tracking_uri=site.where.tracking_uri, poll_seconds=0.1
    )
