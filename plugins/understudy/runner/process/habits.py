"""Recognises programs written to be started by hand, by MLflow's error messages. Pure.

A step's run exists before its program starts; MLFLOW_RUN_ID names it. If a program chooses a run,
an experiment or a server itself, MLflow refuses with a message that does not say what to change.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from understudy.contract import Tag
from understudy.redact import redacted

if TYPE_CHECKING:
    from mlflow.entities import Run

_EXCEPTION: Final = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt)(?::|$)")
# Texts of MLflow 3.17, as a traceback shows them: it has no error codes.
_OTHER_EXPERIMENT: Final = "active experiment ID does not match environment run ID"
_FILE_STORE: Final = "filesystem tracking backend"
_NO_RUN: Final = re.compile(r"Run (?:with id=|')(\w+)'? not found")
_CALL: Final = re.compile(r"API request to (\S+?)/api/2\.0/mlflow")
# log_param and log_batch word the same refusal differently.
_TWICE: Final = (
    re.compile(r"Param with key='(.*?)' was already logged with value='(.*?)' for .*value '(.*?)'"),
    re.compile(r"'key': '(.*?)', 'old_value': '(.*?)', 'new_value': '(.*?)'"),
)
_OURS: Final = ("understudy.", "mlflow.")


@dataclass(frozen=True, slots=True)
class Advice:
    """The three parts of an error message: what was found, what is allowed, what to change."""

    found: str
    allowed: str
    action: str


class Witness:
    """Reads the output of a step's program, and derives from it what made the program fail.

    Args:
        run_id: The step's MLflow run.
        tracking_uri: The run's server by the address that the program has; '' where unknown.
    """

    def __init__(self, run_id: str, tracking_uri: str = "") -> None:
        self._run_id, self._tracking_uri = run_id, tracking_uri
        self._last = ""

    def hear(self, line: str) -> None:
        """Take a line of the program's output."""
        # Only the last counts: a program may catch an exception, print it and go on.
        if _EXCEPTION.match(line):
            self._last = line

    def advice(self) -> Advice | None:
        """Return what to change, by the last exception; None where it is of no known kind."""
        error = self._last
        if _OTHER_EXPERIMENT in error:
            return Advice(
                "it chooses an experiment with mlflow.set_experiment, and its run is in the"
                " pipeline's",
                allowed="mlflow.start_run() without arguments, in the experiment that is set"
                " already",
                action="take set_experiment out of the entry point; experiment= of the pipeline"
                " names it",
            )
        if self._is_of_other_server(error):
            return Advice(
                "it chooses a tracking server with mlflow.set_tracking_uri, and its run is not"
                " there",
                allowed="the server that the variable MLFLOW_TRACKING_URI names, which is set"
                " already",
                action="take set_tracking_uri out of the entry point",
            )
        for pattern in _TWICE:
            if "Changing param values is not allowed" in error and (found := pattern.search(error)):
                return _logged_twice(*found.groups())
        return None

    def _is_of_other_server(self, error: str) -> bool:
        # That another run is missing says nothing about the server: it may have been deleted.
        if missing := _NO_RUN.search(error):
            return missing[1] == self._run_id
        if call := _CALL.search(error):
            step_server = self._tracking_uri.rstrip("/")
            return bool(step_server) and call[1] != step_server
        # MLflow 3.17 refuses to open ./mlruns: the program has replaced the address that it was
        # given.
        return _FILE_STORE in error


def is_empty(run: Run, artifacts: Collection[str]) -> bool:
    """Return whether a program has logged nothing to its run.

    Args:
        run: As the program left it, before our own parameters are logged.
        artifacts: Paths of the artifacts that it has logged.
    """
    data, outputs = run.data, run.outputs
    own_tags = [name for name in data.tags if not name.startswith(_OURS)]
    models = outputs.model_outputs if outputs else ()
    error = data.tags.get(Tag.ERROR.value)
    return not (data.metrics or data.params or own_tags or artifacts or models or error)


def nothing_logged(entry_point: str, orphans: Collection[str] = ()) -> str:
    """Return the description of a step that succeeded and logged nothing.

    Args:
        entry_point: The step's.
        orphans: Ids of RUNNING runs that the program may have created itself.
    """
    begun = f" These began meanwhile and say RUNNING: {', '.join(orphans)}." if orphans else ""
    return (
        f"The step {entry_point!r} ended well and logged nothing to its MLflow run.{begun} If it"
        " should have, begin with mlflow.start_run() without arguments, and take out"
        " set_tracking_uri, set_experiment and a client's create_run."
    )


def _logged_twice(name: str, first: str, second: str) -> Advice:
    return Advice(
        redacted(f"it logs the parameter {name!r} twice, as {first!r} and as {second!r}"),
        allowed="one value of a parameter in a run, which MLflow compares as text",
        action="log it once, or each time as the same text",
    )
