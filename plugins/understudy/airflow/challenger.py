"""The night's challenger in the registry: its version, and what keeps it from being promoted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowSkipException

from understudy.airflow.night_steps import trained_model
from understudy.airflow.services import Services
from understudy.contract import Tag, key_of
from understudy.registry.history import Trained
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context


def held(services: Services, night: Night, reason: str) -> AirflowSkipException:
    """Note why a verdict of PROMOTE is not obeyed; return what ends the task."""
    services.runs.tag(night.run_id, {Tag.HELD_BECAUSE: reason})
    return AirflowSkipException(f"HELD: {reason}")


def challenger_version(context: Context, services: Services, night: Night) -> str:
    """Return the registry's version for the model that the night trained; registered once."""
    # Under a key made of the model's address: `approve`, `rehearse` and `promote` all ask, in any
    # order and number of tries, and get the same version.
    trained = trained_model(context, services, night)
    services.registry.claim(night.model, night.pipeline)
    return services.registry.register(night.model, trained, key_of("version", trained.uri))


def refuse_return(context: Context, services: Services, night: Night, version: str) -> None:
    """End the night HELD where its challenger is champion already, or was rolled back.

    Raises:
        AirflowSkipException: with the reason.
    """
    if version == night.champion:
        raise held(services, night, f"the challenger is the champion, version {version}")
    # Run, fingerprint and commit: training the same again makes a new version of the same model.
    trained = Trained(
        version,
        run_id=trained_model(context, services, night).run_id,
        commit=night.commit,
        fingerprint=services.nights.stored_fingerprint(night),
    )
    rollback = services.promoter.history(night.model).held(trained, datetime.now(UTC))
    if rollback is not None:
        move = rollback.move
        scope = move.hold.scope if move.hold else "version"
        reason = (
            f"version {move.before} was rolled back by {move.actor} ({move.why}), and its {scope}"
            " does not return by itself"
        )
        raise held(services, night, reason)
