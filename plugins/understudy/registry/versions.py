"""The model registry: versions, who is champion or waits, and which model a training logged.

Touches MLflow only. The alias ``champion`` is moved by ``promoter`` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from understudy.contract import CHALLENGER, CHAMPION, MODEL_ARTIFACT, Tag
from understudy.errors import RegistryError, TrackingRefusedError, listed
from understudy.store.tracking import tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mlflow.tracking import MlflowClient


_VERSIONS: Final = "models:/"
_DEEPEST: Final = 5
"""Levels of nested runs that are looked through."""
_SHOWN: Final = 5
"""Nested runs that a message names."""
_BECAME: Final = "Became champion"
_DESCRIPTION: Final = 5000
"""Characters; MLflow takes no longer description."""


# Old habits are met: models logged as plain artifacts, and a ``main`` that starts runs of its own.
# Where it is not certain which model is meant, none is taken.
@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model that a training step logged.

    Attributes:
        uri: Its immutable address: ``models:/m-...``, or ``runs:/<run id>/model`` where the
            project logs models as plain artifacts.
        run_id: The run that logged it: the step's own, or one nested in it.
        model_id: MLflow's id of the logged model, or None.
    """

    uri: str
    run_id: str
    model_id: str | None = None


def trained_model(client: MlflowClient, run_id: str, name: str) -> TrainedModel:
    """Return the model that a training step logged under ``name``.

    Raises:
        RegistryError: when it logged none of that name, or several in nested runs.
    """
    step = client.get_run(run_id)
    own = _logged(client, step)
    if found := _named(client, step, own, name):
        return found
    others, nested = {model.name for model in own}, []
    for run in _descendants(client, step):
        models = _logged(client, run)
        others |= {model.name for model in models}
        if found := _named(client, run, models, name):
            nested.append((run, found))
    if len(nested) == 1:
        return nested[0][1]
    if not nested:
        raise _none(run_id, name, others)
    runs = [run for run, _ in nested]
    shown = ", ".join(f"{run.info.run_name} ({run.info.run_id})" for run in runs[:_SHOWN])
    more = f" and {len(runs) - _SHOWN} more" if len(runs) > _SHOWN else ""
    raise RegistryError(
        f"The training run {run_id} has a model {name!r} in {len(runs)} nested runs: {shown}{more}",
        allowed="one model to be judged: in the training run itself, or in one nested run",
        action="log the one that counts in the outer run, or under a name of its own that "
        "Steps(model=...) says",
    )


def _logged(client: MlflowClient, run: Run) -> list[LoggedModel]:
    outputs = run.outputs.model_outputs if run.outputs else []
    return [client.get_logged_model(output.model_id) for output in outputs]


def _named(
    client: MlflowClient, run: Run, models: Iterable[LoggedModel], name: str
) -> TrainedModel | None:
    """Return a run's model of that name: the newest, or the one among its artifacts."""
    run_id = str(run.info.run_id)
    named = [model for model in models if model.name == name]
    # A training may log several under one name, such as checkpoints: the last one is its result.
    if named:
        newest = max(named, key=lambda model: model.creation_timestamp)
        return TrainedModel(newest.model_uri, run_id, newest.model_id)
    artifacts = {item.path for item in client.list_artifacts(run_id, name)}
    if f"{name}/MLmodel" in artifacts:
        return TrainedModel(f"runs:/{run_id}/{name}", run_id)
    return None


def _descendants(client: MlflowClient, run: Run) -> Iterator[Run]:
    level = [run]
    # Level by level: MLflow knows a run's parent, and no run its descendants.
    for _ in range(_DEEPEST):
        level = [
            child
            for parent in level
            for child in client.search_runs(
                [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
            )
        ]
        yield from level


def _none(run_id: str, name: str, others: set[str]) -> RegistryError:
    if others:
        return RegistryError(
            f"The training run {run_id} logged the models {listed(others)}, none named {name!r}",
            allowed=f"a model logged with name={name!r}",
            action=f"say which one counts: Steps(model={min(others)!r})",
        )
    return RegistryError(
        f"The training run {run_id} logged no model, nor did a run nested in it",
        allowed=f"a model logged with name={name!r}",
        action="log it inside `with mlflow.start_run():`; what the project starts by mlflow.run() "
        "is found only if it is started inside it too",
    )


# MLflow 3.17 says "Registered model alias champion not found." with the code of a bad argument,
# and has no code of its own for it.
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

    def judged(self, model: str, version: str) -> str:
        """Return the version whose predictions count for a version on rows of any holdout.

        A refit was trained on its night's holdout, and a later night's has most of these rows, too:
        it would know the answers. The version that was judged before it does not.
        """
        found = self.version(model, version)
        return version if found is None else str(found.tags.get(Tag.REFIT_OF.value, "") or version)

    def judged_address(self, address: str) -> str:
        """Return the address of the model to score in place of the one at ``address``.

        Args:
            address: ``models:/<name>/<version>``; that of no version is returned as it is.
        """
        name, _, version = address.removeprefix(_VERSIONS).rpartition("/")
        if not address.startswith(_VERSIONS) or not name:
            return address
        return f"{_VERSIONS}{name}/{self.judged(name, version)}"

    def register(self, model: str, trained: TrainedModel, key: str, refit_of: str = "") -> str:
        """Return the version for a trained model; the same key never makes a second one.

        Args:
            model: The registered model.
            trained: What is registered.
            key: Its identity.
            refit_of: The version that was judged, of a model that was trained again since.
        """
        judged = {Tag.REFIT_OF.value: refit_of} if refit_of else {}
        with tracking_errors():
            self._create_model(model)
            # MLflow registers the same source twice without complaint, and its client repeats a
            # POST whose answer was lost: of the versions with this key the first one counts.
            eldest = self._version_by_key(model, key)
            if eldest is None:
                self._client.create_model_version(
                    model,
                    trained.uri,
                    run_id=trained.run_id,
                    model_id=trained.model_id,
                    tags={Tag.KEY.value: key, **judged},
                )
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
        # Read again: another pipeline may have claimed it in the same moment, and the last writer
        # of a tag has it.
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

    def describe(self, model: str, version: str, words: str) -> None:
        """Say on a version's page in MLflow how it became champion; what a person wrote stays."""
        found = self.version(model, version)
        known = "" if found is None else str(found.description or "")
        if found is None or (known and not known.startswith(_BECAME)):
            return
        with tracking_errors():
            self._client.update_model_version(model, version, f"{_BECAME} {words}"[:_DESCRIPTION])

    def _owner(self, model: str) -> str:
        """Return the pipeline that has a model; '' for none."""
        found = registered(self._client, model)
        return "" if found is None else str(found.tags.get(Tag.PIPELINE.value, ""))

    def _create_model(self, model: str) -> None:
        from mlflow.exceptions import MlflowException

        # Made without a look: a look and a creation are two calls, between which another may come.
        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _version_by_key(self, model: str, key: str) -> str | None:
        found = self._client.search_model_versions(
            f"name = '{model}' and tags.`{Tag.KEY}` = '{key}'"
        )
        # Versions are numbers that MLflow gives as texts: "10" must not come before "9".
        return min((str(v.version) for v in found), key=int, default=None)

    def _aliased(self, model: str, alias: str) -> ModelVersion | None:
        from mlflow.exceptions import MlflowException

        try:
            with tracking_errors():
                return self._client.get_model_version_by_alias(model, alias)
        except MlflowException as error:
            # "No such model" and "no such alias" are answers; everything else that goes wrong is
            # not, for without a champion a model may be promoted that was compared with none.
            no_model = error.error_code == "RESOURCE_DOES_NOT_EXIST"
            bad_argument = error.error_code == "INVALID_PARAMETER_VALUE"
            if no_model or (bad_argument and _ALIAS_MISSING in error.message):
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
        # A version that is no number is a bad argument to MLflow; there is none of that name.
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        return None


__all__ = ["Registry", "TrainedModel", "registered", "version_of"]
