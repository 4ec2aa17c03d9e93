"""Models that are measured, and the projects in whose environments they run. Reads MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from understudy.contract import Kind, Tag, is_env_manager
from understudy.errors import RegistryError
from understudy.store.artifacts import listed
from understudy.store.tracking import RunStore, tracking_errors

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_PARENT: Final = "mlflow.parentRunId"
_MANAGER: Final = "mlflow.project.env"
_RUNS, _MODELS, _LOGGED = "runs:/", "models:/", "m-"


@dataclass(frozen=True, slots=True)
class BenchmarkModel:
    """A model that may be measured.

    Attributes:
        name: Its version in the registry, its address, or the file of its predictions.
        uri: Its address in MLflow; empty where that is not known.
    """

    name: str
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to measure.

    Attributes:
        name: What to call it: a version of the registry, or its address.
        uri: Its address, such as ``models:/m-...``.
        project: Address of the project that trained it, with its subdirectory.
        version: The commit.
        env_manager: What makes the project's environment.
        environment: Further variables for its process; values may be secrets.
    """

    name: str
    uri: str
    project: str
    version: str
    env_manager: str = "uv"
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def training_run(client: MlflowClient, uri: str) -> str:
    """Return the id of the run that logged a model.

    Args:
        client: Of the tracking server.
        uri: ``models:/m-...``, ``models:/<name>/<version>``, ``models:/<name>@<alias>`` or
            ``runs:/<run id>/<path>``.

    Raises:
        RegistryError: when there is no such model, or it does not say.
        TrackingUnavailableError: when the server does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        with tracking_errors():
            run_id = _logged_by(client, uri)
    except (MlflowException, ValueError) as error:
        raise _unknown(uri, str(error).partition("\n")[0][:300]) from error
    if not run_id:
        raise _unknown(uri, "the registry does not say which run logged it")
    return run_id


def refuse_gone(client: MlflowClient, uri: str) -> None:
    """Refuse a model whose files are gone: fetching would not tell that from an outage.

    Args:
        client: Of the tracking server.
        uri: As in ``training_run``.

    Raises:
        RegistryError: when there are none.
        TrackingUnavailableError: when the server does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        with tracking_errors():
            place = place_of(client, uri)
        there = listed(client, place)
    except (MlflowException, OSError) as error:
        raise _gone(uri, str(error).partition("\n")[0][:300]) from error
    if not there:
        raise _gone(uri, f"there is nothing at {place}")


def place_of(client: MlflowClient, uri: str) -> str:
    """Return where a model's files are, in words that need no other setting than the client's.

    Args:
        client: Of the tracking server.
        uri: As in ``training_run``.
    """
    # `models:/m-...` is a logged model, which has one segment; a version of a registered model has
    # two, and an alias stands behind an @ in one.
    if uri.startswith(_RUNS):
        return uri
    name, _, version = uri.removeprefix(_MODELS).rpartition("/")
    if not name and "@" not in version:
        return str(client.get_logged_model(version).artifact_location)
    if not name:
        name, _, alias = version.rpartition("@")
        version = client.get_model_version_by_alias(name, alias).version
    return str(client.get_model_version_download_uri(name, version))


def _gone(uri: str, why: str) -> RegistryError:
    return RegistryError(
        f"The files of the model {uri} are gone: {why}",
        allowed="a model whose files are in MLflow's store",
        action="retrain the model by its pipeline",
    )


def _logged_by(client: MlflowClient, uri: str) -> str:
    if uri.startswith(_RUNS):
        return uri.removeprefix(_RUNS).partition("/")[0]
    name, _, version = uri.removeprefix(_MODELS).rpartition("/")
    if uri.startswith(_MODELS) and name:
        return str(client.get_model_version(name, version).run_id or "")
    if uri.startswith(_MODELS + _LOGGED) and "@" not in version:
        return str(client.get_logged_model(version).source_run_id or "")
    name, _, alias = version.rpartition("@")
    if not uri.startswith(_MODELS) or not name:
        raise ValueError("this is no address of a model")
    return str(client.get_model_version_by_alias(name, alias).run_id or "")


def _unknown(uri: str, why: str) -> RegistryError:
    return RegistryError(
        f"Which run logged the model {uri} is not known: {why}",
        allowed="the address of a model in MLflow whose training run is there",
        action="retrain the model by its pipeline",
    )


def candidate(
    client: MlflowClient,
    name: str,
    uri: str,
    run_id: str,
    environment: Mapping[str, str] | None = None,
) -> Candidate:
    """Return a model with the project whose training logged it.

    Args:
        client: Of the tracking server.
        name: What to call the model.
        uri: Its address.
        run_id: The run that logged it: a step's own, or one nested in it.
        environment: Variables for its process.

    Raises:
        RegistryError: when no run around it says which commit of which project it was.
        TrackingUnavailableError: when the server does not answer.
    """
    runs = RunStore(client)
    if not runs.exists(run_id):
        raise _unknown(uri, f"the run {run_id} is gone")
    # A training may log its model in a run of its own; the step's run around it names the commit.
    run = runs.get(run_id)
    while run.data.tags.get(Tag.KIND.value) != Kind.STEP and run.data.tags.get(_PARENT):
        run = runs.get(run.data.tags[_PARENT])
    tags = run.data.tags
    if Tag.COMMIT.value not in tags or Tag.REPOSITORY.value not in tags:
        raise RegistryError(
            f"The run {run_id} that logged the model {name} does not say of which commit it is",
            allowed="a run that Understudy started, or one nested in it",
            action="retrain the model by its pipeline",
        )
    below = tags.get(Tag.SUBDIRECTORY.value, "")
    manager = tags.get(_MANAGER, "")
    return Candidate(
        name,
        uri,
        tags[Tag.REPOSITORY.value] + (f"#{below}" if below else ""),
        tags[Tag.COMMIT.value],
        manager if is_env_manager(manager) else "uv",
        environment or {},
    )
