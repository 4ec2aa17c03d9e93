"""Nights that ask a person, and those whose champion cannot be scored."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = pytest.mark.integration


def give(installation: Installation, path: str, answer: str) -> None:
    """Answer at once, and again where Airflow lost that answer and the task asks anew."""
    task, end = path.removesuffix("/-1/hitlDetails"), time.monotonic() + 180
    while (state := installation.call("GET", task)["state"]) not in {"success", "skipped"}:
        assert time.monotonic() < end, (
            state,
            installation.log("asking", path.split("/")[3], "approve"),
        )
        asks = state == "awaiting_input" and not installation.call("GET", path)["response_received"]
        if asks:
            installation.call("PATCH", path, chosen_options=[answer], params_input={})
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("answer", "factor", "outcome"), [("Approve", 0.5, "PROMOTED"), ("Reject", 0.2, "HELD")]
)
def test_a_person_decides_where_the_night_asks(
    installation: Installation, answer: str, factor: float, outcome: str
) -> None:
    """The task waits without a worker, the answer and the person are on record."""
    run_id = installation.trigger("asking", answer, promote="ask", factor=factor)
    installation.wait_for_task("asking", run_id, "approve", {"awaiting_input"})
    waiting = installation.client.get_registered_model("asking").aliases
    assert "challenger" in waiting
    path = f"dags/asking/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    shown = installation.call("GET", path)["body"]
    assert "rmse" in shown
    assert "/artifactPath/decision/decision.html)" in shown
    give(installation, path, answer)
    assert installation.wait("asking", run_id) == "success"
    night = installation.nights("asking")[-1]
    assert night["understudy.outcome"] == outcome
    assert night["understudy.approval"] == f"{answer} by admin"
    aliases = installation.client.get_registered_model("asking").aliases
    assert "challenger" not in aliases
    assert ("champion" in aliases) or outcome == "HELD"


def test_a_champion_that_cannot_be_scored_holds(installation: Installation) -> None:
    """The champion's validation fails, the gate still judges, nothing moves."""
    installation.trigger("asking", "unscored", promote="auto", broken="champion", force=True)
    before = installation.champion("asking")
    assert installation.wait("asking", "unscored") == "success"
    states = installation.tasks("asking", "unscored")
    assert (states["validate[0]"], states["validate[1]"]) == ("success", "failed")
    night = installation.nights("asking")[-1]
    assert night["understudy.outcome"] == "HELD"
    assert "could not be scored" in night["understudy.reason"]
    assert "the column that the champion needs is gone" in night["understudy.reason"]
    assert night["understudy.champion.unscored"] == "it does not take tonight's rows"
    assert installation.champion("asking") == before
