"""Servers that die in mid-night, on a stack of its own: the tracking server, and the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.fixtures.lingering_step import Lingering
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("starts an Airflow of its own, and waits until others notice what has died"),
]


def test_a_tracking_server_that_goes_away_fails_the_night_and_the_next_one_cleans_up(
    installation_to_break: Installation,
) -> None:
    """Killed in mid-night: the task says what to check; afterwards nothing stays RUNNING."""
    installation = installation_to_break
    installation.trigger("raced", "cut", force=True)
    installation.wait_for_task("raced", "cut", "pin", {"success"})
    installation.kill("mlflow")
    assert installation.wait("raced", "cut") == "failed"
    failed = [
        task for task, state in installation.tasks("raced", "cut").items() if state == "failed"
    ]
    log = installation.log("raced", "cut", failed[0])
    assert "The MLflow tracking server did not answer as it should" in log
    assert "Next: check the server" in log
    installation.trigger("raced", "without")
    assert installation.wait("raced", "without") == "failed"
    assert "did not answer" in installation.log("raced", "without", "pin")
    installation.up()
    installation.trigger("raced", "after", force=True)
    assert installation.wait("raced", "after") == "success"
    installation.check_ended("raced")
    assert installation.nights("raced")[-1]["understudy.outcome"] == "PROMOTED"


def test_a_killed_scheduler_leaves_no_step_behind(installation_to_break: Installation) -> None:
    """Its task goes on without it; started again, Airflow runs the step anew, and only that."""
    installation = installation_to_break
    step = Lingering(installation, "linger_again")
    step.wait_until_up()
    before = set(step.alive())
    installation.kill("scheduler")
    installation.up()
    # Airflow waits half a minute for the heart of the dead one before it takes its tasks over.
    assert eventually(lambda: not before & set(step.alive()), 180)
    assert eventually(lambda: step.statuses()[:1] == ["KILLED"], 120), step.statuses()
    step.mark("failed")
    assert eventually(lambda: not step.alive(), 30)
    assert eventually(lambda: "RUNNING" not in step.statuses(), 30), step.statuses()
