"""Finds a step's inputs among its parameters, and what identifies their content. Asks MLflow.

An address of MLflow's (``runs:/``, ``models:/``) can be followed to content that does not change.
Every other address may mean something else tomorrow, and makes the step's content unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from understudy.runner import projectfile
from understudy.runner.reuse.identity import UnknownContentError
from understudy.store.tracking import RunStore, tracking_errors

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from understudy.runner.projectfile import EntryPoint
    from understudy.runner.reuse.outputs import OutputStore

_RUN: Final = re.compile(r"runs:/(?P<run>[^/]+)/?(?P<path>.*)")
_MODEL: Final = re.compile(r"models:/(?P<id>m-[0-9a-zA-Z]+)")
_VERSION: Final = re.compile(r"models:/(?P<name>[^/@]+)/(?P<version>[0-9]+)")
# One character before the colon is enough; a pattern of a whole scheme would try each start of a
# long value and read on from there, in time that grows with its square.
_ADDRESS: Final = re.compile(r"[A-Za-z0-9+.-]:/")
_HERE: Final = re.compile(r"[/~]")
_READY: Final = "READY"


@dataclass(frozen=True, slots=True)
class StepInput:
    """An input whose content is known.

    Attributes:
        address: As the parameter gives it.
        identity: ("artifact", path, SHA-256), or ("model", immutable id).
        stored: Where the artifact store has it, which saves asking MLflow again; '' for a model.
    """

    address: str
    identity: tuple[str, ...]
    stored: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of an artifact's names and contents, or a model's id."""
        return self.identity[-1]

    @property
    def is_model(self) -> bool:
        """Whether it is a model that MLflow logged under an id of its own."""
        return self.identity[0] == "model"


@dataclass(frozen=True, slots=True)
class Inputs:
    """A step's parameters, grouped by what is known of their content.

    Attributes:
        plain: Values that refer to nothing else; paths inside the project start with ``./``.
        known: Inputs with known content, by parameter.
        unknown: Why the content of the others cannot be known, by parameter.
    """

    plain: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, StepInput] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)


class InputReader:
    """Follows the addresses among parameters.

    Raises:
        TrackingUnavailableError: from every method, when the server does not answer.
    """

    def __init__(self, client: MlflowClient, outputs: OutputStore) -> None:
        self._client, self._runs, self._outputs = client, RunStore(client), outputs

    def read(self, entry_point: EntryPoint, values: Mapping[str, str], project: Path) -> Inputs:
        """Return what is known of the values that an entry point gets.

        Args:
            entry_point: Whose parameters they are.
            values: Every parameter's value.
            project: The project's folder, at which relative paths start, and whose files Git's tree
                identifies.
        """
        plain: dict[str, str] = {}
        known: dict[str, StepInput] = {}
        unknown: dict[str, str] = {}
        for name, value in values.items():
            is_path = projectfile.is_path(entry_point.parameters[name], value)
            own = _in_project(value, project) if is_path else ""
            try:
                found = None if own else self._input(value)
            except UnknownContentError as reason:
                unknown[name] = str(reason)
                continue
            if found is None:
                plain[name] = own or value
            else:
                known[name] = found
        return Inputs(plain, known, unknown)

    def _input(self, value: str) -> StepInput | None:
        """Return the input that a value addresses, None where it addresses nothing."""
        if found := _RUN.fullmatch(value):
            path, digest, stored = self._artifact(found["run"], found["path"])
            return StepInput(value, ("artifact", path, digest), stored)
        if found := _MODEL.fullmatch(value):
            return StepInput(value, ("model", self._model(found["id"])))
        if found := _VERSION.fullmatch(value):
            return StepInput(value, self._version(found["name"], found["version"]))
        if value.startswith("models:/"):
            raise UnknownContentError(f"{value} may be another model tomorrow: name its version")
        if _ADDRESS.search(value):
            raise UnknownContentError("it is an address outside MLflow, whose content may change")
        if _HERE.match(value) or ".." in PurePosixPath(value).parts:
            raise UnknownContentError("it is a path outside the project, whose content may change")
        return None

    def _artifact(self, run_id: str, path: str) -> tuple[str, str, str]:
        """Return path, digest and place of an artifact."""
        path = path.strip("/")
        with _refusals(f"the run {run_id}"):
            run = self._runs.get(run_id)
            outputs = self._outputs.known(run)
            names = {self._client.get_logged_model(m).name for m in outputs.models}
        digest = outputs.digest(path)
        # A logged model lies beside the run's own artifacts, though MLflow 3 lists it among them:
        # its content is not in the record of the run's files.
        if not digest or path.partition("/")[0] in {"", *names}:
            raise UnknownContentError(f"the run {run_id} has no artifact of its own at {path!r}")
        return path, digest, f"{run.info.artifact_uri}/{path}"

    def _model(self, model_id: str) -> str:
        """Return the id of a logged model that is complete."""
        with _refusals(f"the model {model_id}"):
            model = self._client.get_logged_model(model_id)
        if str(model.status) != _READY:
            raise UnknownContentError(f"the model {model_id} is {model.status}")
        return model_id

    def _version(self, name: str, version: str) -> tuple[str, ...]:
        with _refusals(f"version {version} of {name}"):
            source = str(self._client.get_model_version(name, version).source)
        # MLflow 3 registers models:/m-...; versions of older servers have an artifact of a run.
        if found := _MODEL.fullmatch(source):
            return "model", self._model(found["id"])
        if found := _RUN.fullmatch(source):
            path, digest, _ = self._artifact(found["run"], found["path"])
            return "registered artifact", path, digest
        raise UnknownContentError(f"version {version} of {name} does not say which model it is")


def _in_project(value: str, project: Path) -> str:
    """Return a path inside the project as ``./path``, '' for every other one."""
    try:
        # Resolved: the cache may lie behind a link, and '..' may lead out of the project.
        inside = (project / value).resolve().relative_to(project.resolve())
    except ValueError:
        return ""
    return f"./{inside.as_posix()}"


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Turn MLflow's "not found" and "permission denied" into UnknownContentError."""
    from mlflow.exceptions import MlflowException

    try:
        with tracking_errors():
            yield
    except MlflowException as error:
        raise UnknownContentError(f"{what} cannot be read: {error.error_code}") from error
