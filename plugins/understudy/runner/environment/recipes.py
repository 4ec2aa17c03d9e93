"""How each environment manager builds an environment: uv, virtualenv (venv and pip), conda.

A recipe names its content by a digest and builds it in an empty place; when, under which lock and
whether it is complete is the business of ``store``.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import ssl
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Protocol

from understudy.contract import ENV_MANAGERS, is_env_manager
from understudy.errors import EnvironmentBuildError, ProjectError, listed, nearest
from understudy.redact import known, without_secrets
from understudy.runner.environment import dependencies
from understudy.runner.environment.conda_file import TOOLS
from understudy.runner.environment.dependencies import Dependencies
from understudy.runner.environment.interpreter import (
    Interpreter,
    find_python,
    find_uv,
    satisfies,
)
from understudy.runner.environment.requirements import copy
from understudy.runner.process.process import Command, OnLine, ProcessRunner
from understudy.runner.process.variables import build_environment
from understudy.runner.projectfile import ProjectFile

# uv's words (0.13) for what no retry cures.
_HOPELESS = ("No solution found", "Failed to build")
# What uv and pip say of a certificate that nobody here vouches for.
_UNTRUSTED = ("UnknownIssuer", "CERTIFICATE_VERIFY_FAILED")
_TRUST = (
    "add the certificate of this network's proxy to the system's trust store, or name its file in "
    "SSL_CERT_FILE and PIP_CERT where this runs"
)
_CORRECT = "correct what the project asks for, or try again if an index did not answer"
_KEPT_LINES = 30
_SHOWN_LINES = 8
_QUIET = {
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_NO_PROGRESS": "1",
    # uv's links lead to its cache, and so to every other environment: what a step writes into its
    # own would be what the next project, and the gate, runs.
    "UV_LINK_MODE": "copy",
    "NO_COLOR": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "CONDA_ALWAYS_YES": "true",
    "MAMBA_ALWAYS_YES": "true",
}


def _trusting() -> dict[str, str]:
    """Return variables by which uv and pip take the system's trust store for theirs.

    Their own lists lack the certificate of a company's proxy.
    """
    paths = ssl.get_default_verify_paths()
    store = paths.cafile or (paths.capath if any(Path(paths.capath or "").glob("*.0")) else "")
    # uv had the second name before 0.11. pip needs none since 24.2, which older Pythons lack.
    uv = {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}
    return {**uv, "PIP_CERT": store} if store else uv


# Commands get the variables of a build and none of Airflow's, start outside every project, and hold
# the locks of what they build: a tool whose worker was killed cannot run beside the next builder.
@dataclass(frozen=True, slots=True)
class BuildTools:
    """Runs commands for one build.

    Attributes:
        process_runner: Ends the running command when the step is stopped.
        timeout: Seconds that one command may take.
        on_line: Called with each line for the log.
        locks: Descriptors of locks that the commands keep.
        variables: Further environment variables for the commands; values may be secrets.
        secrets: What messages must not show.
    """

    process_runner: ProcessRunner
    timeout: float
    on_line: OnLine
    locks: tuple[int, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def run(self, *argv: str | Path, hint: str, action: str = _CORRECT) -> str:
        """Run a command; return the last lines that it wrote.

        Args:
            argv: The command.
            hint: What is allowed, for the message of an error.
            action: What to do next, for the same.

        Raises:
            EnvironmentBuildError: if it fails or takes too long.
            StepStoppedError: if the step was stopped.
        """
        return self._run(tuple(map(str, argv)), deque(maxlen=_KEPT_LINES), (hint, action))

    def ask(self, *argv: str | Path) -> str:
        """Run a command that only reads; return all its output. Raises as ``run`` does."""
        advice = "an environment that can be asked", _CORRECT
        return self._run(tuple(map(str, argv)), deque(), advice)

    def _run(self, argv: tuple[str, ...], output: deque[str], advice: tuple[str, str]) -> str:
        command = Command(
            argv=argv,
            # Paths are absolute, so that no folder's pyproject.toml or uv.toml applies.
            folder=Path(os.sep),
            environment={
                **_trusting(),
                **build_environment(os.environ),
                **_QUIET,
                **self.variables,
            },
            timeout=self.timeout,
            grace=1.0,
            held_descriptors=self.locks,
        )
        hopeless: list[str] = []

        def note(line: str) -> None:
            output.append(line)
            # Long before the last lines, where a compiler's messages follow it.
            if any(words in line for words in _HOPELESS):
                hopeless.append(line)

        try:
            ending = self.process_runner.run(command, note)
        except OSError as error:
            raise EnvironmentBuildError(
                f"{argv[0]} cannot be started: {error.strerror}",
                allowed="a program that this worker's user may run",
                action="repair or remove it",
            ) from error
        # A tool that was ended by stop() has not failed: that is another error.
        self.process_runner.check()
        if not ending.ok:
            last = list(output)[-_SHOWN_LINES:]
            last_lines = "\n".join((*(line for line in hopeless[:1] if line not in last), *last))
            why = "it took too long" if ending.timed_out else self._shown(last_lines)
            is_untrusted = any(words in last_lines for words in _UNTRUSTED)
            raise (UninstallableError if hopeless else EnvironmentBuildError)(
                f"The project's environment could not be built ({Path(argv[0]).name}: {ending}): "
                f"{why}",
                allowed=advice[0],
                action=_TRUST if is_untrusted else advice[1],
            )
        return "\n".join(output)

    def _shown(self, text: str) -> str:
        with known((*self.secrets, *self.variables.values())):
            return without_secrets(text)


class UninstallableError(EnvironmentBuildError):
    """What is asked for is not there, does not fit together or cannot be built, at any time."""

    retryable = False


_NAMES = ("micromamba", "mamba", "conda")
_MICROMAMBA = "micromamba"
# Packages such as compilers and GDAL set variables in scripts that conda runs on activation.
_ACTIVATE = (
    'for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do '
    'if [ -r "$script" ]; then . "$script"; fi; done; exec "$@"'
)


class MissingCondaError(EnvironmentBuildError):
    """There is no conda of any kind on this machine; a retry cannot help."""

    retryable = False


@dataclass(frozen=True, slots=True)
class CondaTool:
    """A conda, mamba or micromamba; their command lines differ a little."""

    executable: Path

    @property
    def _is_micromamba(self) -> bool:
        return self.executable.name == _MICROMAMBA

    def create(self, folder: Path, file: Path) -> tuple[str, ...]:
        """Return the command that builds an environment in ``folder`` from a conda.yaml."""
        words = ("create", "--yes") if self._is_micromamba else ("env", "create", "--quiet")
        return (str(self.executable), *words, "--prefix", str(folder), "--file", str(file))

    def explicit(self, folder: Path) -> tuple[str, ...]:
        """Return the command that lists every package by its address and MD5.

        ``conda create --file`` makes the same environment of such a list, without solving.
        """
        words = (
            ("env", "export", "--explicit", "--md5")
            if self._is_micromamba
            else ("list", "--explicit", "--md5")
        )
        return (str(self.executable), *words, "--prefix", str(folder))


def here(environment: Mapping[str, str] | None = None) -> Path | None:
    """Return the conda of this machine: ``CONDA_EXE``, ``MAMBA_EXE``, then PATH; None for none."""
    return next(_candidates(os.environ if environment is None else environment), None)


def find() -> CondaTool:
    """Return the conda of this machine.

    Raises:
        MissingCondaError: if there is none.
    """
    found = here()
    if found is None:
        raise MissingCondaError(
            "The environment manager 'conda' was asked for, and this machine has none of "
            f"{', '.join(_NAMES)} on PATH, nor a CONDA_EXE",
            allowed="'uv' and 'virtualenv', which are here, for a conda.yaml of Python packages",
            action="install micromamba on the worker, or choose another manager",
        )
    return CondaTool(found)


def entered(command: Command, folder: Path) -> Command:
    """Return a command that runs in an activated environment."""
    # Without conda itself, which takes a second for the little that `conda activate` does.
    variables = {name: v for name, v in command.environment.items() if name != "VIRTUAL_ENV"}
    active = {"CONDA_PREFIX": str(folder), "CONDA_DEFAULT_ENV": str(folder), "CONDA_SHLVL": "1"}
    return replace(
        command,
        argv=("bash", "-c", _ACTIVATE, "bash", *command.argv),
        environment={**variables, **active},
    )


def subdirectory() -> str:
    """Return conda's name of this platform, as far as environments differ by it."""
    return f"{sys.platform}-{platform.machine()}"


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    for name in ("CONDA_EXE", "MAMBA_EXE"):
        if (given := environment.get(name)) and os.access(given, os.X_OK):
            yield Path(given)
    for name in _NAMES:
        if found := shutil.which(name, path=environment.get("PATH")):
            yield Path(found)


BUILDER = "3"
"""Part of every digest: raise it when environments must be built differently."""
EXPLICIT = "conda-explicit.txt"
_INSTALLABLE = "dependencies that can be had for this Python, with the hashes that the project says"
_TRANSLATED = (
    "what the Python index has for this Python, in place of conda's packages; the environment "
    "manager 'conda', on a worker that has it, installs the file as it is"
)
NOT_AS_ASKED = "not-as-asked.txt"
"""Name in the record of what says that other things were installed than the project asks for."""
LOCAL = ".local"
"""Folder in an environment where the repository's own packages are installed from."""


class Recipe(Protocol):
    """How one environment is built.

    Attributes:
        manager: Name of the environment manager.
        title: What it is built on, for the log.
        wanted: The project's dependencies.
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
class _PythonRecipe:
    """A virtual environment: an interpreter of this machine, and packages from an index."""

    wanted: Dependencies
    python: Interpreter
    manager: str = ""

    @property
    def title(self) -> str:
        """What it is built on."""
        return f"Python {self.python.version}"

    def digest(self) -> str:
        """Return the identity of the content."""
        return _digest(self.manager, self.python.identity, self.wanted.digest())


@dataclass(frozen=True, slots=True)
class UvRecipe(_PythonRecipe):
    """``uv venv`` and ``uv pip install``: the default; fast, and without pip in the environment."""

    manager: str = "uv"

    def digest(self) -> str:
        """Return the identity of the content, of conda's tools, and of what is said of Python."""
        tools = TOOLS if self.wanted.translation else ()
        return _digest(*filter(None, (_PythonRecipe.digest(self), *tools, self._python_note)))

    def build(self, folder: Path, tools: BuildTools) -> Mapping[str, str]:
        """Build with uv: all stages at once where that can be."""
        if self._python_note:
            tools.on_line(self._python_note)
        *others, last = _attempts(self.wanted, _lines(self.wanted, folder))
        for attempt in others:
            try:
                return self._made(attempt, folder, tools)
            except UninstallableError as error:
                for line in error.found.splitlines():
                    tools.on_line(line)
        return self._made(last, folder, tools)

    @property
    def _python_note(self) -> str:
        translation = self.wanted.translation
        if translation is None or satisfies(self.python.version, self.wanted.python):
            return ""
        return (
            f"{translation.file} asks for Python {self.wanted.python}, which is not on this "
            f"machine: Python {self.python.version} is in its place"
        )

    def _made(self, attempt: _Attempt, folder: Path, tools: BuildTools) -> Mapping[str, str]:
        uv, base = find_uv(), self.python.executable
        # Emptied: what an attempt before this one has installed is nobody's.
        venv = (uv, "venv", "--quiet", "--no-project", "--clear", "--python", base, folder)
        tools.run(*venv, hint="a Python")
        install = (uv, "pip", "install", "--python", folder / "bin" / "python", "-r")
        if self.wanted.translation:
            _bring_tools(install, tools)
        if attempt.note:
            tools.on_line(attempt.note)
        _install(install, attempt.stages, self.wanted, folder, tools)
        notes = (self._python_note, attempt.note if attempt.kept else "")
        said = ". ".join(filter(None, notes))
        return {NOT_AS_ASKED: said} if said else {}


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A way to install what a project asks for.

    Attributes:
        stages: Lines of requirements, stage by stage.
        note: What is said of it in the log; '' for what is asked for, as it is.
        kept: Whether the note stays with the environment: it is not what was asked for.
    """

    stages: Sequence[tuple[str, ...]]
    note: str = ""
    kept: bool = True


def _attempts(wanted: Dependencies, stages: Sequence[tuple[str, ...]]) -> Iterator[_Attempt]:
    """Yield ways to install with uv, the best first.

    The last ones are for a conda.yaml: MLflow 3.17 never installs what is conda's of it, and so
    runs projects whose versions nobody has any more.
    """
    yield _Attempt([tuple(chain.from_iterable(stages))])
    if len(stages) > 1:
        yield _Attempt(
            stages, "Not all fits together: installing in stages, as conda does", kept=False
        )
    translation = wanted.translation
    if translation is None or not translation.lines:
        return
    pip = stages[1:]
    if translation.names != translation.lines:
        yield _Attempt(
            [(*translation.names, *chain.from_iterable(pip))],
            f"The versions that {translation.file} asks conda for cannot be installed from the "
            "Python index: its packages are installed in other versions, as with MLflow",
        )
    if pip:
        yield _Attempt(
            pip,
            f"What {translation.file} asks conda for cannot be installed from the Python index: "
            "only its pip part is installed, as with MLflow",
        )


@dataclass(frozen=True, slots=True)
class VirtualenvRecipe(_PythonRecipe):
    """``python -m venv`` and its own pip, as MLflow's manager of this name makes them."""

    manager: str = "virtualenv"

    def build(self, folder: Path, tools: BuildTools) -> Mapping[str, str]:
        """Build with pip: first what others are built with, then the others."""
        hint = "a Python with the modules venv and ensurepip (Debian: the package python3-venv)"
        tools.run(self.python.executable, "-m", "venv", folder, hint=hint)
        install = (folder / "bin" / "python", "-m", "pip", "install", "-r")
        _install(install, _lines(self.wanted, folder), self.wanted, folder, tools)
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
        # The whole file: channels and conda's packages are not among the pip lines of `wanted`.
        own = hashlib.sha256(self.file.read_bytes()).hexdigest()
        return _digest(self.manager, subdirectory(), own, self.wanted.digest())

    def build(self, folder: Path, tools: BuildTools) -> Mapping[str, str]:
        """Build with conda; the record names every package by its address and digest."""
        hint = "packages that the file's channels have for this platform"
        tools.run(*self.tool.create(folder, self.file), hint=hint)
        return {EXPLICIT: tools.ask(*self.tool.explicit(folder))}


def recipe_of(project: ProjectFile, manager: str) -> Recipe:
    """Return a manager's recipe for a project's environment.

    Raises:
        ProjectError: if the manager cannot build it, or the project's files cannot be used.
        EnvironmentBuildError: if the Python or the tool is not on this machine.
    """
    if manager == "conda":
        return _conda_recipe(project)
    wanted = dependencies.read(project)
    variables = build_environment(os.environ)
    if manager == "virtualenv":
        return VirtualenvRecipe(wanted, find_python(wanted.python, variables))
    # A conda.yaml that MLflow wrote names its author's patch release, which few machines have.
    series = re.fullmatch(r"(\d+\.\d+)\.\d+", wanted.python) if wanted.translation else None
    return UvRecipe(
        wanted, find_python(wanted.python, variables, instead=series[1] if series else "")
    )


def check_manager(manager: str) -> None:
    """Refuse a manager that there is not.

    Raises:
        ProjectError: naming those that there are.
    """
    if not is_env_manager(manager):
        raise ProjectError(
            f"There is no environment manager {manager!r}{nearest(manager, ENV_MANAGERS)}",
            allowed=f"{listed(ENV_MANAGERS)}, or 'local:' before a Python",
            action="choose 'uv' for a python_env.yaml, or a conda.yaml of Python packages",
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
    return CondaRecipe(dependencies.read(project, with_conda=True), file, find())


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps((BUILDER, *parts)).encode()).hexdigest()[:32]


def _lines(wanted: Dependencies, folder: Path) -> tuple[tuple[str, ...], ...]:
    places = wanted.copies(folder / LOCAL)
    return wanted.lines({path: str(place) for path, place in places.items()})


def _install(
    command: Sequence[str | Path],
    stages: Sequence[tuple[str, ...]],
    wanted: Dependencies,
    folder: Path,
    tools: BuildTools,
) -> None:
    """Install stages of lines, one after the other; the command's last word is for their file."""
    hint = _TRANSLATED if wanted.translation and wanted.translation.lines else _INSTALLABLE
    # Copies: tools write into the folder that they build, and a checkout must stay as it is.
    for path, place in wanted.copies(folder / LOCAL).items():
        copy(path, place, wanted.repository)
    for lines in filter(None, stages):
        with _requirements(lines) as file:
            tools.run(*command, file, hint=hint)
    shutil.rmtree(folder / LOCAL, ignore_errors=True)


def _bring_tools(command: Sequence[str | Path], tools: BuildTools) -> None:
    """Install what comes with each Python of conda's: old packages import setuptools unasked."""
    try:
        with _requirements(TOOLS) as file:
            tools.run(*command, file, hint="an index that has them")
    except UninstallableError as error:
        # Few miss them, and an index of one's own need not have them.
        tools.on_line(f"Without {', '.join(TOOLS)}, which conda's Python brings: {error.found}")


@contextmanager
def _requirements(lines: tuple[str, ...]) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        yield Path(file.name)
