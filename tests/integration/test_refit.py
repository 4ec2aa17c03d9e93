"""What is trained again after the verdict, on a real MLflow server: compared, on record, honest."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from tests.fixtures.nights import TaskInstance

from understudy.airflow import builder
from understudy.airflow.challenger import final_training, refuse_return
from understudy.airflow.night_context import outcome_of
from understudy.airflow.services import Services
from understudy.contract import REFIT_RECORD, DataTag, Outcome, Tag
from understudy.decide.decision import DecisionInputs
from understudy.errors import DecisionError, ProjectError
from understudy.gate import DecisionRecord, Gate, Metric, Verdict
from understudy.registry.versions import Registry, TrainedModel
from understudy.spec.pipeline import Refit
from understudy.store.artifacts import read_text
from understudy.store.night import Night

if TYPE_CHECKING:
    import pandas as pd
    from tests.fixtures.nights import Pipeline

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("gate_in_this_process")]
ROWS = 400
"""Of the holdout."""


def judged(pipeline: Pipeline, bound: float = 1.0) -> tuple[Night, DecisionRecord]:
    """Judge a first model whose errors are 2."""
    night = pipeline.night("2026-01-01", Gate(Metric("rmse", at_most=3.0)))
    night = replace(night, champion=None, spec=replace(night.spec, refit=Refit(bound)))
    ours = pipeline.validated("models:/m-1", pipeline.predicted(2.0))
    record = pipeline.decisions().judge(night, DecisionInputs(ours, None))
    assert record.verdict is Verdict.PROMOTE
    return night, record


def document(pipeline: Pipeline, night: Night) -> Mapping[str, Any]:
    """Return what is on record of a refit."""
    run = pipeline.client.get_run(night.run_id)
    return dict(json.loads(read_text(pipeline.client, run, REFIT_RECORD)))


def moved_by(pipeline: Pipeline, share: float) -> pd.DataFrame:
    """Return predictions whose errors are smaller than the judged model's by a share of them."""
    return pipeline.predicted(2.0 * (1 - share))


def test_a_refit_that_is_near_what_was_judged_is_on_record_as_what_it_is(
    pipeline: Pipeline,
) -> None:
    """A document with both models, a tag with the sentence, a number, the night's reason."""
    night, record = judged(pipeline)
    again = pipeline.validated("models:/m-2", moved_by(pipeline, 0.25))
    found = pipeline.decisions().refit(night, record, again, ROWS)
    assert found.is_within
    assert "400 of the holdout included" in found.said
    assert "by 0.25 of that model's error" in found.said
    assert document(pipeline, night) == {
        "schema": "understudy/refit/1",
        "judged": "models:/m-1",
        "refitted": "models:/m-2",
        "validation": again.run_id,
        "rows": ROWS,
        "distance": pytest.approx(0.5, rel=0.1),
        "error": pytest.approx(2.0, rel=0.1),
        "share": pytest.approx(0.25),
        "max_change": 1.0,
    }
    run = pipeline.client.get_run(night.run_id)
    assert run.data.metrics["refit_change"] == pytest.approx(0.25)
    ended = dict.fromkeys(("gate", "approve", "refit", "promote"), "success")
    outcome, reason = outcome_of(dict(run.data.tags), ended)
    assert outcome is Outcome.PROMOTED
    assert reason.endswith(found.said)
    # Of an earlier pass, in which the refit had succeeded, nothing is believed.
    skipped = {**ended, "refit": "skipped", "promote": "skipped"}
    assert not outcome_of(dict(run.data.tags), skipped)[1].endswith(found.said)


@pytest.mark.parametrize(("share", "bound"), [(0.5, 0.4), (math.nan, 10.0)])
def test_one_that_has_moved_too_far_is_not_within(
    pipeline: Pipeline, share: float, bound: float
) -> None:
    """Nor one that predicts no numbers, whatever the bound; that is on record, too."""
    night, record = judged(pipeline, bound)
    again = pipeline.validated("models:/m-2", moved_by(pipeline, share))
    found = pipeline.decisions().refit(night, record, again, ROWS)
    assert not found.is_within
    assert f"which is more than {bound:g}" in found.said or "no finite numbers" in found.said
    assert document(pipeline, night)["max_change"] == bound


def test_what_cannot_be_compared_is_refused(pipeline: Pipeline) -> None:
    """Without predictions, or of other rows; the record has nothing then."""
    night, record = judged(pipeline)
    without = pipeline.validated("models:/m-2", None, rmse=1.0)
    other = pipeline.validated("models:/m-2", pipeline.predicted(1.0).iloc[1:])
    for scored, why in ((without, "left no predictions"), (other, "different rows")):
        with pytest.raises(DecisionError, match=why):
            pipeline.decisions().refit(night, record, scored, ROWS)
    assert Tag.REFIT.value not in pipeline.tags(night)


def test_a_training_that_takes_no_notice_is_refused(pipeline: Pipeline) -> None:
    """It says nothing of the holdout's rows, or not all of them: nothing is promoted."""
    run_id = str(pipeline.client.create_run(pipeline.experiment).info.run_id)
    decisions = pipeline.decisions()
    with pytest.raises(ProjectError, match="does not say how many it learned from"):
        decisions.holdout_trained(run_id)
    pipeline.client.set_tag(run_id, DataTag.HOLDOUT_TRAINED.value, "yes")
    with pytest.raises(ProjectError, match="says 'yes' how many"):
        decisions.holdout_trained(run_id)
    pipeline.client.set_tag(run_id, DataTag.HOLDOUT_TRAINED.value, "399")
    night, record = judged(pipeline)
    again = pipeline.validated("models:/m-2", moved_by(pipeline, 0.1))
    with pytest.raises(ProjectError, match="says 399 of 400 how many"):
        decisions.refit(night, record, again, decisions.holdout_trained(run_id))


def test_the_tasks_train_by_the_recipe_that_was_judged_and_score_what_was_judged(
    pipeline: Pipeline,
) -> None:
    """The training again has the parameters of the first, the champion's task the first's model."""
    client, name = pipeline.client, pipeline.experiment
    handed = {"data": "runs:/1/data", "alpha": "0.25", "refit": "no"}
    run = client.create_run(name, tags={Tag.PARAMETERS.value: json.dumps(handed)})
    trained, again = str(run.info.run_id), str(client.create_run(name).info.run_id)
    registry = Registry(client)
    before = registry.register(name, TrainedModel(f"runs:/{trained}/model", trained), "one")
    after = registry.register(name, TrainedModel(f"runs:/{again}/model", again), "two", before)
    night = replace(pipeline.night("2026-01-01"), champion=after)
    night = replace(night, spec=replace(night.spec, refit=Refit()))
    context: Any = {
        "ti": TaskInstance(
            {"pin": night.to_dict(), "train": trained, "preprocess": "9"}, "refitting"
        )
    }
    dag = builder.pipeline(
        "refitting", project=night.spec.project, gate=night.spec.gate, refit=Refit()
    )
    refit, services = dag.get_task("refit"), Services.connect()
    assert refit.inputs(context, night)["refit"] == "yes"
    assert refit.given(context, services, night, ["alpha", "depth"]) == {"alpha": "0.25"}
    client.delete_tag(trained, Tag.PARAMETERS.value)
    with pytest.raises(DecisionError, match="no parameters on record"):
        refit.given(context, services, night, ["alpha"])
    validate = dag.get_task("validate").unmap({"role": "champion"})
    assert validate.inputs(context, night)["model_uri"] == f"models:/{name}/{before}"
    train = dag.get_task("train")
    assert train.finished(context, services, trained) == trained
    client.set_tag(trained, DataTag.HOLDOUT_TRAINED.value, "40")
    with pytest.raises(ProjectError, match="learned from 40 rows of the holdout"):
        train.finished(context, services, trained)
    # The rehearsal and the promotion have nothing to go on with before it has succeeded.
    with pytest.raises(DecisionError, match="to train its challenger again on all rows"):
        final_training(context, night)


def test_what_the_champion_is_a_refit_of_does_not_come_back(pipeline: Pipeline) -> None:
    """Of a reused training nothing is trained again; the night is held."""
    client, name = pipeline.client, pipeline.experiment
    trained, again = (str(client.create_run(name).info.run_id) for _ in range(2))
    registry = Registry(client)
    before = registry.register(name, TrainedModel(f"runs:/{trained}/model", trained), "one")
    after = registry.register(name, TrainedModel(f"runs:/{again}/model", again), "two", before)
    night = replace(pipeline.night("2026-01-01"), champion=after)
    with pytest.raises(
        AirflowSkipException, match=f"what the champion, version {after}, is a refit"
    ):
        refuse_return(Services.connect(), night, before)


def test_a_later_night_scores_what_was_judged_in_place_of_a_refit(pipeline: Pipeline) -> None:
    """The refit has seen most of its rows; what was judged has not, and the record says so."""
    registry, name = Registry(pipeline.client), f"refitted {pipeline.experiment}"
    runs = [str(pipeline.client.create_run(pipeline.experiment).info.run_id) for _ in range(2)]
    first, second = (TrainedModel(f"runs:/{run}/model", run) for run in runs)
    before = registry.register(name, first, "one")
    after = registry.register(name, second, "two", before)
    assert registry.register(name, second, "two", before) == after, "a retry makes no other"
    assert [registry.judged(name, one) for one in (before, after, "99")] == [before, before, "99"]
    assert registry.judged_address(f"models:/{name}/{after}") == f"models:/{name}/{before}"
    for address in (f"models:/{name}/{before}", "models:/m-1", f"runs:/{runs[0]}/model"):
        assert registry.judged_address(address) == address
    night = pipeline.night("2026-01-02")
    night = replace(night, spec=replace(night.spec, refit=Refit()))
    ours = pipeline.validated("models:/m-3", pipeline.predicted(1.0))
    theirs = replace(pipeline.validated(after, pipeline.predicted(2.0, 1)), scored=before)
    record = pipeline.decisions().judge(night, DecisionInputs(ours, theirs))
    (said,) = (line for line in record.summary_lines() if "is a refit" in line)
    assert said == record.context["stand_in"]
    assert f"version {before}, which was judged then, was scored in its place" in said
    # The alias is expected to point at the refit, which is what serves.
    assert record.champion is not None
    assert record.champion.model == after
    plain = replace(night, spec=replace(night.spec, refit=None))
    again = pipeline.decisions().judge(plain, DecisionInputs(ours, theirs))
    assert "may know older rows" in again.context["stand_in"]
