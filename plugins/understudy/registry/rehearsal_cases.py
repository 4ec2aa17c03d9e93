"""The questions of a rehearsal: drawn in the model's environment, or those of an earlier one."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy.errors import ServingError
from understudy.runner.environment.store import Environment
from understudy.runner.process.habits import LastLines
from understudy.runner.process.process import OnLine, ProcessRunner
from understudy.serving.server import INSIDE, command_in
from understudy.store.artifacts import found
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


HOLDOUT: Final = "holdout.parquet"
PREDICTIONS: Final = "predictions.parquet"
QUESTIONS: Final = "rehearsal/questions.json"
# EX_UNAVAILABLE of sysexits.h: by it the script tells "a library is missing" from a crash.
_LACKING: Final = 69


@dataclass(frozen=True, slots=True)
class RehearsalCases:
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
class RehearsalCaseWriter:
    """Where questions are drawn.

    Attributes:
        model: The model's folder.
        environment: Its environment.
        project: The environment of the project, which can read what its steps wrote; None for none.
        folder: A folder for temporary files.
        process_runner: Runs the script.
        on_line: Takes what it writes.
    """

    model: Path
    environment: Environment
    project: Environment | None
    folder: Path
    process_runner: ProcessRunner
    on_line: OnLine


def questions_for(
    client: MlflowClient, cases: RehearsalCases, writer: RehearsalCaseWriter, rows: int
) -> dict[str, Any]:
    """Return the document with the questions: ``source``, ``questions`` and ``unasked``.

    What a run never had, or has no more, is drawn from elsewhere, which the source says; why
    is said as ``unasked`` where nothing can be drawn from there either.

    Raises:
        ServingError: when they cannot be drawn.
        TrackingUnavailableError: when the server does not answer.
    """
    # The same questions as before its promotion, where there are some: an answer that differs is
    # then the environment's or the server's doing, and not that of other rows.
    asked = _fetched(client, cases.rehearsal, QUESTIONS, writer.folder)
    if asked is not None:
        return _document(asked)
    unasked = f"no {HOLDOUT} with {PREDICTIONS} was logged, or no project is at hand to read them"
    if writer.project is not None and (files := _files(client, cases, writer.folder)):
        document = _drawn(writer, writer.project, rows, files)
        if document["questions"]:
            return document
        unasked = str(document["unasked"])
    document = _drawn(writer, writer.environment, rows)
    if document["questions"]:
        return document
    return {**document, "unasked": f"{unasked} | {document['unasked']}"}


def _files(client: MlflowClient, cases: RehearsalCases, folder: Path) -> tuple[str, ...]:
    """Return the holdout and the predictions as files here; nothing where one is missing."""
    rows = _fetched(client, cases.data, f"{cases.data_artifact}/{HOLDOUT}", folder)
    if rows is None:
        return ()
    predictions = _fetched(client, cases.validation, PREDICTIONS, folder)
    return () if predictions is None else (str(rows), str(predictions))


def _drawn(
    writer: RehearsalCaseWriter, environment: Environment, rows: int, files: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the questions that the script finds in an environment; none where it lacks a library.

    Raises:
        ServingError: when the script fails.
    """
    out = writer.folder / "questions.json"
    # Only the model's environment has what reads the model, and only the project's what reads its
    # rows; Airflow's has neither pandas nor the libraries of either.
    script = str(INSIDE / "sample_questions.py")
    arguments = (script, str(writer.model), str(out), str(rows), *files)
    last_lines = LastLines()

    def note(line: str) -> None:
        last_lines.hear(line)
        writer.on_line(line)

    ending = writer.process_runner.run(command_in(environment, arguments, writer.folder), note)
    if ending.exit_code == _LACKING:
        lacking = f"what draws them lacks a library: {last_lines}"
        return {"source": "nothing", "questions": [], "unasked": lacking}
    if not ending.ok:
        # A process that was stopped on purpose fails as well: that is no fault of the script.
        writer.process_runner.check()
        raise ServingError(
            f"{rows} questions of the rehearsal were to be drawn from"
            f" {'the holdout' if files else 'the input example'}, and the script ended with"
            f" {ending}: {str(last_lines) or 'it said nothing'}",
            allowed="a holdout and a model that it can read",
            action="correct what this names, and train again",
            # Python does not kill itself: that was most likely the kernel, short of memory.
            can_retry=ending.signal == signal.SIGKILL,
        )
    return _document(out)


def _document(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _fetched(client: MlflowClient, run_id: str, path: str, folder: Path) -> Path | None:
    """Return a copy of an artifact; None where there is no such artifact, or no such run."""
    run = RunStore(client).found(run_id) if run_id else None
    return None if run is None else found(client, run, path.strip("/"), folder)
