"""The model registry: who is champion, and the one way to move the alias. Touches MLflow only.

MLflow's alias call is last-writer-wins, without history. So a move here names the champion that it
expects, reads it again right before and right after, and writes who moved it on the version.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from understudy.contract import CHALLENGER, CHAMPION, MODEL_ARTIFACT, PREVIOUS, Tag
from understudy.errors import RegistryError
from understudy.tracking import tracking_errors
from understudy.trained_models import TrainedModel, trained_model

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

_ALIAS_MISSING = "not found"


@dataclass(frozen=True, slots=True)
class Move:
    """A move of the alias ``champion`` that is wanted.

    Attributes:
        model: The registered model.
        version: The version to be champion.
        expected: The champion that the verdict was reached against; None for "there is none".
        decision_run: The MLflow run that holds the decision record.
    """

    model: str
    version: str
    expected: str | None
    decision_run: str


class ChampionChangedError(RegistryError):
    """The champion is not the one that the verdict was reached against."""


class Registry:
    """Reads and moves aliases of registered models.

    Raises:
        TrackingUnavailableError: from every method, when the server does not answer.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def champion(self, model: str) -> ModelVersion | None:
        """Return the version in production, or None where the model or the alias does not exist."""
        return self._aliased(model, CHAMPION)

    def challenger(self, model: str) -> ModelVersion | None:
        """Return the version that waits for a person, or None."""
        return self._aliased(model, CHALLENGER)

    def version(self, model: str, version: str) -> ModelVersion:
        """Return a version of a registered model."""
        with tracking_errors():
            return self._client.get_model_version(model, version)

    def trained(self, run_id: str, name: str = MODEL_ARTIFACT) -> TrainedModel:
        """Return the model that a training step logged under ``name``.

        Raises:
            RegistryError: when it is not certain which model that is.
        """
        with tracking_errors():
            return trained_model(self._client, run_id, name)

    def register(self, model: str, trained: TrainedModel, key: str) -> str:
        """Return the version for a trained model; the same key never makes a second one."""
        with tracking_errors():
            self._create_model(model)
            eldest = self._version_by_key(model, key)
            if eldest is None:
                self._create_version(model, trained, key)
                eldest = self._version_by_key(model, key)
        if eldest is None:
            raise RegistryError(
                f"A version of {model} for {trained.uri} was created and cannot be found",
                allowed="a registry that lists what it created",
                action="look at the registry, then run the task again",
            )
        return eldest

    def challenge(self, model: str, version: str) -> None:
        """Point the alias ``challenger`` at a version that waits."""
        with tracking_errors():
            self._client.set_registered_model_alias(model, CHALLENGER, version)

    def withdraw(self, model: str, version: str) -> None:
        """Take the alias ``challenger`` from a version, if that version has it."""
        with tracking_errors():
            waiting = self.challenger(model)
            if waiting is not None and waiting.version == version:
                self._client.delete_registered_model_alias(model, CHALLENGER)

    def move(self, wanted: Move) -> bool:
        """Move the alias ``champion``; return False where it was there already.

        Killed between any two calls, the old champion or the new one is champion, complete.

        Raises:
            ChampionChangedError: when another version became champion since the verdict.
        """
        with tracking_errors():
            now = self._champion_version(wanted.model)
            if now != wanted.version:
                self._refuse_change(wanted, now)
                if now is not None:
                    self._client.set_registered_model_alias(wanted.model, PREVIOUS, now)
                self._client.set_registered_model_alias(wanted.model, CHAMPION, wanted.version)
                self._confirm(wanted)
            self._note(wanted, moved=now != wanted.version)
        self.withdraw(wanted.model, wanted.version)
        return now != wanted.version

    def _refuse_change(self, wanted: Move, now: str | None) -> None:
        if now != wanted.expected:
            raise ChampionChangedError(
                f"The champion of {wanted.model} is {_named(now)}; the verdict compared with"
                f" {_named(wanted.expected)}",
                allowed="a move while the champion is the one compared with",
                action="nothing: the challenger is judged again against the new champion",
            )

    def _confirm(self, wanted: Move) -> None:
        now = self._champion_version(wanted.model)
        if now != wanted.version:
            raise ChampionChangedError(
                f"{_named(wanted.version)} of {wanted.model} was made champion, and right after"
                f" {_named(now)} was",
                allowed="one mover at a time",
                action="look who else moves the alias; nothing was overwritten by us",
            )

    def _note(self, wanted: Move, *, moved: bool) -> None:
        """Write on the version who made it champion; a repeated move fills in what is missing."""
        tags = {
            Tag.DECISION_RUN: wanted.decision_run,
            Tag.CHAMPION_BEFORE: wanted.expected or "",
            Tag.CHAMPION_SINCE: datetime.now(UTC).isoformat(timespec="seconds"),
        }
        known = self._client.get_model_version(wanted.model, wanted.version).tags
        for name, value in tags.items():
            if moved or name.value not in known:
                self._client.set_model_version_tag(wanted.model, wanted.version, name.value, value)

    def _create_model(self, model: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _create_version(self, model: str, trained: TrainedModel, key: str) -> None:
        self._client.create_model_version(
            model,
            trained.uri,
            run_id=trained.run_id,
            model_id=trained.model_id,
            tags={Tag.KEY.value: key},
        )

    def _version_by_key(self, model: str, key: str) -> str | None:
        wanted = f"name = '{model}' and tags.`{Tag.KEY}` = '{key}'"
        found = self._client.search_model_versions(wanted)
        return min((str(v.version) for v in found), key=int, default=None)

    def _champion_version(self, model: str) -> str | None:
        champion = self.champion(model)
        return None if champion is None else str(champion.version)

    def _aliased(self, model: str, alias: str) -> ModelVersion | None:
        from mlflow.exceptions import MlflowException

        try:
            with tracking_errors():
                return self._client.get_model_version_by_alias(model, alias)
        except MlflowException as error:
            if _says_missing(error):
                return None
            raise


def _says_missing(error: MlflowException) -> bool:
    """Tell "no such model" and "no such alias" from everything else that goes wrong."""
    if error.error_code == "RESOURCE_DOES_NOT_EXIST":
        return True
    return error.error_code == "INVALID_PARAMETER_VALUE" and _ALIAS_MISSING in error.message


def _named(version: str | None) -> str:
    return "no version" if version is None else f"version {version}"


__all__ = ["ChampionChangedError", "Move", "Registry", "TrainedModel"]
