"""Where the two models' numbers of a night are: in their validations, or in their trainings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.contract import Tag
from understudy.decision import Validation
from understudy.night import Night
from understudy.orchestration.night_context import (
    CHALLENGER_INDEX,
    CHAMPION_INDEX,
    TRAIN,
    VALIDATE,
    pulled,
)
from understudy.orchestration.night_steps import trained_model
from understudy.orchestration.services import Services
from understudy.orchestration.step_operator import task_key

if TYPE_CHECKING:
    from airflow.sdk import Context


def has_numbers(context: Context, night: Night) -> bool:
    """Return whether the challenger came as far as to be judged."""
    if night.validated:
        return pulled(context, VALIDATE, CHALLENGER_INDEX) is not None
    return pulled(context, TRAIN) is not None


def challenger_score(context: Context, services: Services, night: Night) -> Validation:
    """Return where the challenger's numbers are.

    Raises:
        RegistryError: when it is not certain which model the training logged.
    """
    trained = trained_model(context, services, night)
    if not night.validated:
        return Validation(trained.uri, trained.run_id)
    return Validation(trained.uri, str(pulled(context, VALIDATE, CHALLENGER_INDEX)))


def champion_score(context: Context, services: Services, night: Night) -> Validation | None:
    """Return where the champion's numbers are, or why there are none; None without a champion."""
    if night.champion is None:
        return None
    if not night.validated:
        return trained_score(services, night, night.champion)
    run_id = pulled(context, VALIDATE, CHAMPION_INDEX)
    if run_id is not None:
        return Validation(night.champion, str(run_id))
    return Validation(night.champion, *_last_try(context, services, night))


def trained_score(services: Services, night: Night, version: str) -> Validation:
    """Return the run in which a version of the model was trained, where its numbers are."""
    run_id = services.registry.version(night.model, version).run_id
    if not run_id:
        return Validation(version, error="its version in the registry names no training run")
    if not services.runs.exists(run_id):
        return Validation(version, run_id, f"its training run {run_id} was deleted")
    return Validation(version, str(run_id))


def _last_try(context: Context, services: Services, night: Night) -> tuple[str, str]:
    """Return run id and error of the champion's last failed validation."""
    task = task_key(context, VALIDATE, CHAMPION_INDEX)
    tries = services.runs.tagged(night.experiment_id, Tag.ATTEMPT_OF, task, limit=1)
    if not tries:
        return "", "its validation did not begin; see the task's log"
    error = tries[0].data.tags.get(Tag.ERROR.value, "its validation ended without a reason")
    return str(tries[0].info.run_id), error
