"""Digests of the files that a decision rests on, and whether they still are these. Reads MLflow.

Digests are in the decision record, whose own is a tag of its run: tags are in the server's
database, and whoever may only write to the store of artifacts does not reach them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from understudy.contract import Tag
from understudy.decide.candidates import place_of
from understudy.errors import ArtifactChangedError
from understudy.runner.reuse.outputs import Outputs
from understudy.runner.scratch import scratch_folder
from understudy.runner.settings import Settings
from understudy.store.artifacts import downloaded_from, found, read_note
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_RUNS: Final = "runs:/"


def files_of(path: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, by its place; of a file with the place ''."""
    if path.is_file():
        return {"": _sha256(path)}
    files = sorted(one for one in path.rglob("*") if one.is_file())
    return {one.relative_to(path).as_posix(): _sha256(one) for one in files}


def noted(client: MlflowClient, address: str) -> dict[str, str]:
    """Return the same of an artifact as its step left it; empty where that is not on record.

    Args:
        client: Of the tracking server.
        address: ``runs:/<run id>/<path>``.
    """
    run_id, _, path = address.removeprefix(_RUNS).partition("/")
    run = RunStore(client).found(run_id)
    text = "" if run is None else read_note(client, run, Tag.OUTPUTS)
    if not text:
        return {}
    files, path = Outputs.from_json(text).files, path.rstrip("/")
    if path in files:
        return {"": files[path].sha256}
    inside = f"{path}/"
    return {n.removeprefix(inside): f.sha256 for n, f in files.items() if n.startswith(inside)}


def same(address: str, then: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse files that are not those on record.

    Raises:
        ArtifactChangedError: naming the first that differs.
    """
    for name in sorted({*then, *now}):
        if then.get(name) != now.get(name):
            what = f"SHA-256 {now.get(name, '(gone)')}, was {then.get(name, '(not there)')}"
            raise ArtifactChangedError(f"{address.rstrip('/')}/{name}".rstrip("/"), what)


def as_left(client: MlflowClient, address: str, path: Path) -> dict[str, str]:
    """Return the digests of what was brought from a run, which must be what its step left there.

    Raises:
        ArtifactChangedError: when it is not.
    """
    now = files_of(path)
    if then := noted(client, address):
        same(address, then, now)
    return now


def of_model(client: MlflowClient, uri: str) -> dict[str, str]:
    """Return the digests of a model's files; empty where it is gone.

    Raises:
        TrackingUnavailableError: when the server does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        with _folder() as folder:
            return files_of(downloaded_from(client, place_of(client, uri), folder))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    # In a store of files, and where the address is none.
    except (FileNotFoundError, ValueError):
        pass
    return {}


def check(client: MlflowClient, artifacts: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse artifacts that are not those on record; what was deleted as a whole is passed over.

    Args:
        client: Of the tracking server.
        artifacts: As in a record.

    Raises:
        ArtifactChangedError: naming the first that differs.
        TrackingUnavailableError: when the server does not answer.
    """
    for address, then in artifacts.items():
        if now := _now(client, address):
            same(address, then, now)


def _now(client: MlflowClient, address: str) -> dict[str, str]:
    if not address.startswith(_RUNS):
        return of_model(client, address)
    run_id, _, path = address.removeprefix(_RUNS).partition("/")
    run = RunStore(client).found(run_id)
    if run is None:
        return {}
    with _folder() as folder:
        brought = found(client, run, path, folder)
        return {} if brought is None else files_of(brought)


@contextmanager
def _folder() -> Iterator[Path]:
    """Yield a folder that holds one artifact at a time."""
    with scratch_folder(Settings.from_environment().scratch) as scratch:
        yield scratch.inputs


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
