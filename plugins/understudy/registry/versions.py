"""The model registry: versions, and who is champion or waits. Touches MLflow only.

The alias ``champion`` is moved by ``understudy.registry`` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.contract import CHALLENGER, CHAMPION, MODEL_ARTIFACT, Tag
from understudy.errors import RegistryError, TrackingRefusedError
from understudy.registry.trained_models import TrainedModel, trained_model
from understudy.store.tracking import tracking_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

_ALIAS_MISSING = "not found"


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

    def version(self, model: str, version: str) -> ModelVersion | None:
        """Return a version of a registered model, None where somebody has deleted it."""
        return version_of(self._client, model, version)

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

    def refuse_foreign(self, model: str, pipeline: str) -> None:
        """Refuse a registered model that another pipeline has.

        Two would overwrite each other's champion, each with a model for data of its own.

        Raises:
            RegistryError: naming the pipeline that has it.
        """
        owner = self._owner(model)
        if owner not in {"", pipeline}:
            raise RegistryError(
                f"The registered model {model} belongs to the pipeline {owner}",
                allowed=f"a model of its own for the pipeline {pipeline}",
                action=f"give the pipeline a model=; if it takes over, set the model's tag"
                f" {Tag.PIPELINE} to {pipeline} in MLflow",
            )

    def claim(self, model: str, pipeline: str) -> None:
        """Let a pipeline have a registered model, which is made if there is none.

        Raises:
            RegistryError: when another pipeline has it.
        """
        with tracking_errors():
            self._create_model(model)
            if not self._owner(model):
                self._client.set_registered_model_tag(model, Tag.PIPELINE.value, pipeline)
        self.refuse_foreign(model, pipeline)

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

    def _owner(self, model: str) -> str:
        """Return the pipeline that has a model; '' for none."""
        found = registered(self._client, model)
        return "" if found is None else str(found.tags.get(Tag.PIPELINE.value, ""))

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

    def _aliased(self, model: str, alias: str) -> ModelVersion | None:
        from mlflow.exceptions import MlflowException

        try:
            with tracking_errors():
                return self._client.get_model_version_by_alias(model, alias)
        except MlflowException as error:
            if _says_missing(error):
                return None
            raise
        except TrackingRefusedError:
            # To whoever is no administrator, MLflow forbids the aliases of a model that there is
            # not. About the model itself it tells the two apart.
            if registered(self._client, model) is None:
                return None
            raise


def registered(client: MlflowClient, model: str) -> RegisteredModel | None:
    """Return a registered model with its aliases and tags, or None where there is none.

    Raises:
        TrackingUnavailableError: when the server does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        with tracking_errors():
            return client.get_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def version_of(client: MlflowClient, model: str, version: str) -> ModelVersion | None:
    """Return a version of a registered model, or None where there is no such version.

    Raises:
        TrackingUnavailableError: when the server does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        with tracking_errors():
            return client.get_model_version(model, version)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        return None


def _says_missing(error: MlflowException) -> bool:
    """Tell "no such model" and "no such alias" from everything else that goes wrong."""
    if error.error_code == "RESOURCE_DOES_NOT_EXIST":
        return True
    return error.error_code == "INVALID_PARAMETER_VALUE" and _ALIAS_MISSING in error.message


__all__ = ["Registry", "TrainedModel", "registered", "version_of"]
