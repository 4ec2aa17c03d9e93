"""One Python environment per content, built once by uv. Writes below ``<cache>/environments``.

An environment is built where it stays, because a virtual environment holds its own place in its
scripts, and counts only once its completion mark is there: the mark is written last, in one
rename. Builders hold a lock whose descriptor uv inherits, so a killed builder's uv cannot meet the
next one; whoever then has the lock and finds no mark removes what is there and builds anew. Users
hold the lock shared, so that nothing is removed under a running step.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import EnvironmentBuildError, ProjectError
from understudy.redact import redacted
from understudy.steps import dependencies
from understudy.steps.childenv import build_environment
from understudy.steps.dependencies import Dependencies
from understudy.steps.interpreter import Interpreter, find_python, find_uv
from understudy.steps.locks import FileLock
from understudy.steps.process import Command, Ending, OnLine, Supervisor
from understudy.steps.projectfile import ProjectFile
from understudy.steps.settings import Settings

BUILDER = "1"
"""Part of every key: raise it when environments must be built differently."""
ENV_MANAGERS = ("uv", "local")
_MARK = ".complete"
_KEPT_LINES = 30
_SHOWN_LINES = 8


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment to run in.

    Attributes:
        digest: Identity of its content, 32 hex digits; '' for the local one.
        bin: Folder to put first on PATH, None for PATH as it is.
        installed: What it holds, as requirement lines.
        locks: Descriptors of the locks that keep it.
    """

    digest: str
    bin: Path | None
    installed: str
    locks: tuple[int, ...] = ()


class EnvironmentStore:
    """The environments of one machine."""

    def __init__(self, settings: Settings, supervisor: Supervisor) -> None:
        self._root = settings.cache / "environments"
        self._settings, self._supervisor = settings, supervisor

    @contextlib.contextmanager
    def hold(self, project: ProjectFile, manager: str, on_line: OnLine) -> Iterator[Environment]:
        """Yield the environment of a project, built if need be, that stays as long as it is held.

        Raises:
            ProjectError: if the manager is unknown or the project's files cannot be used.
            EnvironmentBuildError: if it could not be built.
        """
        _check_manager(manager)
        if manager == "local":
            yield Environment("", None, self._installed_locally())
            return
        wanted = wanted_by(project)
        python = find_python(wanted.python, build_environment(os.environ))
        digest = _digest(wanted, python)
        folder = self._root / digest
        lock = FileLock(self._root / f"{digest}.lock")
        while True:
            with lock.shared(self._supervisor.check) as descriptor:
                if mark := _mark(folder):
                    os.utime(self._root / f"{digest}.lock")  # when it was last used
                    yield Environment(digest, folder / "bin", mark, (descriptor,))
                    return
            with lock.exclusive(self._supervisor.check) as descriptor:
                if not _mark(folder):
                    self._build(folder, wanted, python, _Build((descriptor,), on_line))

    @contextlib.contextmanager
    def hold_built(self, project: ProjectFile, manager: str) -> Iterator[Environment | None]:
        """Yield a project's environment where it is complete already, else None."""
        if manager == "local":
            yield None
            return
        wanted = wanted_by(project)
        digest = _digest(wanted, find_python(wanted.python, build_environment(os.environ)))
        folder = self._root / digest
        with FileLock(self._root / f"{digest}.lock").shared_if_free() as descriptor:
            mark = "" if descriptor is None else _mark(folder)
            locks = () if descriptor is None else (descriptor,)
            yield Environment(digest, folder / "bin", mark, locks) if mark else None

    def _build(
        self, folder: Path, wanted: Dependencies, python: Interpreter, build: _Build
    ) -> None:
        """Build an environment in its place. Needs its lock."""
        if folder.exists():
            build.on_line(f"Removing an environment that was not completed: {folder.name}")
            shutil.rmtree(folder)
        build.on_line(f"Building the environment {folder.name} on Python {python.version}")
        base = str(python.executable)
        self._uv(build, "venv", "--quiet", "--no-project", "--python", base, str(folder))
        if wanted.lines:
            self._install(folder, wanted, build)
        freeze = self._freeze(build, str(folder / "bin" / "python"))
        _write_mark(folder, {"python": python.version, "installed": freeze})
        build.on_line(f"Built the environment {folder.name}")

    def _install(self, folder: Path, wanted: Dependencies, build: _Build) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as requirements:
            requirements.write("\n".join(wanted.lines) + "\n")
            requirements.flush()
            python = str(folder / "bin" / "python")
            self._uv(build, "pip", "install", "--python", python, "-r", requirements.name)

    def _freeze(self, build: _Build, python: str) -> str:
        return self._uv(build, "pip", "freeze", "--quiet", "--python", python)

    def _uv(self, build: _Build, *arguments: str) -> str:
        """Run uv, stoppable, and return what it printed."""
        said: deque[str] = deque(maxlen=None if arguments[1] == "freeze" else _KEPT_LINES)
        command = Command(
            argv=(str(find_uv()), *arguments),
            folder=Path(os.sep),  # requirements are absolute; no other project's settings apply
            environment={
                **build_environment(os.environ),
                "UV_PYTHON_DOWNLOADS": "never",
                "UV_NO_PROGRESS": "1",
                "NO_COLOR": "1",
            },
            timeout=self._settings.build_timeout,
            grace=1.0,
            held_descriptors=build.locks,
        )
        ending = self._supervisor.run(command, said.append)
        self._supervisor.check()
        if not ending.ok:
            raise _build_failed(ending, list(said))
        return "\n".join(said)

    def _installed_locally(self) -> str:
        python = shutil.which("python")
        if not python:
            return ""
        with contextlib.suppress(EnvironmentBuildError):
            return self._freeze(_Build(), python)
        return ""


@dataclass(frozen=True, slots=True)
class _Build:
    """What a build needs beside its content: the descriptors of locks, and where to tell of it."""

    locks: tuple[int, ...] = ()
    on_line: OnLine = print


def wanted_by(project: ProjectFile) -> Dependencies:
    """Return what a project's environment must hold.

    Raises:
        ProjectError: if its files cannot be used.
    """
    if project.environment_file is None:
        return dependencies.NOTHING
    return dependencies.read(
        project.environment_file, conda=project.environment_type == "conda_env"
    )


def _digest(wanted: Dependencies, python: Interpreter) -> str:
    parts = (BUILDER, python.identity, wanted.digest())
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _mark(folder: Path) -> str:
    """Return what a complete environment holds, '' for one that is not complete or is broken."""
    try:
        content = json.loads((folder / _MARK).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return ""
    if not os.access(folder / "bin" / "python", os.X_OK):
        return ""  # the Python that it was built on is gone
    return f"# Python {content['python']}\n{content['installed']}\n"


def _write_mark(folder: Path, content: dict[str, str]) -> None:
    building = folder / f"{_MARK}.new"
    with building.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    building.replace(folder / _MARK)


def _check_manager(manager: str) -> None:
    if manager not in ENV_MANAGERS:
        raise ProjectError(
            f"The environment manager {manager!r} is not supported",
            allowed="'uv' (an environment per content) or 'local' (the Python that is on PATH)",
            action="choose 'uv': it reads python_env.yaml, and conda.yaml's pip part",
        )


def _build_failed(ending: Ending, said: list[str]) -> EnvironmentBuildError:
    why = "it took too long" if ending.timed_out else redacted("\n".join(said[-_SHOWN_LINES:]))
    return EnvironmentBuildError(
        f"The project's environment could not be built ({ending}): {why}",
        allowed="dependencies that `uv pip install` can resolve on this Python",
        action="correct the project's dependencies, or try again if an index did not answer",
    )
