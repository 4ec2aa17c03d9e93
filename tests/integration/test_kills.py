"""Steps that are ended from outside, on a real Airflow: nothing of them stays, and MLflow knows.

Each step has a daemon and a child that ignores TERM. Both kinds of steps are tested: a program that
a forkserver runs, and a command that a shell runs.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Installation

pytestmark = pytest.mark.integration

_NUMBERS = itertools.count(1)


class Lingering:
    """One run of a Dag with a step that lingers."""

    def __init__(self, installation: Installation, dag_id: str) -> None:
        self.installation, self.dag_id = installation, dag_id
        self.token = f"{os.getpid()}.{next(_NUMBERS)}"
        self.run_id = f"run-{self.token}"
        installation.trigger(dag_id, self.run_id, token=self.token)

    def wait_until_up(self, number: int = 3) -> None:
        """Wait until the step and its children run: two sleepers and the shell of one."""
        assert eventually(lambda: len(self.alive()) >= number, 120), self.log()

    def alive(self) -> list[int]:
        """Return the processes of the step, found by their command lines."""
        found = subprocess.run(
            ["pgrep", "-f", rf"sleep {self.token}|--token={self.token}"],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(pid) for pid in found.stdout.split()]

    def log(self) -> str:
        """Return the task's log."""
        return self.installation.log(self.dag_id, self.run_id, "linger")

    def patch_task(self, state: str) -> None:
        """Mark the task as a person does."""
        path = f"dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/linger"
        self.installation.call("PATCH", path, new_state=state)

    def statuses(self) -> list[str]:
        """Return the statuses of the MLflow runs that this Dag run made, the earliest first."""
        wanted = f"tags.`understudy.dag_run_id` = '{self.run_id}'"
        return [run.info.status for run in self.installation.runs(self.dag_id, wanted)]


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return condition()


def fail(step: Lingering) -> None:
    """Mark the task failed."""
    step.patch_task("failed")


def succeed(step: Lingering) -> None:
    """Mark the task successful."""
    step.patch_task("success")


def stop_run(step: Lingering) -> None:
    """Mark the Dag run failed."""
    path = f"dags/{step.dag_id}/dagRuns/{step.run_id}"
    step.installation.call("PATCH", path, state="failed")


@pytest.mark.parametrize("dag_id", ["linger_program", "linger_shell"])
@pytest.mark.parametrize("end", [fail, succeed, stop_run])
def test_what_a_person_ends_is_gone(
    installation: Installation, dag_id: str, end: Callable[[Lingering], None]
) -> None:
    """Marked failed or successful, or its Dag run stopped: no process, and the run KILLED."""
    step = Lingering(installation, dag_id)
    step.wait_until_up()
    end(step)
    assert eventually(lambda: not step.alive(), 20), step.alive()
    assert eventually(lambda: step.statuses() == ["KILLED"], 20), step.statuses()


def test_a_cleared_task_begins_anew(installation: Installation) -> None:
    """The first try is gone before it can meet the second."""
    step = Lingering(installation, "linger_program")
    step.wait_until_up()
    before = set(step.alive())
    installation.call(
        "POST",
        "dags/linger_program/clearTaskInstances",
        dag_run_id=step.run_id,
        task_ids=["linger"],
        dry_run=False,
        only_failed=False,
        reset_dag_runs=True,
    )
    assert eventually(lambda: not before & set(step.alive()), 20)
    step.wait_until_up()
    assert step.statuses() == ["KILLED", "RUNNING"]
    step.patch_task("failed")
    assert eventually(lambda: not step.alive(), 20), step.alive()
    assert eventually(lambda: step.statuses() == ["KILLED", "KILLED"], 20), step.statuses()


def test_a_step_that_takes_too_long_is_ended(installation: Installation) -> None:
    """By Airflow's time-out."""
    step = Lingering(installation, "linger_timed")
    assert installation.wait("linger_timed", step.run_id) == "failed"
    assert not step.alive()
    assert step.statuses() == ["KILLED"]


def test_a_killed_task_process_takes_its_step_with_it(installation: Installation) -> None:
    """Kill -9: the guardian ends the step, the next try ends the MLflow run."""
    step = Lingering(installation, "linger_again")
    step.wait_until_up()
    path = f"dags/linger_again/dagRuns/{step.run_id}/taskInstances/linger"
    before = set(step.alive())
    os.kill(installation.call("GET", path)["pid"], signal.SIGKILL)
    assert eventually(lambda: not before & set(step.alive()), 20)
    step.wait_until_up()
    assert step.statuses() == ["KILLED", "RUNNING"]
    step.patch_task("failed")
    assert eventually(lambda: step.statuses() == ["KILLED", "KILLED"], 20), step.statuses()
    assert eventually(lambda: not step.alive(), 20), step.alive()


def test_a_killed_scheduler_leaves_no_step_behind(installation: Installation) -> None:
    """Its task goes on without it; started again, Airflow runs the step anew, and only that."""
    step = Lingering(installation, "linger_again")
    step.wait_until_up()
    before = set(step.alive())
    installation.kill("scheduler")
    installation.up()
    assert eventually(lambda: not before & set(step.alive()), 60)
    assert eventually(lambda: step.statuses()[:1] == ["KILLED"], 120), step.statuses()
    step.patch_task("failed")
    assert eventually(lambda: not step.alive(), 30)
    assert eventually(lambda: "RUNNING" not in step.statuses(), 30), step.statuses()
