"""Brings a version of a model, and the environment that it records, to this machine; keeps one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy.errors import RegistryError
from understudy.runner.projectfile import ProjectFile
from understudy.store.artifacts import downloaded_from
from understudy.store.tracking import tracking_errors

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_PYTHON_ENV, _CONDA_ENV = "python_env.yaml", "conda.yaml"
MANAGERS: Final = {"docker": "uv"}
"""What builds a model's environment where it is not what builds the project's: an image holds the
project's, and a model records its own."""


_ABOUT: Final = "about.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """The champion that was last served here.

    Attributes:
        version: Which.
        folder: The model's files.
        about: What else was kept with them.
        age: Seconds since the registry last said that it is champion.
    """

    version: str
    folder: Path
    about: Mapping[str, Any]
    age: float


class OwnCopy:
    """The champion that was last served here, for a start while the tracking server is away.

    Args:
        cache: Folder below which it is kept, for the server's user alone.
        server: Address of the tracking server.
        model: The registered model.
    """

    def __init__(self, cache: Path, server: str, model: str) -> None:
        name = hashlib.sha256(f"{server}\0{model}".encode()).hexdigest()[:16]
        self._folder = cache / "champions" / name

    def keep(self, version: str, files: Path, about: Mapping[str, Any]) -> None:
        """Keep a version in the place of the one before.

        Raises:
            OSError: when it cannot be written; the one before is then still there.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        earlier = list(self._folder.iterdir())
        new = Path(tempfile.mkdtemp(dir=self._folder))
        shutil.copytree(files, new / "model")
        # Last, and whole at once: a copy without it was cut short, and is none.
        (new / "draft").write_text(json.dumps({"version": version, **about}), "utf-8")
        (new / "draft").replace(new / _ABOUT)
        for one in earlier:
            shutil.rmtree(one)

    def confirm(self) -> None:
        """Take note that what is kept is still the champion."""
        for about in self._folder.glob(f"*/{_ABOUT}"):
            os.utime(about)

    def found(self) -> Kept | None:
        """Return what is kept; None for nothing."""
        times = {about.stat().st_mtime: about for about in self._folder.glob(f"*/{_ABOUT}")}
        if not times:
            return None
        latest = max(times)
        about = json.loads(times[latest].read_text("utf-8"))
        age = max(0.0, time.time() - latest)  # a clock that was set back
        return Kept(about.pop("version"), times[latest].parent / "model", about, age)


def downloaded(client: MlflowClient, model: str, version: str, into: Path) -> Path:
    """Download a version; return its folder.

    Raises:
        RegistryError: when it has no files, or what there is is no MLflow model.
        TrackingUnavailableError: when the server does not answer.
    """
    from mlflow.exceptions import MlflowException

    uri = f"models:/{model}/{version}"
    try:
        with tracking_errors():
            files = client.get_model_version_download_uri(model, version)
        folder = downloaded_from(client, files, into)
    except (MlflowException, OSError) as error:
        raise _no_model(uri, str(error)) from error
    if not (folder / "MLmodel").is_file():
        raise _no_model(uri, "it has no file MLmodel")
    return folder


def environment_of(folder: Path, manager: str) -> ProjectFile:
    """Return what a model records of its environment, as a project that asks for it.

    Args:
        folder: The model's.
        manager: What will build it.

    Raises:
        RegistryError: when the model records none.
    """
    names = {_PYTHON_ENV: "python_env", _CONDA_ENV: "conda_env"}
    preferred = [_CONDA_ENV, _PYTHON_ENV] if manager == "conda" else [_PYTHON_ENV, _CONDA_ENV]
    for name in preferred:
        if (folder / name).is_file():
            return ProjectFile(folder, "model", {}, names[name], folder / name)
    if manager.partition(":")[0] == "local":
        return ProjectFile(folder, "model", {}, "", None)
    raise RegistryError(
        f"The model records no environment: it has neither {_PYTHON_ENV} nor {_CONDA_ENV}",
        allowed="a model logged by MLflow's log_model, which writes both",
        action="log it that way, set the pipeline's env_manager to 'local', or, for a model that"
        " MLflow cannot serve, the pipeline's rehearsal to None",
    )


def _no_model(uri: str, why: str) -> RegistryError:
    return RegistryError(
        f"{uri} cannot be had: {why[:500]}",
        allowed="a version whose files are there, as MLflow's log_model wrote them",
        action="look at the version in MLflow; train again if its files are gone",
    )
