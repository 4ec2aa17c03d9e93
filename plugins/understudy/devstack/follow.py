"""Follows the runs of one Dag while the scheduler works, and tells each change as it happens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from understudy.devstack.airflow_api import FINISHED, AirflowApi, Json, moment
from understudy.devstack.processes import StackError
from understudy.devstack.progress import ProgressLines
from understudy.devstack.readiness import LOG_LINES

STALL = 900.0
"""Seconds without any change after which the waiting is given up."""
_STEP = 1.0
_TOLD = frozenset({"failed", "skipped", "success", "up_for_retry", "upstream_failed"})


@dataclass
class RunFollower:
    """Tells what becomes of the runs of one Dag, until the schedule has no more of them.

    Attributes:
        api: A client of the running Airflow.
        dag_id: The Dag.
        progress: Where changes are told.
        expected: At least this many runs have to appear.
    """

    api: AirflowApi
    dag_id: str
    progress: ProgressLines
    expected: int
    _tasks: dict[tuple[str, str, int, int], str] = field(default_factory=dict)
    _ended: dict[str, Json] = field(default_factory=dict)
    _changed: float = field(default_factory=time.monotonic)

    def to_the_end(self) -> list[Json]:
        """Returns the Dag's runs, all of them finished.

        Raises:
            StackError: a run failed, nothing changed for too long, or Airflow is away.
        """
        try:
            while not self._look():
                if time.monotonic() - self._changed > STALL:
                    raise self._stalled()
                time.sleep(_STEP)
        except httpx.TransportError as error:
            raise StackError(
                f"Airflow stopped answering ({error})",
                allowed="a stack that keeps running until the demo is over",
                action="look into the log of the api-server, then run make demo again",
            ) from error
        return list(self._ended.values())

    def _look(self) -> bool:
        runs = self.api.dag_runs(self.dag_id)
        for run in runs:
            if run["dag_run_id"] not in self._ended and run["state"] != "queued":
                self._look_at(run)
        enough = len(self._ended) == len(runs) >= self.expected
        return enough and self.api.dag(self.dag_id)["next_dagrun_run_after"] is None

    def _look_at(self, run: Json) -> None:
        instances = self.api.task_instances(self.dag_id, run["dag_run_id"])
        for instance in sorted(instances, key=lambda one: one["end_date"] or ""):
            self._tell_task(run, instance)
        if run["state"] in FINISHED:
            self._ended[run["dag_run_id"]] = run
            self._tell_end(run, instances)

    def _tell_task(self, run: Json, instance: Json) -> None:
        run_id, task = run["dag_run_id"], instance["task_id"]
        key = (run_id, task, instance["map_index"], instance["try_number"])
        state = instance["state"] or "none"
        if self._tasks.get(key) == state:
            return
        self._tasks[key], self._changed = state, time.monotonic()
        if state in _TOLD:
            took = f"{instance['duration']:.1f} s" if instance["duration"] else ""
            index = f"[{instance['map_index']}]" if instance["map_index"] >= 0 else ""
            self.progress.say(f"  {night_of(run)}  {task + index:28} {state:12} {took}".rstrip())

    def _tell_end(self, run: Json, instances: Sequence[Json]) -> None:
        start, end = moment(run["start_date"]), moment(run["end_date"])
        took = f" after {(end - start).total_seconds():.1f} s" if start and end else ""
        self.progress.say(f"night {night_of(run)} ended: {run['state']}{took}")
        self._changed = time.monotonic()
        if run["state"] == "failed":
            raise self._failed(run, instances)

    def _failed(self, run: Json, instances: Sequence[Json]) -> StackError:
        failed = [instance for instance in instances if instance["state"] == "failed"]
        logs = "\n".join(self._end_of_log(instance) for instance in failed)
        return StackError(
            f"The night {night_of(run)} of {self.dag_id} failed.\n{logs}\n",
            allowed="nights that end in success",
            action="read the whole log in Airflow's pages; the stack is still running",
        )

    def _end_of_log(self, instance: Json) -> str:
        lines = "\n".join(self.api.task_log(instance)).splitlines()[-LOG_LINES:]
        title = f"  The end of the log of {instance['task_id']}, try {instance['try_number']}:"
        return "\n".join([title, *(f"    {line}" for line in lines)])

    def _stalled(self) -> StackError:
        return StackError(
            f"Nothing has changed in {self.dag_id} for {STALL:.0f} s; "
            f"{len(self._ended)} nights have ended",
            allowed=f"{self.expected} nights or more, each with some progress in that time",
            action="look into the log of the scheduler; the stack is still running",
        )


def night_of(run: Json) -> str:
    """The day of a Dag run's logical date."""
    return str(run["logical_date"] or run["run_after"])[:10]
