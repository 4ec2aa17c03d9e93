"""The trigger that waits for a job on a cluster, in Airflow's triggerer and in no worker's slot.

It holds names only: started again elsewhere, it goes on as if nothing had happened. Each look is a
short call in a thread, because neither client is asynchronous, and the loop is everybody's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent

from understudy.contract import KUBERNETES
from understudy.errors import UnderstudyError
from understudy.spec.placement import placed

if TYPE_CHECKING:
    from understudy.runner.cluster.remote import JobStatus, RemoteSteps

PATIENCE_S: Final = 600.0
"""For so long nothing needs to be seen of the job; after that the event says LOST."""


class RemoteStepTrigger(BaseTrigger):
    """Waits for the end of a job, cancels it when its time is over or a person stops the task.

    Args:
        backend: Which kind of cluster.
        placement: Fields of that backend's placement, as :mod:`understudy.spec.placement` has them.
        run_id: The MLflow run.
        job: The job's name.
        deadline: When the job is cancelled, in seconds since the epoch; None for never.
    """

    def __init__(
        self,
        *,
        placement: Mapping[str, Any],
        run_id: str,
        job: str,
        deadline: float | None,
        backend: str = KUBERNETES,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.backend, self.placement = backend, dict(placement)
        self.run_id, self.job = run_id, job
        self.deadline = deadline
        self._said = ""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger again; nothing in it is secret."""
        fields = ("backend", "placement", "run_id", "job", "deadline")
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in fields}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire one event, when the job has ended."""
        seen = await self._wait()
        yield TriggerEvent(seen.event(self.run_id, self.job))  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """End the job and its MLflow run: the task was cleared or marked while it waited."""
        # Airflow calls this since 3.3.
        steps = await self._steps()
        reason = "the task was cleared or marked in Airflow"
        await asyncio.to_thread(steps.stop, self.run_id, self.job, reason)

    async def _wait(self) -> JobStatus:
        from understudy.runner.cluster.remote import JobState, JobStatus, Watched

        seen_at, steps = time.monotonic(), None
        while True:
            # Connecting is tried in the loop as well: a trigger that starts while the server is
            # away is as patient as one that has seen the job before.
            try:
                if steps is None:
                    connected = await self._steps()
                    # Says that the job is cared for: a next try then means that the task was
                    # cleared. Only after that the connection counts, so that no look goes unmarked.
                    await asyncio.to_thread(connected.mark, self.run_id, Watched.WATCHED)
                    steps = connected
                seen = await asyncio.to_thread(self._look, steps)
                seen_at = time.monotonic()
            except Exception as error:  # noqa: BLE001 -- a raise would lose sight of a live job
                # The text of a foreign error may hold an address with a password; ours do not.
                known = isinstance(error, UnderstudyError)
                reason = str(error) if known else type(error).__name__
                self.log.warning("No sight of the job %s: %s", self.job, reason)
                if time.monotonic() - seen_at > PATIENCE_S:
                    return JobStatus(JobState.LOST, reason)
            else:
                if seen.state.ended:
                    return seen
            await asyncio.sleep(float(self.placement["poll_seconds"]))

    def _look(self, steps: RemoteSteps) -> JobStatus:
        """Return where the job is; what is too late or was stopped in MLflow is cancelled."""
        from understudy.runner.cluster.remote import TAIL, JobState, JobStatus

        seen = steps.look(self.run_id, self.job)
        late = not seen.state.ended and self.deadline is not None and time.time() > self.deadline
        if late:
            seen = JobStatus(JobState.TIMED_OUT, "it took longer than the task's time-out")
        if late or seen.state is JobState.STOPPED:
            # The log goes with the job, so that it is shown before.
            for line in steps.cluster.tail(self.job, TAIL):
                self.log.info("%s", line)
            steps.cluster.cancel(self.job)
        elif seen.detail and seen.detail != self._said:
            self._said = seen.detail
            self.log.info("The job %s is %s: %s", self.job, seen.state.value, seen.detail)
        return seen

    async def _steps(self) -> RemoteSteps:
        from understudy.airflow.connections import cluster_of_async, use_connection_async
        from understudy.runner.cluster.remote import RemoteSteps
        from understudy.store import tracking
        from understudy.store.tracking import RunStore

        await use_connection_async()
        cluster = await cluster_of_async(placed(self.backend, self.placement))
        client = await asyncio.to_thread(tracking.client)
        return RemoteSteps(RunStore(client), client, cluster)
