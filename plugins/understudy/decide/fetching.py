"""Brings predictions from MLflow runs to this machine. Reads artifacts, writes the files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.contract import PREDICTIONS_ARTIFACT
from understudy.errors import DecisionError
from understudy.gate import Predictions
from understudy.store.artifacts import downloaded
from understudy.store.tracking import tracking_errors

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


@dataclass(frozen=True, slots=True)
class Fetched:
    """Predictions that lie on this machine.

    Attributes:
        file: Where.
        predictions: What the record says of them.
    """

    file: Path
    predictions: Predictions


def stored(client: MlflowClient, run_id: str) -> Predictions | None:
    """Return the predictions that a validation logged, or None where it logged none."""
    with tracking_errors():
        found = [item for item in client.list_artifacts(run_id) if not item.is_dir]
    for item in found:
        if item.path == PREDICTIONS_ARTIFACT:
            return Predictions(run_id, item.path, size=item.file_size or 0)
    return None


def fetch(client: MlflowClient, wanted: Predictions, folder: Path) -> Fetched:
    """Return predictions brought into a folder, with their digest.

    Raises:
        DecisionError: when they are gone, or are not those whose digest is known.
        TrackingUnavailableError: when the server does not answer.
    """
    from mlflow.exceptions import MlflowException

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tracking_errors():
            run = client.get_run(wanted.run_id)
        path = downloaded(client, run, wanted.path, folder)
    except (MlflowException, OSError) as error:
        raise _gone(wanted, str(error)[:300]) from error
    return _checked(wanted, path)


def local(file: Path, sha256: str = "") -> Fetched:
    """Return predictions in a file that is in no run.

    Raises:
        DecisionError: when there is no such file, or it is not the one whose digest is known.
    """
    wanted = Predictions("", str(file), sha256)
    if not file.is_file():
        raise _gone(wanted, "there is no such file")
    return _checked(wanted, file)


def _checked(wanted: Predictions, path: Path) -> Fetched:
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if wanted.sha256 not in {"", digest}:
        raise DecisionError(
            f"{_named(wanted)} has changed since the verdict: SHA-256 {digest}, was"
            f" {wanted.sha256}",
            allowed="the predictions that were judged",
            action="look who wrote to the run; the verdict that was reached stays on record",
        )
    return Fetched(path, replace(wanted, sha256=digest, size=path.stat().st_size))


def _gone(wanted: Predictions, why: str) -> DecisionError:
    return DecisionError(
        f"{_named(wanted)} cannot be read: {why}",
        allowed="predictions that validate logged and nobody deleted",
        action="restore the artifact, or clear validate and gate of that night",
    )


def _named(wanted: Predictions) -> str:
    return f"{wanted.path} of the run {wanted.run_id}" if wanted.run_id else wanted.path
