"""How each environment manager builds an environment: uv, virtualenv (venv and pip), conda.

A recipe names its content by a digest and builds it in an empty place; when, under which lock and
whether it is complete is the business of ``understudy.runner.environment.environment``.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from understudy.contract import ENV_MANAGERS
from understudy.errors import ProjectError, listed, nearest
from understudy.runner.environment import conda, dependencies
from understudy.runner.environment.buildtools import BuildTools
from understudy.runner.environment.conda import CondaTool
from understudy.runner.environment.dependencies import Dependencies
from understudy.runner.environment.interpreter import Interpreter, find_python, find_uv
from understudy.runner.process.variables import build_environment
from understudy.runner.projectfile import ProjectFile

BUILDER = "2"
"""Part of every digest: raise it when environments must be built differently."""
EXPLICIT = "conda-explicit.txt"
_INSTALLABLE = "dependencies that can be had for this Python, with the hashes that the project says"


class Recipe(Protocol):
    """How one environment is built.

    Attributes:
        manager: Name of the environment manager.
        title: What it is built on, for the log.
        wanted: What the project asks for.
    """

    @property
    def manager(self) -> str: ...  # noqa: D102 - see the class
    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def wanted(self) -> Dependencies: ...  # noqa: D102

    def digest(self) -> str:
        """Return the identity of the content, 32 hex digits."""
        ...

    def build(self, folder: Path, tools: BuildTools) -> Mapping[str, str]:
        """Build in a folder that does not exist; return further files for the record, by name."""
        ...


@dataclass(frozen=True, slots=True)
class UvRecipe:
    """``uv venv`` and ``uv pip install``: the default, quick and without a pip inside."""

    wanted: Dependencies
    python: Interpreter
    manager: str = "uv"

    @property
    def title(self) -> str:
        """What it is built on."""
        return f"Python {self.python.version}"

    def digest(self) -> str:
        """Return the identity of the content."""
        return _digest(self.manager, self.python.identity, self.wanted.digest())

    def build(self, folder: Path, tools: BuildTools) -> Mapping[str, str]:
        """Build with uv, all lines at once."""
        uv, base = find_uv(), self.python.executable
        tools.run(uv, "venv", "--quiet", "--no-project", "--python", base, folder, hint="a Python")
        if self.wanted.lines:
            into = ("--python", folder / "bin" / "python")
            with _requirements(self.wanted.lines) as file:
                tools.run(uv, "pip", "install", *into, "-r", file, hint=_INSTALLABLE)
        return {}


@dataclass(frozen=True, slots=True)
class VirtualenvRecipe:
    """``python -m venv`` and its own pip, as MLflow's manager of this name makes them."""

    wanted: Dependencies
    python: Interpreter
    manager: str = "virtualenv"

    @property
    def title(self) -> str:
        """What it is built on."""
        return f"Python {self.python.version}"

    def digest(self) -> str:
        """Return the identity of the content."""
        return _digest(self.manager, self.python.identity, self.wanted.digest())

    def build(self, folder: Path, tools: BuildTools) -> Mapping[str, str]:
        """Build with pip: first what others are built with, then the others."""
        hint = "a Python with the modules venv and ensurepip (Debian: the package python3-venv)"
        tools.run(self.python.executable, "-m", "venv", folder, hint=hint)
        pip = (folder / "bin" / "python", "-m", "pip", "install")
        for lines in self.wanted.stages:
            with _requirements(lines) as file:
                tools.run(*pip, "-r", file, hint=_INSTALLABLE)
        return {}


@dataclass(frozen=True, slots=True)
class CondaRecipe:
    """``conda env create`` from the project's conda.yaml, whichever conda it is."""

    wanted: Dependencies
    file: Path
    tool: CondaTool
    manager: str = "conda"

    @property
    def title(self) -> str:
        """What it is built with."""
        return str(self.tool.executable)

    def digest(self) -> str:
        """Return the identity of the content."""
        own = hashlib.sha256(self.file.read_bytes()).hexdigest()
        return _digest(self.manager, conda.subdirectory(), own, self.wanted.digest())

    def build(self, folder: Path, tools: BuildTools) -> Mapping[str, str]:
        """Build with conda; the record names every package by its address and digest."""
        hint = "packages that the file's channels have for this platform"
        tools.run(*self.tool.create(folder, self.file), hint=hint)
        return {EXPLICIT: tools.ask(*self.tool.explicit(folder))}


def recipe_of(project: ProjectFile, manager: str) -> Recipe:
    """Return how a manager builds what a project asks for.

    Raises:
        ProjectError: if the manager cannot build it, or the project's files cannot be used.
        EnvironmentBuildError: if the Python or the tool is not on this machine.
    """
    if manager == "conda":
        return _conda_recipe(project)
    wanted = wanted_by(project)
    python = find_python(wanted.python, build_environment(os.environ))
    return VirtualenvRecipe(wanted, python) if manager == "virtualenv" else UvRecipe(wanted, python)


def check_manager(manager: str) -> None:
    """Refuse a manager that there is not.

    Raises:
        ProjectError: naming those that there are.
    """
    if manager not in ENV_MANAGERS:
        raise ProjectError(
            f"There is no environment manager {manager!r}{nearest(manager, ENV_MANAGERS)}",
            allowed=listed(ENV_MANAGERS),
            action="choose 'uv' for a python_env.yaml, or a conda.yaml whose pip part is enough",
        )


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


def _conda_recipe(project: ProjectFile) -> CondaRecipe:
    file = project.environment_file
    if project.environment_type != "conda_env" or file is None:
        has = file.name if file else "no file of its environment"
        raise ProjectError(
            f"The environment manager 'conda' was asked for, and the project has {has}",
            allowed="a project with a conda.yaml",
            action="choose the environment manager 'uv' or 'virtualenv'",
        )
    return CondaRecipe(dependencies.read(file, conda=True, with_conda=True), file, conda.find())


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps((BUILDER, *parts)).encode()).hexdigest()[:32]


@contextmanager
def _requirements(lines: tuple[str, ...]) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        yield Path(file.name)
