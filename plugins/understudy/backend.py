"""The MLflow Projects backend ``understudy``: ``mlflow run <url> -b understudy -e train -P a=b``.

An adapter of StepRunner: it turns MLflow's arguments into a request, runs it in a thread, and
writes the output to the terminal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import click
from mlflow.entities import RunStatus  # noqa: TID253 - MLflow loads this module
from mlflow.exceptions import ExecutionException  # noqa: TID253
from mlflow.projects.backend.abstract_backend import AbstractBackend  # noqa: TID253
from mlflow.projects.submitted_run import SubmittedRun  # noqa: TID253

from understudy.errors import StepStoppedError, UnderstudyError, listed, nearest
from understudy.runner.runner import Settings, StepRequest, StepRunner, absolute_store
from understudy.runner.settings import TERMINAL_GRACE
from understudy.store import tracking
from understudy.store.tracking import RunStore

_OPTIONS = frozenset({"env_manager", "environment", "reuse", "timeout"})
# What MLflow itself puts among the options of a backend.
_MLFLOW_ENV_MANAGER = "ENV_MANAGER"
_MLFLOW_DOCKER_ARGS = "DOCKER_ARGS"
_MLFLOW_OPTIONS = frozenset({
    _MLFLOW_ENV_MANAGER, _MLFLOW_DOCKER_ARGS, "SYNCHRONOUS", "STORAGE_DIR", "build_image",
    "docker_auth",
})  # fmt: skip


class UnderstudySubmittedRun(SubmittedRun):
    """A step that runs in a thread of this process."""

    def __init__(self, runner: StepRunner, request: StepRequest) -> None:
        self._runner, self._request = runner, request
        self._run_id = ""
        self._opened = threading.Event()
        # Waited for instead of the thread: an interrupted Thread.join of Python 3.11 and 3.12
        # takes the thread for ended (bpo-45274), and we would leave while it runs.
        self._done = threading.Event()
        self._error: BaseException | None = None
        # Not a daemon: an interpreter that exits waits for it, and does not cut it off.
        self._thread = threading.Thread(target=self._work, name=f"step {request.entry_point}")

    @property
    def run_id(self) -> str:
        """The id of the MLflow run."""
        return self._run_id

    @property
    def experiment_id(self) -> str:
        """The id of the run's experiment."""
        return self._request.experiment_id

    def start(self) -> None:
        """Start the step, and return once it has an MLflow run.

        Raises:
            ExecutionException: if it ended without one, because the request cannot be run.
        """
        self._thread.start()
        try:
            self._opened.wait()
        except BaseException:
            # Ctrl-C before there is a handle that the caller could cancel.
            self.cancel()
            raise
        if not self._run_id:
            self._done.wait()
            raise ExecutionException(str(self._error)) from self._error

    def wait(self) -> bool:
        """Wait for the end; True if the step succeeded."""
        with _ended_by_terminate(self._runner):
            self._done.wait()
        return self._error is None

    def result(self) -> None:
        """Wait for the end.

        Raises:
            ExecutionException: if the step failed or was stopped.
        """
        if not self.wait():
            raise ExecutionException(str(self._error)) from self._error

    def cancel(self) -> None:
        """End the step with all its processes, and wait until its MLflow run is KILLED."""
        self._runner.stop()
        self._done.wait()

    def get_status(self) -> str:
        """Return MLflow's word for where the step is."""
        if not self._done.is_set():
            status = RunStatus.RUNNING
        elif self._error is None:
            status = RunStatus.FINISHED
        else:
            stopped = isinstance(self._error, StepStoppedError)
            status = RunStatus.KILLED if stopped else RunStatus.FAILED
        return str(RunStatus.to_string(status))

    def _work(self) -> None:
        try:
            self._runner.run(self._request, _show, self._on_run)
        except BaseException as error:  # noqa: BLE001 - kept for the thread that waits
            self._error = error
        finally:
            self._done.set()
            self._opened.set()

    def _on_run(self, run_id: str) -> None:
        self._run_id = run_id
        self._opened.set()


class UnderstudyBackend(AbstractBackend):
    """Runs entry points as Understudy's Dags do: cached, guarded, with a run that always ends."""

    def run(  # noqa: PLR0913, PLR0917 - MLflow's signature
        self,
        project_uri: str,
        entry_point: str,
        params: Mapping[str, Any] | None,
        version: str | None,
        backend_config: Mapping[str, Any],
        tracking_uri: str,
        experiment_id: str,
    ) -> UnderstudySubmittedRun:
        """Start an entry point; on the command line, also wait for its end.

        ``backend_config`` may hold ``env_manager`` ("uv" unless given), ``environment`` (names of
        variables that the step may see), ``reuse`` (true: a finished step of the same code,
        environment, parameters and inputs may stand for this one) and ``timeout`` (seconds).

        Raises:
            ExecutionException: if it cannot be run; on the command line also if it failed.
        """
        try:
            options = _options(backend_config)
            client = tracking.client(absolute_store(tracking_uri))
            request = StepRequest(
                project=_absolute(project_uri),
                version=version or "",
                entry_point=entry_point,
                parameters=params or {},
                experiment_id=str(experiment_id),
                key=uuid.uuid4().hex,
                name=entry_point,
                parent_run_id=_active_run_id(),
                paths_start_at=Path.cwd(),
                **options,
            )
            settings = replace(Settings.from_environment(), grace=TERMINAL_GRACE)
            runner = StepRunner(RunStore(client), client, settings)
        except UnderstudyError as error:
            raise ExecutionException(str(error)) from error
        submitted = UnderstudySubmittedRun(runner, request)
        ui = tracking.ui_address(client.tracking_uri)
        with _ended_by_terminate(runner):
            submitted.start()
            if click.get_current_context(silent=True) is not None:
                # `mlflow run` waits for its own backends only; for others it exits with 0 at once
                # (3.17).
                _finish(submitted, ui)
        return submitted


def _finish(submitted: UnderstudySubmittedRun, ui: str) -> None:
    """Wait for the end, and say where the run is: with `-b` MLflow's own last line is missing."""
    try:
        submitted.wait()
    except KeyboardInterrupt:
        submitted.cancel()
        raise
    finally:
        page = tracking.run_page(ui, submitted.experiment_id, submitted.run_id)
        _show(
            " ".join(filter(None, (f"MLflow run {submitted.run_id}", submitted.get_status(), page)))
        )
    submitted.result()


@contextlib.contextmanager
def _ended_by_terminate(runner: StepRunner) -> Iterator[None]:
    """Let SIGTERM end the step and its MLflow run first, where nobody else handles it."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        runner.stop()

    # Python sets signal handlers in the main thread only.
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _show(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _options(backend_config: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: v for name, v in backend_config.items() if name not in _MLFLOW_OPTIONS}
    for name in given:
        if name not in _OPTIONS:
            raise ExecutionException(
                f"The backend 'understudy' has no option {name!r}{nearest(name, _OPTIONS)}. "
                f"Allowed: {listed(_OPTIONS)}. Next: correct --backend-config."
            )
    if not isinstance(given.get("reuse", False), bool):
        raise ExecutionException(
            f"The backend option 'reuse' is {given['reuse']!r}. Allowed: true, false. "
            "Next: correct --backend-config."
        )
    chosen = backend_config.get(_MLFLOW_ENV_MANAGER)
    return {
        **given,
        **({"env_manager": chosen} if chosen else {}),
        "environment": _visible(given.get("environment", ())),
        "docker_options": _docker_options(backend_config.get(_MLFLOW_DOCKER_ARGS) or {}),
    }


def _visible(names: object) -> dict[str, str]:
    """Return the variables of this process that the step may see."""
    if not isinstance(names, list | tuple) or any(name not in os.environ for name in names):
        raise ExecutionException(
            f"The backend option 'environment' is {names!r}. Allowed: a list of names of variables "
            "that are set here. Next: correct --backend-config, or set them."
        )
    return {name: os.environ[name] for name in names}


def _docker_options(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return ``mlflow run -A network=host -A t`` as ``docker run`` takes it."""
    return tuple(
        f"{'-' if len(name) == 1 else '--'}{name}" + ("" if value is True else f"={value}")
        for name, value in given.items()
    )


def _absolute(project_uri: str) -> str:
    """Return a folder that exists here as an absolute one; everything else as it is."""
    folder, separator, subdirectory = project_uri.strip("'\"").partition("#")
    if "://" not in folder and Path(folder).is_dir():
        return f"{Path(folder).absolute()}{separator}{subdirectory}"
    return project_uri


def _active_run_id() -> str | None:
    # As MLflow's own backend does: a project that is run within a run becomes its child.
    import mlflow

    active = mlflow.active_run()
    return None if active is None else str(active.info.run_id)
