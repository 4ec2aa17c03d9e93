"""A step's request, its source and its result. Records only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.runner.projectfile import EntryPoint, Parameter, ProjectFile, Value

if TYPE_CHECKING:
    from mlflow.entities import Run

    from understudy.runner.environment.store import Environment
    from understudy.runner.reuse.lineage import Lineage
    from understudy.runner.scratch import Scratch


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
    """The run with the result: this attempt's, or an earlier one that is reused.

    Attributes:
        run_id: The MLflow run that has the result; an earlier one where that is reused.
        commit: Full id of the requested commit.
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
        tree: What identifies the files at the subdirectory and what their links lead to: the same
            tree is the same code. '' for a folder.
        version: As requested, or "local".
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

    @property
    def code(self) -> dict[str, Any]:
        """Which code it is: all but the version that was asked for, and what is in it."""
        names = ("repository", "subdirectory", "commit", "tree")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Source:
    """A project that is on this machine and stays while it is held.

    Attributes:
        pinned: Which one.
        project: Its MLproject.
        code: The folder of the whole checkout, or the folder that is run as it is.
        linked: What links of a folder that is run as it is lead to outside it.
        warnings: Lines for the log of each step.
    """

    pinned: Pinned
    project: ProjectFile
    code: Path
    linked: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """All that a step's child process is made from."""

    request: StepRequest
    source: Source
    entry_point: EntryPoint
    environment: Environment
    scratch: Scratch
    lineage: Lineage
    run: Run
