"""The questions of a rehearsal: drawn in the model's environment, or those of an earlier one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy.errors import ServingError
from understudy.serving.server import INSIDE, command_in
from understudy.steps.environment import Environment
from understudy.steps.process import OnLine, Supervisor
from understudy.tracking import tracking_errors

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

HOLDOUT: Final = "holdout.parquet"
PREDICTIONS: Final = "predictions.parquet"
QUESTIONS: Final = "rehearsal/questions.json"
_LACKING: Final = 69  # sysexits.h EX_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Material:
    """Where rows, and what a model said to them offline, can be found; each may be '' for nowhere.

    Attributes:
        data: The run that logged the holdout.
        data_artifact: The artifact folder of that run that has it.
        validation: The run that scored the model, which logged its predictions.
        rehearsal: An earlier rehearsal of the same version, whose questions are asked again.
    """

    data: str = ""
    data_artifact: str = ""
    validation: str = ""
    rehearsal: str = ""


@dataclass(frozen=True, slots=True)
class Desk:
    """Where questions are drawn.

    Attributes:
        model: The model's folder.
        environment: Its environment.
        project: The environment of the project, which can read what its steps wrote; None for none.
        folder: A folder for temporary files.
        supervisor: Runs the script.
        on_line: Takes what it writes.
    """

    model: Path
    environment: Environment
    project: Environment | None
    folder: Path
    supervisor: Supervisor
    on_line: OnLine


def questions_for(
    client: MlflowClient, material: Material, desk: Desk, rows: int
) -> dict[str, Any]:
    """Return the document with the questions: ``source`` and ``questions``.

    Raises:
        ServingError: when they cannot be drawn.
    """
    if material.rehearsal and _has(client, material.rehearsal, QUESTIONS):
        return _document(_fetched(client, material.rehearsal, QUESTIONS, desk.folder))
    document: dict[str, Any] = {}
    if desk.project is not None and (files := _files(client, material, desk.folder)):
        document = _drawn(desk, desk.project, rows, files)
    return document if document.get("questions") else _drawn(desk, desk.environment, rows)


def _files(client: MlflowClient, material: Material, folder: Path) -> tuple[str, ...]:
    """Return the holdout and the predictions as files here; nothing where one is missing."""
    wanted = (
        (material.data, f"{material.data_artifact}/{HOLDOUT}"),
        (material.validation, PREDICTIONS),
    )
    if not all(run_id and _has(client, run_id, path) for run_id, path in wanted):
        return ()
    return tuple(str(_fetched(client, run_id, path, folder)) for run_id, path in wanted)


def _drawn(
    desk: Desk, environment: Environment, rows: int, files: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the questions that the script finds in an environment; none where it lacks a library.

    Raises:
        ServingError: when the script fails.
    """
    out = desk.folder / "questions.json"
    script = str(INSIDE / "sample_questions.py")
    arguments = (script, str(desk.model), str(out), str(rows), *files)
    ending = desk.supervisor.run(command_in(environment, arguments, desk.folder), desk.on_line)
    if ending.exit_code == _LACKING:
        return {"source": "nothing", "questions": []}
    if not ending.ok:
        desk.supervisor.check()  # it may have been stopped
        raise ServingError(
            f"The questions of the rehearsal could not be drawn: the script ended with {ending}",
            allowed="a holdout and a model that it can read",
            action="read the lines above",
        )
    return _document(out)


def _document(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _has(client: MlflowClient, run_id: str, path: str) -> bool:
    folder = path.rpartition("/")[0]
    with tracking_errors():
        return any(item.path == path for item in client.list_artifacts(run_id, folder or None))


def _fetched(client: MlflowClient, run_id: str, path: str, folder: Path) -> Path:
    with tracking_errors():
        return Path(client.download_artifacts(run_id, path, str(folder)))
