"""Knows habits of programs that were written to be started by hand, by what MLflow says. Pure.

A step's run exists before its program starts; MLFLOW_RUN_ID names it. What a program chooses for
itself beside it, MLflow refuses in words that do not say what to change.
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
_OTHER_EXPERIMENT: Final = "active experiment ID does not match environment run ID"
_FILE_STORE: Final = "filesystem tracking backend"
_NO_RUN: Final = re.compile(r"Run (?:with id=|')(\w+)'? not found")
_CALL: Final = re.compile(r"API request to (\S+?)/api/2\.0/mlflow")
_TWICE: Final = (
    re.compile(r"Param with key='(.*?)' was already logged with value='(.*?)' for .*value '(.*?)'"),
    re.compile(r"'key': '(.*?)', 'old_value': '(.*?)', 'new_value': '(.*?)'"),
)
_OURS: Final = ("understudy.", "mlflow.")


@dataclass(frozen=True, slots=True)
class Advice:
    """What a program did, what is allowed, and what to change, as errors say it."""

    found: str
    allowed: str
    action: str


class Witness:
    """Hears what a step's program writes, and knows what it died of.

    Args:
        run_id: The step's MLflow run.
        tracking_uri: Of the server that has it, as the program knows it; '' where that is unknown.
    """

    def __init__(self, run_id: str, tracking_uri: str = "") -> None:
        self._run_id, self._tracking_uri = run_id, tracking_uri
        self._last = ""

    def hear(self, line: str) -> None:
        """Take a line of the program's output."""
        if _EXCEPTION.match(line):
            self._last = line

    def advice(self) -> Advice | None:
        """Return what to change, by the last exception; None where that is no known habit."""
        said = self._last
        if _OTHER_EXPERIMENT in said:
            return _experiment()
        if self._asks_elsewhere(said):
            return _server()
        for pattern in _TWICE:
            if "Changing param values is not allowed" in said and (found := pattern.search(said)):
                return _twice(*found.groups())
        return None

    def _asks_elsewhere(self, said: str) -> bool:
        if missing := _NO_RUN.search(said):
            return missing[1] == self._run_id
        if call := _CALL.search(said):
            ours = self._tracking_uri.rstrip("/")
            return bool(ours) and call[1] != ours
        return _FILE_STORE in said


def is_empty(run: Run, artifacts: Collection[str]) -> bool:
    """Return whether a program has logged nothing to its run.

    Args:
        run: As the program left it, before our own parameters are logged.
        artifacts: What it has logged of them.
    """
    data, outputs = run.data, run.outputs
    theirs = [name for name in data.tags if not name.startswith(_OURS)]
    models = outputs.model_outputs if outputs else ()
    return not (data.metrics or data.params or theirs or artifacts or models or _error(run))


def nothing_logged(entry_point: str, orphans: Collection[str] = ()) -> str:
    """Return what is said of a step that has ended well and logged nothing.

    Args:
        entry_point: The step's.
        orphans: Runs that may be the program's, and say RUNNING.
    """
    begun = f" These began meanwhile and say RUNNING: {', '.join(orphans)}." if orphans else ""
    return (
        f"The step {entry_point!r} ended well and logged nothing to its MLflow run.{begun} If it"
        " should have, begin with mlflow.start_run() without arguments, and take out"
        " set_tracking_uri, set_experiment and a client's create_run."
    )


def _error(run: Run) -> str:
    return str(run.data.tags.get(Tag.ERROR.value, ""))


def _experiment() -> Advice:
    return Advice(
        "it chooses an experiment with mlflow.set_experiment, and its run is in the pipeline's",
        allowed="mlflow.start_run() without arguments, in the experiment that is set already",
        action="take set_experiment out of the entry point; experiment= of the pipeline names it",
    )


def _server() -> Advice:
    return Advice(
        "it chooses a tracking server with mlflow.set_tracking_uri, and its run is not there",
        allowed="the server that the variable MLFLOW_TRACKING_URI names, which is set already",
        action="take set_tracking_uri out of the entry point",
    )


def _twice(name: str, first: str, second: str) -> Advice:
    return Advice(
        redacted(f"it logs the parameter {name!r} twice, as {first!r} and as {second!r}"),
        allowed="one value of a parameter in a run, which MLflow compares as text",
        action="log it once, or each time as the same text",
    )
