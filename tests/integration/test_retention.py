"""Retention on a real MLflow server: a dry run names, a real one removes, nothing in use goes."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta

import pytest
from mlflow.tracking import MlflowClient

from understudy.cli.main import main
from understudy.contract import CHAMPION, Kind, Tag
from understudy.errors import RegistryError
from understudy.registry.garbage_collector import GarbageCollector, Owner
from understudy.registry.promoter import MoveRequest, Promoter
from understudy.registry.retention import KEEP_TAG, Keep
from understudy.store.tracking import RunSpec, RunStore

pytestmark = pytest.mark.integration
KEEP = Keep(age=timedelta(0), nights=1, versions=2, moves=2)


class Past:
    """Nights of a pipeline, each with a training that registered a version."""

    def __init__(self, uri: str) -> None:
        self.uri, self.client = uri, MlflowClient(uri)
        self.runs, self.name = RunStore(self.client), f"past {uuid.uuid4().hex}"
        self.experiment = self.runs.experiment(self.name)
        self.client.create_registered_model(self.name)
        self.promoter = Promoter(self.client, self.runs)
        self.collector = GarbageCollector(self.client, self.runs, self.promoter)
        self.owner = Owner(self.name, self.name)

    def night(self, number: int, reused: str = "") -> str:
        """Make a night; return its parent run."""
        kinds = [{Tag.KIND.value: kind.value} for kind in (Kind.NIGHT, Kind.STEP)]
        parent = self.run(RunSpec(self.experiment, f"n{number}", f"night {number}", kinds[0]))
        given = {Tag.REUSED_FROM.value: reused} if reused else {}
        step = RunSpec(
            self.experiment, f"t{number}", "train", {**kinds[1], **given}, parent_run_id=parent
        )
        trained = self.run(step)
        self.client.create_model_version(self.name, f"runs:/{trained}/model", trained)
        return parent

    def run(self, spec: RunSpec) -> str:
        """Make a run that has ended."""
        run_id = self.runs.ensure(spec)
        self.runs.end(run_id, "FINISHED")
        return run_id

    def train(self, number: int) -> str:
        """Return the training run of a night."""
        return str(self.runs.tagged(self.experiment, Tag.KEY, f"t{number}")[0].info.run_id)

    def left(self) -> tuple[set[str], set[str]]:
        """Return the names of the nights and the versions that are still there."""
        nights = self.runs.search(self.experiment, {Tag.KIND: Kind.NIGHT.value})
        versions = self.client.search_model_versions(f"name = '{self.name}'")
        return {run.info.run_name for run in nights}, {str(one.version) for one in versions}


@pytest.fixture
def past(mlflow_uri: str) -> Past:
    """Return eight nights: champions were 2, 3, 4; 5 is pinned; 8 reused what 6 trained."""
    made = Past(mlflow_uri)
    for number in range(1, 8):
        made.night(number)
    made.night(8, reused=made.train(6))
    for before, after in ((None, "2"), ("2", "3"), ("3", "4")):
        made.promoter.move(MoveRequest(made.name, after, before, after))
    made.client.set_model_version_tag(made.name, "5", KEEP_TAG, "for the audit")
    return made


def test_a_dry_run_names_everything_and_removes_nothing(
    past: Past, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with its reason."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", past.uri)
    before = past.left()
    few = ["--age=1s", "--nights=1", "--versions=2", "--moves=2"]
    assert main(["retention", past.name, "--age=1d", *few[1:]]) == 0
    assert "Would go: 0 nights with 0 runs, 0 versions" in capsys.readouterr().out
    assert main(["retention", past.name, "--age=1d", "--json"]) == 0
    rows = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert {"item": "version 4", "goes": False, "why": "it is champion"} in rows
    assert past.left() == before
    planned = past.collector.plan(past.owner, KEEP)
    assert planned.reasons["version 4"] == "it is champion"
    assert planned.reasons["version 3"] == "it is previous"
    assert planned.reasons["version 5"] == "pinned: for the audit"
    assert {one.number for one in planned.versions} == {"1", "6"}


def test_what_is_removed_is_what_was_named(past: Past) -> None:
    """Nights go with their steps; what was trained for a version that stays does not."""
    lines: list[str] = []
    past.collector.carry_out(past.owner, KEEP, lines.append)
    nights, versions = past.left()
    assert versions == {"2", "3", "4", "5", "7", "8"}
    assert nights == {f"night {number}" for number in (2, 3, 4, 5, 6, 7, 8)}
    assert past.client.get_run(past.train(6)).info.lifecycle_stage == "active"
    assert f"Removed version 1 of {past.name}" in lines
    assert "Removed night 1 with 2 runs" in lines
    history = past.promoter.history(past.name)
    assert [entry.move.after for entry in history.moves] == ["2", "3", "4"]
    assert past.promoter.look(past.name).champion == "4"


def test_a_night_whose_targets_come_late_stays_until_it_was_seen(past: Past) -> None:
    """With the version that it trained, its champion, and the one before that.

    Of the nights, 1 has a verdict and waits for its targets; its champion was 3.
    """
    (first,) = past.runs.tagged(past.experiment, Tag.KEY, "n1")
    waiting = {Tag.LABEL_DELAY: "86400.0", Tag.VERDICT: "HOLD", Tag.CHAMPION_BEFORE: "3"}
    past.runs.tag(first.info.run_id, waiting)
    (one,) = [
        night
        for night in past.collector.inventory(past.owner, KEEP).nights
        if night.run_id == first.info.run_id
    ]
    assert (one.delay, one.needed) == (timedelta(days=1), {"3", "2"})
    planned = past.collector.plan(past.owner, KEEP)
    assert planned.reasons[f"night {one.run_id}"].startswith("its targets come late")
    assert {one.number for one in planned.versions} == {"6"}
    past.runs.tag(one.run_id, {Tag.MATURED: "right"})
    again = past.collector.plan(past.owner, Keep(timedelta(0), 1, 2, 2))
    assert again.reasons[f"night {one.run_id}"] == "it is not older than 0 days"


def test_a_version_that_became_champion_meanwhile_stays(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the plan and its carrying out."""
    planned = past.collector.plan(past.owner, KEEP)
    monkeypatch.setattr(past.collector, "plan", lambda *_: planned)
    past.client.set_registered_model_alias(past.name, CHAMPION, "1")
    past.collector.carry_out(past.owner, KEEP, print)
    assert "1" in past.left()[1]


def test_a_pipeline_that_there_is_not(past: Past) -> None:
    """It is named."""
    with pytest.raises(RegistryError, match="There is no experiment 'nobody'"):
        past.collector.plan(Owner("nobody", "nobody"), KEEP)
