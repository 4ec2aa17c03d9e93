"""Steps as Jobs: a real MLflow server, the official client, and a stand-in for the API server.

The stand-in runs containers as processes, so that what a Job is told to do is really done.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow.tracking import MlflowClient

from understudy.airflow import remote_trigger
from understudy.airflow.remote_trigger import RemoteStepTrigger
from understudy.contract import Tag, key_of
from understudy.errors import (
    ClusterError,
    ClusterUnavailableError,
    ParameterError,
    StepFailedError,
    StepStoppedError,
)
from understudy.runner.cluster.kubernetes_cluster import KubernetesCluster
from understudy.runner.cluster.remote import JobState, JobStatus, RemoteSteps, Started, Watched
from understudy.runner.runner import Settings, StepRequest, StepRunner
from understudy.spec.placement import ClusterPlacement
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from tests.fixtures.git import Repository
    from tests.fixtures.kubernetes_cluster import Server

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("a stand-in of a cluster, whose pods start Python and MLflow anew"),
]

MLPROJECT = """
name: elsewhere
docker_env:
  image: acme/training
  environment: [[GREETING, "good $(MORNING)"]]
entry_points:
  show:
    parameters: {word: string, data: {type: path, default: ""}, own: {type: path, default: here}}
    command: "python show.py {word} {data} {own}"
  fail:
    command: "echo it is bad; exit 65"
  sleep:
    command: "echo started; sleep 300"
  ends_its_run:
    command: "python end.py"
"""
SHOW = """
import os, pathlib, sys
import mlflow
print("word", sys.argv[1])
print("data", sorted(path.name for path in pathlib.Path(sys.argv[2]).iterdir()))
print("own", pathlib.Path(sys.argv[3]).read_text())
print("greeting", os.environ["GREETING"], "UNDERSTUDY_STEP" in os.environ)
with mlflow.start_run():
    mlflow.log_metric("rmse", 1.5)
"""
END = """
import mlflow
from mlflow.tracking import MlflowClient
run = mlflow.start_run()
MlflowClient().set_terminated(run.info.run_id, "FAILED")
import os; os._exit(0)
"""
WORD = 'it\'s $(touch /tmp/no) `no` "{a}" $(MLFLOW_RUN_ID)'


@dataclass
class Site:
    """A cluster, a tracking server and a project, and what a test does with them."""

    server: Server
    client: MlflowClient
    runner: StepRunner
    where: ClusterPlacement
    url: str

    def __post_init__(self) -> None:
        self.runs = RunStore(self.client)
        self.experiment_id = self.runs.experiment("elsewhere")

    def steps(self, limit: float | None = None, **where: Any) -> RemoteSteps:
        """Return what starts and ends steps, as a process of its own would have it."""
        given = {"kube_config": self.server.kubeconfig()}
        there = KubernetesCluster(replace(self.where, **where), given)
        return RemoteSteps(self.runs, self.client, there, limit)

    def request(self, entry_point: str, **fields: Any) -> StepRequest:
        """Return a request with defaults."""
        defaults = {"version": "main", "parameters": {}, "name": entry_point}
        key = {"experiment_id": self.experiment_id, "key": uuid.uuid4().hex}
        return StepRequest(project=self.url, entry_point=entry_point, **defaults | key | fields)

    def start(self, steps: RemoteSteps, request: StepRequest) -> Started:
        """Start a step."""
        with self.runner.source(request.project, request.version) as source:
            return steps.start(request, source)

    def end(self, steps: RemoteSteps, started: Started) -> JobStatus:
        """Wait for a job's end."""
        for _ in range(300):
            seen = steps.look(started.run_id, started.job)
            if seen.state.ended:
                return seen
            time.sleep(0.1)
        pytest.fail(f"the job is {seen}")

    def conclude(self, steps: RemoteSteps, started: Started, seen: JobStatus) -> None:
        """End a job's MLflow run, as a task that was resumed does."""
        event = json.loads(json.dumps(seen.event(started.run_id, started.job)))
        assert steps.conclude(event, print) == started.run_id

    def status(self, started: Started) -> str:
        """Return the status of a job's MLflow run."""
        return str(self.runs.get(started.run_id).info.status)

    def job_requests(self, method: str) -> int:
        """Return how many requests of a method the cluster had for Jobs."""
        return sum(1 for m, path, _ in self.server.requests if m == method and "/jobs" in path)


@pytest.fixture
def site(
    tmp_path: Path,
    mlflow_uri: str,
    repository: Repository,
    kubernetes_cluster: Callable[[Path], AbstractContextManager[Server]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    """Return a site with the project of these tests."""
    repository.commit(MLproject=MLPROJECT, **{"show.py": SHOW, "end.py": END, "here": "my own"})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "node").mkdir()
    client = MlflowClient(mlflow_uri)
    runner = StepRunner(RunStore(client), client, Settings.from_environment())
    where = ClusterPlacement(namespace="training", tracking_uri=mlflow_uri, poll_seconds=0.1)
    with kubernetes_cluster(tmp_path / "node") as server:
        yield Site(server, client, runner, where, repository.url)


def test_a_step_runs_as_a_job_and_its_values_arrive_unharmed(site: Site) -> None:
    """Code, path parameters and text arrive; the run says which job it was and ends FINISHED."""
    given = site.client.create_run(site.experiment_id).info.run_id
    site.client.log_text(given, "rows", "data/rows.csv")
    steps = site.steps(limit=120)
    parameters = {"word": WORD, "data": f"runs:/{given}/data"}
    started = site.start(steps, site.request("show", parameters=parameters))
    seen = site.end(steps, started)
    said = steps.cluster.tail(started.job, 50)
    assert seen.state is JobState.SUCCEEDED, said
    site.conclude(steps, started, seen)
    wanted = {f"word {WORD}", "data ['rows.csv']", "own my own"}
    assert {*said} >= {*wanted, "greeting good $(MORNING) False"}, said
    run = site.runs.get(started.run_id)
    assert (run.info.status, run.data.metrics["rmse"]) == ("FINISHED", 1.5)
    assert run.data.params == {**parameters, "own": "here"}
    tags = run.data.tags
    assert tags[Tag.JOB.value] == started.job
    assert tags[Tag.JOB_PLACE.value].startswith("training@")
    assert tags[Tag.COMMIT.value] == tags["mlflow.source.git.commit"] == started.commit
    assert tags["mlflow.project.backend"] == "kubernetes"
    job = site.server.jobs["training", started.job]
    assert job["spec"]["activeDeadlineSeconds"] == 120
    assert job["spec"]["backoffLimit"] == 0
    assert site.server.token not in json.dumps([job, dict(tags)])


def test_parameters_are_checked_before_anything_exists(site: Site) -> None:
    """Neither a run nor a job is left by what cannot run, nor is the cluster asked."""
    request = site.request("show", parameters={"wrod": "x"}, key="checked")
    with pytest.raises(ParameterError, match="wrod"):
        site.runner.check(site.runner.pin(site.url, "main"), "show", request.parameters)
    vague = {"kind": "CronJob"}
    for where, error in (({"template": vague}, "is of kind CronJob"), ({"tracking_uri": ""}, "of")):
        with pytest.raises(ClusterError, match=error):
            site.start(site.steps(**where), site.request("sleep", key="checked"))
    assert not site.runs.tagged(site.experiment_id, Tag.KEY, "checked")
    assert not site.server.requests


def test_a_lost_answer_makes_no_second_job(site: Site) -> None:
    """The Job was made, nobody heard of it, and asking again finds it."""
    site.server.lose_answers = 1
    steps = site.steps()
    started = site.start(steps, site.request("fail"))
    assert site.job_requests("POST") == 2
    assert len(site.server.jobs) == len(site.server.pods) == 1
    seen = site.end(steps, started)
    assert (seen.state, seen.exit_code) == (JobState.FAILED, 65)
    with pytest.raises(StepFailedError, match="exit code 65") as caught:
        site.conclude(steps, started, seen)
    assert not caught.value.can_retry
    assert site.status(started) == "FAILED"


def test_a_next_try_finds_the_job_that_nobody_watches(site: Site) -> None:
    """A worker died before its task was deferred: one run, one job, the same commit."""
    tags = {Tag.ATTEMPT_OF.value: uuid.uuid4().hex}
    first = site.start(site.steps(), site.request("sleep", tags=tags))
    again = site.start(site.steps(), site.request("sleep", tags=tags))
    assert (again.run_id, again.job, again.found) == (first.run_id, first.job, True)
    assert len(site.server.pods) == 1


def test_a_job_of_the_version_before_is_found(site: Site) -> None:
    """What it wrote as the digest of a step had two fields more."""
    tags = {Tag.ATTEMPT_OF.value: uuid.uuid4().hex}
    first = site.start(site.steps(), site.request("sleep", tags=tags))
    step = {"command": "echo started; sleep 300", "parameters": {}}
    step |= {"artifact": "code/project.tar.gz", "folder": ""}
    place = site.steps().cluster.place
    digest = key_of(first.commit, "", place, json.dumps(step))
    assert site.runs.get(first.run_id).data.tags[Tag.JOB_DIGEST.value] == digest


def test_a_worker_that_died_between_run_and_job_leaves_one_of_each(site: Site) -> None:
    """The run was there and the job was not: the next try makes it under the run's name."""
    tags = {Tag.ATTEMPT_OF.value: uuid.uuid4().hex}
    first = site.start(site.steps(), site.request("sleep", tags=tags))
    site.steps().cluster.cancel(first.job)
    site.steps().mark(first.run_id, Watched.SUBMITTING)
    again = site.start(site.steps(), site.request("sleep", tags=tags))
    assert (again.run_id, again.job) == (first.run_id, first.job)
    assert [pod.job for pod in site.server.running()] == [first.job]


@pytest.mark.parametrize("difference", ["watched", "other"])
def test_a_cleared_task_begins_anew(site: Site, difference: str) -> None:
    """A job that was watched, or does something else, is cancelled, and its run is KILLED."""
    tags = {Tag.ATTEMPT_OF.value: uuid.uuid4().hex}
    first = site.start(site.steps(), site.request("sleep", tags=tags))
    if difference == "watched":
        site.steps().mark(first.run_id, Watched.WATCHED)
    entry_point = "sleep" if difference == "watched" else "fail"
    again = site.start(site.steps(), site.request(entry_point, tags=tags))
    assert again.job != first.job
    assert site.status(first) == "KILLED"
    assert ("training", first.job) not in site.server.jobs
    assert first.job not in {pod.job for pod in site.server.running()}


def test_a_passing_failure_is_asked_again(site: Site) -> None:
    """Each call may be: a Job's name is given once, and a second deletion finds none."""
    cluster = site.steps().cluster
    site.server.lose_answers = 2
    assert cluster.look("no-such-job").state is JobState.GONE
    site.server.lose_answers = 1
    cluster.cancel("no-such-job")
    assert len(site.server.requests) == 5


def test_a_refusal_leaves_no_run_behind_that_says_running(site: Site) -> None:
    """The cluster's word arrives, without what opens it; an outage may be retried."""
    for status, kind in ((403, ClusterError), (503, ClusterUnavailableError)):
        site.server.refuse_with = status
        request = site.request("sleep")
        with pytest.raises(kind, match=f"{status} ") as caught:
            site.start(site.steps(), request)
        assert caught.value.can_retry is (status == 503)
        assert site.server.token not in str(caught.value)
        (run,) = site.runs.tagged(site.experiment_id, Tag.KEY, request.key)
        assert run.info.status == "FAILED"


def test_a_run_that_its_own_entry_point_ended_badly_is_a_failure(site: Site) -> None:
    """Exit code 0 does not hide it."""
    steps = site.steps()
    started = site.start(steps, site.request("ends_its_run"))
    with pytest.raises(StepFailedError, match="FAILED"):
        site.conclude(steps, started, site.end(steps, started))


def test_a_job_that_is_gone_is_judged_by_its_run(site: Site) -> None:
    """Removed after its end, it counts as its run says; removed before, it was stopped."""
    steps = site.steps()
    lost = site.start(steps, site.request("sleep"))
    steps.cluster.cancel(lost.job)
    with pytest.raises(StepStoppedError, match="GONE"):
        site.conclude(steps, lost, steps.look(lost.run_id, lost.job))
    assert site.status(lost) == "KILLED"
    done = site.start(steps, site.request("sleep"))
    site.client.set_terminated(done.run_id, "FINISHED")
    steps.cluster.cancel(done.job)
    site.conclude(steps, done, steps.look(done.run_id, done.job))
    assert site.status(done) == "FINISHED"


def test_the_cluster_ends_a_job_in_time_without_us(site: Site) -> None:
    """The time-out stands in the Job itself, and its run is KILLED."""
    steps = site.steps(limit=1)
    started = site.start(steps, site.request("sleep"))
    seen = site.end(steps, started)
    assert seen.state is JobState.TIMED_OUT
    with pytest.raises(StepStoppedError, match="deadline"):
        site.conclude(steps, started, seen)
    assert not site.server.running()
    assert site.status(started) == "KILLED"


def test_an_image_that_was_built_from_the_commit_needs_no_archive(site: Site) -> None:
    """The commit stands in its name, and an image that cannot be pulled is told."""
    steps = site.steps(image="absent/project:{commit}")
    started = site.start(steps, site.request("sleep"))
    job = site.server.jobs["training", started.job]
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"absent/project:{started.commit}"
    assert not site.client.list_artifacts(started.run_id)
    seen = steps.look(started.run_id, started.job)
    assert seen.state is JobState.PENDING
    assert "ImagePullBackOff" in seen.detail


# The trigger, in an event loop as the triggerer has one


@contextmanager
def opened(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the connection by which triggers open the cluster."""
    extra = {"kube_config": json.dumps(site.server.kubeconfig())}
    connection = {"conn_type": "kubernetes", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_K8S", json.dumps(connection))
    yield


def trigger(site: Site, started: Started, deadline: float | None = None) -> RemoteStepTrigger:
    """Return a trigger that was stored and read again, as after a restart."""
    where = {"connection": "k8s", "namespace": "training", "poll_seconds": 0.1}
    made = RemoteStepTrigger(
        placement=where, run_id=started.run_id, job=started.job, deadline=deadline
    )
    path, kwargs = made.serialize()
    assert path == "understudy.airflow.remote_trigger.RemoteStepTrigger"
    assert site.server.token not in json.dumps(kwargs)
    return RemoteStepTrigger(**json.loads(json.dumps(kwargs)))


async def fired(waiting: RemoteStepTrigger) -> dict[str, Any]:
    """Return the event that a trigger fires."""
    async for event in waiting.run():
        return dict(event.payload)
    pytest.fail("the trigger fired nothing")


def test_the_trigger_sees_the_end_also_after_a_restart(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A triggerer that stops cancels nothing; another one goes on."""
    with opened(site, monkeypatch):
        started = site.start(site.steps(), site.request("sleep"))

        async def scenario() -> dict[str, Any]:
            first = asyncio.create_task(fired(trigger(site, started)))
            await asyncio.sleep(1.5)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            assert len(site.server.running()) == 1
            site.server.running()[0].kill()
            return await fired(trigger(site, started))

        event = asyncio.run(scenario())
        tags = site.runs.get(started.run_id).data.tags
        assert tags[Tag.JOB_STATE.value] == "watched"
        assert (event["state"], event["exit_code"]) == ("FAILED", 137)
        assert site.job_requests("DELETE") == 0


def test_the_trigger_goes_on_through_an_outage_and_gives_up_after_long(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is cancelled for want of an answer."""
    with opened(site, monkeypatch):
        started = site.start(site.steps(), site.request("fail"))
        site.server.refuse_with = 503

        async def scenario() -> dict[str, Any]:
            waiting = asyncio.create_task(fired(trigger(site, started)))
            await asyncio.sleep(1.5)
            assert not waiting.done()
            site.server.refuse_with = 0
            return await waiting

        assert asyncio.run(scenario())["state"] == "FAILED"
        site.server.refuse_with = 401
        monkeypatch.setattr(remote_trigger, "PATIENCE_S", 0.3)
        event = asyncio.run(fired(trigger(site, started)))
        with pytest.raises(ClusterUnavailableError, match="Nothing was seen") as caught:
            site.steps().conclude(event, print)
        assert caught.value.can_retry
        assert site.runs.get(started.run_id).data.tags[Tag.JOB_STATE.value] == "lost"
        assert event["state"] == "LOST"
        assert "401" in event["detail"]
        assert site.server.token not in event["detail"]
        assert site.job_requests("DELETE") == 0


@pytest.mark.parametrize("how", ["deadline", "killed in MLflow", "killed in Airflow"])
def test_the_trigger_cancels(site: Site, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """On time-out, where the run was KILLED by hand, and where the task was cleared or marked."""
    with opened(site, monkeypatch):
        steps = site.steps()
        started = site.start(steps, site.request("sleep"))
        if how == "killed in Airflow":
            asyncio.run(trigger(site, started).on_kill())
        else:
            deadline = time.time() - 1 if how == "deadline" else None
            if deadline is None:
                site.client.set_terminated(started.run_id, "KILLED")
            event = asyncio.run(fired(trigger(site, started, deadline)))
            assert event["state"] == ("STOPPED" if deadline is None else "TIMED_OUT")
            with pytest.raises(StepStoppedError):
                steps.conclude(event, print)
        assert not site.server.running()
        assert not site.server.jobs
        assert site.status(started) == "KILLED"


def test_the_kubeconfig_of_the_machine_is_used_where_no_connection_is_named(
    site: Site, tmp_path: Path
) -> None:
    """Its context is chosen by name, and one that is not there is told."""
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(site.server.kubeconfig()))
    given = {"kube_config_path": str(path)}
    there = KubernetesCluster(ClusterPlacement(namespace="training", context="here"), given)
    assert there.look("x").state is JobState.GONE
    closed = KubernetesCluster(ClusterPlacement(context="no"), given)
    with pytest.raises(ClusterError, match="cannot be opened"):
        closed.look("x")
