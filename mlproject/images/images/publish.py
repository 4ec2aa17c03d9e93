"""Entry point `publish`: puts a version's SavedModel where TensorFlow Serving watches.

The server loads the greatest number in the folder. So the folder of a version appears whole under
its own name or not at all, and where an earlier version is published again (a rollback), the later
ones leave the folder after it has come. Touches the MLflow run and that folder.
"""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.commandline import Option
from shared.errors import DataError, ParameterError
from shared.json_files import read_json, write_json
from shared.space import room_for
from shared.tracking import Step, main, say

EXPORTS = "saved_model"
"""Artifact folder into which `train` exports."""
CARD = "assets.extra/version.json"
"""Inside a published version: which one it is. TensorFlow leaves this folder to its users."""
_GRAPH = "saved_model.pb"
_HIDDEN, _LOCK = ".publishing-", ".publishing.lock"

OPTIONS = (
    Option("model_uri", "", "the version, such as models:/<name>@champion", required=True),
    Option("folder", "", "the absolute path of the folder that the server watches", required=True),
)


@dataclass(frozen=True)
class Version:
    """A registered version.

    Attributes:
        name: of the registered model.
        number: of the version.
        run_id: of its training run.
    """

    name: str
    number: int
    run_id: str


def publish(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run, as `Step.work` says."""
    import mlflow

    version = _version(values["model_uri"])
    folder = _folder(values["folder"])
    with tempfile.TemporaryDirectory() as place:
        exported = _exported(version, Path(place))
        new, gone = put(exported, version, folder)
    mlflow.set_tags(
        {
            "published.model": version.name,
            "published.version": str(version.number),
            "published.folder": str(folder),
        }
    )
    done = "is published" if new else "was published already"
    say(f"{version.name} version {version.number} {done} in {folder}")
    if gone:
        say(f"taken away, because it is later: {', '.join(map(str, gone))}")


def put(exported: Path, version: Version, folder: Path) -> tuple[bool, list[int]]:
    """Make a version the one that the server of `folder` loads, one publisher at a time.

    Returns:
        Whether it is new there, and the numbers of later versions that were taken away.

    Raises:
        DataError: if the folder holds something else.
        StorageError: if there is no room.
    """
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in folder.glob(f"{_HIDDEN}*"):  # by a publisher that was killed
            shutil.rmtree(left)
        return _place(exported, version, folder), _remove_later(version, folder)


def _place(exported: Path, version: Version, folder: Path) -> bool:
    """Copy an export to `folder`, under the version's number; False if it is there already.

    Raises:
        DataError: if something else has that name.
        StorageError: if there is no room.
    """
    target = folder / str(version.number)
    if target.exists():
        _check_same(target, version)
        return False
    size = sum(file.stat().st_size for file in exported.rglob("*"))
    # On the same disk, so that the rename is one step; TensorFlow Serving reads numbers only.
    incoming = Path(tempfile.mkdtemp(prefix=_HIDDEN, dir=folder))
    try:
        with room_for(folder, size):
            shutil.copytree(exported, incoming, dirs_exist_ok=True)
            (incoming / CARD).parent.mkdir(exist_ok=True)
            write_json(vars(version), incoming / CARD)
            _write_through(incoming)
        incoming.chmod(0o755)
        incoming.rename(target)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return True


def _remove_later(version: Version, folder: Path) -> list[int]:
    """Take away later versions of the model that were published here; return their numbers.

    Raises:
        DataError: if a later number was not published by us, so that the server would prefer it.
    """
    numbers = (int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())
    later = sorted(number for number in numbers if number > version.number)
    for number in later:
        _check_same(folder / str(number), Version(version.name, number, ""))
    for number in later:
        away = folder / f"{_HIDDEN}{number}"
        (folder / str(number)).rename(away)
        shutil.rmtree(away)
    return later


def _check_same(target: Path, version: Version) -> None:
    card = read_json(target, CARD) if (target / CARD).is_file() else {}
    run_id = version.run_id or card.get("run_id")
    if card != {"name": version.name, "number": version.number, "run_id": run_id}:
        raise DataError(
            f"{target} is there and is not version {version.number} of {version.name}, but "
            f"{card or 'of unknown origin'}",
            allowed="a folder that holds versions of this one model, all published by this step",
            action="choose another folder for this model, or move that one away",
        )


def _write_through(folder: Path) -> None:
    """Have the files on the disk before their folder gets its name."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _folder(text: str) -> Path:
    folder = Path(text).expanduser()
    if not folder.is_absolute():
        raise ParameterError(
            f"folder is '{text}', below no folder that the server knows",
            allowed="an absolute path",
            action="correct -P folder=...",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(
            f"folder '{text}' cannot be made: {error.strerror}",
            allowed="a folder that the worker may write into",
            action="make it and give the worker's user the right to write, or correct the path",
        ) from error
    return folder


def _version(model_uri: str) -> Version:
    """Return the registered version of `models:/name/number` or `models:/name@alias`.

    Raises:
        ParameterError: if the URI is of another form, or there is no such version.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    name, at, alias = model_uri.removeprefix("models:/").partition("@")
    name, _, number = (name, "", "") if at else name.partition("/")
    if not model_uri.startswith("models:/") or not name or not (alias or number.isdecimal()):
        raise _other_uri(model_uri, "is no version of a registered model")
    try:
        if at:
            found = client.get_model_version_by_alias(name, alias)
        else:
            found = client.get_model_version(name, number)
    except MlflowException as error:
        if str(error).startswith("API request to"):
            raise
        raise _other_uri(model_uri, f"was not found: {error}") from error
    return Version(name, int(found.version), found.run_id or "")


def _other_uri(model_uri: str, how: str) -> ParameterError:
    return ParameterError(
        f"model_uri '{model_uri}' {how}",
        allowed="models:/<name>@<alias> or models:/<name>/<number>",
        action="correct -P model_uri=...",
    )


def _exported(version: Version, folder: Path) -> Path:
    """Return a local copy of what the version's training exported.

    Raises:
        DataError: if it exported nothing.
    """
    import mlflow

    client = mlflow.MlflowClient()
    listed = client.list_artifacts(version.run_id, EXPORTS) if version.run_id else []
    if len(listed) != 1:
        raise DataError(
            f"the training run '{version.run_id}' of {version.name} version {version.number} has "
            f"{len(listed)} exports in '{EXPORTS}'",
            allowed="a version that this project's train has logged, with one export",
            action="train and register it anew",
        )
    path = Path(client.download_artifacts(version.run_id, listed[0].path, str(folder)))
    read_json(path, "assets.extra/classes.json")
    if not (path / _GRAPH).is_file():
        raise DataError(
            f"the export {listed[0].path} has no {_GRAPH}",
            allowed="a complete SavedModel",
            action="train and register the model anew",
        )
    return path


STEP = Step("publish", OPTIONS, publish)

if __name__ == "__main__":
    sys.exit(main(STEP))
