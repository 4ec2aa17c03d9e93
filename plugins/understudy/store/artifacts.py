"""Artifacts of runs and models, and texts of any length: written, read, or known to be gone.

Touches the tracking server, and temporary folders that go. Tags lie in the server's database and
artifacts in its store, to which others may write: a tag with an artifact's digest tells whether it
still is what was logged.

MLflow's own client asks for the run first, to learn where its artifacts are, and leaves a folder
behind for each file that it downloads.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from understudy.contract import Tag
from understudy.errors import ArtifactChangedError
from understudy.store.tracking import tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.exceptions import MlflowException
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


def log_sealed(client: MlflowClient, run: Run, texts: Mapping[str, str]) -> None:
    """Log texts as artifacts of a run, and their digests as its tags, by which they are read.

    Raises:
        TrackingUnavailableError: when the server does not answer.
    """
    from mlflow.entities import RunTag

    log_texts(client, run, texts)
    seals = [RunTag(seal(path), _sha256(text.encode())) for path, text in texts.items()]
    with tracking_errors():
        client.log_batch(run.info.run_id, tags=seals)


def seal(path: str) -> str:
    """Return the name of the tag with an artifact's digest."""
    return f"{Tag.SHA256}/{path}"


def check_seal(tags: Mapping[str, str], run_id: str, path: str, content: bytes) -> None:
    """Refuse an artifact that is not the one that was logged; one without a digest passes.

    Args:
        tags: Of its run.
        run_id: The run.
        path: Its place.
        content: What was read.

    Raises:
        ArtifactChangedError: when the digest of its content is not the one in the tags.
    """
    known, now = tags.get(seal(path), ""), _sha256(content)
    if known not in {"", now}:
        raise ArtifactChangedError(f"runs:/{run_id}/{path}", f"SHA-256 {now}, was {known}")


def read_text(client: MlflowClient, run: Run, path: str) -> str:
    """Return the text of an artifact.

    Raises:
        ArtifactChangedError: when it was logged with its digest and is another one now.
        TrackingUnavailableError: when the server does not answer.
        MlflowException: when it has no such artifact.
        OSError: when a store of files has none.
    """
    with tempfile.TemporaryDirectory() as folder:
        content = downloaded(client, run, path, folder).read_bytes()
    run_id = run.info.run_id
    try:
        check_seal(run.data.tags, run_id, path, content)
    except ArtifactChangedError:
        # It may have been logged anew since these tags were read.
        with tracking_errors():
            tags = client.get_run(run_id).data.tags
        check_seal(tags, run_id, path, content)
    return content.decode("utf-8")


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
            if not _is_there(repository, path):
                raise _missing(path, repository.artifact_uri) from None
            raise


def found(client: MlflowClient, run: Run, path: str, folder: str | Path) -> Path | None:
    """Return an artifact, brought into a folder that is there; None where the run has none.

    The run is asked first whether it has it: MLflow's client asks the server for half a minute for
    what is not there.

    Raises:
        TrackingUnavailableError: when the server does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        with tracking_errors():
            if not _is_there(artifacts_of(client, run), path):
                return None
        return downloaded(client, run, path, folder)
    except MlflowException as error:
        # It was there a moment ago: somebody removed it just now.
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    # The same, of a store of files.
    except FileNotFoundError:
        pass
    return None


def listed(client: MlflowClient, uri: str) -> list[str]:
    """Return what lies at an address such as that of a model's files; nothing where it is gone.

    Raises:
        TrackingUnavailableError: when the server does not answer.
    """
    from mlflow.artifacts import list_artifacts

    with tracking_errors():
        return [
            item.path for item in list_artifacts(artifact_uri=uri, tracking_uri=client.tracking_uri)
        ]


def downloaded_from(client: MlflowClient, uri: str, folder: str | Path) -> Path:
    """Return what lies at an address, brought into a folder that is there.

    Raises:
        TrackingUnavailableError: when the server does not answer.
        MlflowException: when there is nothing.
        OSError: when a store of files has nothing.
    """
    from mlflow.artifacts import download_artifacts

    if not listed(client, uri):
        raise _missing("", uri)
    with tracking_errors():
        # Given as models:/..., MLflow would ask the server that the whole process is set to.
        return Path(
            download_artifacts(
                artifact_uri=uri, dst_path=str(folder), tracking_uri=client.tracking_uri
            )
        )


def _is_there(repository: ArtifactRepository, path: str) -> bool:
    """Return whether there is such a file, or a folder with something in it."""
    folder = PurePosixPath(path).parent
    above = None if folder == PurePosixPath() else str(folder)
    beside = {item.path: item for item in repository.list_artifacts(above)}
    return path in beside and (not beside[path].is_dir or bool(repository.list_artifacts(path)))


def _missing(path: str, uri: str) -> MlflowException:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

    what = f"no artifact {path!r} in" if path else "nothing at"
    return MlflowException(f"There is {what} {uri}", error_code=RESOURCE_DOES_NOT_EXIST)


# Characters; MLflow before 3 took no more.
LONGEST_TAG: Final = 5000
_ELSEWHERE: Final = "sha256:"


# MLflow cuts a tag off at its limit without a word, which would make half a text of it.
def as_tags(notes: Mapping[Tag, str]) -> dict[str, str]:
    """Return the tags of texts: the text, or the SHA-256 of one that must be an artifact."""
    return {tag.value: text if _fits(text) else _reference(text) for tag, text in notes.items()}


def write_long(client: MlflowClient, run: Run, notes: Mapping[Tag, str]) -> None:
    """Write those texts on a run that are too long for a tag; the tag then makes them valid."""
    long = {_artifact(tag): text for tag, text in notes.items() if not _fits(text)}
    if long:
        log_texts(client, run, long)


def read_note(client: MlflowClient, run: Run, tag: Tag) -> str:
    """Return a text of a run; '' where it was not written or is not what was written."""
    from mlflow.exceptions import MlflowException

    text = str(run.data.tags.get(tag.value, ""))
    if not text.startswith(_ELSEWHERE):
        return text
    # The artifact was deleted: the tag alone holds no more than a digest.
    try:
        found = read_text(client, run, _artifact(tag))
    except (MlflowException, OSError):
        return ""
    # Artifacts can be replaced by whoever may write to the run: only the tag's own text counts.
    return found if _reference(found) == text else ""


def _fits(text: str) -> bool:
    return len(text) <= LONGEST_TAG


def _reference(text: str) -> str:
    return _ELSEWHERE + _sha256(text.encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _artifact(tag: Tag) -> str:
    return f"{tag.value.replace('.', '/')}.json"
