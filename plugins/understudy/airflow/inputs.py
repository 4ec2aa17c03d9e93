"""Where the two models' numbers of a night are: in their validations, or in their trainings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from understudy.airflow.challenger import trained_model
from understudy.airflow.connections import git_access
from understudy.airflow.night_context import (
    CHALLENGER_INDEX,
    CHAMPION_INDEX,
    PREPROCESS,
    TRAIN,
    VALIDATE,
    pulled,
)
from understudy.airflow.services import Services
from understudy.airflow.step import task_key, visible_environment
from understudy.contract import Tag
from understudy.decide.decision import DecisionInputs, ExecutionContext, Validation
from understudy.decide.inputs import cause_of, from_tag
from understudy.errors import StepFailedError
from understudy.gate import Cause, DecisionRecord
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context


def has_numbers(context: Context, night: Night) -> bool:
    """Return whether the challenger came as far as to be judged."""
    if night.validated:
        return pulled(context, VALIDATE, CHALLENGER_INDEX) is not None
    return pulled(context, TRAIN) is not None


def decision_inputs(context: Context, services: Services, night: Night) -> DecisionInputs:
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
    champion = _champion_score(context, services, night)
    return _inputs(context, services, night, Validation(trained.uri, run_id), champion)


def inputs_again(
    context: Context,
    services: Services,
    night: Night,
    record: DecisionRecord,
    score: Callable[[str], str],
) -> DecisionInputs:
    """Return what to judge a night again by, whose champion has changed since.

    Args:
        context: Of the task that asks.
        services: The servers.
        night: The night.
        record: What was decided.
        score: Scores the model of an address on the night's rows; returns the MLflow run.

    Raises:
        StepFailedError: when the new champion cannot be scored, and another try may do it.
    """
    found = services.registry.champion(night.model)
    if found is None:
        champion = lost_champion(services, night.model)
    elif night.validated:
        champion = _scored(context, services, night, str(found.version), score)
    else:
        champion = trained_score(services, night, str(found.version))
    challenger = Validation(record.challenger.model, record.challenger.run_id)
    return _inputs(context, services, night, challenger, champion)


def _scored(
    context: Context, services: Services, night: Night, version: str, score: Callable[[str], str]
) -> Validation:
    try:
        return Validation(version, score(f"models:/{night.model}/{version}"))
    except StepFailedError as error:
        # Another try may succeed; in the last one, that it fails is what there is to judge by.
        if error.can_retry and context["ti"].try_number <= context["ti"].max_tries:
            raise
        scored = services.registry.judged(night.model, version)
        cause = cause_of(services.client, error, night.model, scored)
        return Validation(version, error.run_id, str(error), cause)


def _inputs(
    context: Context,
    services: Services,
    night: Night,
    challenger: Validation,
    champion: Validation | None,
) -> DecisionInputs:
    spec, rows = night.spec, pulled(context, PREPROCESS)
    # Only what is measured runs code of the project: without budgets no secret is handed on.
    execution = (
        ExecutionContext()
        if spec.gate.budgets is None
        else ExecutionContext(
            visible_environment(spec.environment), git_access(spec.project.connection)
        )
    )
    # Empty where no step split the rows.
    address = f"runs:/{rows}/{spec.steps.data}" if rows is not None else ""
    if champion is not None and night.validated:
        champion = replace(champion, scored=services.registry.judged(night.model, champion.model))
    return DecisionInputs(challenger, champion, address, execution)


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
