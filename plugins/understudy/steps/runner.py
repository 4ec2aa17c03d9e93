"""Runs one entry point of one commit as one MLflow run. Fetches, builds, starts, watches, ends.

Used by the MLflow Projects backend and by the Airflow operator alike. Touches the cache, a scratch
folder, the tracking server, and the processes that it starts.
"""

from __future__ import annotations

import contextlib
import getpass
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from understudy import giturl
from understudy.contract import ENVIRONMENT_ARTIFACT, Kind, Tag
from understudy.errors import (
    ProjectError,
    StepFailedError,
    StepStoppedError,
    UnderstudyError,
)
from understudy.steps import projectfile, reuse
from understudy.steps.checkout import CheckoutStore
from understudy.steps.child import Children, absolute_store
from understudy.steps.environment import Environment, EnvironmentStore
from understudy.steps.housekeeping import prune_daily
from understudy.steps.inputs import InputReader
from understudy.steps.lineage import Lineage, key_and_doubt
from understudy.steps.outputs import OutputStore
from understudy.steps.process import Ending, OnLine, Supervisor
from understudy.steps.projectfile import EntryPoint, Parameter, ProjectFile, Value
from understudy.steps.scratch import Scratch, scratch_folder
from understudy.steps.settings import Settings
from understudy.steps.warm import Forkservers
from understudy.tracking import RunSpec, RunStore, tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

LOCAL_VERSION = "local"
"""The version of a plain folder; 'local (dirty)' where it differs from its commit."""
_REQUIREMENTS = "requirements.txt"
_LAST_LINES = 5
_SHORTEST_SECRET = 6  # characters; shorter values would blot out half the log
_MASK = "***"


@dataclass(frozen=True, slots=True)
class StepRequest:
    """What to run.

    Attributes:
        project: ``https://host/repo.git#sub/dir``; also http, git, ssh, file:///folder, or an
            absolute folder, which is run as it is.
        version: Branch, tag, full or short commit id; '' for the default branch.
        entry_point: Name of an entry point of the MLproject.
        parameters: For the entry point. ``path`` parameters may be ``runs:/<id>/<artifact>``.
        experiment_id: Of the MLflow run.
        key: Identity of this attempt: the same key never makes a second MLflow run.
        name: Of the MLflow run.
        tags: Further tags of the MLflow run.
        parent_run_id: Of the MLflow run that this one is shown under.
        env_manager: One of ``understudy.contract.ENV_MANAGERS``; a project with a ``docker_env``
            runs in its image in any case.
        environment: Further variables for the child; values may be secrets and are never shown.
        timeout: Seconds that the child may take; None for any.
        paths_start_at: Folder at which relative values of ``path`` parameters start; None for the
            project's own, as for its defaults.
        docker_options: Further options of ``docker run``, for a project with a ``docker_env``.
        reuse: Whether a finished step of the same identity may stand for this one. Right for entry
            points whose result depends on nothing but code, environment, parameters and inputs.
    """

    project: str
    version: str
    entry_point: str
    parameters: Mapping[str, Value]
    experiment_id: str
    key: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    parent_run_id: str | None = None
    env_manager: str = "uv"
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float | None = None
    paths_start_at: Path | None = None
    docker_options: tuple[str, ...] = ()
    reuse: bool = False


@dataclass(frozen=True, slots=True)
class StepResult:
    """What ran, or what stands for it.

    Attributes:
        run_id: The MLflow run that has the result; an earlier one where that is reused.
        commit: Full commit id that was asked for.
        tree: Id of the project's tree.
        reused: Whether nothing ran.
    """

    run_id: str
    commit: str
    tree: str
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Pinned:
    """A project at one commit.

    Attributes:
        commit: Full commit id; '' for a plain folder outside Git.
        tree: Id of the tree at the subdirectory: the same tree is the same code. '' for a folder.
        version: What was asked for, or "local".
        repository: URL without credentials, or a folder.
        subdirectory: Folder of the MLproject in it.
        entry_points: Of the MLproject: their parameters by name, by their own name.
    """

    commit: str
    tree: str
    version: str
    repository: str
    subdirectory: str
    entry_points: Mapping[str, Mapping[str, Parameter]]


@dataclass(frozen=True, slots=True)
class Source:
    """A project that is on this machine and stays while it is held; what each step tells of it."""

    pinned: Pinned
    project: ProjectFile
    locks: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """All that a child process is made of."""

    request: StepRequest
    source: Source
    entry_point: EntryPoint
    environment: Environment
    scratch: Scratch
    run: Run


def _ignore(_run_id: str) -> None:
    """Do nothing when the MLflow run exists."""


class StepRunner:
    """Runs steps, one after the other; a stopped runner runs no more."""

    def __init__(self, runs: RunStore, client: MlflowClient, settings: Settings) -> None:
        self._runs, self._client, self._settings = runs, client, settings
        self._forkservers = Forkservers(settings.forkservers) if settings.forkservers else None
        self._supervisor = Supervisor(self._forkservers)
        self._checkouts = CheckoutStore(settings, self._supervisor)
        self._environments = EnvironmentStore(settings, self._supervisor)
        self._children = Children(client.tracking_uri, settings)
        self._outputs = OutputStore(client)
        self._inputs = InputReader(client, self._outputs)

    def pin(self, project: str, version: str) -> Pinned:
        """Resolve a version to one commit, fetch it, and read its MLproject.

        Raises:
            ProjectError: if repository, version, subdirectory or MLproject is wrong.
            RepositoryUnavailableError: if the host had to be asked and did not answer.
        """
        with self._source(project, version) as source:
            return source.pinned

    def source(self, project: str, version: str) -> contextlib.AbstractContextManager[Source]:
        """Return a project that stays on this machine while it is held; raises what pin does."""
        return self._source(project, version)

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
            on_line: Takes each line of the child's output as it comes, and lines of our own.
            on_run: Takes the id of this attempt's MLflow run as soon as there is one.

        Raises:
            UnderstudyError: any of the tree in understudy.errors, after the run was ended.
        """
        line = _masked(on_line, request.environment.values())
        with self._source(request.project, request.version) as source:
            warnings = self.check(source.pinned, request.entry_point, request.parameters)
            for warning in (*source.warnings, *warnings):
                line(warning)
            entry_point = source.project.entry_points[request.entry_point]
            with (
                self._environments.hold(source.project, request.env_manager, line) as environment,
                scratch_folder(self._settings.scratch) as scratch,
            ):
                lineage = self._lineage(request, source, entry_point, environment)
                spec = _spec(request, source.pinned, environment, lineage)
                found = self._earlier(request, lineage, line)
                if found is not None:
                    on_run(reuse.stand_in(self._runs, spec, found))
                    return _result(found, source.pinned, reused=True)
                run = self._open(spec)
                attempt = Attempt(request, source, entry_point, environment, scratch, run)
                with self._ending(run.info.run_id):
                    on_run(run.info.run_id)
                    lineage.log(self._client, run.info.run_id)
                    self._record(run.info.run_id, environment)
                    ended = self._follow(attempt, line)
                    # Only now: MLflow would refuse the step another spelling of a parameter.
                    self._runs.log_parameters(ended, lineage.values)
                    self._outputs.record(ended, scratch.folder)
        prune_daily(self._settings, line)
        return _result(run, source.pinned)

    def warm_up(self, request: StepRequest, uris: Iterable[str]) -> None:
        """Have imported in the background what steps like this one will soon need.

        Does nothing where commit or environment are not here yet, or where nothing is known.

        Args:
            request: Which project and environment; the rest does not count.
            uris: Addresses that the steps read and write.
        """
        if self._forkservers is None:
            return
        with (
            self._source(request.project, request.version) as source,
            self._environments.hold_built(source.project, request.env_manager) as environment,
        ):
            pinned, given = source.pinned, request.environment
            if environment is None:
                return
            server = self._children.server(pinned, environment, given, uris)
            if server is not None:
                self._forkservers.prepare(server)

    def stop(self) -> None:
        """End the running step with all its processes; safe in a signal handler."""
        self._supervisor.stop()

    # Where the code comes from

    @contextlib.contextmanager
    def _source(self, project: str, version: str) -> Iterator[Source]:
        address = giturl.parse(project)
        if address.is_folder:
            yield self._folder(address, version)
            return
        if self._settings.git_access is not None:
            address = address.opened_by(self._settings.git_access)
        with self._checkouts.using(address):
            yield from self._at_commit(address, version)

    def _at_commit(self, address: giturl.ProjectAddress, version: str) -> Iterator[Source]:
        commit = self._checkouts.resolve(address, version)
        tree = self._checkouts.tree(address, commit)
        with self._checkouts.hold(address, commit) as checkout:
            where = f"{address} at {commit[:12]}"
            loaded = projectfile.load(checkout.folder / address.subdirectory, where)
            yield Source(
                _pinned(address, loaded, (commit, tree, version)),
                loaded,
                locks=(checkout.lock,),
                warnings=(str(checkout.pointers),) if checkout.pointers.count else (),
            )

    def _folder(self, address: giturl.ProjectAddress, version: str) -> Source:
        folder = Path(address.repository, address.subdirectory)
        if version:
            raise ProjectError(
                f"The version {version!r} is asked of the folder {folder}, which is run as it is",
                allowed="no version for a folder",
                action=f"write file://{address.repository} to run a commit of a repository",
            )
        if not folder.is_dir():
            raise ProjectError(
                f"There is no folder {folder}",
                allowed="a folder with an MLproject in it",
                action="correct the project's address",
            )
        state = self._checkouts.state(folder)
        kind = f"{LOCAL_VERSION} (dirty)" if state.dirty else LOCAL_VERSION
        loaded = projectfile.load(folder, str(folder))
        return Source(_pinned(address, loaded, (state.commit, "", kind)), loaded)

    # What the step is made of, and whether that was done before

    def _lineage(
        self,
        request: StepRequest,
        source: Source,
        entry_point: EntryPoint,
        environment: Environment,
    ) -> Lineage:
        folder = source.project.folder
        values = projectfile.values(
            entry_point,
            request.parameters,
            defaults_at=folder,
            given_at=request.paths_start_at or folder,
        )
        inputs = self._inputs.read(entry_point, values, folder)
        tree, name = source.pinned.tree, entry_point.name
        key, doubt = key_and_doubt(tree, name, environment, inputs, request.environment)
        return Lineage(name, values, inputs, key, doubt)

    def _earlier(self, request: StepRequest, lineage: Lineage, line: OnLine) -> Run | None:
        """Return the finished run that may stand for this step, None where it has to run."""
        if not request.reuse:
            return None
        if not lineage.key:
            line(f"Not reused: {lineage.unknown}")
            return None
        wanted = request.experiment_id, lineage.key
        found = reuse.earlier(self._runs, self._outputs, wanted, line)
        if found is not None:
            line(reuse.told(self._runs, found))
        return found

    # The MLflow run

    def _open(self, spec: RunSpec) -> Run:
        self._supervisor.check()
        return self._runs.ensured(spec)

    @contextlib.contextmanager
    def _ending(self, run_id: str) -> Iterator[None]:
        """End the run whatever happens inside; an error while doing so does not hide the first."""
        try:
            yield
        except BaseException as error:
            failed = isinstance(error, Exception) and not isinstance(error, StepStoppedError)
            try:
                self._end(run_id, "FAILED" if failed else "KILLED", error)
            except UnderstudyError as second:
                error.add_note(f"The run {run_id} could not be ended: {second}")
            raise
        self._end(run_id, "FINISHED")

    def _end(self, run_id: str, status: str, error: BaseException | None = None) -> None:
        run = self._runs.get(run_id)
        said = run.data.tags.get(Tag.ERROR.value, "")
        reason = "" if said or error is None else str(error) or type(error).__name__
        if reason or run.info.status != status:
            self._runs.end(run_id, status, reason)

    def _record(self, run_id: str, environment: Environment) -> None:
        """Keep with the run what its environment holds and was made of."""
        record = {_REQUIREMENTS: environment.installed, **environment.record}
        with tracking_errors():
            for name, content in record.items():
                self._client.log_text(run_id, content, f"{ENVIRONMENT_ARTIFACT}/{name}")

    # The child process

    def _follow(self, attempt: Attempt, on_line: OnLine) -> Run:
        """Run the child to its end; return its MLflow run, or raise what became of it."""
        last_lines: deque[str] = deque(maxlen=_LAST_LINES)

        def note(line: str) -> None:
            last_lines.append(line)
            on_line(line)

        masked = _masked(note, attempt.request.environment.values())
        command, around = self._children.command(attempt), self._children.surroundings(attempt)
        with attempt.environment.enter(command, around) as inside:
            ending = self._supervisor.run(inside, masked, lambda: self._stopping(attempt, on_line))
        for warning in _leftovers(ending):
            on_line(warning)
        return self._judge(attempt, ending, last_lines)

    def _stopping(self, attempt: Attempt, on_line: OnLine) -> None:
        """Say KILLED at once: Airflow may end this very process before the step's has ended."""
        try:
            self._runs.end(attempt.run.info.run_id, "KILLED", "stopped from outside")
        except UnderstudyError as error:
            on_line(f"The run cannot say yet that it was stopped: {error}")

    def _judge(self, attempt: Attempt, ending: Ending, last_lines: deque[str]) -> Run:
        run = self._runs.get(attempt.run.info.run_id)
        if ending.timed_out:
            raise _timed_out(attempt)
        if ending.stopped or run.info.status == "KILLED":
            self._supervisor.check()
        secrets = _secrets(attempt.request.environment.values())
        said = _hidden(run.data.tags.get(Tag.ERROR.value) or " | ".join(last_lines), secrets)
        if not ending.ok:
            raise _failed(attempt, ending, str(ending), said)
        if run.info.status in {"FAILED", "KILLED"}:
            raise _failed(attempt, ending, f"exit code 0, but with its run {run.info.status}", said)
        return run


def _pinned(
    address: giturl.ProjectAddress, project: ProjectFile, identity: tuple[str, str, str]
) -> Pinned:
    commit, tree, version = identity
    return Pinned(
        commit=commit,
        tree=tree,
        version=version,
        repository=address.repository,
        subdirectory=address.subdirectory,
        entry_points={name: e.parameters for name, e in project.entry_points.items()},
    )


def _result(run: Run, pinned: Pinned, *, reused: bool = False) -> StepResult:
    return StepResult(str(run.info.run_id), pinned.commit, pinned.tree, reused)


def _spec(
    request: StepRequest, pinned: Pinned, environment: Environment, lineage: Lineage
) -> RunSpec:
    ours = {**_tags(request, pinned, environment), **lineage.tags()}
    return RunSpec(
        experiment_id=request.experiment_id,
        key=request.key,
        name=request.name,
        tags={**ours, **request.tags},
        parent_run_id=request.parent_run_id,
    )


def _tags(request: StepRequest, pinned: Pinned, environment: Environment) -> dict[str, str]:
    return {
        **source_tags(request, pinned),
        Tag.ENVIRONMENT.value: environment.digest or environment.manager,
        "mlflow.project.backend": "understudy",
        "mlflow.project.env": environment.manager,
    }


def source_tags(request: StepRequest, pinned: Pinned) -> dict[str, str]:
    """Return the tags that say what a step's run is made from, wherever it runs."""
    where = pinned.repository
    if pinned.subdirectory:
        where += f"#{pinned.subdirectory}"
    return {
        Tag.KIND.value: Kind.STEP.value,
        Tag.REPOSITORY.value: pinned.repository,
        Tag.SUBDIRECTORY.value: pinned.subdirectory,
        Tag.VERSION.value: pinned.version,
        Tag.COMMIT.value: pinned.commit,
        Tag.TREE.value: pinned.tree,
        Tag.ENTRY_POINT.value: request.entry_point,
        "mlflow.source.name": where,
        "mlflow.source.type": "PROJECT",
        "mlflow.source.git.commit": pinned.commit,
        "mlflow.source.git.repoURL": pinned.repository,
        "mlflow.project.entryPoint": request.entry_point,
        "mlflow.user": getpass.getuser(),
    }


def _masked(on_line: OnLine, values: Iterable[str]) -> OnLine:
    secrets = _secrets(values)
    return (lambda line: on_line(_hidden(line, secrets))) if secrets else on_line


def _secrets(values: Iterable[str]) -> list[str]:
    """Return what must not be shown, the longest first."""
    return sorted((v for v in values if len(v) >= _SHORTEST_SECRET), key=len, reverse=True)


def _hidden(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _MASK)
    return text


def _leftovers(ending: Ending) -> Iterator[str]:
    if ending.leftovers and not (ending.stopped or ending.timed_out):
        yield f"The command left {ending.leftovers} process(es) behind, which were ended"
    if ending.survivors:
        yield f"{ending.survivors} process(es) of the command could not be ended"


def _failed(attempt: Attempt, ending: Ending, how: str, said: str) -> StepFailedError:
    return StepFailedError(
        f"The step {attempt.request.entry_point!r} ended with {how}: {said or 'it said nothing'}",
        allowed="exit code 0",
        action="read the lines above; exit codes 64 and 65 mean that a retry cannot help",
        run_id=attempt.run.info.run_id,
        exit_code=-ending.signal if ending.signal else ending.exit_code,
    )


def _timed_out(attempt: Attempt) -> StepStoppedError:
    return StepStoppedError(
        f"The step {attempt.request.entry_point!r} took longer than its time-out and was ended",
        allowed=f"at most {attempt.request.timeout:g} s",
        action="give it more time, or less to do",
        run_id=attempt.run.info.run_id,
    )


__all__ = ["Pinned", "Settings", "StepRequest", "StepResult", "StepRunner", "absolute_store"]
