"""Brings a night's rows here, and what is left of its champion's. Reads MLflow, writes files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from understudy.contract import HOLDOUT_FILE
from understudy.decide.candidates import training_run
from understudy.errors import RegistryError
from understudy.evaluation.exchange import Rows
from understudy.store.artifacts import found
from understudy.store.tracking import RunStore
from understudy.store.training_rows import training_rows

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_SCHEME: Final = "runs:/"


@dataclass(frozen=True, slots=True)
class NightRows:
    """Where the rows of a night are.

    Attributes:
        address: ``runs:/<run id>/<path>`` of what ``preprocess`` logged.
        as_of: ISO time of the night.
        champion: Address of the champion's model; empty without one.
    """

    address: str
    as_of: str = ""
    champion: str = ""


def brought(client: MlflowClient, wanted: NightRows, folder: Path) -> Rows:
    """Return the night's rows, and what is left of the champion's, as files in a folder.

    What is not there is no error here: the guards say what they could not look at.

    Raises:
        TrackingUnavailableError: when the server does not answer.
    """
    place = _downloaded(client, wanted.address, folder / "rows") or folder / "rows"
    if not wanted.champion:
        return Rows(str(place), wanted.as_of)
    try:
        run_id = training_run(client, wanted.champion)
    except RegistryError as error:
        return Rows(str(place), wanted.as_of, absent=error.found)
    left = training_rows(client, run_id, folder / "before")
    return Rows(
        str(place),
        wanted.as_of,
        profile=str(left.profile or ""),
        before=str(left.folder or ""),
        absent=left.absent,
    )


def holdout(client: MlflowClient, address: str, folder: Path) -> Path | None:
    """Return the holdout's file, fetched unless it lies in the folder; None where it is gone.

    Args:
        client: Of the tracking server.
        address: What ``preprocess`` logged.
        folder: The folder that ``brought`` was given, or another one.

    Raises:
        TrackingUnavailableError: when the server does not answer.
    """
    there = sorted(folder.glob(f"rows/**/{HOLDOUT_FILE}"))
    if there:
        return there[0]
    return _downloaded(client, f"{address.rstrip('/')}/{HOLDOUT_FILE}", folder / "holdout")


def _downloaded(client: MlflowClient, address: str, folder: Path) -> Path | None:
    """Return what lies at an address, brought into a folder; None where it is gone."""
    folder.mkdir(parents=True)
    run_id, _, path = address.removeprefix(_SCHEME).partition("/")
    run = RunStore(client).found(run_id)
    return None if run is None else found(client, run, path, folder)
