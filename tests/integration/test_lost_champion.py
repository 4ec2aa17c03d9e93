"""A champion that somebody took away is no first night: judged on a real MLflow server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from understudy.airflow.challenger import compared_with
from understudy.airflow.inputs import lost_champion, trained_score
from understudy.airflow.services import Services
from understudy.decide.decision import DecisionInputs
from understudy.gate import Case, Cause, Gate, Metric, Unscored, Verdict
from understudy.registry.promoter import MoveRequest

if TYPE_CHECKING:
    from tests.fixtures.nights import Pipeline

pytestmark = pytest.mark.integration
GOOD = Metric("rmse", at_most=5)


@pytest.fixture
def services(pipeline: Pipeline) -> Services:
    """Return what a task has, and a model whose champion is version 2 of two."""
    made = Services.connect()
    for version, before in ((pipeline.version(""), None), (pipeline.version(""), "1")):
        made.promoter.move(MoveRequest(pipeline.experiment, version, before, f"to {version}"))
    return made


def test_absolute_rules_do_not_decide_alone(pipeline: Pipeline, services: Services) -> None:
    """HOLD, with what happened and the way back; the next night no less; a rollback ends it."""
    model = pipeline.experiment
    services.client.delete_model_version(model, "2")
    for day in ("2026-01-01", "2026-01-02"):
        night = replace(pipeline.night(day, Gate(GOOD)), champion=None)
        theirs = lost_champion(services, model)
        decision_inputs = DecisionInputs(pipeline.validated("m", None, rmse=1.0), theirs)
        record = pipeline.decisions().judge(night, decision_inputs)
        assert (record.verdict, record.decision.case) == (Verdict.HOLD, Case.CHAMPION_UNSCORED)
        assert isinstance(record.champion, Unscored)
        assert (record.champion.model, record.champion.cause) == ("2", Cause.DELETED)
        assert "somebody deleted it in MLflow" in record.decision.why
        assert "`understudy rollback" in record.decision.why
    services.promoter.move(MoveRequest(model, "1", None, "back"))
    assert lost_champion(services, model) is None


def test_a_gate_that_waives_the_comparison_may_promote(
    pipeline: Pipeline, services: Services
) -> None:
    """The move is made from "no champion", which is what the alias says."""
    model, waiving = pipeline.experiment, Gate(GOOD, unscored_champion="promote")
    night = replace(pipeline.night("2026-01-01", waiving), champion=None)
    services.client.delete_registered_model_alias(model, "champion")
    theirs = lost_champion(services, model)
    decision_inputs = DecisionInputs(pipeline.validated("m", None, rmse=1.0), theirs)
    record = pipeline.decisions().judge(night, decision_inputs)
    assert record.verdict is Verdict.PROMOTE
    version, expected = pipeline.version(night.run_id), compared_with(services, night, record)
    assert services.promoter.move(MoveRequest(model, version, expected, "tonight"))
    assert services.promoter.look(model).champion == "3"


def test_a_version_that_is_deleted_during_the_night_is_named(
    pipeline: Pipeline, services: Services
) -> None:
    """Where trainings are compared, its run is asked for by a version that is gone."""
    night = replace(pipeline.night("2026-01-01", Gate(GOOD)), champion="2")
    services.client.delete_model_version(pipeline.experiment, "2")
    score = trained_score(services, night, "2")
    assert (score.model, score.cause) == ("2", Cause.DELETED)
    assert "deleted it in MLflow" in score.error
