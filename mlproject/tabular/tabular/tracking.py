"""Runs a step inside its MLflow run and turns failures into a message, a tag and an exit status.

Resumes the run that MLFLOW_RUN_ID names (as `mlflow run` and Airflow's side set it), or makes one.
Touches only that run.
"""

import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tabular.commandline import Option, read_options
from tabular.errors import ParameterError, StorageError, TabularError, UnavailableError
from tabular.space import is_full

ERROR_TAG = "error"
LONGEST_TAG = 5000  # characters that every tracking store takes
LONGEST_NAME = 250
MOST_POINTS = 500
"""Points of a learning curve that are logged; of longer ones every second, third, ... round."""
_GENERATED = re.compile(r"[a-z]+-[a-z]+-\d+")
"""The run names that MLflow makes up, such as bold-ant-12."""
_OURS = ("mlflow.", "understudy.", "data.", ERROR_TAG)


@dataclass(frozen=True)
class Step:
    """An entry point: its name, its parameters and its work.

    Attributes:
        name: as in MLproject.
        options: the parameters.
        work: does the step within the active MLflow run.
    """

    name: str
    options: Sequence[Option]
    work: Callable[[Mapping[str, Any]], None]


def main(step: Step, argv: Sequence[str] | None = None) -> int:
    """Run the step and return the exit status: 0, or see `errors`.

    Args:
        step: what to run.
        argv: the command line without the program's name; None means that of the process.
    """
    try:
        values = read_options(step.name, step.options, sys.argv[1:] if argv is None else argv)
    except TabularError as error:
        return _failed(error, os.environ.get("MLFLOW_RUN_ID", ""))
    run_id = ""
    try:
        import mlflow

        with mlflow.start_run() as run:
            run_id = run.info.run_id
            step.work(values)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run must say so
        return _failed(_understood(error), run_id)
    return 0


def log_new_params(values: Mapping[str, object]) -> None:
    """Log the params that the run does not have yet.

    `mlflow run` logs the command line's spelling; the same key in another spelling is an error.
    """
    import mlflow

    run = mlflow.active_run() or mlflow.start_run()
    known = mlflow.MlflowClient().get_run(run.info.run_id).data.params
    mlflow.log_params({name: v for name, v in values.items() if name not in known and v != ""})


def name_run(name: str) -> None:
    """Name the active run by what it does, where it has no name but one that MLflow made up."""
    import mlflow

    run = mlflow.active_run() or mlflow.start_run()
    if _GENERATED.fullmatch(mlflow.get_run(run.info.run_id).info.run_name or ""):
        mlflow.set_tag("mlflow.runName", name[:LONGEST_NAME])


def own_tags(text: str) -> dict[str, str]:
    """Return the user's tags.

    Args:
        text: `name=value`, several with commas between them.

    Raises:
        ParameterError: if a part has another form, or a name that the steps or MLflow use.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    wrong = [
        name or value
        for name, sign, value in pairs
        if not sign or not name.strip() or name.strip().startswith(_OURS)
    ]
    if wrong:
        raise ParameterError(
            f"tags has {wrong[0].strip()!r}",
            allowed=f"name=value, with commas; no name that begins with {', '.join(_OURS)}",
            action="correct -P tags=...",
        )
    return {name.strip(): value.strip() for name, _, value in pairs}


def log_curves(curves: Mapping[str, Sequence[float]]) -> None:
    """Log learning curves as metrics `rounds/<name>`, whose step is the round, from 1.

    Args:
        curves: name of a metric to its value after each round.
    """
    import mlflow
    from mlflow.entities import Metric

    now, run = int(time.time() * 1000), mlflow.active_run() or mlflow.start_run()
    for name, values in curves.items():
        every = -(-len(values) // MOST_POINTS)
        kept = [*range(every - 1, len(values) - 1, every), len(values) - 1]
        points = [Metric(f"rounds/{name}", values[at], now, at + 1) for at in kept]
        mlflow.MlflowClient().log_batch(run.info.run_id, metrics=points)


def say(line: str) -> None:
    """Print one line for the reader of the log, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _understood(error: Exception) -> Exception:
    """Give the failures of the world outside (tracking server, disk) their three parts."""
    if isinstance(error, TabularError):
        return error
    if is_full(error):
        return StorageError(
            f"no room left on the disk: {error}",
            allowed="room for the step's files in the temporary folder",
            action="free space or set TMPDIR to a larger disk, then run again",
        )
    if _tracking_away(error):
        return UnavailableError(
            f"the MLflow server did not answer: {str(error).splitlines()[0]}",
            allowed="a tracking server that answers at MLFLOW_TRACKING_URI",
            action="start it or correct the address, then run again",
        )
    return error


def _tracking_away(error: Exception) -> bool:
    from mlflow.exceptions import MlflowException
    from requests.exceptions import ConnectionError as Refused
    from requests.exceptions import Timeout

    if isinstance(error, Refused | Timeout):
        return True
    return isinstance(error, MlflowException) and str(error).startswith("API request to")


def _failed(error: Exception, run_id: str) -> int:
    """Tell the log and the run what happened; return the exit status."""
    if isinstance(error, TabularError):
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
