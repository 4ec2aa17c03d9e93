"""Runs steps on a cluster: creates the MLflow run, submits or finds the job, records its end.

Nothing here waits. All that is known of a job is on its MLflow run: which job it is, where, and
whether a task watches it. The submitting process may die at any instruction: the next try finds the
run by its tags, and submits under the same name, which makes no second job.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from understudy.contract import Tag, key_of
from understudy.errors import (
    ParameterError,
    ProjectError,
    StepFailedError,
    StepStoppedError,
    StepUnfitError,
    UnderstudyError,
)
from understudy.runner import projectfile
from understudy.runner.cluster.clusters import ARCHIVE, pack
from understudy.runner.process.habits import Advice, Witness, is_empty, nothing_logged
from understudy.runner.projectfile import LONGEST_VALUE, ProjectFile
from understudy.runner.reuse.outputs import OURS
from understudy.store import artifacts
from understudy.store.artifacts import artifacts_of
from understudy.store.tracking import RUNNING, RunSpec, RunStore, tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from understudy.runner.step import Pinned, Source, StepRequest
    from understudy.spec.placement import Placement

ARTIFACT_FOLDER: Final = "code"
"""Artifact folder of the step's run with the packed project."""
INSTRUCTIONS: Final = "step.json"
"""File beside it with a job's instructions, where the submission cannot hold them."""


class JobState(StrEnum):
    """The state of a job; each cluster's states are mapped to these."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    STOPPED = "STOPPED"
    GONE = "GONE"

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


UNWATCHED: Final = frozenset({Watched.SUBMITTING, Watched.SUBMITTED, Watched.LOST})
"""A job that nobody watches lost its watcher: the next try goes on with it."""


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

    def to_dict(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> JobStatus:
        """Return the status that ``to_dict`` was called on."""
        return cls(**{**values, "state": JobState(values["state"])})


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job to run on a cluster.

    Attributes:
        name: Of the job: the same step always has the same.
        project: The MLproject.
        checkout: The folder of the whole checkout that it lies in.
        commit: Full commit id.
        step: The input of ``pod_entry_point``, as JSON values.
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


class Cluster(Protocol):
    """What can run jobs. Each call is one short exchange, and raises ClusterError.

    Attributes:
        kind: The backend's name.
        env_manager: What makes the environment there, in MLflow's words.
    """

    kind: ClassVar[str]
    env_manager: ClassVar[str]

    @property
    def place(self) -> str:
        """Where its jobs are, for people."""

    @property
    def watched(self) -> Placement:
        """The part of its placement that is enough to look at existing jobs."""

    @property
    def has_code(self) -> bool:
        """Whether the image holds the project, so that no archive is needed."""

    def check(self, job_spec: JobSpec) -> None:
        """Raise the error that a submission would meet, as far as known without the cluster."""

    def submit(self, job_spec: JobSpec) -> str:
        """Submit the job; an existing one of that name is taken for it.

        Returns the name by which the job is found from then on; submitted under that name, too, it
        is the same job.
        """

    def instructions(self, job_spec: JobSpec) -> Mapping[str, Any] | None:
        """Return what a job reads from its MLflow run; None where the submission holds all."""

    def look(self, name: str) -> JobStatus:
        """Return where a job is; GONE for one that is not there."""

    def cancel(self, name: str) -> None:
        """End a job with its processes; nothing happens to one that is not there."""

    def tail(self, name: str, lines: int) -> list[str]:
        """Return the last lines that the entry point wrote, as far as they are still there."""


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
    """Starts and ends remote steps of one tracking server on one cluster."""

    runs: RunStore
    client: MlflowClient
    cluster: Cluster
    limit: float | None = field(default=None)

    def start(self, request: StepRequest, source: Source) -> Started:
        """Create the step's MLflow run and its job, or find those of an earlier try.

        Raises:
            ProjectError: if the project cannot run remotely; there is no run then.
            ParameterError: if the parameters do not fit; there is no run then.
            ClusterError: if the cluster refuses the job; the run is FAILED then.
        """
        job_spec = self._job_spec(request, source)
        pinned, step = source.pinned, json.dumps(job_spec.step)
        digest = key_of(pinned.commit, pinned.subdirectory, self.cluster.place, step)
        earlier = self._earlier(request, digest)
        run = self._open(request, pinned, digest, earlier)
        run_id = str(run.info.run_id)
        job_spec = replace(job_spec, run_id=run_id, name=run.data.tags[Tag.JOB.value])
        try:
            job = self._place(job_spec, run)
        except BaseException as error:
            self._undo(job_spec, error)
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

    def stop(self, run_id: str, job: str, reason: str) -> None:
        """End a job, and its MLflow run as KILLED, the run first: a next try must not find it."""
        try:
            if self.runs.get(run_id).info.status == "RUNNING":
                self.runs.end(run_id, "KILLED", reason)
        finally:
            if job:
                self.cluster.cancel(job)

    def conclude(self, run_id: str, seen: JobStatus, lines: Iterable[str] = ()) -> str:
        """End the MLflow run of a job that has ended as the job did; return a line for its log.

        Args:
            run_id: The run.
            seen: How the job ended.
            lines: The last lines of its output.

        Raises:
            StepFailedError: if the job failed, or the entry point ended its own run as FAILED.
            StepStoppedError: if the job was stopped, took too long, or is gone.
        """
        run = self.runs.get(run_id)
        status, own = run.info.status, run.data.tags.get(Tag.ERROR.value, "")
        # A job that was removed after its end (ttlSecondsAfterFinished) is known by its run only.
        if seen.state is JobState.SUCCEEDED or (
            seen.state is JobState.GONE and status == "FINISHED"
        ):
            if status in {"FAILED", "KILLED"}:
                raise _failed(run_id, replace(seen, detail=f"its run {status}. {own}"), 0)
            given = artifacts.read_note(self.client, run, Tag.PARAMETERS)
            description = self._nothing_logged(run)
            tags = {Tag.DESCRIPTION.value: description} if description else {}
            # Only now: MLflow would refuse the program another spelling of a parameter.
            self.runs.log_parameters(run, json.loads(given or "{}"), tags)
            self._end(run, "FINISHED")
            return description
        if seen.state is JobState.FAILED:
            self._end(run, "FAILED", seen.detail)
            # Without an address: a cluster may know our server by another one.
            witness = Witness(run_id)
            for line in lines:
                witness.hear(line)
            if advice := witness.advice():
                raise _unfit(run_id, seen, advice)
            raise _failed(run_id, replace(seen, detail=own or seen.detail), seen.exit_code)
        self._end(run, "KILLED", seen.detail)
        raise _stopped(run_id, seen)

    def _nothing_logged(self, run: Run) -> str:
        """Return the description of a run to which nothing was logged; '' for any other."""
        ours = {ARTIFACT_FOLDER, *OURS}
        with tracking_errors():
            listed = self.client.list_artifacts(run.info.run_id)
        logged = [item.path for item in listed if item.path not in ours]
        name = run.data.tags.get(Tag.ENTRY_POINT.value, "")
        return nothing_logged(name) if is_empty(run, logged) else ""

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
        job_spec = JobSpec(
            name=_job_name(request),
            project=source.project,
            checkout=source.code,
            commit=source.pinned.commit,
            step={
                "command": entry_point.command,
                "parameters": chosen,
                "artifact": f"{ARTIFACT_FOLDER}/{ARCHIVE}",
                "folder": "",
            },
            experiment_id=request.experiment_id,
            limit=self.limit,
        )
        _refuse_long(job_spec)
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
            if found is None and same and tags.get(Tag.JOB_STATE.value) in UNWATCHED:
                found = run
            else:
                job = tags.get(Tag.JOB.value, "")
                self.stop(run.info.run_id, job, "the task was started again")
        return found

    def _open(self, request: StepRequest, pinned: Pinned, digest: str, earlier: Run | None) -> Run:
        from understudy.runner.run_spec import source_tags

        if earlier is not None:
            return earlier
        spec = RunSpec(
            experiment_id=request.experiment_id,
            key=request.key,
            name=request.name,
            tags={
                **source_tags(request, pinned),
                "mlflow.project.backend": self.cluster.kind,
                "mlflow.project.env": self.cluster.env_manager,
                Tag.JOB.value: _job_name(request),
                Tag.JOB_PLACE.value: self.cluster.place,
                # Before the submission: a try that dies during it leaves a run that can be found.
                Tag.JOB_STATE.value: Watched.SUBMITTING.value,
                Tag.JOB_DIGEST.value: digest,
                **request.tags,
            },
            parent_run_id=request.parent_run_id,
        )
        return self.runs.ensured(spec)

    def _place(self, job_spec: JobSpec, run: Run) -> str:
        if not self.cluster.has_code:
            with tempfile.TemporaryDirectory() as folder, tracking_errors():
                archive = pack(job_spec.project.folder, job_spec.checkout, Path(folder))
                store = artifacts_of(self.client, run)
                store.log_artifact(str(archive), ARTIFACT_FOLDER)  # type: ignore[no-untyped-call]
        # As a tag, because they become MLflow parameters only at the end; see conclude().
        parameters = job_spec.step["parameters"]
        values = {name: parameter["value"] for name, parameter in parameters.items()}
        note = {Tag.PARAMETERS: json.dumps(values)}
        artifacts.write_long(self.client, run, note)
        self.runs.log_parameters(run, {}, artifacts.as_tags(note))
        if (instructions := self.cluster.instructions(job_spec)) is not None:
            with tracking_errors():
                place = f"{ARTIFACT_FOLDER}/{INSTRUCTIONS}"
                self.client.log_text(job_spec.run_id, json.dumps(instructions), place)
        job = self.cluster.submit(job_spec)
        self.runs.tag(job_spec.run_id, {Tag.JOB: job, Tag.JOB_STATE: Watched.SUBMITTED.value})
        return job

    def _undo(self, job_spec: JobSpec, error: BaseException) -> None:
        """Leave neither job nor RUNNING run behind."""
        ended = "FAILED" if isinstance(error, Exception) else "KILLED"
        with _noted(error):
            self.cluster.cancel(job_spec.name)
        with _noted(error):
            self.runs.end(job_spec.run_id, ended, str(error) or type(error).__name__)


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


def _refuse_long(job_spec: JobSpec) -> None:
    size = len(json.dumps(job_spec.step).encode())
    if size > LONGEST_VALUE:
        raise ParameterError(
            f"The parameters take {size} bytes together",
            allowed=f"at most {LONGEST_VALUE} bytes, when the step runs on a cluster",
            action="give the longest as a file, by a parameter of type path",
        )


def _job_name(request: StepRequest) -> str:
    """Return the job's name, derived from the step's key: a valid DNS label."""
    # At most 11 + 24 + 1 + 20 characters of the 63 that a label may have (RFC 1123).
    letters = (c if c.isascii() and c.isalnum() else "-" for c in request.entry_point.lower())
    title = "".join(letters)[:24].strip("-") or "step"
    return f"understudy-{title}-{key_of(request.key)[:20]}"


def _failed(run_id: str, seen: JobStatus, exit_code: int | None) -> StepFailedError:
    how = "" if exit_code is None else f" with exit code {exit_code}"
    return StepFailedError(
        f"The job of the step ended{how}: {seen.detail or 'the cluster does not say why'}",
        allowed="exit code 0",
        action="read the lines above; exit codes 64 and 65 mean that a retry cannot help",
        run_id=run_id,
        exit_code=exit_code,
    )


def _unfit(run_id: str, seen: JobStatus, advice: Advice) -> StepUnfitError:
    return StepUnfitError(
        f"The job of the step ended: {advice.found}",
        allowed=advice.allowed,
        action=advice.action,
        run_id=run_id,
        exit_code=seen.exit_code,
    )


def _stopped(run_id: str, seen: JobStatus) -> StepStoppedError:
    return StepStoppedError(
        f"The job of the step is {seen.state.value}: {seen.detail or 'nobody knows why'}",
        allowed="a job that is left to its end, within the task's time-out",
        action="give it more time, or see who removed it; then clear the task",
        run_id=run_id,
    )
