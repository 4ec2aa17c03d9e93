"""Rehearses a version before it may move: served for real, asked, timed, compared. Touches MLflow.

The version is downloaded, its recorded environment built, MLflow's own server started in it on
loopback, and asked rows of the holdout one at a time. It must start and answer within the terms and
say what it said offline. Everything is kept as an MLflow run: the questions, the server's log, the
times. A version that was rehearsed once is asked the same questions again before a rollback.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy.contract import Tag
from understudy.errors import UnderstudyError
from understudy.registry.rehearsal_cases import (
    QUESTIONS,
    RehearsalCases,
    RehearsalCaseWriter,
    questions_for,
)
from understudy.registry.rehearsal_report import ModelResponse, RehearsalReport
from understudy.runner.environment.store import Environment, EnvironmentStore
from understudy.runner.process.process import OnLine, ProcessRunner
from understudy.runner.projectfile import ProjectFile
from understudy.runner.scratch import Scratch, scratch_folder
from understudy.runner.settings import Settings
from understudy.serving.answers import Question
from understudy.serving.place import MANAGERS, downloaded, environment_of
from understudy.serving.server import ModelServer, asking
from understudy.spec.pipeline import Rehearsal
from understudy.store.tracking import RunSpec, RunStore, tracking_errors

if TYPE_CHECKING:
    import httpx
    from mlflow.tracking import MlflowClient

RECORD: Final = "rehearsal/rehearsal.json"
LOG: Final = "rehearsal/server.log"
"""Artifacts of a rehearsal's run, beside the questions."""
# Seconds for one answer, whatever the terms say: a slow model is measured, and a stuck one ended.
_SLOWEST: Final = 60.0


@dataclass(frozen=True, slots=True)
class RehearsalCandidate:
    """A version to rehearse.

    Attributes:
        model: The registered model.
        version: Its version.
        manager: What builds the pipeline's environments.
        cases: Where rows and offline predictions are.
        project: The project that trained it; None where that is not at hand.
    """

    model: str
    version: str
    manager: str = "uv"
    cases: RehearsalCases = field(default_factory=RehearsalCases)
    project: ProjectFile | None = None


class Rehearser:
    """Rehearses versions, one after the other; a stopped one rehearses no more.

    Args:
        client: Of the tracking server.
        runs: Of the same.
        terms: What a version must show.
        settings: Where environments and temporary files are; None for what the environment says.
    """

    def __init__(
        self,
        client: MlflowClient,
        runs: RunStore,
        terms: Rehearsal,
        settings: Settings | None = None,
    ) -> None:
        self._client, self._runs, self._terms = client, runs, terms
        self._settings = settings or Settings.from_environment()
        self._process_runner = ProcessRunner()
        self._server: ModelServer | None = None

    def rehearse(
        self, candidate: RehearsalCandidate, spec: RunSpec, on_line: OnLine
    ) -> RehearsalReport:
        """Rehearse a version; return how it did.

        Args:
            candidate: The version.
            spec: The MLflow run to keep it in.
            on_line: Takes each line of the server's log, and lines of our own.

        Raises:
            ServingError: when it does not start, or answers wrongly or too slowly.
            RegistryError: when its files or its record of an environment are missing.
            EnvironmentBuildError: when its environment could not be built.
            StepStoppedError: after ``stop``.
        """
        run_id = self._runs.ensure(spec)
        with self._ending(run_id), scratch_folder(self._settings.scratch) as scratch:
            folder = downloaded(self._client, candidate.model, candidate.version, scratch.inputs)
            with self._environments(candidate, folder, on_line) as environments:
                setup = _Setup(candidate, run_id, folder, *environments, scratch)
                report = self._ask_and_compare(setup, on_line)
        # A server that is being stopped still answers what it was asked: that is no pass.
        self._process_runner.check()
        # Last: the tag says that the version has passed. By it `understudy serve` and a rollback
        # find the questions, which they ask again.
        with tracking_errors():
            self._client.set_model_version_tag(
                candidate.model, candidate.version, Tag.REHEARSAL_RUN.value, run_id
            )
        return report

    def stop(self) -> None:
        """End what runs; safe in a signal handler."""
        self._process_runner.stop()
        if self._server is not None:
            self._server.stop()

    @contextmanager
    def _environments(
        self, candidate: RehearsalCandidate, folder: Path, on_line: OnLine
    ) -> Iterator[tuple[Environment, Environment | None]]:
        """Yield the environment that the model records, and the project's, if that is at hand."""
        manager = MANAGERS.get(candidate.manager, candidate.manager)
        store = EnvironmentStore(self._settings, self._process_runner)
        with store.lease(environment_of(folder, manager), manager, on_line) as environment:
            # A project that runs in an image has no environment on this machine to read rows with.
            if candidate.project is None or candidate.project.docker is not None:
                yield environment, None
                return
            with store.lease(candidate.project, manager, on_line) as project:
                yield environment, project

    def _ask_and_compare(self, setup: _Setup, on_line: OnLine) -> RehearsalReport:
        document = self._asked(setup, on_line)
        questions = [Question(**one) for one in document["questions"]]
        with self._served(setup, on_line) as server:
            startup = server.await_ready(self._terms.startup.total_seconds())
            with asking(server.address, _SLOWEST) as client:
                # Asked and not counted: the first answer pays for what is loaded late.
                for question in questions[:1]:
                    _answer(server, client, question)
                answers = [_answer(server, client, question) for question in questions]
        report = RehearsalReport(
            model=setup.candidate.model,
            version=setup.candidate.version,
            manager=setup.candidate.manager,
            environment=setup.environment.digest or setup.environment.manager,
            source=document["source"],
            startup_s=startup,
            answers=tuple(answers),
            # Documents of rehearsals before that field was added have none.
            unasked=document.get("unasked", ""),
        )
        # Stored before it is checked: a rehearsal that fails is the one that people look into.
        self._keep(setup.run_id, report)
        report.check(self._terms)
        return report

    def _asked(self, setup: _Setup, on_line: OnLine) -> dict[str, Any]:
        """Return the document with the questions, stored with the run."""
        writer = RehearsalCaseWriter(
            model=setup.folder,
            environment=setup.environment,
            project=setup.project,
            folder=setup.scratch.temporary,
            process_runner=self._process_runner,
            on_line=on_line,
        )
        cases = setup.candidate.cases
        document = questions_for(self._client, cases, writer, self._terms.rows)
        with tracking_errors():
            self._client.log_text(setup.run_id, json.dumps(document), QUESTIONS)
        return document

    @contextmanager
    def _served(self, setup: _Setup, on_line: OnLine) -> Iterator[ModelServer]:
        """Serve the version; keep the server's log whatever happens."""
        lines: list[str] = []

        def note(line: str) -> None:
            lines.append(line)
            on_line(line)

        server = ModelServer(setup.folder, setup.environment, setup.scratch.temporary, note)
        # Known to `stop` first, and only then checked: a stop in between reaches one or the other.
        self._server = server
        self._process_runner.check()
        try:
            server.start()
            yield server
        finally:
            server.stop()
            with tracking_errors():
                self._client.log_text(setup.run_id, "\n".join(lines) + "\n", LOG)

    def _keep(self, run_id: str, report: RehearsalReport) -> None:
        record = report.record(self._terms)
        with tracking_errors():
            self._client.log_text(run_id, json.dumps(record, indent=2), RECORD)
            for name in ("startup_s", "p50_ms", "p95_ms"):
                if record[name] is not None:
                    self._client.log_metric(run_id, name, record[name])

    @contextmanager
    def _ending(self, run_id: str) -> Iterator[None]:
        """End the run whatever happens inside; an error while doing so does not hide the first."""
        try:
            yield
        except BaseException as error:
            try:
                self._runs.end(run_id, "FAILED", str(error) or type(error).__name__)
            except UnderstudyError as second:
                error.add_note(f"The run {run_id} could not be ended: {second}")
            raise
        self._runs.end(run_id, "FINISHED")


@dataclass(frozen=True, slots=True)
class _Setup:
    """The version, its files and environments, and the run of one rehearsal."""

    candidate: RehearsalCandidate
    run_id: str
    folder: Path
    environment: Environment
    project: Environment | None
    scratch: Scratch


def _answer(server: ModelServer, client: httpx.Client, question: Question) -> ModelResponse:
    """Ask one question; return the answer and how long it took.

    Raises:
        ServingError: when there is none.
    """
    began = time.perf_counter()
    answer = server.ask(client, question)
    return ModelResponse(question, 1000 * (time.perf_counter() - began), answer)
