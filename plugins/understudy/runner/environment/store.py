"""One Python environment per content, built once. Writes below ``<cache>/environments``.

An environment is built where it stays, because a virtual environment holds its own place in its
scripts, and counts only once its completion mark is there: the mark is written last, in one
rename. Builders hold a lock whose descriptor their tools inherit, so a killed builder's uv cannot
meet the next one; whoever then has the lock and finds no mark removes what is there and builds
anew. Users hold the lock shared, so that nothing is removed under a running step.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from understudy.contract import key_of
from understudy.errors import EnvironmentBuildError, ProjectError
from understudy.redact import redacted
from understudy.runner.environment import container, dependencies, recipes
from understudy.runner.environment.container import Surroundings
from understudy.runner.environment.dependencies import NOTHING, Dependencies
from understudy.runner.environment.interpreter import (
    MissingPythonError,
    find_uv,
    inspect,
    satisfies,
)
from understudy.runner.environment.recipes import BuildTools, Recipe, check_manager, recipe_of
from understudy.runner.locks import FileLock
from understudy.runner.process.process import Command, OnLine, ProcessRunner
from understudy.runner.process.variables import build_environment
from understudy.runner.projectfile import DockerImage, ProjectFile
from understudy.runner.settings import Settings

_MARK = ".complete"
# Where packages are registered: programs, pip's *.dist-info folders, conda's records.
_LOOKED_AT = ("bin", "lib/python*/site-packages", "conda-meta")
_COMES_AND_GOES = "__pycache__"
_PACKAGES = "lib/python*/site-packages"


@dataclass(frozen=True, slots=True)
class EnvironmentContents:
    """What a complete environment holds.

    Attributes:
        manager: What built it.
        python: Version of its Python.
        platform: What its packages are for.
        installed: Output of ``pip freeze``.
        further: Further files for the record, by name.
        listings: Names in folders, by the folder's place in the environment.
        files: How many files its packages have; 0 for not counted.
        unlisted: SHA-256 of those for which no ``RECORD`` has a digest, by their place.
    """

    manager: str
    python: str
    platform: str
    installed: str
    further: Mapping[str, str] = field(default_factory=dict)
    listings: Mapping[str, list[str]] = field(default_factory=dict)
    files: int = 0
    unlisted: Mapping[str, str] = field(default_factory=dict)


# The mark is written last, in one rename, after its content is on the disk. It lists the names in
# the few folders where packages are registered, so that one look at each tells whether some were
# removed. Of the files themselves the times are looked at, and those read that have changed since.
def write(folder: Path, contents: EnvironmentContents) -> None:
    """Mark an environment as complete."""
    places = [place for pattern in _LOOKED_AT for place in folder.glob(pattern) if place.is_dir()]
    seen = {str(place.relative_to(folder)): _names(place) for place in places}
    digests, found = _recorded(folder), [one for one, _ in _packages_files(folder)]
    unlisted = {name: _sha256(folder / name) for name in found if name not in digests}
    facts = {"listings": seen, "files": len(found), "unlisted": unlisted}
    building = folder / f"{_MARK}.new"
    with building.open("w", encoding="utf-8") as file:
        json.dump({**asdict(contents), **facts}, file)
        file.flush()
        os.fsync(file.fileno())
    building.replace(folder / _MARK)


def read(folder: Path) -> EnvironmentContents | None:
    """Return what an environment held when it was completed, None for one that never was."""
    try:
        return EnvironmentContents(**json.loads((folder / _MARK).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None


def missing(folder: Path, contents: EnvironmentContents) -> str:
    """Return what an environment that once was complete lacks now, '' for nothing."""
    if not os.access(folder / "bin" / "python", os.X_OK):
        return "its Python, or the one that it was built on"
    for place, names in contents.listings.items():
        if gone := sorted(set(names) - set(_names(folder / place))):
            more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
            return f"{gone[0]} in {place}{more}"
    return _unlike(folder, contents)


def _unlike(folder: Path, contents: EnvironmentContents) -> str:
    """Return what of an environment's packages is not as it was installed, '' for nothing.

    All steps that ask for the same packages share it: what one has written, the next would run.
    """
    # The time of the inode's change, which no program sets; the mark was the last file of all.
    completed = (folder / _MARK).stat().st_ctime_ns
    found = list(_packages_files(folder))
    changed = [name for name, changed_at in found if changed_at > completed]
    digests = {**_recorded(folder), **contents.unlisted} if changed else {}
    for name in changed:
        if digests.get(name) != _sha256(folder / name):
            return f"{name} as it was installed"
    if contents.files and len(found) < contents.files:
        return f"{contents.files - len(found)} of its packages' {contents.files} files"
    return ""


def _packages_files(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the place of each file of an environment's packages, and when its inode changed."""
    waiting = [str(site) for site in folder.glob(_PACKAGES)]
    start = len(str(folder)) + 1
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    changed = entry.stat(follow_symlinks=False).st_ctime_ns
                    yield entry.path[start:], changed
                elif entry.name != _COMES_AND_GOES:
                    waiting.append(entry.path)


def _recorded(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of files by their place, as the packages' own records have them."""
    found = {}
    for record_file in folder.glob(f"{_PACKAGES}/*.dist-info/RECORD"):
        site = record_file.parents[1].relative_to(folder)
        with record_file.open(encoding="utf-8", newline="") as lines:
            for row in csv.reader(lines):
                if len(row) > 1 and row[1].startswith("sha256="):
                    found[os.path.normpath(site / row[0])] = row[1].removeprefix("sha256=")
    return found


def _sha256(path: Path) -> str:
    """Return a file's digest as records write it; of a link, that of where it leads."""
    content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def _names(place: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in place.iterdir() if entry.name != _COMES_AND_GOES)
    except FileNotFoundError:
        return []


_PINNED = re.compile(r"(?P<name>[\w.-]+)\s*(\[[^]]*\])?\s*==\s*(?P<version>[^\s;\\]+)")
_HASH = re.compile(r"--hash[=\s]+(\S+)")
_CONTINUED = re.compile(r"\\\n\s*")


# The record is a requirements file: one exact version, URL or commit per line, with the hashes that
# the project's lock files know. ``uv pip install --no-deps -r`` on the Python of its first lines
# makes the same environment again.
def record(about: Mapping[str, str], frozen: str, locks: Iterable[str] = ()) -> str:
    """Return the text of a requirements file.

    Args:
        about: Comments at its top, such as {"Python": "3.11.7"}; empty values are left out.
        frozen: What ``pip freeze`` printed.
        locks: Texts of requirements files in which the hashes of packages may be.
    """
    header = [f"# {name} {value}" for name, value in about.items() if value]
    lines = [redacted(line) for line in frozen.splitlines() if line.strip()]
    return "\n".join((*header, *_with_hashes(lines, _hashes(locks)), ""))


def _with_hashes(lines: list[str], known: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Add hashes where every line has some: pip refuses a file in which only some lines do."""
    hashes = [known.get(_identity(line), ()) for line in lines]
    if not all(hashes):
        return lines
    return [
        " ".join((line, *(f"--hash={digest}" for digest in digests)))
        for line, digests in zip(lines, hashes, strict=True)
    ]


def _hashes(locks: Iterable[str]) -> dict[str, tuple[str, ...]]:
    known: dict[str, tuple[str, ...]] = {}
    for text in locks:
        for line in _CONTINUED.sub(" ", text).splitlines():
            if (digests := tuple(_HASH.findall(line))) and (identity := _identity(line)):
                known[identity] = digests
    return known


def _identity(line: str) -> str:
    """Return ``name==version`` with the name as PEP 503 normalizes it, '' for other lines."""
    matched = _PINNED.match(line.strip())
    if not matched:
        return ""
    name = re.sub(r"[-_.]+", "-", matched["name"]).lower()
    return f"{name}=={matched['version']}"


FOLDER = "environments"
LOCK_SUFFIX = ".lock"
_NAMES_NONE = (
    "the project names no python_env.yaml or conda.yaml, so its Python has no packages: the "
    "environment manager 'local' takes the worker's, 'local:PYTHON' any other's"
)
_INPUTS, _TRANSLATED = "inputs", "conda-translated.txt"

Entry = Callable[[Command, Surroundings], AbstractContextManager[Command]]


@contextlib.contextmanager
def _as_it_is(command: Command, _around: Surroundings) -> Iterator[Command]:
    """Enter an environment that PATH is enough for."""
    yield command


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment to run in.

    Attributes:
        digest: Identity of its content, 32 hex digits; '' for the local one.
        bin: Folder to put first on PATH, whose ``python`` is its Python; None for PATH as it is.
        installed: What it holds, as the text of a requirements file.
        locks: Descriptors of the locks that keep it.
        manager: What made it.
        record: Further files that document its origin, text by name.
        lacking: What the project asks for and it does not have, in a sentence; '' for nothing.
        enter: Returns, for as long as it is held, a given command as one that runs inside.
    """

    digest: str
    bin: Path | None
    installed: str
    locks: tuple[int, ...] = ()
    manager: str = "local"
    record: Mapping[str, str] = field(default_factory=dict)
    lacking: str = ""
    enter: Entry = _as_it_is

    @property
    def is_on_path(self) -> bool:
        """Whether it is what PATH has, so that the worker's variables for its Python hold."""
        return self.manager in {"local", "docker"}

    def variables(self, path: str) -> dict[str, str]:
        """Return PATH, and what belongs to it, for a program that runs in it.

        Args:
            path: The PATH to put it before; '' for the system's.
        """
        path = path or os.defpath
        if self.bin is None:
            return {"PATH": path}
        place = self.bin.parent
        active = {"VIRTUAL_ENV": str(place)} if (place / "pyvenv.cfg").exists() else {}
        return {**active, "PATH": f"{self.bin}{os.pathsep}{path}"}


class EnvironmentStore:
    """The environments of one machine."""

    def __init__(self, settings: Settings, process_runner: ProcessRunner) -> None:
        self._root = settings.cache / FOLDER
        self._settings, self._process_runner = settings, process_runner

    @contextlib.contextmanager
    def lease(
        self,
        project: ProjectFile,
        manager: str,
        on_line: OnLine,
        variables: Mapping[str, str] | None = None,
        *,
        user: str = "",
    ) -> Iterator[Environment]:
        """Yield the environment of a project, built if need be, that stays as long as it is held.

        A project with a ``docker_env`` runs in its image whatever the manager, as with MLflow.

        Args:
            project: The project.
            manager: One of ``understudy.contract.ENV_MANAGERS``.
            on_line: Called with each line for the log.
            variables: Where the values of variables that requirements name come from.
            user: Who has an environment of its own, that is shared with no other user; '' for
                the steps of projects.

        Raises:
            ProjectError: if the manager is unknown or the project's files cannot be used.
            EnvironmentBuildError: if it could not be built.
        """
        check_manager(manager)
        if project.docker is not None:
            yield self._docker(project.docker, on_line)
        elif manager == "docker":
            file = project.environment_file
            raise ProjectError(
                "The environment manager 'docker' was asked for, and the project has "
                f"{file.name if file else 'no environment file'}",
                allowed="an MLproject with docker_env: {image: ...}",
                action="choose the environment manager 'uv', or name an image in the MLproject",
            )
        elif manager.partition(":")[0] == "local":
            yield self._local(project, manager, on_line)
        else:
            recipe = recipe_of(project, manager)
            for line in recipe.wanted.translation.told() if recipe.wanted.translation else ():
                on_line(line)
            with self._built(_own(recipe, user), recipe, on_line, variables or {}) as environment:
                yield environment

    @contextlib.contextmanager
    def _built(
        self, digest: str, recipe: Recipe, on_line: OnLine, variables: Mapping[str, str]
    ) -> Iterator[Environment]:
        folder, lock_file = self._root / digest, self._root / f"{digest}{LOCK_SUFFIX}"
        lock, built = FileLock(lock_file), False
        while True:
            with lock.shared(self._process_runner.check) as descriptor:
                contents = read(folder)
                if contents and not missing(folder, contents):
                    # The lock file's time is when it was last used: the cache is pruned by it.
                    os.utime(lock_file)
                    # Who builds has said it already, where it was found.
                    if not built and (note := contents.further.get(recipes.NOT_AS_ASKED)):
                        on_line(note)
                    yield _environment(folder, contents, recipe.wanted, descriptor)
                    return
            with lock.exclusive(self._process_runner.check) as descriptor:
                tools = self._tools(on_line, descriptor)
                built = self._build(folder, recipe, _knowing(tools, recipe.wanted, variables))

    @contextlib.contextmanager
    def lease_built(
        self, project: ProjectFile, manager: str, *, user: str = ""
    ) -> Iterator[Environment | None]:
        """Yield a project's environment where it is complete already, else None."""
        if project.docker is not None or manager.partition(":")[0] in {"local", "docker"}:
            yield None
            return
        recipe = recipe_of(project, manager)
        digest = _own(recipe, user)
        folder = self._root / digest
        with FileLock(self._root / f"{digest}{LOCK_SUFFIX}").shared_if_free() as descriptor:
            contents = read(folder)
            if descriptor is None or not contents or missing(folder, contents):
                yield None
            else:
                yield _environment(folder, contents, recipe.wanted, descriptor)

    def _build(self, folder: Path, recipe: Recipe, tools: BuildTools) -> bool:
        """Build an environment in its place, under its lock; return False if it is there by now."""
        contents = read(folder)
        lacking = missing(folder, contents) if contents else ""
        if contents and not lacking:
            return False
        if folder.exists():
            why = f"that lacks {lacking}" if lacking else "that was not completed"
            tools.on_line(f"Removing an environment {why}: {folder.name}")
            shutil.rmtree(folder)
        tools.on_line(f"Building the environment {folder.name} on {recipe.title}")
        further = recipe.build(folder, tools)
        executable = folder / "bin" / "python"
        python = inspect(executable)
        frozen = redacted(_frozen(executable, tools))
        for path, place in recipe.wanted.copies(folder / recipes.LOCAL).items():
            installed = rf"(?m)^\S+ @ {re.escape(place.as_uri())}\S*$"
            frozen = re.sub(installed, recipe.wanted.relative(path), frozen)
        write(
            folder,
            EnvironmentContents(recipe.manager, python.version, python.platform, frozen, further),
        )
        tools.on_line(f"Built the environment {folder.name}")
        return True

    def _docker(self, image: DockerImage, on_line: OnLine) -> Environment:
        tools = self._tools(on_line)
        ready = container.prepare(image, tools, others=managers_here())
        if dead := container.sweep(ready, tools):
            on_line(f"Removed {dead} container(s) of steps that died")
        return Environment(
            # An image's id is the SHA-256 of its configuration: the same id has the same content.
            digest=ready.image_id.rpartition(":")[2][:32],
            bin=None,
            installed=record(ready.about(), ""),
            manager="docker",
            enter=ready.entered,
        )

    def _local(self, project: ProjectFile, manager: str, on_line: OnLine) -> Environment:
        """Return a Python that is there; a step may need none, or bring its own."""
        wanted, text = NOTHING, ""
        place, found = self._local_python(manager.removeprefix("local").removeprefix(":"))
        # The local Python is used whatever the project asks for: a file that cannot be read is no
        # error here, nor is a Python whose packages cannot be listed.
        with contextlib.suppress(ProjectError):
            # Not installed here, and so not translated either.
            wanted = replace(dependencies.read(project), translation=None)
        with contextlib.suppress(EnvironmentBuildError):
            text = self._local_record(found, wanted, on_line) if found else ""
        return Environment("", place, text, manager=manager, record=_inputs(wanted))

    def _local_python(self, named: str) -> tuple[Path | None, Path | None]:
        """Return the folder in which a Python is called python, None for PATH, and that Python.

        Raises:
            EnvironmentBuildError: if the one that is named is not there.
        """
        found = shutil.which(named or "python")
        if found and not named:
            return None, Path(found)
        # Debian has python3 only, and most projects' commands begin with python.
        found = found if named else shutil.which("python3")
        if found is None:
            if named:
                raise MissingPythonError(
                    f"The local Python {named!r} is not on this machine, or cannot be run",
                    allowed="the path of a Python, or its name on PATH, after 'local:'",
                    action="correct env_manager, or install that Python on every worker",
                )
            return None, None
        python = Path(found).absolute()
        own = python.with_name("python")
        if own.exists() and own.samefile(python):
            return python.parent, own
        folder = self._settings.cache / "local" / key_of(str(python))[:16]
        folder.mkdir(parents=True, exist_ok=True)
        # A script, not a link: a virtual environment's Python knows itself by where it is.
        for name in ("python", "python3"):
            script = folder / f".{name}-{os.getpid()}"
            script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(python))} "$@"\n')
            script.chmod(0o755)
            script.replace(folder / name)
        return folder, folder / "python"

    def _local_record(self, executable: Path, wanted: Dependencies, on_line: OnLine) -> str:
        """Return what a Python holds; warn where it is not the one that the project requires."""
        python, required = inspect(executable), wanted.python
        if not satisfies(python.version, required):
            on_line(f"The project asks for Python {required}; the local one is {python.version}")
        about = {"Python": python.version, "Platform": python.platform, "Made by": "local"}
        return record(about, _frozen(executable, self._tools(on_line)))

    def _tools(self, on_line: OnLine, *locks: int) -> BuildTools:
        return BuildTools(self._process_runner, self._settings.build_timeout, on_line, locks)


def _own(recipe: Recipe, user: str) -> str:
    """Return the identity of an environment that one user has for itself."""
    return key_of(user, recipe.digest())[:32] if user else recipe.digest()


def managers_here() -> list[str]:
    """Return the environment managers that work on this machine."""
    found = {"conda": recipes.here(), "docker": container.find_engine()}
    return ["uv", "virtualenv", *(name for name, path in found.items() if path), "local"]


def _environment(
    folder: Path, contents: EnvironmentContents, wanted: Dependencies, lock: int
) -> Environment:
    about = {
        "Python": contents.python,
        "Platform": contents.platform,
        "Made by": contents.manager,
    }
    locks = [file.read_text(encoding="utf-8") for file in wanted.files]
    if wanted.project is None:
        absent = _NAMES_NONE
    else:
        absent = wanted.translation.lacking() if wanted.translation else ""
    lacking = contents.further.get(recipes.NOT_AS_ASKED, ""), absent
    return Environment(
        digest=folder.name,
        bin=folder / "bin",
        installed=record(about, contents.installed, locks),
        locks=(lock,),
        manager=contents.manager,
        record={**_inputs(wanted), **contents.further},
        lacking=". ".join(filter(None, lacking)),
        enter=partial(_in_conda, folder) if contents.manager == "conda" else _as_it_is,
    )


@contextlib.contextmanager
def _in_conda(folder: Path, command: Command, _around: Surroundings) -> Iterator[Command]:
    yield recipes.entered(command, folder)


def _frozen(python: Path, tools: BuildTools) -> str:
    return tools.ask(find_uv(), "pip", "freeze", "--quiet", "--python", python)


def _knowing(tools: BuildTools, wanted: Dependencies, variables: Mapping[str, str]) -> BuildTools:
    """Return tools that have the variables which requirements name, and show no password.

    Raises:
        ProjectError: if one of them is not given.
    """
    # No others, whatever a worker has: the project's author chooses the address that they go to.
    given = {name: variables[name] for name in wanted.variables if name in variables}
    builders = build_environment(os.environ)
    if unknown := [n for n in wanted.variables if n not in given and n not in builders]:
        raise ProjectError(
            f"The project's requirements name the variable(s) {', '.join(unknown)}, which the step"
            " is not given",
            allowed="variables that environment= of the pipeline or step names, and UV_, PIP_ ones",
            action="name them there, and have them set where the worker is started",
        )
    return replace(tools, variables=given, secrets=wanted.credentials)


def _inputs(wanted: Dependencies) -> dict[str, str]:
    """Return the files that list what to install, below ``inputs/``, without passwords."""
    if wanted.project is None or wanted.project.environment_file is None:
        return {}
    source = wanted.project.environment_file
    texts = {}
    for file in dict.fromkeys((source, *wanted.files)):
        # A file above the project must not lead out of the artifact folder.
        place = os.path.relpath(file, source.parent).replace(f"..{os.sep}", "")
        texts[f"{_INPUTS}/{place}"] = redacted(file.read_text(encoding="utf-8"))
    translation = wanted.translation
    if translation and (translation.pairs or translation.left_out):
        texts[_TRANSLATED] = translation.text()
    return texts
