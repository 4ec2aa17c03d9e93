"""Where the two models' numbers of a night are: in their validations, or in their trainings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.airflow.connections import git_access
from understudy.airflow.night_context import (
    CHALLENGER_INDEX,
    CHAMPION_INDEX,
    PREPROCESS,
    TRAIN,
    VALIDATE,
    pulled,
)
from understudy.airflow.night_steps import trained_model
from understudy.airflow.services import Services
from understudy.airflow.step import task_key, visible_environment
from understudy.contract import Tag
from understudy.decide.decision import DecisionInputs, ExecutionContext, Validation
from understudy.decide.inputs import from_tag
from understudy.gate import Cause
from understudy.spec.pipeline import Pipeline
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context


def has_numbers(context: Context, night: Night) -> bool:
    """Return whether the challenger came as far as to be judged."""
    if night.validated:
        return pulled(context, VALIDATE, CHALLENGER_INDEX) is not None
    return pulled(context, TRAIN) is not None


def decision_inputs(
    context: Context, services: Services, night: Night, pipeline: Pipeline
) -> DecisionInputs:
    """Return what the night's tasks have left to judge by.

    Raises:
        ParameterError: when a variable that the models are to be measured with is not set.
        ProjectError: when the project's connection cannot be used.
        RegistryError: when it is not certain which model the training logged.
    """
    trained = trained_model(context, services, night)
    run_id = trained.run_id
    if night.validated:
        run_id = str(pulled(context, VALIDATE, CHALLENGER_INDEX))
    return DecisionInputs(
        Validation(trained.uri, run_id),
        _champion_score(context, services, night),
        rows_of(context, night),
        execution_context(night, pipeline),
    )


def execution_context(night: Night, pipeline: Pipeline) -> ExecutionContext:
    """Return what the models run with where they are measured.

    Raises:
        ParameterError: when a variable is not set.
        ProjectError: when the project's connection cannot be used.
    """
    # Only what is measured runs code of the project: without budgets no secret is handed on.
    if not night.rules.get("budgets"):
        return ExecutionContext()
    access = git_access(pipeline.project.connection)
    return ExecutionContext(visible_environment(pipeline.environment), access)


def rows_of(context: Context, night: Night) -> str:
    """Return the address of the rows that this night split; empty where no step did that."""
    run_id = pulled(context, PREPROCESS)
    return f"runs:/{run_id}/{night.data_artifact}" if run_id is not None else ""


def _champion_score(context: Context, services: Services, night: Night) -> Validation | None:
    """Return where the champion's numbers are, or why there are none; None where none ever was."""
    if night.champion is None:
        return lost_champion(services, night.model)
    if not night.validated:
        return trained_score(services, night, night.champion)
    run_id = pulled(context, VALIDATE, CHAMPION_INDEX)
    if run_id is not None:
        return Validation(night.champion, str(run_id))
    return _failed(context, services, night, night.champion)


def lost_champion(services: Services, model: str) -> Validation | None:
    """Return why the champion that somebody took away has no numbers; None where none ever was.

    Without it absolute rules alone would decide, as for a first model.
    """
    lost = services.promoter.lost(model)
    if lost is None:
        return None
    cause = Cause.DELETED if lost.deleted else Cause.NOT_BEGUN
    return Validation(lost.version, "", lost.reason, cause)


def trained_score(services: Services, night: Night, version: str) -> Validation:
    """Return the run in which a version of the model was trained, where its numbers are."""
    found = services.registry.version(night.model, version)
    if found is None:
        return Validation(version, "", "somebody deleted it in MLflow tonight", Cause.DELETED)
    run_id = found.run_id
    if not run_id:
        return Validation(
            version,
            error="its version in the registry names no training run",
            cause=Cause.NOT_BEGUN,
        )
    if not services.runs.exists(run_id):
        return Validation(version, run_id, f"its training run {run_id} was deleted", Cause.DELETED)
    return Validation(version, str(run_id))


def _failed(context: Context, services: Services, night: Night, version: str) -> Validation:
    """Return why the champion has no numbers: what its validation noted, else what it left."""
    task = task_key(context, VALIDATE, CHAMPION_INDEX)
    tries = services.runs.tagged(night.experiment_id, Tag.ATTEMPT_OF, task, limit=1)
    run_id = str(tries[0].info.run_id) if tries else ""
    # The note first: a validation may fail before it has an MLflow run.
    tags = services.runs.get(night.run_id).data.tags
    if noted := from_tag(tags.get(Tag.CHAMPION_ERROR.value, "")):
        cause, reason = noted
        return Validation(version, run_id, reason, cause)
    if not tries:
        reason = "its validation did not begin; see the task's log"
        return Validation(version, "", reason, Cause.NOT_BEGUN)
    error = tries[0].data.tags.get(Tag.ERROR.value, "its validation ended without a reason")
    stopped = tries[0].info.status == "KILLED"
    return Validation(version, run_id, error, Cause.STOPPED if stopped else Cause.CRASHED)
