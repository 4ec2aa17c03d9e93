"""Runs one entry point of one commit as one MLflow run. Fetches, builds, starts, watches, ends.

Used by the MLflow Projects backend and by the Airflow operator alike. Touches the cache, a scratch
folder, the tracking server, and the processes that it starts.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from understudy.contract import ENVIRONMENT_ARTIFACT, Tag
from understudy.errors import ProjectError, StepFailedError, StepStoppedError, UnderstudyError
from understudy.redact import SHORTEST_SECRET, known, plain
from understudy.runner import projectfile
from understudy.runner.environment.store import Environment, EnvironmentStore
from understudy.runner.git.checkout import CheckoutStore
from understudy.runner.process.child import Children, absolute_store
from understudy.runner.process.exit_status import leftovers, refuse_failure, what_it_left
from understudy.runner.process.habits import (
    LastLines,
    Witness,
    is_empty,
    nested_run_in,
    nothing_logged,
    other_manager,
)
from understudy.runner.process.process import OnLine, ProcessRunner
from understudy.runner.process.warm import Forkservers
from understudy.runner.projectfile import Value
from understudy.runner.reuse import reuse
from understudy.runner.reuse.cache import prune_daily
from understudy.runner.reuse.inputs import InputReader
from understudy.runner.reuse.lineage import Lineage, key_and_doubt
from understudy.runner.reuse.outputs import OutputStore
from understudy.runner.run_spec import run_spec
from understudy.runner.scratch import scratch_folder
from understudy.runner.settings import Settings
from understudy.runner.sources import Sources
from understudy.runner.step import Attempt, Pinned, Source, StepRequest, StepResult
from understudy.spec import git_address
from understudy.store.artifacts import log_texts
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from understudy.spec.entry_points import Part
    from understudy.spec.pipeline import Pipeline

_REQUIREMENTS = "requirements.txt"
_LOGIN = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_TRIVIAL = re.compile(r"[\d.,+-]*$|true$|false$|yes$|no$|on$|off$|none$", re.IGNORECASE)


def _ignore(_run_id: str) -> None:
    """Do nothing once the MLflow run exists."""


class StepRunner:
    """Runs steps, one after the other; a stopped runner runs no more."""

    def __init__(self, runs: RunStore, client: MlflowClient, settings: Settings) -> None:
        self._runs, self._client, self._settings = runs, client, settings
        self._forkservers = Forkservers(settings.forkservers) if settings.forkservers else None
        self._process_runner = ProcessRunner(self._forkservers)
        checkouts = CheckoutStore(settings, self._process_runner)
        self._sources = Sources(checkouts, settings.git_access)
        self._environments = EnvironmentStore(settings, self._process_runner)
        self._children = Children(client.tracking_uri, settings)
        self._outputs = OutputStore(client)
        self._inputs = InputReader(client, self._outputs)

    def pin(self, project: str, version: str) -> Pinned:
        """Resolve a version to one commit, fetch it, and read its MLproject.

        Raises:
            ProjectError: if repository, version, subdirectory or MLproject is wrong.
            RepositoryUnavailableError: if the host had to be asked and did not answer.
        """
        with self._sources.lease(project, version) as source:
            return source.pinned

    def pin_for(
        self,
        pipeline: Pipeline,
        project: str,
        version: str,
        given: Mapping[str, Value],
        handed: Mapping[str, Sequence[Part]],
    ) -> Pinned:
        """Resolve a pipeline's version, and check all that it will ask of the project.

        Args:
            pipeline: What the pipeline file declares.
            project: Its project's address, rendered.
            version: Branch, tag or commit; '' for the default branch.
            given: The night's parameters.
            handed: Those among them that hold what earlier steps leave.

        Raises:
            ProjectError: for what pin refuses, and for a folder, which has no commit.
            ParameterError: for parameters that the steps do not take.
            RepositoryUnavailableError: as pin does.
        """
        address = git_address.parse(project)
        if address.is_folder:
            raise ProjectError(
                f"The project is the folder {address.repository}, which has no commit to pin",
                allowed="a Git repository",
                action=f"write file://{address.repository}, if the folder is one",
            )
        pinned = self.pin(project, version)
        projectfile.check_pipeline(pinned.entry_points, pipeline, given, handed)
        return pinned

    def source(self, project: str, version: str) -> contextlib.AbstractContextManager[Source]:
        """Return a project that stays on this machine while it is held; raises what pin does."""
        return self._sources.lease(project, version)

    def check(
        self, pinned: Pinned, entry_point: str, parameters: Mapping[str, Value]
    ) -> tuple[str, ...]:
        """Check an entry point's parameters; return warnings.

        Raises:
            ProjectError: if the MLproject has no such entry point.
            ParameterError: naming all that is wrong with the parameters.
        """
        declared = projectfile.named(pinned.entry_points, entry_point)
        return projectfile.check(entry_point, declared, parameters)

    def run(
        self, request: StepRequest, on_line: OnLine, on_run: Callable[[str], None] = _ignore
    ) -> StepResult:
        """Run a step to its end. Bad input is found before there is an MLflow run.

        Args:
            request: What to run.
            on_line: Called with each line of the child's output as it comes, and with messages.
            on_run: Called with the id of this attempt's MLflow run as soon as there is one.

        Raises:
            UnderstudyError: any of the tree in understudy.errors, after the run was ended.
        """

        def line(text: str) -> None:
            on_line(plain(text))

        # Programs print their settings, also in tracebacks, and Airflow masks only what it knows
        # as a secret. What MLflow is asked with is in each step's environment, too.
        secrets = (*request.environment.values(), *(os.environ.get(name, "") for name in _LOGIN))
        with known(secrets) as short, contextlib.ExitStack() as shared:
            if told := _not_hidden(request.environment, short):
                line(told)
            source = shared.enter_context(self._sources.lease(request.project, request.version))
            warnings = self.check(source.pinned, request.entry_point, request.parameters)
            for warning in (*source.warnings, *warnings):
                line(warning)
            project, given = source.project, request.environment
            with (
                self._environments.lease(project, request.env_manager, line, given) as environment,
                scratch_folder(self._settings.scratch) as scratch,
            ):
                lineage = self._lineage(request, source, environment)
                tags = {
                    Tag.ENVIRONMENT.value: environment.digest or environment.manager,
                    "mlflow.project.backend": "understudy",
                    "mlflow.project.env": environment.manager,
                    **lineage.tags(),
                }
                spec = run_spec(request, source.pinned, tags)
                found = self._earlier(request, lineage, line)
                if found is not None:
                    on_run(reuse.stand_in(self._runs, spec, found))
                    return _result(found, source.pinned, reused=True)
                check = self._process_runner.check
                source = self._sources.private_copy(source, scratch.code, check)
                # Long before the step's end: a checkout that was damaged is made anew by who has it
                # alone.
                shared.close()
                # After the last long wait: a stopped step shall not leave a run behind.
                self._process_runner.check()
                run = self._runs.ensured(spec)
                entry_point = source.project.entry_points[request.entry_point]
                self._finish(
                    Attempt(request, source, entry_point, environment, scratch, lineage, run),
                    line,
                    on_run,
                )
        prune_daily(self._settings, line)
        return _result(run, source.pinned)

    def warm_up(self, request: StepRequest, uris: Iterable[str]) -> None:
        """Let a forkserver import in the background what steps like this one will soon need.

        Does nothing where commit or environment are not here yet, or where nothing is known.

        Args:
            request: Which project and environment; the rest does not count.
            uris: Addresses that the steps read and write.
        """
        if self._forkservers is None:
            return
        with (
            self._sources.lease(request.project, request.version) as source,
            self._environments.lease_built(source.project, request.env_manager) as environment,
        ):
            pinned, given = source.pinned, request.environment
            if environment is None:
                return
            server = self._children.server(pinned, environment, given, uris)
            if server is not None:
                self._forkservers.prepare(server)

    def stop(self) -> None:
        """End the running step with all its processes; safe in a signal handler."""
        self._process_runner.stop()

    # What the step is made of, and whether that was done before

    def _lineage(self, request: StepRequest, source: Source, environment: Environment) -> Lineage:
        name = request.entry_point
        entry_point = source.project.entry_points[name]
        values = projectfile.values(entry_point, request.parameters, request.paths_start_at)
        inputs = self._inputs.read(entry_point, values, source.project.folder)
        tree, given = source.pinned.tree, request.environment
        key, doubt = key_and_doubt(tree, name, environment, inputs, given)
        return Lineage(name, values, inputs, key, doubt)

    def _earlier(self, request: StepRequest, lineage: Lineage, line: OnLine) -> Run | None:
        """Return the finished run that may stand for this step, None where it has to run."""
        if not request.reuse:
            return None
        if not lineage.key:
            line(f"Not reused: {lineage.unknown}")
            return None
        identity = request.experiment_id, lineage.key
        found = reuse.earlier(self._runs, self._outputs, identity, line)
        if found is not None:
            line(reuse.told(self._runs, found))
        return found

    # The MLflow run

    def _finish(self, attempt: Attempt, line: OnLine, on_run: Callable[[str], None]) -> None:
        """Do all that happens between the run's start and its end."""
        run, lineage = attempt.run, attempt.lineage
        with self._ended_if_it_fails(attempt):
            on_run(run.info.run_id)
            lineage.log(self._client, run)
            environment = attempt.environment
            record = {_REQUIREMENTS: environment.installed, **environment.record}
            texts = {f"{ENVIRONMENT_ARTIFACT}/{name}": content for name, content in record.items()}
            log_texts(self._client, run, texts)
            ended = self._follow(attempt, line)
            outputs = self._outputs.record(ended, attempt.scratch.folder)
            tags = outputs.tags()
            if is_empty(ended, outputs.files) and not self._runs.has_nested(run):
                orphans = self._runs.orphans(run)
                description = nothing_logged(attempt.request.entry_point, orphans)
                line(description)
                tags[Tag.DESCRIPTION.value] = description
            # Only now: had we logged 0.010 before, MLflow 3.17 would refuse the program's own 0.01
            # ("Changing param values is not allowed", mlflow/mlflow#6811).
            self._runs.log_parameters(ended, lineage.values, tags)
            if ended.info.status != "FINISHED":
                self._runs.end(run.info.run_id, "FINISHED")
            self._runs.end_nested(ended, "FINISHED", str(attempt.source.code))

    @contextlib.contextmanager
    def _ended_if_it_fails(self, attempt: Attempt) -> Iterator[None]:
        """End the run whatever is raised; an error while doing so does not hide the first.

        MLflow's own backend leaves a run RUNNING for ever where its process was killed (3.17).
        """
        run_id = str(attempt.run.info.run_id)
        try:
            yield
        except BaseException as error:
            failed = isinstance(error, Exception) and not isinstance(error, StepStoppedError)
            try:
                status = "FAILED" if failed else "KILLED"
                now = self._runs.get(run_id)
                # What the program itself gave as its error is nearer to the cause.
                known = now.data.tags.get(Tag.ERROR.value, "")
                reason = "" if known else str(error) or type(error).__name__
                if reason or now.info.status != status:
                    self._runs.end(run_id, status, reason)
                self._runs.end_nested(attempt.run, status, str(attempt.source.code))
            except UnderstudyError as second:
                error.add_note(f"The run {run_id} could not be ended: {second}")
            raise

    # The child process

    def _follow(self, attempt: Attempt, on_line: OnLine) -> Run:
        """Run the child to its end; return its MLflow run, or raise the error that ended it."""
        last_lines = LastLines()
        witness = Witness(attempt.run.info.run_id, absolute_store(self._client.tracking_uri))

        def note(line: str) -> None:
            last_lines.hear(line)
            witness.hear(line)
            on_line(line)
            if nested := nested_run_in(line):
                self._adopt(attempt, nested, on_line)

        command, around = self._children.command(attempt), self._children.surroundings(attempt)
        with attempt.environment.enter(command, around) as inside:
            ending = self._process_runner.run(
                inside, note, lambda: self._stopping(attempt, on_line)
            )
        for warning in leftovers(ending):
            on_line(warning)
        run = self._runs.get(attempt.run.info.run_id)
        # A child that catches TERM and exits with 0 has been stopped all the same.
        if not ending.timed_out and (ending.stopped or run.info.status == "KILLED"):
            self._process_runner.check()
        try:
            refuse_failure(attempt, ending, run, str(last_lines), witness.advice())
        except StepFailedError:
            for message in what_it_left(attempt):
                on_line(message)
            raise
        return run

    def _adopt(self, attempt: Attempt, run_id: str, on_line: OnLine) -> None:
        """Hang a run that mlflow.run() starts in the step below the step's; it ends with it."""
        # At once, and not at the step's end: what a dead worker leaves is found by its parent.
        try:
            nested = self._runs.adopt(attempt.run, run_id)
        except UnderstudyError as error:
            on_line(f"The nested run {run_id} cannot be shown below the step's: {error}")
            return
        if nested and (line := other_manager(nested, attempt.environment.manager)):
            on_line(line)

    def _stopping(self, attempt: Attempt, on_line: OnLine) -> None:
        """Set the run to KILLED at once, while the step's process is still being ended."""
        # Airflow 3.3 kills this process 5 s after the request to stop: later may be too late.
        try:
            self._runs.end(attempt.run.info.run_id, "KILLED", "stopped from outside")
        except UnderstudyError as error:
            on_line(f"The run cannot say yet that it was stopped: {error}")


def _not_hidden(given: Mapping[str, str], short: Collection[str]) -> str:
    """Return which variables cannot be hidden in logs; '' for none. Truth and numbers are none."""
    names = [name for name, value in given.items() if value in short and not _TRIVIAL.match(value)]
    shown = ", ".join(names)
    return shown and f"Not masked in logs, as shorter than {SHORTEST_SECRET} characters: {shown}"


def _result(run: Run, pinned: Pinned, *, reused: bool = False) -> StepResult:
    return StepResult(str(run.info.run_id), pinned.commit, pinned.tree, reused)


__all__ = ["Pinned", "Settings", "StepRequest", "StepResult", "StepRunner", "absolute_store"]
