"""Steps that are ended from outside, on a real Airflow: nothing of them stays, and MLflow knows.

Each step has a daemon and a child that ignores TERM. Both kinds of steps are tested: a program that
a forkserver runs, and a command that a shell runs. ``make bench BENCH=faults`` does the same, and
more, many times over.
"""

from __future__ import annotations

import itertools
import os
import signal
from typing import TYPE_CHECKING

import pytest
from tests.fixtures.lingering_step import Lingering
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.fixtures.airflow import Installation

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("waits for Airflow to notice each of ten ends"),
]

ENDS: dict[str, Callable[[Lingering], None]] = {
    "failed": lambda step: step.mark("failed"),
    "success": lambda step: step.mark("success"),
    "run stopped": lambda step: step.stop(),
}
CASES = list(itertools.product(("linger_program", "linger_shell"), ENDS))


@pytest.fixture(scope="module")
def begun(installation: Installation) -> Mapping[tuple[str, str], Lingering]:
    """Begin the steps that a person ends, all at once: they start while the first is ended."""
    return {(dag_id, end): Lingering(installation, dag_id) for dag_id, end in CASES}


@pytest.mark.parametrize(("dag_id", "end"), CASES)
def test_what_a_person_ends_is_gone(
    begun: Mapping[tuple[str, str], Lingering], dag_id: str, end: str
) -> None:
    """Marked failed or successful, or its Dag run stopped: no process, and the run KILLED."""
    step = begun[dag_id, end]
    step.wait_until_up()
    ENDS[end](step)
    assert eventually(lambda: not step.alive(), 20), step.alive()
    assert eventually(lambda: step.statuses() == ["KILLED"], 20), step.statuses()


def test_a_cleared_task_begins_anew(installation: Installation) -> None:
    """The first try is gone before it can meet the second."""
    step = Lingering(installation, "linger_program")
    step.wait_until_up()
    before = set(step.alive())
    step.clear()
    step.wait_until_up_again(before)
    assert step.statuses() == ["KILLED", "RUNNING"]
    step.mark("failed")
    assert eventually(lambda: not step.alive(), 20), step.alive()
    assert eventually(lambda: step.statuses() == ["KILLED", "KILLED"], 20), step.statuses()


def test_a_step_that_takes_too_long_is_ended(installation: Installation) -> None:
    """By Airflow's time-out."""
    step = Lingering(installation, "linger_timed")
    assert installation.wait("linger_timed", step.run_id) == "failed"
    assert not step.alive()
    assert step.statuses() == ["KILLED"]


def test_a_killed_task_process_takes_its_step_with_it(installation: Installation) -> None:
    """Kill -9: the supervisor ends the step, the next try ends the MLflow run."""
    step = Lingering(installation, "linger_again")
    step.wait_until_up()
    before = set(step.alive())
    os.kill(step.task()["pid"], signal.SIGKILL)
    step.wait_until_up_again(before)
    assert step.statuses() == ["KILLED", "RUNNING"]
    step.mark("failed")
    assert eventually(lambda: step.statuses() == ["KILLED", "KILLED"], 20), step.statuses()
    assert eventually(lambda: not step.alive(), 20), step.alive()
