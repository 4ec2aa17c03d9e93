"""Builds the command of a step's child process: shell line, variables, forkserver to use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from understudy.contract import key_of
from understudy.errors import StepFailedError, UnderstudyError
from understudy.runner import projectfile
from understudy.runner.environment.container import Surroundings
from understudy.runner.filesystem import has_room
from understudy.runner.process.process import Command
from understudy.runner.process.variables import run_variables, step_environment
from understudy.runner.process.warm import Server, WarmStart, program_of
from understudy.runner.scratch import no_room
from understudy.store.tracking import tracking_errors

if TYPE_CHECKING:
    from understudy.runner.environment.store import Environment
    from understudy.runner.settings import Settings
    from understudy.runner.step import Attempt, Pinned


class Children:
    """Builds the commands of child processes, on this machine and for one tracking server."""

    def __init__(self, tracking_uri: str, settings: Settings) -> None:
        self._tracking_uri, self._settings = tracking_uri, settings

    def command(self, attempt: Attempt) -> Command:
        """Return the command of an attempt; its remote inputs are downloaded for it.

        Raises:
            StepFailedError: if an input cannot be read.
            SettingsError: if there is no room for it.
            TrackingUnavailableError: if the tracking server does not answer.
        """
        scratch, environment = attempt.scratch, attempt.environment
        info, given = attempt.run.info, attempt.request.environment
        line = self._line(attempt)
        return Command(
            argv=("bash", str(scratch.script(line))),
            folder=attempt.source.project.folder,
            environment={
                **self.variables(environment, given, _uris(attempt)),
                "TMPDIR": str(scratch.temporary),
                **run_variables(info.run_id, info.experiment_id),
            },
            timeout=attempt.request.timeout,
            grace=self._settings.grace,
            held_descriptors=(scratch.lock, *environment.locks),
            scratch=scratch.folder,
            warm=self._warm(attempt, line),
        )

    def surroundings(self, attempt: Attempt) -> Surroundings:
        """Return what of this machine a step in a container needs."""
        tracking = absolute_store(self._tracking_uri)
        return Surroundings(
            code=attempt.source.code,
            scratch=attempt.scratch.folder,
            readable=(*attempt.source.linked, *_local_inputs(attempt)),
            writable=tuple(_local_stores(tracking, attempt.run.info.artifact_uri)),
            tracking=tracking,
            options=(*self._settings.docker_options, *attempt.request.docker_options),
        )

    def server(
        self,
        pinned: Pinned,
        environment: Environment,
        given: Mapping[str, str],
        uris: Iterable[str],
    ) -> Server | None:
        """Return the forkserver for the steps of a project; None where there can be none.

        Args:
            pinned: The project.
            environment: Its environment.
            given: Variables that the steps are given.
            uris: Addresses that they read and write.
        """
        # A container is another machine, and conda's programs need its activation scripts.
        if environment.bin is None or not environment.digest or environment.manager == "conda":
            return None
        project = key_of(pinned.repository, pinned.subdirectory)[:16]
        # Beside the environment, and by its name: what removes it removes this too.
        learned = environment.bin.parent.with_name(f"{environment.digest}.{project}.json")
        variables = self.variables(environment, given, uris)
        return Server(environment.bin / "python", learned, variables, environment.locks)

    def _warm(self, attempt: Attempt, line: str) -> WarmStart | None:
        """Return how a forkserver can run the step; None where only a shell can."""
        program = program_of(attempt.entry_point.command, line)
        given, pinned = attempt.request.environment, attempt.source.pinned
        server = self.server(pinned, attempt.environment, given, _uris(attempt))
        return WarmStart(server, program) if server and program else None

    def _line(self, attempt: Attempt) -> str:
        try:
            with tracking_errors(), _tracked_at(self._tracking_uri):
                values = {**attempt.lineage.values, **dict(_stored_inputs(attempt))}
                folder, storage = attempt.source.project.folder, attempt.scratch.inputs
                return projectfile.command(attempt.entry_point, values, folder, storage)
        except UnderstudyError:
            raise
        except Exception as error:
            # MLflow does not say that it could not write because the disk is full.
            if not has_room(attempt.scratch.folder):
                raise no_room(attempt.scratch.folder, error) from error
            raise StepFailedError(
                f"An input of the step {attempt.request.entry_point!r} could not be read: {error}",
                allowed="for path parameters, a folder or file here, or an artifact as "
                "runs:/<id>/<path>",
                action="check that the run and its artifact exist",
                run_id=attempt.run.info.run_id,
            ) from error

    def variables(
        self, environment: Environment, given: Mapping[str, str], uris: Iterable[str]
    ) -> dict[str, str]:
        """Return the variables that all programs of a project have in common.

        Args:
            environment: What they run in.
            given: Variables that they are given.
            uris: Addresses that they read and write.
        """
        tracking = absolute_store(self._tracking_uri)
        # MLflow's own backend passes on every variable of the worker, Airflow's secrets included.
        local = environment.is_on_path
        inherited = step_environment(os.environ, (tracking, *uris), local=local)
        inherited.update(environment.variables(given.get("PATH", inherited.get("PATH", ""))))
        return {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            **inherited,
            **given,
            # What follows is decided here, whatever the step was given: a pipe to Python is block
            # buffered, and lines of a log would come late.
            "PATH": inherited["PATH"],
            "PYTHONUNBUFFERED": "1",
            "MLFLOW_TRACKING_URI": tracking,
        }


def _uris(attempt: Attempt) -> list[str]:
    return [attempt.run.info.artifact_uri, *map(str, attempt.request.parameters.values())]


def _stored_inputs(attempt: Attempt) -> Iterator[tuple[str, str]]:
    """Yield parameters of type ``path`` with the place in the artifact store that they mean.

    Artifacts in a folder of this machine are left out: MLflow would return the store's own files
    in place of a copy.
    """
    for name, found in attempt.lineage.inputs.known.items():
        is_path = attempt.entry_point.parameters[name].type == "path"
        if is_path and found.stored and urlsplit(found.stored).scheme not in {"", "file"}:
            yield name, found.stored


def _local_inputs(attempt: Attempt) -> Iterator[Path]:
    """Yield the values of ``path`` parameters that lie on this machine."""
    start = attempt.request.paths_start_at or attempt.source.project.folder
    for name, value in attempt.request.parameters.items():
        address = urlsplit(str(value))
        is_path = attempt.entry_point.parameters[name].type == "path"
        if is_path and value and address.scheme in {"", "file"}:
            yield (start / address.path).resolve()


def _local_stores(tracking: str, artifacts: str) -> Iterator[Path]:
    """Yield the folders of a tracking store that is on this machine.

    Of artifacts it is the experiment's: logged models lie beside the run's own folder.
    """
    if urlsplit(tracking).scheme == "sqlite":
        yield Path(tracking.removeprefix("sqlite:///")).parent
    elif not urlsplit(tracking).scheme and tracking.startswith(os.sep):
        yield Path(tracking)
    if urlsplit(artifacts).scheme in {"", "file"}:
        folder = Path(urlsplit(artifacts).path).parents[1]
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


@contextlib.contextmanager
def _tracked_at(uri: str) -> Iterator[None]:
    """Let MLflow's ``runs:/`` addresses mean the runs of our tracking server."""
    import mlflow

    # compute_command, which downloads them, has no argument for the server: it asks the global one.
    before = mlflow.get_tracking_uri()
    if before == uri:
        yield
        return
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


def absolute_store(uri: str) -> str:
    """Return a tracking address that means the same in another folder.

    ``sqlite:///mlflow.db`` and ``mlruns`` start at the folder that a process runs in.
    """
    scheme = urlsplit(uri).scheme
    if scheme == "sqlite" and not uri.startswith("sqlite:////"):
        return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).absolute()}"
    if not scheme and uri not in {"databricks", "uc"}:
        return str(Path(uri).absolute())
    return uri
