"""Steps that are reused, Dags that something starts, rollbacks and hand-ons of a champion."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = pytest.mark.integration


def test_a_night_reuses_what_an_earlier_one_finished(installation: Installation) -> None:
    """The night shows its steps below it; the forced one runs each of them."""
    installation.unpause("after_champion")
    installation.unpause("after_data")
    nights = [
        ("first", {}, "PROMOTED", []),
        ("better", {"factor": 0.5}, "PROMOTED", ["preprocess"]),
        ("forced", {"factor": 0.5, "force": True}, "REJECTED", []),
        ("worse", {}, "REJECTED", ["preprocess", "train", "validate", "validate"]),
        ("new data", {"as_of": "2026-01-05"}, "REJECTED", []),
    ]
    for name, conf, outcome, reused in nights:
        run_id = name.replace(" ", "-")
        installation.trigger("reusing", run_id, **{"as_of": "2026-01-02", **conf})
        assert installation.wait("reusing", run_id) == "success", name
        assert installation.nights("reusing")[-1]["understudy.outcome"] == outcome, name
        steps = f"tags.`understudy.dag_run_id` = '{run_id}' and tags.`understudy.kind` = 'step'"
        tags = [run.data.tags for run in installation.runs("reusing", steps)]
        found = [one["understudy.task_id"] for one in tags if "understudy.reused_from" in one]
        assert sorted(found) == reused, name
    log = installation.log("reusing", "worse", "train")
    assert "Reused: nothing runs. The MLflow run " in log


def test_a_cleared_step_is_reused(installation: Installation) -> None:
    """Nothing runs again: the newest run of the same identity stands for it, the forced night's."""
    body = {"dry_run": False, "only_failed": False, "task_ids": ["train"], "dag_run_id": "better"}
    trained = "dags/reusing/dagRuns/{}/taskInstances/train/xcomEntries/return_value"
    installation.call("POST", "dags/reusing/clearTaskInstances", **body)
    installation.wait_for_try("reusing", "better", "train", 2)
    assert installation.wait("reusing", "better") == "success"
    assert "Reused: nothing runs." in installation.log("reusing", "better", "train")
    now, forced = (
        installation.call("GET", trained.format(run_id))["value"] for run_id in ("better", "forced")
    )
    assert now == forced


def test_other_dags_start_when_something_changes_and_only_then(installation: Installation) -> None:
    """Two champions, two sets of data in five nights; what a rejected night trained starts none."""
    for dag_id, model_or_data, changes in (
        ("after_champion", "version", ["1", "2"]),
        ("after_data", "as_of", ["2026-01-02T00:00:00+00:00", "2026-01-05T00:00:00+00:00"]),
    ):
        runs = installation.dag_runs(dag_id)
        assert len(runs) == 2, dag_id
        seen = []
        for run in sorted(runs, key=lambda run: run["run_after"]):
            path = f"dags/{dag_id}/dagRuns/{run['dag_run_id']}/upstreamAssetEvents"
            (event,) = installation.call("GET", path)["asset_events"]
            seen.append(event["extra"][model_or_data])
        assert seen == changes


def test_a_rollback_by_its_form(installation: Installation) -> None:
    """The champion before is back, who waits for it starts, and what was rolled back stays out."""
    installation.trigger("rollback", "back", model="reusing", why="odd", rehearse=False)
    assert installation.wait("rollback", "back") == "success"
    assert installation.champion("reusing") == "1"
    installation.trigger("reusing", "returned", as_of="2026-01-02", factor=0.5, force=True)
    assert installation.wait("reusing", "returned") == "success"
    night = installation.nights("reusing")[-1]
    assert night["understudy.outcome"] == "HELD"
    assert "version 2 was rolled back by admin (odd)" in night["understudy.reason"]
    assert installation.champion("reusing") == "1"
    assert len(installation.dag_runs("after_champion")) == 3


def test_a_champion_is_handed_on_whoever_moved_it(
    installation: Installation, dags_folder: Path
) -> None:
    """By two nights and a rollback, one after another; then by hand, which the next night sees."""
    served = dags_folder.with_name("served") / "reusing_publish" / "value.json"
    publications = runs_in_turn(installation, "reusing_publish", 3)
    assert {run["state"] for run in publications} == {"success"}
    assert json.loads(served.read_text()) == number_of(installation, "1")
    installation.client.set_registered_model_alias("reusing", "champion", "2")
    installation.trigger("reusing", "seen", as_of="2026-01-02")
    installation.wait("reusing", "seen")
    runs_in_turn(installation, "reusing_publish", 4)
    assert json.loads(served.read_text()) == number_of(installation, "2")
    assert len(installation.dag_runs("after_champion")) == 4


def test_a_champion_that_is_not_handed_on_is_told_and_stays(
    installation: Installation, dags_folder: Path
) -> None:
    """The run is red, a person hears of it, and may trigger it again when the cause is mended."""
    folder = dags_folder.with_name("served") / "reusing_publish"
    folder.rename(folder.with_name("away"))
    folder.write_text("in the way")
    installation.trigger("reusing_publish", "fails")
    assert installation.wait("reusing_publish", "fails") == "failed"
    log = installation.log("reusing_publish", "fails", "hand_on")
    assert "Told: reusing: version 2 is champion, and reusing_publish FAILED" in log
    assert "Version 2 is champion of reusing and stays it" in log
    assert installation.champion("reusing") == "2"
    folder.unlink()
    installation.trigger("reusing_publish", "again")
    assert installation.wait("reusing_publish", "again") == "success"
    assert json.loads((folder / "value.json").read_text()) == number_of(installation, "2")


def runs_in_turn(installation: Installation, dag_id: str, number: int) -> list[dict[str, Any]]:
    """Wait until so many runs of a Dag have ended, none of which overlapped; return them."""
    end = time.monotonic() + 180
    while time.monotonic() < end:
        runs = sorted(installation.dag_runs(dag_id), key=lambda run: str(run["start_date"]))
        if len(runs) == number and all(run["end_date"] for run in runs):
            assert all(a["end_date"] <= b["start_date"] for a, b in itertools.pairwise(runs))
            return runs
        time.sleep(0.5)
    pytest.fail(f"{dag_id}: {installation.dag_runs(dag_id)}")


def number_of(installation: Installation, version: str) -> float:
    """Return the number that a version of the model ``reusing`` is."""
    found = installation.client.get_model_version("reusing", version)
    path = installation.client.download_artifacts(found.run_id, "model/value.json")
    return float(json.loads(Path(path).read_text()))
