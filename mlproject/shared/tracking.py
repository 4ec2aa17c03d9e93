"""Runs a step inside its MLflow run and turns failures into a message, a tag and an exit status.

Resumes the run that MLFLOW_RUN_ID names (as `mlflow run` and Airflow's side set it), or makes one.
Touches that run, and what of other runs is given as `runs:/...`.
"""

import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.commandline import Option, read_options
from shared.errors import DataError, ParameterError, StepError, StorageError, UnavailableError
from shared.space import is_full

if TYPE_CHECKING:
    from mlflow import ActiveRun
    from mlflow.data.dataset import Dataset

ATTEMPTS_TO_LOG = 4
ERROR_TAG = "error"
LONGEST_TAG = 5000  # characters that every tracking store takes
LONGEST_NAME = 120  # characters that a table of runs shows
_RUNS = "runs:/"


@dataclass(frozen=True)
class Step:
    """An entry point: its name, its parameters and its work.

    Attributes:
        name: as in MLproject.
        options: the parameters.
        work: does the step within the active MLflow run. Takes the parameters, as `options` names
            them; raises a StepError, see `errors`.
    """

    name: str
    options: Sequence[Option]
    work: Callable[[Mapping[str, Any]], None]


def _is_not_about_pip(record: logging.LogRecord) -> bool:
    """Return whether a line of MLflow's log says something else than that there is no pip here.

    Environments that uv makes have none, and a model needs none.
    """
    return "installed pip version" not in record.getMessage()


def main(step: Step, argv: Sequence[str] | None = None) -> int:
    """Run the step and return the exit status: 0, or see `errors`.

    Args:
        step: what to run.
        argv: the command line without the program's name; None means that of the process.
    """
    try:
        values = read_options(step.name, step.options, sys.argv[1:] if argv is None else argv)
    except StepError as error:
        return _failed(error, os.environ.get("MLFLOW_RUN_ID", ""))
    run_id = ""
    try:
        import mlflow

        logging.getLogger("mlflow.utils.environment").addFilter(_is_not_about_pip)
        with mlflow.start_run() as run:
            run_id = run.info.run_id
            _name(run, step, values)
            with _brought(step, values) as local:
                step.work(local)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run must say so
        return _failed(_understood(error), run_id)
    return 0


def log_input(dataset: "Dataset", context: str) -> None:
    """Log an input of the active run, which another run may log at the same moment.

    Args:
        dataset: as MLflow knows it.
        context: what the run does with it, such as "training".
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    for attempt in range(1, ATTEMPTS_TO_LOG + 1):
        try:
            mlflow.log_input(dataset, context=context)
        except MlflowException:
            # The server looks for the data set, then adds it: of two runs that do so at once, as
            # challenger and champion are validated, one fails on the database's unique key (3.17).
            if attempt == ATTEMPTS_TO_LOG:
                raise
            time.sleep(0.1 * attempt)
        else:
            return


@contextmanager
def _brought(step: Step, values: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Bring what steps before logged, where no `mlflow run` has done so.

    Raises:
        DataError: if the run has no such folder.
    """
    import mlflow

    logged = [option.name for option in step.options if option.logged]
    remote = {name: values[name] for name in logged if str(values[name]).startswith(_RUNS)}
    with tempfile.TemporaryDirectory() as place:
        local = dict(values)
        for name, address in remote.items():
            try:
                local[name] = mlflow.artifacts.download_artifacts(
                    artifact_uri=address, dst_path=place
                )
            except mlflow.exceptions.MlflowException as error:
                if _tracking_away(error):
                    raise
                raise DataError(
                    f"parameter '{name}' is {address!r}, which cannot be had: {error}",
                    allowed="a path, or runs:/<run id>/<folder> of a run that the server knows",
                    action=f"correct {name}, or set MLFLOW_TRACKING_URI to the server of that run",
                ) from error
        yield local


def title(step: Step, values: Mapping[str, Any]) -> str:
    """Return a name for a run: the step, and what its parameters have that is not the default.

    What the night fills in is left out, and what is or may be an address.
    """
    said = [
        f"{option.name}={values[option.name]}"
        for option in step.options
        if not option.required
        and values[option.name] != option.default
        and "/" not in str(values[option.name])
    ]
    return f"{step.name} {', '.join(said)}".rstrip()[:LONGEST_NAME]


def log_new_params(values: Mapping[str, object]) -> None:
    """Log the params that the run does not have yet.

    `mlflow run` logs the command line's spelling; the same key in another spelling is an error.
    """
    import mlflow

    run = mlflow.active_run() or mlflow.start_run()
    known = mlflow.MlflowClient().get_run(run.info.run_id).data.params
    mlflow.log_params({name: v for name, v in values.items() if name not in known and v != ""})


@contextmanager
def requirements_by_name() -> Iterator[None]:
    """Within this block MLflow finds what a model requires by the names of distributions alone.

    For packages that nobody installed, but that can be imported, it would read what each
    distribution of the environment consists of: up to a second, for each model that is logged or
    loaded.
    """
    # Private, because MLflow has no other way to tell; the lock file holds MLflow's version.
    from mlflow.utils import requirements_utils

    before = requirements_utils._MODULES_TO_PACKAGES  # noqa: SLF001
    requirements_utils._MODULES_TO_PACKAGES = before or {}  # noqa: SLF001
    try:
        yield
    finally:
        requirements_utils._MODULES_TO_PACKAGES = before  # noqa: SLF001


def say(line: str) -> None:
    """Print one line for the reader of the log, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _name(run: "ActiveRun", step: Step, values: Mapping[str, Any]) -> None:
    """Name a run that MLflow named at random ("merry-ant-12"); one that somebody named stays."""
    import mlflow

    # Private, because MLflow has no other way to tell; the lock file holds MLflow's version.
    from mlflow.utils.name_utils import _GENERATOR_NOUNS, _GENERATOR_PREDICATES

    predicate, _, rest = str(run.info.run_name).partition("-")
    noun, _, number = rest.partition("-")
    if predicate in _GENERATOR_PREDICATES and noun in _GENERATOR_NOUNS and number.isdecimal():
        mlflow.set_tag("mlflow.runName", title(step, values))


def _understood(error: Exception) -> Exception:
    """Give the failures of the world outside (packages, tracking server, disk) three parts."""
    if isinstance(error, StepError):
        return error
    if is_full(error):
        return StorageError(
            f"no room left on the disk: {error}",
            allowed="room for the step's files in the temporary folder",
            action="free space or set TMPDIR to a larger disk, then run again",
        )
    if isinstance(error, ModuleNotFoundError):
        return ParameterError(
            f"{sys.executable} has no package '{error.name}'",
            allowed="an environment with what requirements.txt of the project names",
            action="leave out --env-manager local, or install that file's packages there",
        )
    if away := _tracking_away(error):
        return UnavailableError(
            f"the MLflow server did not answer: {str(away).splitlines()[0]}",
            allowed="a tracking server that answers at MLFLOW_TRACKING_URI",
            action="start it or correct the address, then run again",
        )
    return error


def _tracking_away(error: BaseException | None) -> BaseException | None:
    """Return what says that the server is away; MLflow makes of some a thing that is not there."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import ConnectionError as Refused
    from requests.exceptions import Timeout

    if isinstance(error, MlflowException):
        away = error if str(error).startswith("API request to") else None
        return away or _tracking_away(error.__cause__)
    return error if isinstance(error, Refused | Timeout) else None


def _failed(error: Exception, run_id: str) -> int:
    """Tell the log and the run what happened; return the exit status."""
    if isinstance(error, StepError):
        status, message = error.exit_code, str(error)
    else:
        traceback.print_exception(error)
        status, message = 1, f"{type(error).__name__}: {error}"
    if run_id:
        _end(run_id, message)
    sys.stderr.write(f"error: {message}\n")
    return status


def _end(run_id: str, message: str) -> None:
    """Tag the run with the message and end it, also where the step failed before it resumed it."""
    import mlflow

    client = mlflow.MlflowClient()
    try:
        client.set_tag(run_id, ERROR_TAG, message[:LONGEST_TAG])
        client.set_terminated(run_id, "FAILED")
    except mlflow.exceptions.MlflowException as error:
        sys.stderr.write(f"the run could not be marked as failed: {error}\n")
