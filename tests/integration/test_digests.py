"""Artifacts of a decision that somebody replaces in the store: each reader names what differs."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow.entities import LoggedModelStatus

from understudy.cli.main import main
from understudy.contract import (
    DECISION_RECORD,
    HOLDOUT_FILE,
    PREDICTIONS_ARTIFACT,
    REFIT_RECORD,
    Tag,
)
from understudy.decide.decision import DecisionInputs
from understudy.decide.digests import files_of
from understudy.decide.late_labels import JudgedNight, LateLabels
from understudy.errors import ArtifactChangedError
from understudy.gate import Gate, Guards, Metric, Verdict, replay
from understudy.runner.reuse.outputs import LoggedFile, Outputs
from understudy.store.artifacts import seal
from understudy.store.night import NightBook
from understudy.web.reader import PageReader

if TYPE_CHECKING:
    from tests.fixtures.nights import Pipeline

    from understudy.store.night import Night
    from understudy.web.state import NightState

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("gate_in_this_process")]
RULES = Gate(Metric("rmse", min_gain=0.0), guards=Guards(leakage="warn", drift="warn"))


def overwritten(pipeline: Pipeline, run_id: str, path: str, text: str) -> None:
    """Write to the store as whoever reaches it alone: no tag is changed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, Path(path).name)
        file.write_text(text, encoding="utf-8")
        pipeline.client.log_artifact(run_id, str(file), str(Path(path).parent).lstrip("."))


def stored(pipeline: Pipeline, night: Night) -> str:
    """Return a night's decision record as it lies in the store."""
    path = pipeline.client.download_artifacts(night.run_id, DECISION_RECORD)
    return Path(path).read_text(encoding="utf-8")


def logged_model(pipeline: Pipeline) -> str:
    """Log a model of two files; return its id."""
    client = pipeline.client
    model = client.create_logged_model(pipeline.experiment, name="model")
    written(pipeline, model.model_id, {"MLmodel": "flavors: {}", "data/model.pkl": "weights"})
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)


def written(pipeline: Pipeline, model_id: str, files: dict[str, str]) -> None:
    """Write files to a logged model's place."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            Path(folder, name).parent.mkdir(exist_ok=True)
            Path(folder, name).write_text(text, encoding="utf-8")
        pipeline.client.log_model_artifacts(model_id, folder)


def judged(pipeline: Pipeline, model: str = "models:/m-1") -> tuple[Night, str, str]:
    """Judge a night whose challenger wins; return it, its rows and the challenger's validation."""
    night = pipeline.night("2026-01-01", RULES)
    rows = pipeline.rows(slice(0, 300), slice(300, 400))
    ours = pipeline.validated(model, pipeline.predicted(1.0))
    theirs = pipeline.validated("3", pipeline.predicted(3.0, 1))
    record = pipeline.decisions().judge(night, DecisionInputs(ours, theirs, rows))
    assert record.verdict is Verdict.PROMOTE, record.decision.why
    assert pipeline.decisions().promotion(night).to_json() == record.to_json()
    return night, rows, ours.run_id


def test_a_record_that_was_overwritten_is_believed_by_nobody(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """The promotion, replay of one night and of many, and the page in Airflow's UI say so."""
    night, _, _ = judged(pipeline)
    forged = json.loads(stored(pipeline, night))
    forged["challenger"]["metrics"]["rmse"] = 0.001
    overwritten(pipeline, night.run_id, DECISION_RECORD, json.dumps(forged))
    named = f"runs:/{night.run_id}/{DECISION_RECORD} has changed since"
    for reads in (pipeline.decisions().record, pipeline.decisions().promotion):
        with pytest.raises(ArtifactChangedError, match=named):
            reads(night)
    assert main(["replay", night.run_id]) == 1
    assert named in capsys.readouterr().err
    command = ["replay", "--pipeline", pipeline.experiment, "--since", "2025-01-01"]
    assert main([*command, "--until", "2027-01-01", "--json"]) == 3
    assert named in capsys.readouterr().out
    page = PageReader(lambda: pipeline.client).night(pipeline.experiment, run_id=night.run_id).value
    assert page is not None
    assert page.record is None
    assert named in page.changed


def test_a_night_that_is_judged_again_is_not_called_changed(pipeline: Pipeline) -> None:
    """The page has kept its tags for some seconds then, and reads its new record."""
    night, rows, _ = judged(pipeline)
    reader = PageReader(lambda: pipeline.client)

    def seen() -> NightState:
        found = reader.night(pipeline.experiment, run_id=night.run_id).value
        assert found is not None
        return found

    assert seen().changed == ""
    worse = pipeline.validated("models:/m-2", pipeline.predicted(2.0))
    record = pipeline.decisions().judge(night, DecisionInputs(worse, None, rows))
    # What was read a moment after the tags is too old before they are.
    for key in [key for key in reader._shelf._kept if key[0] == "decision"]:
        del reader._shelf._kept[key]
    now = seen()
    assert now.changed == ""
    assert now.record is not None
    assert now.record["challenger"] == json.loads(record.to_json())["challenger"]


def test_rows_that_were_added_or_replaced_are_named(pipeline: Pipeline) -> None:
    """A file that was not there counts: a folder of Parquet files is read as one table."""
    night, rows, _ = judged(pipeline)
    run_id, _, folder = rows.removeprefix("runs:/").partition("/")
    # The first by name is named: each is nearer to the beginning than the one before.
    for name in ("zone=1/more.parquet", "train.parquet", HOLDOUT_FILE):
        overwritten(pipeline, run_id, f"{folder}/{name}", "other rows")
        with pytest.raises(ArtifactChangedError, match=f"{rows}/{name} has changed since"):
            pipeline.decisions().promotion(night)


def test_predictions_of_either_model_are_named(pipeline: Pipeline) -> None:
    """Also the champion's: without them another rule would decide."""
    night, _, ours = judged(pipeline)
    record = replay(stored(pipeline, night))
    assert record.champion is not None
    for run_id in (record.champion.run_id, ours):
        pipeline.log(run_id, pipeline.predicted(9.0))
        with pytest.raises(ArtifactChangedError, match=f"{run_id}/{PREDICTIONS_ARTIFACT} has"):
            pipeline.decisions().promotion(night)
        assert main(["replay", night.run_id]) == 1


def test_a_model_that_was_replaced_is_not_promoted_nor_scored_again(pipeline: Pipeline) -> None:
    """Whatever loads it would run what somebody wrote there."""
    model = logged_model(pipeline)
    night, _, _ = judged(pipeline, f"models:/{model}")
    for name in ("data/model.pkl", "code.py", "MLmodel"):
        written(pipeline, model, {name: "import os"})
        named = f"models:/{model}/{name} has changed since"
        with pytest.raises(ArtifactChangedError, match=named):
            pipeline.decisions().promotion(night)

    def loads(address: str) -> str:
        pytest.fail(f"{address} was loaded")

    later = replace(pipeline.night("2026-02-01"), as_of="2026-02-01T00:00:00+00:00")
    labels = LateLabels(pipeline.client, pipeline.runs, later, timedelta(days=7), lambda *_: None)
    seen = labels.complete(JudgedNight(labels.due()[0].as_of, night.run_id), loads, print)
    assert named in seen.reason


def test_a_refit_that_was_replaced_is_not_promoted(pipeline: Pipeline) -> None:
    """Neither its model nor what was noted of it."""
    model = logged_model(pipeline)
    again = pipeline.validated(f"models:/{model}", pipeline.predicted(1.0))
    night, _, _ = judged(pipeline)
    decisions = pipeline.decisions()
    decisions.refit(night, decisions.promotion(night), again, 400)
    assert decisions.promotion(night, refitted=True).verdict is Verdict.PROMOTE
    written(pipeline, model, {"data/model.pkl": "other weights"})
    with pytest.raises(ArtifactChangedError, match=f"models:/{model}/data/model.pkl has"):
        decisions.promotion(night, refitted=True)
    overwritten(pipeline, night.run_id, REFIT_RECORD, "{}")
    with pytest.raises(ArtifactChangedError, match=f"{REFIT_RECORD} has changed since"):
        decisions.promotion(night, refitted=True)


def test_predictions_that_their_step_did_not_leave_are_not_judged(pipeline: Pipeline) -> None:
    """Between the step and the gate, too: the step's run has the digest of what it left."""
    night, ours = pipeline.night("2026-01-01"), pipeline.validated("m", pipeline.predicted(9.0))
    path = Path(pipeline.client.download_artifacts(ours.run_id, PREDICTIONS_ARTIFACT))
    left = LoggedFile(path.stat().st_size, files_of(path)[""])
    for name, text in Outputs({PREDICTIONS_ARTIFACT: left}, {}).tags().items():
        pipeline.client.set_tag(ours.run_id, name, text)
    judge, inputs = pipeline.decisions().judge, DecisionInputs(ours, None)
    assert judge(night, inputs).challenger.predictions is not None
    pipeline.log(ours.run_id, pipeline.predicted(0.1))
    with pytest.raises(ArtifactChangedError, match=f"{ours.run_id}/{PREDICTIONS_ARTIFACT}|has"):
        judge(night, inputs)


def test_what_a_night_pinned_is_checked(pipeline: Pipeline) -> None:
    """Its rules, its commit and its champion are what every later task obeys."""
    night, book = pipeline.night("2026-01-01"), NightBook(pipeline.client, pipeline.runs)
    book.pin(night)
    opened = book.opened(night.run_id)
    assert opened is not None
    assert opened.commit == night.commit
    (path,) = [
        name.removeprefix(f"{Tag.SHA256}/")
        for name in pipeline.tags(night)
        if name.startswith(f"{Tag.SHA256}/")
    ]
    overwritten(pipeline, night.run_id, path, json.dumps(night.to_dict() | {"commit": "bad"}))
    with pytest.raises(ArtifactChangedError, match=f"{path} has changed since"):
        book.opened(night.run_id)


def test_records_of_before_have_no_digests_and_are_read(pipeline: Pipeline) -> None:
    """Neither the tag nor the digests in the record: such a night is promoted and replayed."""
    night, _, _ = judged(pipeline)
    old = json.loads(stored(pipeline, night))
    assert old.pop("artifacts")
    overwritten(pipeline, night.run_id, DECISION_RECORD, json.dumps(old))
    pipeline.client.delete_tag(night.run_id, seal(DECISION_RECORD))
    assert pipeline.decisions().promotion(night).verdict is Verdict.PROMOTE
    assert main(["replay", night.run_id]) == 0
