"""Models that are measured, and the projects in whose environments they run. Reads MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from understudy.contract import ENV_MANAGERS, Kind, Tag
from understudy.errors import RegistryError
from understudy.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_PARENT: Final = "mlflow.parentRunId"
_MANAGER: Final = "mlflow.project.env"


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


def candidate(client: MlflowClient, name: str, uri: str, run_id: str) -> Candidate:
    """Return a model with the project whose training logged it.

    Args:
        client: Of the tracking server.
        name: What to call the model.
        uri: Its address.
        run_id: The run that logged it: a step's own, or one nested in it.

    Raises:
        RegistryError: when no run around it says which commit of which project it was.
        TrackingUnavailableError: when the server does not answer.
    """
    runs = RunStore(client)
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
        manager if manager in ENV_MANAGERS else "uv",
    )
