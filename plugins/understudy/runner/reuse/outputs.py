"""Records what a finished step logged to MLflow, by content. Reads artifacts; writes long records.

The record is made when the step ends, from the bytes that the server returns. Whoever relies on it
later compares it with what is listed then: a run that was deleted, or lost files, is unknown.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy.contract import Tag
from understudy.runner.reuse.identity import UnknownContentError
from understudy.store.artifacts import artifacts_of, as_tags, read_note, write_long
from understudy.store.tracking import tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import FileInfo, Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.tracking import MlflowClient

OURS: Final = frozenset({"understudy", "environment"})
"""Top-level artifact folders that we write, not the step."""


@dataclass(frozen=True, slots=True)
class LoggedFile:
    """An artifact: its size in bytes and the SHA-256 of its content."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a run logged.

    Attributes:
        files: The artifacts by path, without ours.
        models: For each logged model's id the sizes of its files by path.
    """

    files: Mapping[str, LoggedFile]
    models: Mapping[str, Mapping[str, int]]

    def digest(self, path: str) -> str:
        """Return the SHA-256 of the names and contents at and below an artifact path, or ''.

        Args:
            path: Of a file or folder; '' for all that the run logged.
        """
        inside = f"{path}/" if path else ""
        # Relative to the path, so that the same content has the same digest wherever it lies.
        found = {"": self.files[path].sha256} if path in self.files else {}
        found |= {
            name.removeprefix(inside): file.sha256
            for name, file in self.files.items()
            if name.startswith(inside)
        }
        return (
            hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest() if found else ""
        )

    def sizes(self) -> dict[str, int]:
        """Return the size of each artifact by path."""
        return {path: file.size for path, file in self.files.items()}

    def to_json(self) -> str:
        """Return the record as text, the same for the same content."""
        files = {path: [file.size, file.sha256] for path, file in self.files.items()}
        content = {"files": files, "models": {key: dict(m) for key, m in self.models.items()}}
        return json.dumps(content, sort_keys=True)

    def tags(self) -> dict[str, str]:
        """Return the tags of a run that logged this; a long record is an artifact besides."""
        return as_tags({Tag.OUTPUTS: self.to_json()})

    @classmethod
    def from_json(cls, text: str) -> Outputs:
        """Return the record that :meth:`to_json` wrote."""
        content = json.loads(text)
        files = {path: LoggedFile(*entry) for path, entry in content["files"].items()}
        return cls(files, content["models"])


class OutputStore:
    """Records and checks the outputs of runs on one tracking server.

    Raises:
        TrackingUnavailableError: from every method, when the server does not answer.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def record(self, run: Run, scratch: Path) -> Outputs:
        """Digest what a run has logged; its tags make that known, once they are set on the run.

        Args:
            run: As it is now, its process gone.
            scratch: An empty folder that may be filled; it holds one artifact folder at a time.
        """
        with tracking_errors():
            files = dict(self._digested(artifacts_of(self._client, run), scratch))
            logged = run.outputs.model_outputs if run.outputs else []
            model_ids = sorted({output.model_id for output in logged})
            outputs = Outputs(files, {m: self._model(m) for m in model_ids})
            write_long(self._client, run, {Tag.OUTPUTS: outputs.to_json()})
        return outputs

    def known(self, run: Run) -> Outputs:
        """Return what a finished run logged and still has, complete.

        Raises:
            UnknownContentError: if it did not finish, was deleted, was not recorded, or what it
                has is not what was recorded.
        """
        name = f"the run {run.info.run_id}"
        if run.info.lifecycle_stage != "active":
            raise UnknownContentError(f"{name} was deleted")
        if run.info.status != "FINISHED":
            raise UnknownContentError(f"{name} is {run.info.status}")
        text = read_note(self._client, run, Tag.OUTPUTS)
        if not text:
            raise UnknownContentError(f"{name} has no record of what it logged")
        outputs = Outputs.from_json(text)
        self._check_complete(run, outputs)
        return outputs

    def _check_complete(self, run: Run, outputs: Outputs) -> None:
        from mlflow.exceptions import MlflowException

        # By names and sizes: downloading everything would cost what the reuse saves.
        with tracking_errors():
            listed = dict(_listed(artifacts_of(self._client, run)))
        if listed != outputs.sizes():
            differing = sorted(path for path, _ in listed.items() ^ outputs.sizes().items())
            raise UnknownContentError(
                f"the run {run.info.run_id} does not have what it logged: {differing[0]} differs"
            )
        for model_id, files in outputs.models.items():
            try:
                with tracking_errors():
                    now = self._model(model_id)
            except MlflowException as error:
                raise UnknownContentError(f"the model {model_id}: {error.error_code}") from error
            if now != files:
                raise UnknownContentError(f"the model {model_id} is not what was logged")

    def _digested(
        self, repository: ArtifactRepository, scratch: Path
    ) -> Iterator[tuple[str, LoggedFile]]:
        # One top-level artifact at a time, so that the disk never holds more than the largest.
        for top in _of_the_step(repository):
            folder = scratch / "outputs"
            folder.mkdir()
            repository.download_artifacts(top.path, str(folder))  # type: ignore[no-untyped-call]
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    with path.open("rb") as file:
                        digest = hashlib.file_digest(file, "sha256").hexdigest()
                    logged = LoggedFile(path.stat().st_size, digest)
                    yield path.relative_to(folder).as_posix(), logged
            shutil.rmtree(folder)

    def _model(self, model_id: str) -> dict[str, int]:
        """Return the sizes of a logged model's files by path."""
        # Raises for a deleted model, whose files a listing would still find.
        self._client.get_logged_model(model_id)
        return dict(
            _walked(lambda path: self._client.list_logged_model_artifacts(model_id, path), None)
        )


def _of_the_step(repository: ArtifactRepository) -> list[FileInfo]:
    return [item for item in repository.list_artifacts() if item.path not in OURS]


def _listed(repository: ArtifactRepository) -> Iterator[tuple[str, int]]:
    for top in _of_the_step(repository):
        if top.is_dir:
            yield from _walked(repository.list_artifacts, top.path)
        else:
            yield top.path, _size(top)


def _walked(listing: Any, path: str | None) -> Iterator[tuple[str, int]]:  # noqa: ANN401 - untyped
    """Yield path and size of each file at and below a folder."""
    for item in listing(path):
        if item.is_dir:
            yield from _walked(listing, item.path)
        else:
            yield item.path, _size(item)


def _size(item: FileInfo) -> int:
    """Return a listed file's size in bytes; -1 where the store does not say."""
    return -1 if item.file_size is None else int(item.file_size)
