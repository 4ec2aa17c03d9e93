"""A step that lingers, with a daemon and a child that ignores TERM, on a real Airflow.

The Dags are those of tests/dags/lingering.py.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

_NUMBERS = itertools.count(1)


class Lingering:
    """One run of a Dag with a step that lingers."""

    def __init__(self, installation: Installation, dag_id: str) -> None:
        self.installation, self.dag_id = installation, dag_id
        # The step sleeps for so many seconds: long, whatever the number of this process.
        self.token = f"{100_000 + os.getpid()}.{next(_NUMBERS)}"
        self.run_id = f"run-{self.token}"
        installation.trigger(dag_id, self.run_id, token=self.token)

    def wait_until_up(self, number: int = 3) -> None:
        """Wait until the step and its children run: two sleepers and the shell of one."""
        assert eventually(lambda: len(self.alive()) >= number, 120), self.log()

    def wait_until_up_again(self, before: set[int]) -> None:
        """Wait until the processes of a try are gone, and those of the next are there."""
        assert eventually(lambda: not before & set(self.alive()), 60), self.log()
        self.wait_until_up()

    def alive(self) -> list[int]:
        """Return the processes of the step, found by their command lines."""
        found = subprocess.run(
            ["pgrep", "-f", rf"(sleep |--token=){re.escape(self.token)}([^0-9]|$)"],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(pid) for pid in found.stdout.split()]

    def log(self) -> str:
        """Return the task's log."""
        return self.installation.log(self.dag_id, self.run_id, "linger")

    def task(self) -> dict[str, Any]:
        """Return the task's last try, as Airflow has it."""
        found: dict[str, Any] = self.installation.call("GET", self._path)
        return found

    def mark(self, state: str) -> None:
        """Mark the task as a person does."""
        self.installation.call("PATCH", self._path, new_state=state)

    def stop(self) -> None:
        """Mark the Dag run failed."""
        path = f"dags/{self.dag_id}/dagRuns/{self.run_id}"
        self.installation.call("PATCH", path, state="failed")

    def clear(self) -> None:
        """Clear the task."""
        self.installation.call(
            "POST",
            f"dags/{self.dag_id}/clearTaskInstances",
            dag_run_id=self.run_id,
            task_ids=["linger"],
            dry_run=False,
            only_failed=False,
            reset_dag_runs=True,
        )

    def statuses(self) -> list[str]:
        """Return the statuses of the MLflow runs that this Dag run made, the earliest first."""
        wanted = f"tags.`understudy.dag_run_id` = '{self.run_id}'"
        return [run.info.status for run in self.installation.runs(self.dag_id, wanted)]

    @property
    def _path(self) -> str:
        return f"dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/linger"


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return condition()
