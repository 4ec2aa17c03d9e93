"""The time of a night: what its tick sees, and a run by hand when the schedule is over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = pytest.mark.integration

TICK = "2026-01-02T00:00:00+00:00"


def test_a_tick_sees_its_rows_and_a_hand_is_obeyed_after_the_end(
    installation: Installation,
) -> None:
    """The logical date is the day before the tick; Airflow's form sends one that is now."""
    installation.unpause("ticking")
    assert installation.wait("ticking", f"scheduled__{TICK}") == "success"
    run = installation.run("ticking", f"scheduled__{TICK}")
    assert run["logical_date"].startswith("2026-01-01T00:00:00")
    now = datetime.now(UTC)
    asked = {"dag_run_id": "by_hand", "logical_date": now.isoformat(), "conf": {}}
    installation.call("POST", "dags/ticking/dagRuns", **asked)
    assert installation.wait("ticking", "by_hand") == "success"
    assert installation.tasks("ticking", "by_hand")["report"] == "success"
    first, second = installation.nights("ticking")
    assert first["understudy.as_of"] == TICK
    assert second["understudy.as_of"] == now.isoformat(timespec="seconds")
    assert first["understudy.outcome"] == "PROMOTED"
    assert len(installation.dag_runs("ticking")) == 2
    details = installation.call("GET", "dags/ticking/details")
    assert details["next_dagrun_run_after"] is None
