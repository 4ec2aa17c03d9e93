"""Reads a program's output: what it died of, and habits that no run of ours can serve. Pure.

A step's run exists before its program starts; MLFLOW_RUN_ID names it. If a program chooses a run,
an experiment or a server itself, MLflow refuses with a message that does not say what to change.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from understudy.contract import Tag
from understudy.redact import redacted

if TYPE_CHECKING:
    from mlflow.entities import Run

_EXCEPTION: Final = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt)(?::|$)")
# What terminals take for colours (ECMA-48, CSI sequences).
_COLOUR: Final = re.compile(r"\x1b\[[0-9;:]*[A-Za-z]")
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
# How mlflow.run() fails where its environment manager is not on this machine.
_LACKS_MANAGER: Final = re.compile(r"[Cc]ould not find (?:the )?(pyenv|Conda)\b")
# As bash, dash and env(1) say it.
_LACKS_PROGRAM: Final = re.compile(
    r": (?:line )?\d+: (?P<shells>\S+): (?:command )?not found"
    r"|\benv: [\u2018'](?P<envs>\S+)[\u2019']: No such file or directory"
)
# What mlflow.run() prints before it starts an entry point, and raises when that has failed.
_NESTED: Final = re.compile(
    r"in run with ID '(\w{32})' ===|Asynchronously launching MLflow run with ID (\w{32}) ==="
)
_NESTED_FAILED: Final = re.compile(r"ExecutionException: Run \(ID '(\w+)'\) failed")
_TRACEBACK: Final = "Traceback (most recent call last):"
_SHOWN: Final = 5
"""Lines that an error message repeats."""
_RECENT: Final = 60
"""Lines after which what a program printed as an error is no longer why it ended."""


class LastLines:
    """What to say of a failed program: its error first, then where; else its last lines.

    Python prints an error at the end of a traceback, below source lines and carets.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_SHOWN)
        self._error: list[str] = []
        self._place = self._place_of_error = ""
        self._since, self._in_traceback = 0, False

    def hear(self, line: str) -> None:
        """Take a line of the program's output."""
        line = _COLOUR.sub("", line)
        self._since += 1
        if not line.strip():
            return
        self._lines.append(line)
        indented = line[0].isspace()
        if line == _TRACEBACK:
            self._in_traceback = True
        elif indented and line.lstrip().startswith('File "'):
            self._place = line.strip()
        elif (self._in_traceback and not indented) or _EXCEPTION.match(line):
            self._in_traceback = False
            self._begin(line)
        elif not self._in_traceback and 0 < len(self._error) < _SHOWN:
            self._error.append(line.strip())

    def _begin(self, line: str) -> None:
        # That a nested run has failed says nothing: its own error came a few lines before.
        nested = _NESTED_FAILED.search(line)
        if nested and self._error and self._since < _RECENT:
            told = 2 if self._error[0].endswith(":") else 1  # "these failed:", and one
            self._error = [*self._error[:told], f"in the nested run {nested[1]}"]
        else:
            self._error, self._place_of_error = [line.strip()], self._place
        self._since = 0

    def __str__(self) -> str:
        if self._error and self._since < _RECENT:
            return " | ".join(filter(None, (*self._error, self._place_of_error)))
        return " | ".join(self._lines)


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
        if _EXCEPTION.match(plain := _COLOUR.sub("", line)):
            self._last = plain

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
        if lacking := _LACKS_MANAGER.search(error):
            return _needs_manager(lacking[1].lower())
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


def missing_program(last_lines: str) -> str:
    """Return the name of the last program that a shell did not find; '' for none."""
    found = ""
    for matched in _LACKS_PROGRAM.finditer(last_lines):
        found = matched["shells"] or matched["envs"]
    return found


def nested_run_in(line: str) -> str:
    """Return the id of the run that mlflow.run() says to be starting in this line; '' for none."""
    found = _NESTED.search(line)
    return (found[1] or found[2]) if found else ""


def other_manager(nested: Run, manager: str) -> str:
    """Return the line that says that a nested run has an environment of its own; '' for none.

    Args:
        nested: The run of an entry point that mlflow.run() starts.
        manager: What made the step's environment.
    """
    # MLflow writes it for all but "local"; "docker" is the project's own choice.
    its = nested.data.tags.get("mlflow.project.env", "")
    if its in {"", "docker"}:
        return ""
    return (
        f"mlflow.run() made an environment with {its} for the nested run {nested.info.run_id}: the"
        f" step's own, made with {manager}, does not hold for it; env_manager='local' in that call"
        " takes it"
    )


def _needs_manager(manager: str) -> Advice:
    return Advice(
        f"it starts an entry point with mlflow.run(), for which MLflow wants {manager}, which is"
        " not on this machine; the step's own environment does not hold for it",
        allowed="mlflow.run(..., env_manager='local'), which runs it in the step's environment, or"
        " a manager that is here",
        action="add env_manager='local' to that call, make the entry points steps of the pipeline,"
        f" or install {manager} on the workers",
    )


def _logged_twice(name: str, first: str, second: str) -> Advice:
    return Advice(
        redacted(f"it logs the parameter {name!r} twice, as {first!r} and as {second!r}"),
        allowed="one value of a parameter in a run, which MLflow compares as text",
        action="log it once, or each time as the same text",
    )
