"""Finds what is left of the rows that a model was trained on: their profile, or they themselves.

Reads MLflow; writes what it fetches into a folder that it is given.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from understudy.contract import DECISION_PROFILE, TRAIN_FILE, Kind, Tag
from understudy.spec.entry_points import DATA
from understudy.store.artifacts import found, read_note
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_FILES: Final = (TRAIN_FILE, "dataset.json")
_PARENT: Final = "mlflow.parentRunId"
_RUN: Final = "runs:/"


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """What was found; one of the three is there.

    Attributes:
        profile: File with the profile of the rows.
        folder: Folder with the rows.
        absent: Why there is neither.
        address: Of the profile or the folder in MLflow; empty where there is neither.
    """

    profile: Path | None = None
    folder: Path | None = None
    absent: str = ""
    address: str = ""


def training_rows(
    client: MlflowClient, run_id: str, into: Path, parameter: str = DATA
) -> TrainingRows:
    """Fetch what is left of the rows that a model was trained on.

    The profile is preferred: it is small, and there when the rows are not. It lies with the night
    that trained the model, the rows with the step that the training had them from.

    Args:
        client: Of the tracking server.
        run_id: The run that logged the model: a step's own, or one nested in it.
        into: Folder for what is fetched.
        parameter: The training's parameter that took the rows; where it has another name, the
            only one that took anything.

    Raises:
        TrackingUnavailableError: when the server does not answer.
    """
    runs = RunStore(client)
    if not run_id or not runs.exists(run_id):
        return TrainingRows(absent=f"the training run {run_id or '(none)'} is gone")
    # A training may log its model in a run of its own: what the step took and the night's profile
    # are noted on the runs around it.
    outwards = list(_outwards(runs, run_id))
    night = next((run for run in outwards if run.data.tags.get(Tag.KIND) == Kind.NIGHT), None)
    if night is not None and (found := _fetched(client, night.info.run_id, DECISION_PROFILE, into)):
        place = f"{_RUN}{night.info.run_id}/{DECISION_PROFILE}"
        return TrainingRows(profile=found, address=place)
    address = next(filter(None, (_address(client, run, parameter) for run in outwards)), "")
    if not address.startswith(_RUN):
        return TrainingRows(absent=f"the training run {run_id} does not say which rows it had")
    source, _, path = address.removeprefix(_RUN).partition("/")
    files = [_fetched(client, source, f"{path}/{name}".strip("/"), into) for name in _FILES]
    if files[0] is None:
        return TrainingRows(absent=f"the rows of the training run {run_id}, {address}, are gone")
    return TrainingRows(folder=files[0].parent, address=address)


def _outwards(runs: RunStore, run_id: str) -> Iterator[Run]:
    """Yield a run, the one around it, and so on."""
    while run_id and runs.exists(run_id):
        run = runs.get(run_id)
        yield run
        run_id = run.data.tags.get(_PARENT, "")


def _address(client: MlflowClient, run: Run, parameter: str) -> str:
    """Return the address of what a step took; '' for a run that does not say."""
    # A project may have named its parameter otherwise: where there is one input, that is it.
    inputs = json.loads(read_note(client, run, Tag.INPUTS) or "{}")
    (only,) = inputs.values() if len(inputs) == 1 else ({},)
    return str(inputs.get(parameter, only).get("address", ""))


def _fetched(client: MlflowClient, run_id: str, path: str, into: Path) -> Path | None:
    """Return a copy of an artifact; None where there is no such artifact, or no such run."""
    run = RunStore(client).found(run_id)
    if run is None:
        return None
    into.mkdir(parents=True, exist_ok=True)
    return found(client, run, path, into)
