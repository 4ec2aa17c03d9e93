"""One task's job on a cluster, as a worker sees it: begun, handed to the trigger, concluded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from understudy.airflow.connections import cluster_of
from understudy.airflow.remote_trigger import LOST, RemoteStepTrigger
from understudy.contract import Tag
from understudy.errors import ClusterUnavailableError, UnderstudyError
from understudy.runner.cluster.remote import (
    Cluster,
    JobState,
    JobStatus,
    RemoteSteps,
    Started,
    Watched,
)
from understudy.spec.pipeline import NightSpec
from understudy.spec.placement import Placement, placement

if TYPE_CHECKING:
    from mlflow.entities import Run

    from understudy.airflow.services import Services
    from understudy.runner.step import Source, StepRequest

TAIL: Final = 200
"""Lines of a job's log that the task's log shows."""


@dataclass
class RemoteTask:
    """The job of one try of a task.

    Attributes:
        where: What the pipeline says of the cluster.
        cluster: The cluster.
        steps: What starts and ends steps there.
        started: The job, as soon as there is one.
    """

    where: Placement
    cluster: Cluster
    steps: RemoteSteps
    started: Started | None = None

    @classmethod
    def of(cls, services: Services, where: Placement | None, limit: timedelta | None) -> RemoteTask:
        """Return a task's job that may take so long."""
        if where is None:
            raise TypeError("where is None: the step runs on the worker")
        cluster = cluster_of(where)
        seconds = None if limit is None else limit.total_seconds()
        return cls(where, cluster, RemoteSteps(services.runs, services.client, cluster, seconds))

    def start(self, request: StepRequest, source: Source) -> Started:
        """Have the MLflow run and the job; raises what RemoteSteps.start does."""
        self.started = self.steps.start(request, source)
        return self.started

    def log_arguments(self, started: Started) -> tuple[str, str, str]:
        """Return what a log line says of the job: how it came about, its name, where it is."""
        what = "Found again, from an earlier try," if started.found else "Submitted"
        return what, started.job, self.cluster.place

    def trigger(self) -> RemoteStepTrigger:
        """Return what waits for the job; nothing in it is secret."""
        started, limit = self._job(), self.steps.limit
        return RemoteStepTrigger(
            backend=self.cluster.kind,
            placement=asdict(self.cluster.watched),
            run_id=started.run_id,
            job=started.job,
            deadline=None if limit is None else time.time() + limit,
        )

    def wait(self, log_line: Callable[[str], None]) -> dict[str, Any]:
        """Wait for the job in this process; return the event that a trigger would fire."""
        started, last = self._job(), ""
        while True:
            seen = self.steps.look(started.run_id, started.job)
            # Once for each change: a job waits for a node for minutes.
            if seen.detail != last:
                last = seen.detail
                log_line(f"{seen.state.value} {last}")
            if seen.state.ended:
                return {"run_id": started.run_id, "job": started.job, **seen.to_dict()}
            time.sleep(self.where.poll_seconds)

    def conclude(self, event: Mapping[str, Any], log_line: Callable[[str], None]) -> str:
        """Show the job's last lines and end its MLflow run; return the run's id.

        Raises:
            ClusterUnavailableError: if the trigger lost sight of the job; the next try finds it.
            UnderstudyError: what RemoteSteps.conclude raises.
        """
        facts = dict(event)
        run_id, job = str(facts.pop("run_id")), str(facts.pop("job"))
        if facts["state"] == LOST:
            # Marked: by that the next try knows the job for one that may still run.
            self.steps.mark(run_id, Watched.LOST)
            raise ClusterUnavailableError(
                f"Nothing was seen of the job {job} for too long: {facts['detail']}",
                allowed="a cluster and a tracking server that the triggerer reaches",
                action="check both; the task's next try goes on with the job",
            )
        seen = JobStatus.of(facts)
        lines = self._lines(job, seen)
        for line in lines:
            log_line(line)
        if words := self.steps.conclude(run_id, seen, lines):
            log_line(words)
        return run_id

    def stop(self) -> None:
        """End the job, if there is one, and its MLflow run."""
        if self.started is not None:
            reason = "the task was stopped"
            self.steps.stop(self.started.run_id, self.started.job, reason)

    def _lines(self, job: str, seen: JobStatus) -> list[str]:
        """Return what is still there; a cluster that lost the log keeps no step from its end."""
        if seen.state in {JobState.GONE, JobState.STOPPED}:
            return []
        try:
            return self.cluster.tail(job, TAIL)
        except UnderstudyError as error:
            return [f"The log of the job could not be read: {error}"]

    def _job(self) -> Started:
        if self.started is None:
            raise TypeError("started is None: there is no job yet")
        return self.started


def cancel_job(
    services: Services, spec: NightSpec, log_line: Callable[[str], None], run: Run
) -> None:
    """Cancel the job of a run that nobody waits for, where it has one on a pipeline's cluster."""
    # Only a job in the very place that this pipeline names: on another cluster the same id may be
    # somebody else's job.
    where, job = placement(spec.backend, spec.backend_config), run.data.tags.get(Tag.JOB.value)
    if where is not None and job:
        cluster = RemoteTask.of(services, where, None).cluster
        if run.data.tags.get(Tag.JOB_PLACE.value) == cluster.place:
            log_line(f"Cancelling the job {job}, for which nobody waits")
            cluster.cancel(job)
