"""How nights end, what of them is on record, and what a person is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from understudy.devstack import settings
from understudy.gate import replay

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = pytest.mark.integration

NIGHT = "scheduled__2026-01-{:02}T00:00:00+00:00"


def test_nobody_gets_in_without_the_password(installation: Installation) -> None:
    """Whoever shares the machine reaches both servers; it stands in no log of theirs."""
    stack = installation.stack
    place, addresses = stack.place, stack.addresses()
    asked = f"{addresses.mlflow}/api/2.0/mlflow"
    stranger = {"name": "a stranger's"}
    for answer in (
        httpx.get(f"{asked}/experiments/search?max_results=1", trust_env=False),
        httpx.post(f"{asked}/registered-models/create", json=stranger, trust_env=False),
        httpx.get(f"{addresses.mlflow}/api/2.0/mlflow-artifacts/artifacts", trust_env=False),
        httpx.get(f"{addresses.airflow}/api/v2/dags", trust_env=False),
    ):
        assert answer.status_code == 401, answer.request.url
    assert httpx.get(f"{addresses.airflow}/openapi.json", trust_env=False).status_code == 404
    password = settings.password(place)
    logs = [one for folder in (place.logs, place.airflow / "logs") for one in folder.rglob("*.log")]
    assert logs
    assert not [one for one in logs if password in one.read_text("utf-8", errors="replace")]


def test_five_nights_end_as_their_numbers_say(installation: Installation) -> None:
    """A first champion, a better one, a worse one, nothing new, a better one; all on record."""
    installation.unpause("nights")
    for day in range(1, 6):
        assert installation.wait("nights", NIGHT.format(day)) == "success"
    nights = installation.nights("nights")
    assert installation.outcomes("nights") == [
        "PROMOTED",
        "PROMOTED",
        "REJECTED",
        "SKIPPED",
        "PROMOTED",
    ]
    assert [tags["understudy.champion.after"] for tags in nights] == ["1", "2", "2", "2", "3"]
    assert installation.champion("nights") == "3"
    assert installation.client.get_registered_model("nights").aliases["previous"] == "2"
    installation.check_ended("nights")
    # Its validations log no predictions: past nights are seen again, and nobody can tell.
    seen = [tags.get("understudy.matured", "") for tags in nights]
    assert seen == ["undecided", "undecided", "undecided", "", ""]
    assert "left no predictions" in nights[0]["understudy.matured.reason"]
    told = installation.log("nights", NIGHT.format(2), "report")
    assert "Seen again: Night of 2026-01-01T00:00, PROMOTE: undecided" in told
    skipped = installation.tasks("nights", NIGHT.format(4))
    assert skipped["pin"] == "success"
    assert {state for task, state in skipped.items() if task != "pin"} == {"skipped"}
    for run in installation.runs("nights", "tags.`understudy.verdict` = 'REJECT'"):
        stored = installation.record(run)
        assert replay(stored).to_json() == stored
        assert "rmse 4.5 does not beat the champion's 4 by at least 0.1" in stored


def test_the_list_of_a_dag_runs_tasks_says_how_its_night_ended(installation: Installation) -> None:
    """In words, beside the state; what the task returned says it too, also where it was skipped."""
    ends = {
        2: "PROMOTED, champion 1 -> 2: rmse 4 beats the champion's",
        3: "REJECTED, champion 2: rmse 4.5 does not beat the champion's 4",
        4: "SKIPPED, champion 2: ",
    }
    for day, words in ends.items():
        report = f"dags/nights/dagRuns/{NIGHT.format(day)}/taskInstances/report"
        assert installation.call("GET", report)["rendered_map_index"].startswith(words)
        left = installation.call("GET", f"{report}/xcomEntries/return_value?deserialize=true")
        assert words.partition(",")[0] in str(left["value"])


def test_each_night_tells_how_it_ended_once(installation: Installation) -> None:
    """Through one of Airflow's notifiers; a skipped night by itself has nothing to tell."""
    ends = {1: "PROMOTED, champion none -> 1", 3: "REJECTED, champion 2", 4: ""}
    for day, end in ends.items():
        log = installation.log("nights", NIGHT.format(day), "report")
        assert log.count("Told: ") == bool(end)
        assert end in log


def test_every_step_is_a_child_of_its_night_on_one_commit(installation: Installation) -> None:
    """MLflow's UI shows the steps below their night; each names Dag, task and try."""
    parents = {
        run.info.run_id: run
        for run in installation.runs("nights", "tags.`understudy.kind` = 'night'")
    }
    steps = installation.runs("nights", "tags.`understudy.kind` = 'step'")
    assert len(steps) > len(parents)
    for step in steps:
        parent = parents[step.data.tags["mlflow.parentRunId"]]
        for name in ("understudy.commit", "understudy.tree"):
            assert step.data.tags[name] == parent.data.tags[name]
        assert step.data.tags["understudy.dag_id"] == "nights"
        assert step.data.tags["understudy.try_number"] == "1"


def test_a_task_links_to_its_mlflow_run(installation: Installation) -> None:
    """The button's address opens that run, also for one task of several."""
    path = f"dags/nights/dagRuns/{NIGHT.format(2)}/taskInstances"
    for link in (f"{path}/train/links", f"{path}/validate/links?map_index=1"):
        address = installation.call("GET", link)["extra_links"]["MLflow run"]
        run = installation.client.get_run(address.rpartition("/")[2])
        assert run.data.tags["understudy.dag_run_id"] == NIGHT.format(2)
        assert address.startswith(installation.stack.addresses().mlflow)


def test_never_only_judges(installation: Installation) -> None:
    """A verdict of PROMOTE without a promotion is held, and says why."""
    installation.trigger("raced", "never", promote="never")
    assert installation.wait("raced", "never") == "success"
    (night,) = installation.nights("raced")
    assert night["understudy.outcome"] == "HELD"
    assert "told never to promote" in night["understudy.reason"]


def test_an_infinite_error_is_rejected(installation: Installation) -> None:
    """MLflow's store keeps it as the largest number, by which a first model would pass."""
    installation.trigger("raced", "infinite", promote="auto", broken="infinite")
    assert installation.wait("raced", "infinite") == "success"
    night = installation.nights("raced")[-1]
    assert night["understudy.outcome"] == "REJECTED"
    assert "rmse is infinite" in night["understudy.reason"]
    assert night["understudy.champion.after"] == ""


def test_a_night_in_shadow_only_says_what_it_would_do(installation: Installation) -> None:
    """Nothing is registered; the night after the last one in shadow is obeyed."""
    for run_id in ("shadow", "light"):
        installation.trigger("shadowed", run_id)
        assert installation.wait("shadowed", run_id) == "success"
    shadow, light = installation.nights("shadowed")
    assert shadow["understudy.outcome"] == "HELD"
    assert shadow["understudy.reason"].startswith(
        "shadow night 1 of 1: the verdict would have been PROMOTE"
    )
    assert shadow["understudy.champion.after"] == ""
    assert light["understudy.outcome"] == "PROMOTED"
    assert installation.champion("shadowed") == "1"
