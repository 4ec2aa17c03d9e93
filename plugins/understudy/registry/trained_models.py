"""Finds the model that a training step logged, in its run or in one nested in it. Reads MLflow.

Old habits are met: models logged as plain artifacts, and a ``main`` that starts runs of its own.
Where it is not certain which model is meant, none is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from understudy.errors import RegistryError, listed

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.tracking import MlflowClient

_DEEPEST: Final = 5
"""Levels of nested runs that are looked through."""
_SHOWN: Final = 5
"""Nested runs that a message names."""


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
    raise (
        _several(run_id, name, [run for run, _ in nested])
        if nested
        else _none(run_id, name, others)
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
    if named:
        newest = max(named, key=lambda model: model.creation_timestamp)
        return TrainedModel(newest.model_uri, run_id, newest.model_id)
    artifacts = {item.path for item in client.list_artifacts(run_id, name)}
    if f"{name}/MLmodel" in artifacts:
        return TrainedModel(f"runs:/{run_id}/{name}", run_id)
    return None


def _descendants(client: MlflowClient, run: Run) -> Iterator[Run]:
    level = [run]
    for _ in range(_DEEPEST):
        level = [child for parent in level for child in _children(client, parent)]
        yield from level


def _children(client: MlflowClient, run: Run) -> list[Run]:
    below = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    return list(client.search_runs([run.info.experiment_id], below))


def _several(run_id: str, name: str, runs: list[Run]) -> RegistryError:
    shown = ", ".join(f"{run.info.run_name} ({run.info.run_id})" for run in runs[:_SHOWN])
    more = f" and {len(runs) - _SHOWN} more" if len(runs) > _SHOWN else ""
    return RegistryError(
        f"The training run {run_id} has a model {name!r} in {len(runs)} nested runs: {shown}{more}",
        allowed="one model to be judged: in the training run itself, or in one nested run",
        action="log the one that counts in the outer run, or under a name of its own that "
        "Steps(model=...) says",
    )


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
