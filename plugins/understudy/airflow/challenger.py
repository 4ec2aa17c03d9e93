"""The night's challenger in the registry: its version, its move, and what keeps it from one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from airflow.sdk.exceptions import AirflowSkipException

from understudy.airflow.night_context import REFIT, REHEARSE, TRAIN, pulled, step_run
from understudy.airflow.services import Services
from understudy.contract import Tag, key_of
from understudy.errors import DecisionError
from understudy.gate import DecisionRecord, Unscored
from understudy.registry.history import MoveCause, Trained
from understudy.registry.promoter import MoveRequest
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context

    from understudy.registry.versions import TrainedModel


def held(services: Services, night: Night, reason: str) -> AirflowSkipException:
    """Note why a verdict of PROMOTE is not obeyed; return what ends the task."""
    services.runs.tag(night.run_id, {Tag.HELD_BECAUSE: reason})
    return AirflowSkipException(f"HELD: {reason}")


def trained_model(context: Context, services: Services, night: Night) -> TrainedModel:
    """Return the model that the night trained.

    Raises:
        DecisionError: when no training succeeded.
        RegistryError: when it is not certain which model that is.
    """
    return services.registry.trained(step_run(context, TRAIN), night.spec.steps.model)


def challenger_version(context: Context, services: Services, night: Night) -> str:
    """Return the registry's version for the model that the night trained; registered once."""
    # Under a key made of the model's address: `approve`, `rehearse` and `promote` all ask, in any
    # order and number of tries, and get the same version.
    trained = trained_model(context, services, night)
    services.registry.claim(night.model, night.pipeline)
    return services.registry.register(night.model, trained, key_of("version", trained.uri))


def final_training(context: Context, night: Night) -> str:
    """Return the MLflow run that trained what the night may promote: what was judged, or its refit.

    Raises:
        DecisionError: when it did not.
    """
    return step_run(context, TRAIN) if night.spec.refit is None else refit_left(context)["run_id"]


def refit_left(context: Context) -> Mapping[str, str]:
    """Return what the task ``refit`` left: two runs, and how far the model moved.

    Raises:
        DecisionError: when it did not succeed, or the file has no such task any more.
    """
    left = pulled(context, REFIT)
    if not left:
        raise DecisionError(
            "This night was to train its challenger again on all rows, and did not",
            allowed="a pipeline file that still has its refit, whose task has succeeded",
            action="put it back, or trigger the Dag again: that night pins the file as it is now",
        )
    return cast("Mapping[str, str]", left)


def final_version(context: Context, services: Services, night: Night) -> str:
    """Return the registry's version of what the night may promote; registered once."""
    judged = challenger_version(context, services, night)
    if night.spec.refit is None:
        return judged
    model = services.registry.trained(final_training(context, night), night.spec.steps.model)
    return services.registry.register(night.model, model, key_of("version", model.uri), judged)


def refuse_return(services: Services, night: Night, version: str) -> None:
    """End the night HELD where its challenger is champion already, or was rolled back.

    Raises:
        AirflowSkipException: with the reason.
    """
    if version == night.champion:
        raise held(services, night, f"the challenger is the champion, version {version}")
    if night.champion and version == services.registry.judged(night.model, night.champion):
        reason = f"the challenger is what the champion, version {night.champion}, is a refit of"
        raise held(services, night, reason)
    found = services.registry.version(night.model, version)
    # Run, fingerprint and commit: training the same again makes a new version of the same model.
    trained = Trained(
        version,
        run_id="" if found is None else str(found.run_id or ""),
        commit=night.commit,
        fingerprint=services.nights.stored_fingerprint(night),
    )
    rollback = services.promoter.history(night.model).blocked(trained, datetime.now(UTC))
    if rollback is not None:
        move = rollback.move
        scope = move.block.scope if move.block else "version"
        reason = (
            f"version {move.before} was rolled back by {move.actor} ({move.why}), and its {scope}"
            " does not return by itself"
        )
        raise held(services, night, reason)


def withdraw(context: Context, services: Services, night: Night) -> None:
    """Let this night's challenger wait no longer, however the night ends."""
    # Another challenger may wait by now: only a model of this night's training is withdrawn.
    waiting, trained = services.registry.challenger(night.model), pulled(context, TRAIN)
    if waiting and trained and services.runs.is_within(str(waiting.run_id), str(trained)):
        services.registry.withdraw(night.model, str(waiting.version))


def promotion(context: Context, services: Services, night: Night, version: str) -> MoveRequest:
    """Return the move that a verdict of PROMOTE asks for, but for what it was judged against.

    Raises:
        DecisionError: when the night was to rehearse, and the file has no such task any more.
    """
    rehearsal = str(pulled(context, REHEARSE) or "")
    if night.spec.rehearsal is not None and not rehearsal:
        raise DecisionError(
            "This night was to rehearse its challenger, and no rehearsal of it has passed",
            allowed="a pipeline file that still has its rehearsal",
            action="put it back, or trigger the Dag again: that night pins the file as it is now",
        )
    cause, actor = _who(context, services.nights.approval(night))
    return MoveRequest(
        model=night.model,
        version=version,
        expected=None,
        # The same for every try of the task: a move that a killed try began is carried on.
        key=key_of("night", night.run_id, version),
        cause=cause,
        actor=actor,
        why="" if night.spec.refit is None else refit_left(context)["said"],
        decision_run=night.run_id,
        rehearsal_run=rehearsal,
    )


def compared_with(services: Services, night: Night, record: DecisionRecord) -> str | None:
    """Return the champion that the alias must still point at; None for "at none"."""
    if record.champion is None:
        return None
    # Its version was deleted or its alias taken away: the alias is expected to point nowhere.
    lost = services.promoter.lost(night.model) if isinstance(record.champion, Unscored) else None
    if lost is not None and lost.version == record.champion.model:
        return None  # the rules waive that comparison
    return record.champion.model


def _who(context: Context, approval: str) -> tuple[MoveCause, str]:
    """Return whose move it is: of the person who approved or started the night, else its own."""
    dag_run = context["dag_run"]
    approved_by = approval.partition(" by ")[2]
    if approved_by:
        return MoveCause.PERSON, approved_by
    if dag_run.run_type == "manual":
        return MoveCause.PERSON, dag_run.triggering_user_name or "unknown"
    return MoveCause.NIGHT, f"{dag_run.dag_id} {dag_run.run_id}"
