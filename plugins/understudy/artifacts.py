"""Texts among the artifacts of a run. Touches the tracking server, and temporary folders that go.

MLflow's own client asks for the run first, to learn where its artifacts are, and leaves a folder
behind for each file that it downloads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from understudy.tracking import tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.tracking import MlflowClient


def artifacts_of(client: MlflowClient, run: Run) -> ArtifactRepository:
    """Return the run's own artifacts; MLflow's client would list those of its models among them."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(run.info.artifact_uri, tracking_uri=client.tracking_uri)


def log_texts(client: MlflowClient, run: Run, texts: Mapping[str, str]) -> None:
    """Log texts as artifacts of a run, by their paths.

    Raises:
        TrackingUnavailableError: when the server does not answer.
    """
    with tempfile.TemporaryDirectory() as folder, tracking_errors():
        repository = artifacts_of(client, run)
        for path, text in texts.items():
            place = PurePosixPath(path)
            file = Path(folder, place.name)
            file.write_text(text, encoding="utf-8")
            above = "" if place.parent == PurePosixPath() else str(place.parent)
            repository.log_artifact(str(file), above)  # type: ignore[no-untyped-call]


def read_text(client: MlflowClient, run: Run, path: str) -> str:
    """Return the text of an artifact.

    Raises:
        TrackingUnavailableError: when the server does not answer.
        MlflowException: when it has no such artifact.
        OSError: when a store of files has none.
    """
    with tempfile.TemporaryDirectory() as folder:
        return downloaded(client, run, path, folder).read_text(encoding="utf-8")


def downloaded(client: MlflowClient, run: Run, path: str, folder: str | Path) -> Path:
    """Return an artifact, brought into a folder that is there.

    Raises:
        TrackingUnavailableError: when the server does not answer.
        MlflowException: when it has no such artifact.
        OSError: when a store of files has none.
    """
    from mlflow.exceptions import MlflowException

    with tracking_errors():
        repository = artifacts_of(client, run)
        try:
            return Path(repository.download_artifacts(path, str(folder)))  # type: ignore[no-untyped-call]
        except MlflowException:
            # Through the server, what is not there fails like what cannot be had at the moment.
            _refuse_missing(repository, path)
            raise


def _refuse_missing(repository: ArtifactRepository, path: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

    folder = PurePosixPath(path).parent
    above = None if folder == PurePosixPath() else str(folder)
    if path not in {item.path for item in repository.list_artifacts(above)}:
        message = f"There is no artifact {path!r} in {repository.artifact_uri}"
        raise MlflowException(message, error_code=RESOURCE_DOES_NOT_EXIST)
