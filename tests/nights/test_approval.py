"""Nights that ask a person, and those whose champion cannot be scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("answer", "factor", "outcome"), [("Approve", 0.5, "PROMOTED"), ("Reject", 0.2, "HELD")]
)
def test_a_person_decides_where_the_night_asks(
    installation: Installation, answer: str, factor: float, outcome: str
) -> None:
    """The task waits without a worker, the answer and the person are on record."""
    run_id = installation.trigger("asking", answer, promote="ask", factor=factor)
    installation.wait_for_question("asking", run_id, "approve")
    waiting = installation.client.get_registered_model("asking").aliases
    assert "challenger" in waiting
    path = f"dags/asking/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    shown = installation.call("GET", path)["body"]
    assert "rmse" in shown
    assert f"/understudy/dags/asking/night?run_id={run_id})" in shown
    installation.call("PATCH", path, chosen_options=[answer], params_input={})
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
