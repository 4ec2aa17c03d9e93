"""Runs steps on a cluster: creates the MLflow run, submits or finds the job, records its end.

All that is known of a job is on its MLflow run: which job it is, where, and whether a task watches
it. The submitting process may die at any instruction: the next try finds the run by its tags, and
submits under the same name, which makes no second job.

Why Airflow's own operators and triggers do not do this (providers cncf.kubernetes 10.25 and
databricks 7.23, run against the stand-ins of our tests):

* Neither knows the MLflow run: that it was killed in MLflow, and that it ends when the task is
  cleared while it waits (KubernetesJobTrigger does not even end its Job then: it has no on_kill).
* A cluster that answers 503 for 17 s (20 s on Databricks), or 401 once, fails the waiting task,
  and nobody looks after its job any more. Here ten minutes are waited, and the next try goes on.
* A Job whose submission was not answered is an error after five tries, each of which writes the
  whole manifest into the task's log; a Job that is gone is an error even if its run FINISHED.
* The event of a failed Job has no exit code, by which we know that a retry cannot help, and has
  the whole manifest in it.
"""

from __future__ import annotations

import abc
import contextlib
import gzip
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlsplit

from understudy.contract import Tag, key_of
from understudy.errors import (
    ClusterError,
    ClusterUnavailableError,
    ParameterError,
    ProjectError,
    StepFailedError,
    StepStoppedError,
    StepUnfitError,
    UnderstudyError,
)
from understudy.redact import known, plain, redacted, secret_in
from understudy.runner import projectfile
from understudy.runner.filesystem import entries
from understudy.runner.process.habits import Witness, is_empty, nothing_logged
from understudy.runner.projectfile import LONGEST_VALUE, ProjectFile
from understudy.runner.reuse.outputs import OURS
from understudy.runner.run_spec import run_spec
from understudy.store import artifacts
from understudy.store.artifacts import artifacts_of
from understudy.store.tracking import RUNNING, RunStore, tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from understudy.runner.step import Pinned, Source, StepRequest
    from understudy.spec.placement import Placement

ENTRY_POINT: Final = Path(__file__).with_name("job_entry_point.py")
"""The program that a job starts; it is passed on as text."""
# In the artifacts of the step's run; job_entry_point has the same names.
_FOLDER, _ARCHIVE, _INSTRUCTIONS = "code", "project.tar.gz", "step.json"
_READABLE, _ENTERABLE = 0o600, 0o700
_MANAGED: Final = "databricks"
# Lines of a job's log that the task's log shows; characters of a cluster's answer in a message.
TAIL: Final = 200
_SHOWN: Final = 1000


class JobState(StrEnum):
    """The state of a job; each cluster's states are mapped to these. LOST: it cannot be seen."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    STOPPED = "STOPPED"
    GONE = "GONE"
    LOST = "LOST"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of the job."""
        return self not in {JobState.PENDING, JobState.RUNNING}


class Watched(StrEnum):
    """Values of the run's tag ``understudy.job.state``: whether a task watches the job."""

    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    WATCHED = "watched"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What one look at a job saw.

    Attributes:
        state: Where the job is.
        detail: The cluster's own message.
        exit_code: Of the entry point; None while or where there is none.
    """

    state: JobState
    detail: str = ""
    exit_code: int | None = None

    def event(self, run_id: str, job: str) -> dict[str, Any]:
        """Return the end of a job as JSON values: what a trigger fires, and ``conclude`` takes."""
        facts = {"state": self.state.value, "detail": self.detail, "exit_code": self.exit_code}
        return {"run_id": run_id, "job": job, **facts}


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job to run on a cluster.

    Attributes:
        name: Of the job: the same step always has the same.
        project: The MLproject.
        checkout: The folder of the whole checkout that it lies in.
        commit: Full commit id.
        step: Command and parameters, as ``job_entry_point`` reads them.
        run_id: The MLflow run; '' while it is only checked whether the job can be submitted.
        experiment_id: The run's experiment.
        limit: Seconds that the job may take; None for any.
    """

    name: str
    project: ProjectFile
    checkout: Path
    commit: str
    step: Mapping[str, Any]
    run_id: str = ""
    experiment_id: str = ""
    limit: float | None = None


@dataclass(frozen=True)
class Cluster(abc.ABC):
    """What can run jobs. Each call is one short exchange, and raises ClusterError.

    Attributes:
        where: What the pipeline says of it.
        given: What its Airflow connection says: the fields of ``extra``, host, login and password.
            Empty for what its client finds on the worker.
        kind: The backend's name.
        env_manager: What makes the environment there, in MLflow's words.
        hint: How a job is given MLFLOW_TRACKING_TOKEN.
    """

    where: Placement
    given: Mapping[str, Any] = field(default_factory=dict, repr=False)
    kind: ClassVar[str]
    env_manager: ClassVar[str]
    hint: ClassVar[str]

    @property
    @abc.abstractmethod
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""

    @property
    @abc.abstractmethod
    def place(self) -> str:
        """Where its jobs are, for people."""

    @property
    @abc.abstractmethod
    def watched(self) -> Placement:
        """The part of its placement that is enough to look at existing jobs."""

    @property
    def has_code(self) -> bool:
        """Whether the image holds the project, so that no archive is needed."""
        return False

    @abc.abstractmethod
    def check(self, job_spec: JobSpec) -> None:
        """Raise the error that a submission would meet, as far as known without the cluster."""

    @abc.abstractmethod
    def submit(self, job_spec: JobSpec) -> str:
        """Submit the job; an existing one of that name is taken for it.

        Returns the name by which the job is found from then on; submitted under that name, too, it
        is the same job.
        """

    def instructions(self, job_spec: JobSpec) -> Mapping[str, Any] | None:
        """Return what a job reads from its MLflow run; None where the submission holds all."""
        del job_spec
        return None

    @abc.abstractmethod
    def look(self, name: str) -> JobStatus:
        """Return where a job is; GONE for one that is not there."""

    @abc.abstractmethod
    def cancel(self, name: str) -> None:
        """End a job with its processes; nothing happens to one that is not there."""

    @abc.abstractmethod
    def tail(self, name: str, lines: int) -> list[str]:
        """Return the last lines that the entry point wrote, as far as they are still there."""

    @property
    def tracking_uri(self) -> str:
        """The tracking server as the cluster reaches it: the placement's, or the worker's own.

        Raises:
            ClusterError: if the worker's is of its machine only, or holds a secret.
        """
        worker = os.environ.get("MLFLOW_TRACKING_URI", "")
        parts = urlsplit(worker)
        host, secret = parts.hostname or "", secret_in(worker)
        local = not host or host in {"localhost", "::1"} or host.startswith("127.")
        if self.where.tracking_uri:
            return self.where.tracking_uri
        # databricks://profile names a profile in a file of this machine.
        if _MANAGED in {worker, parts.scheme}:
            return _MANAGED
        if not local and not secret:
            return worker
        why = f"holds {secret}" if secret else "is of this machine only"
        raise ClusterError(
            f"MLFLOW_TRACKING_URI, {redacted(worker) or 'which is empty,'} {why}",
            allowed="an address of the tracking server that the cluster reaches, without "
            "credentials",
            action=f"write it as tracking-uri in backend_config; {self.hint}",
        )

    def clean(self, text: object) -> str:
        """Return a cluster's answer without what opens the cluster, as long as it may be shown."""
        with known(self.secrets):
            return plain(text)[:_SHOWN]

    def unavailable(self, answer: object) -> ClusterUnavailableError:
        """Return the error of a cluster that is silent, or answers with a passing failure."""
        return ClusterUnavailableError(
            f"The cluster of {self.place} does not answer as it should: {self.clean(answer)}",
            allowed="a cluster that answers",
            action="check the cluster; the task may simply be run again",
        )


def pack(folder: Path, checkout: Path, into: Path) -> Path:
    """Write ``project.tar.gz`` of a folder of a checkout into another folder; return the file.

    For one commit it has the same bytes each time. What links of the folder lead to elsewhere in
    the commit is in it as what it is.
    """
    archive = into / _ARCHIVE
    with (
        archive.open("wb") as file,
        # gzip's header would hold the time and the file's name.
        gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as opened,
    ):
        for name, path in entries(folder, checkout, {".git"}):
            opened.add(path, name, recursive=False, filter=_plain)
    return archive


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Take away whose and how old a file is; the checkout is read-only, its copy need not be."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode |= _ENTERABLE if entry.isdir() else _READABLE
    return entry


@dataclass(frozen=True, slots=True)
class Started:
    """A job that was submitted.

    Attributes:
        run_id: The MLflow run.
        job: The job's name.
        commit: Full commit id.
        found: Whether an earlier try had submitted it.
    """

    run_id: str
    job: str
    commit: str
    found: bool = False


@dataclass(frozen=True, slots=True)
class RemoteSteps:
    """Starts, watches and ends remote steps of one tracking server on one cluster.

    Attributes:
        runs: The tracking server's runs.
        client: Its client.
        cluster: The cluster.
        limit: Seconds that a job may take; None for any.
    """

    runs: RunStore
    client: MlflowClient
    cluster: Cluster
    limit: float | None = None

    def start(self, request: StepRequest, source: Source) -> Started:
        """Create the step's MLflow run and its job, or find those of an earlier try.

        Raises:
            ProjectError: if the project cannot run remotely; there is no run then.
            ParameterError: if the parameters do not fit; there is no run then.
            ClusterError: if the cluster refuses the job; the run is FAILED then.
        """
        job_spec = self._job_spec(request, source)
        # Version 0.1 had two more fields in a step; with them its jobs are still found.
        step = {**job_spec.step, "artifact": f"{_FOLDER}/{_ARCHIVE}", "folder": ""}
        pinned, place = source.pinned, self.cluster.place
        digest = key_of(pinned.commit, pinned.subdirectory, place, json.dumps(step))
        earlier = self._earlier(request, digest)
        run = earlier or self._opened(request, pinned, digest)
        run_id = str(run.info.run_id)
        job_spec = replace(job_spec, run_id=run_id, name=run.data.tags[Tag.JOB.value])
        try:
            job = self._place(job_spec, run)
        except BaseException as error:
            # Neither a job nor a run that says RUNNING is left behind.
            ended = "FAILED" if isinstance(error, Exception) else "KILLED"
            with _noted(error):
                self.cluster.cancel(job_spec.name)
            with _noted(error):
                self.runs.end(run_id, ended, str(error) or type(error).__name__)
            raise
        return Started(run_id, job, pinned.commit, found=earlier is not None)

    def mark(self, run_id: str, watched: Watched) -> None:
        """Record on the run whether its job is watched."""
        self.runs.tag(run_id, {Tag.JOB_STATE: watched.value})

    def look(self, run_id: str, job: str) -> JobStatus:
        """Return a job's status; STOPPED where a person ended or deleted its MLflow run."""
        seen = self.cluster.look(job)
        if seen.state.ended:
            return seen
        run = self.runs.get(run_id)
        if run.info.lifecycle_stage == "deleted" or run.info.status == "KILLED":
            return JobStatus(JobState.STOPPED, "its MLflow run was killed or deleted")
        return seen

    def wait(self, started: Started, say: Callable[[str], None]) -> dict[str, Any]:
        """Wait for a job in this process; return the event that a trigger would fire."""
        last = ""
        while not (seen := self.look(started.run_id, started.job)).state.ended:
            # Once for each change: a job waits for a node for minutes.
            if seen.detail != last:
                last = seen.detail
                say(f"{seen.state.value} {last}")
            time.sleep(self.cluster.where.poll_seconds)
        return seen.event(started.run_id, started.job)

    def stop(self, run_id: str, job: str, reason: str) -> None:
        """End a job, and its MLflow run as KILLED, the run first: a next try must not find it."""
        try:
            if self.runs.get(run_id).info.status == "RUNNING":
                self.runs.end(run_id, "KILLED", reason)
        finally:
            if job:
                self.cluster.cancel(job)

    def conclude(self, event: Mapping[str, Any], say: Callable[[str], None]) -> str:
        """Show the last lines of a job that has ended, and end its MLflow run as it did.

        Args:
            event: The end, as ``JobStatus.event`` writes it.
            say: Is given lines for the task's log.

        Returns:
            The run's id.

        Raises:
            ClusterUnavailableError: if the trigger lost sight of the job; the next try finds it.
            StepFailedError: if the job failed, or the entry point ended its own run as FAILED.
            StepStoppedError: if the job was stopped, took too long, or is gone.
        """
        run_id, job = str(event["run_id"]), str(event["job"])
        seen = JobStatus(JobState(event["state"]), event["detail"], event.get("exit_code"))
        if seen.state is JobState.LOST:
            # Marked: by that the next try knows the job for one that may still run.
            self.mark(run_id, Watched.LOST)
            raise ClusterUnavailableError(
                f"Nothing was seen of the job {job} for too long: {seen.detail}",
                allowed="a cluster and a tracking server that the triggerer reaches",
                action="check both; the task's next try goes on with the job",
            )
        # Without an address: a cluster may know our server by another one.
        witness = Witness(run_id)
        for line in self._last_lines(job, seen):
            say(line)
            witness.hear(line)
        run = self.runs.get(run_id)
        # A job that was removed after its end (ttlSecondsAfterFinished) is known by its run only.
        if seen.state is JobState.SUCCEEDED or (
            seen.state is JobState.GONE and run.info.status == "FINISHED"
        ):
            self._finish(run, seen, say)
        elif seen.state is JobState.FAILED:
            self._end(run, "FAILED", seen.detail)
            self._raise_failure(run, seen, witness)
        else:
            self._end(run, "KILLED", seen.detail)
            raise StepStoppedError(
                f"The job of the step is {seen.state.value}: {seen.detail or 'nobody knows why'}",
                allowed="a job that is left to its end, within the task's time-out",
                action="give it more time, or see who removed it; then clear the task",
                run_id=run_id,
            )
        return run_id

    def _last_lines(self, job: str, seen: JobStatus) -> list[str]:
        """Return what is still there; a cluster that lost the log keeps no step from its end."""
        if seen.state in {JobState.GONE, JobState.STOPPED}:
            return []
        try:
            return self.cluster.tail(job, TAIL)
        except UnderstudyError as error:
            return [f"The log of the job could not be read: {error}"]

    def _finish(self, run: Run, seen: JobStatus, say: Callable[[str], None]) -> None:
        """End the run of a job that succeeded; the entry point may have ended it otherwise."""
        if (status := run.info.status) in {"FAILED", "KILLED"}:
            own = f"its run {status}. {run.data.tags.get(Tag.ERROR.value, '')}"
            self._raise_failure(run, JobStatus(seen.state, own, 0), None)
        with tracking_errors():
            listed = self.client.list_artifacts(run.info.run_id)
        logged = [item.path for item in listed if item.path not in {_FOLDER, *OURS}]
        tags = {}
        if is_empty(run, logged) and not self.runs.has_nested(run):
            description = nothing_logged(run.data.tags.get(Tag.ENTRY_POINT.value, ""))
            tags[Tag.DESCRIPTION.value] = description
            say(description)
        given = artifacts.read_note(self.client, run, Tag.PARAMETERS)
        # Only now: MLflow would refuse the program another spelling of a parameter.
        self.runs.log_parameters(run, json.loads(given or "{}"), tags)
        self._end(run, "FINISHED")

    def _raise_failure(self, run: Run, seen: JobStatus, witness: Witness | None) -> None:
        facts = {"run_id": run.info.run_id, "exit_code": seen.exit_code}
        if witness is not None and (advice := witness.advice()):
            raise StepUnfitError(
                f"The job of the step ended: {advice.found}",
                allowed=advice.allowed,
                action=advice.action,
                **facts,
            )
        how = "" if seen.exit_code is None else f" with exit code {seen.exit_code}"
        own = run.data.tags.get(Tag.ERROR.value, "") if witness is not None else ""
        raise StepFailedError(
            f"The job of the step ended{how}: {own or seen.detail or 'the cluster says not why'}",
            allowed="exit code 0",
            action="read the lines above; exit codes 64 and 65 mean that a retry cannot help",
            **facts,
        )

    def _end(self, run: Run, status: str, reason: str = "") -> None:
        known = run.data.tags.get(Tag.ERROR.value, "")
        # A person may have deleted the run meanwhile, and MLflow changes no deleted run.
        if run.info.lifecycle_stage == "active" and (reason or run.info.status != status):
            self.runs.end(run.info.run_id, status, "" if known else reason)
        self.runs.end_nested(run, status)

    # The job spec and the run

    def _job_spec(self, request: StepRequest, source: Source) -> JobSpec:
        _refuse(request, source)
        entry_point = source.project.entry_points[request.entry_point]
        chosen = {
            name: {
                "type": parameter.type,
                "value": projectfile.text(request.parameters.get(name, parameter.default or "")),
            }
            for name, parameter in entry_point.parameters.items()
        }
        step = {"command": entry_point.command, "parameters": chosen}
        if (size := len(json.dumps(step).encode())) > LONGEST_VALUE:
            raise ParameterError(
                f"The parameters take {size} bytes together",
                allowed=f"at most {LONGEST_VALUE} bytes, when the step runs on a cluster",
                action="give the longest as a file, by a parameter of type path",
            )
        job_spec = JobSpec(
            name=_job_name(request),
            project=source.project,
            checkout=source.code,
            commit=source.pinned.commit,
            step=step,
            experiment_id=request.experiment_id,
            limit=self.limit,
        )
        self.cluster.check(job_spec)
        return job_spec

    def _earlier(self, request: StepRequest, digest: str) -> Run | None:
        """Return the run of a job that lost its watcher and does the same; end all others."""
        attempt = request.tags.get(Tag.ATTEMPT_OF.value)
        if not attempt:
            return None
        found = None
        for run in self.runs.search(request.experiment_id, {Tag.ATTEMPT_OF: attempt}, RUNNING):
            tags = run.data.tags
            same = tags.get(Tag.JOB_DIGEST.value) == digest
            # A job that is watched while another try begins: its task was cleared.
            unwatched = tags.get(Tag.JOB_STATE.value) in {*Watched} - {Watched.WATCHED}
            if found is None and same and unwatched:
                found = run
            else:
                job = tags.get(Tag.JOB.value, "")
                self.stop(run.info.run_id, job, "the task was started again")
        return found

    def _opened(self, request: StepRequest, pinned: Pinned, digest: str) -> Run:
        tags = {
            "mlflow.project.backend": self.cluster.kind,
            "mlflow.project.env": self.cluster.env_manager,
            Tag.JOB.value: _job_name(request),
            Tag.JOB_PLACE.value: self.cluster.place,
            # Before the submission: a try that dies during it leaves a run that can be found.
            Tag.JOB_STATE.value: Watched.SUBMITTING.value,
            Tag.JOB_DIGEST.value: digest,
        }
        return self.runs.ensured(run_spec(request, pinned, tags))

    def _place(self, job_spec: JobSpec, run: Run) -> str:
        if not self.cluster.has_code:
            with tempfile.TemporaryDirectory() as folder, tracking_errors():
                archive = pack(job_spec.project.folder, job_spec.checkout, Path(folder))
                store = artifacts_of(self.client, run)
                store.log_artifact(str(archive), _FOLDER)  # type: ignore[no-untyped-call]
        # As a tag, because they become MLflow parameters only at the end; see _finish().
        parameters = job_spec.step["parameters"]
        values = {name: parameter["value"] for name, parameter in parameters.items()}
        note = {Tag.PARAMETERS: json.dumps(values)}
        artifacts.write_long(self.client, run, note)
        self.runs.log_parameters(run, {}, artifacts.as_tags(note))
        if (instructions := self.cluster.instructions(job_spec)) is not None:
            with tracking_errors():
                place = f"{_FOLDER}/{_INSTRUCTIONS}"
                self.client.log_text(job_spec.run_id, json.dumps(instructions), place)
        job = self.cluster.submit(job_spec)
        self.runs.tag(job_spec.run_id, {Tag.JOB: job, Tag.JOB_STATE: Watched.SUBMITTED.value})
        return job


@contextlib.contextmanager
def _noted(error: BaseException) -> Iterator[None]:
    """Add an error that is raised inside as a note to the first one, which is raised."""
    try:
        yield
    except UnderstudyError as second:
        error.add_note(f"Nor could it be undone: {second}")


def _refuse(request: StepRequest, source: Source) -> None:
    if not source.pinned.tree:
        raise ProjectError(
            f"The project is the folder {source.pinned.repository}, which has no commit",
            allowed="a Git repository, when the step runs on a cluster",
            action=f"write file://{source.pinned.repository}, if the folder is one",
        )
    docker = source.project.docker
    if docker is not None and docker.volumes:
        raise ProjectError(
            f"The project's docker_env mounts {', '.join(docker.volumes)} of one machine",
            allowed="a docker_env without volumes, when the step runs on a cluster",
            action="remove them, or mount a cluster's volume in kube-job-template",
        )
    if request.environment:
        raise ParameterError(
            f"The step wants the worker's variables {', '.join(sorted(request.environment))}",
            allowed="no environment=, when the step runs on a cluster",
            action="give the job its variables in kube-job-template, or in new_cluster",
        )


def _job_name(request: StepRequest) -> str:
    """Return the job's name, derived from the step's key: a valid DNS label."""
    # At most 11 + 24 + 1 + 20 characters of the 63 that a label may have (RFC 1123).
    letters = (c if c.isascii() and c.isalnum() else "-" for c in request.entry_point.lower())
    title = "".join(letters)[:24].strip("-") or "step"
    return f"understudy-{title}-{key_of(request.key)[:20]}"
