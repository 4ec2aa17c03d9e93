"""Reads what a project's environment must hold: python_env.yaml, or conda.yaml translated.

Reads files of the project's repository only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from understudy.errors import ProjectError
from understudy.redact import credentials_in
from understudy.runner.environment import requirements
from understudy.runner.environment.conda_file import Translation, UntranslatableError, translated
from understudy.runner.environment.requirements import Reader, Requirement
from understudy.runner.projectfile import ProjectFile


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What to install.

    Attributes:
        python: Requested Python, such as "3.11" or "3.11.7"; '' for any.
        stages: What pip must be given, one call after the other: first the tools that build, or
            conda's packages, then the rest. pip wants a hash for every line of a call once one
            line has some, and locks seldom hold the tools; what conda.yaml has under ``pip:`` may
            replace what it has above.
        files: The files of requirements and constraints that were read.
        project: Whose file all this was read from; None where it has none.
        translation: How a conda.yaml was translated; None for other files.
    """

    python: str
    stages: tuple[tuple[Requirement, ...], ...] = ()
    files: tuple[Path, ...] = ()
    project: ProjectFile | None = None
    translation: Translation | None = None

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """All lines, whatever their stage."""
        return tuple(one for stage in self.stages for one in stage)

    @property
    def local(self) -> tuple[Path, ...]:
        """The repository's own wheels and folders that are installed."""
        found = (one.path for one in self.requirements if one.path and not one.is_read_in_place)
        return tuple(dict.fromkeys(found))

    @property
    def repository(self) -> Path:
        """The folder that all of it lies in."""
        project = self.project
        return Path() if project is None else project.repository or project.folder

    def copies(self, folder: Path) -> dict[Path, Path]:
        """Return a place below a folder for a copy of each of the repository's own packages."""
        return {path: folder / str(n) / path.name for n, path in enumerate(self.local)}

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that lines name, as ``${NAME}``."""
        return requirements.variables(self.requirements)

    @property
    def credentials(self) -> tuple[str, ...]:
        """The passwords and tokens in the addresses of indexes and packages."""
        return credentials_in("\n".join(map(str, self.requirements)))

    def lines(self, places: Mapping[Path, str]) -> tuple[tuple[str, ...], ...]:
        """Return the lines of each stage, with the places that paths were copied to."""
        return tuple(
            tuple(
                one.with_path(places.get(one.path, str(one.path))) if one.path else one.text
                for one in stage
            )
            for stage in self.stages
        )

    def relative_lines(self) -> tuple[tuple[str, ...], ...]:
        """Return the lines of each stage for pip that runs in a copy of the project's folder."""
        paths = [one.path for one in self.requirements if one.path]
        return self.lines({path: self.relative(path) for path in paths})

    def relative(self, path: Path) -> str:
        """Return where a path is from the project's folder, as pip knows it from a name."""
        place = os.path.relpath(path, self.project.folder if self.project else Path())
        return place if place.startswith(".") else f"./{place}"

    def digest(self) -> str:
        """Return 64 hex digits over lines and contents, neither places nor passwords."""
        content = hashlib.sha256()
        for number, stage in enumerate(self.stages):
            for one in stage:
                content.update(f"{number} {one.identity}\0".encode())
        return content.hexdigest()


NOTHING = Dependencies("")


def read(project: ProjectFile, *, with_conda: bool = False) -> Dependencies:
    """Read a project's python_env.yaml or conda.yaml.

    Args:
        project: The project.
        with_conda: Whether conda itself will install it, so that only its pip part becomes lines.

    Raises:
        ProjectError: if it has a form that cannot be used, or names what is not in the repository.
    """
    path = project.environment_file
    if path is None:
        return NOTHING
    reader = Reader(project.folder, project.repository or project.folder)
    content = _content(path, reader.text(path, project.folder / "MLproject"))
    translation = None
    if project.environment_type == "conda_env":
        translation = _conda(path, content)
        python, first = translation.python, () if with_conda else translation.lines
        lines: tuple[tuple[str, ...], ...] = (first, translation.pip)
    else:
        python, lines = _python_env(path, content)
    stages = tuple(filter(None, (tuple(reader.read(stage, path)) for stage in lines)))
    files = tuple(dict.fromkeys(reader.files))
    wanted = Dependencies(python, stages, files, project, translation)
    if with_conda and wanted.local:
        raise ProjectError(
            f"{path.name} installs {wanted.local[0].name} of the repository",
            allowed="packages from a channel or an index with the environment manager 'conda'",
            action="choose 'uv', or import the project's code from its folder",
        )
    return replace(wanted, translation=None) if with_conda else wanted


def _content(path: Path, text: str) -> dict[str, object]:
    import yaml

    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise _unusable(path, f"cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise _unusable(path, "is not a mapping")
    return content


def _python_env(path: Path, content: dict[str, object]) -> tuple[str, tuple[tuple[str, ...], ...]]:
    if unknown := set(content) - {"python", "build_dependencies", "dependencies"}:
        raise _unusable(path, f"has unknown fields: {', '.join(sorted(map(str, unknown)))}")
    python = content.get("python") or ""
    if not isinstance(python, str):
        raise _unusable(path, f"has python: {python} as a number (3.10 would be 3.1)", quote=True)
    stages = (content.get(name) or [] for name in ("build_dependencies", "dependencies"))
    return python.strip(), tuple(_strings(path, items) for items in stages)


def _conda(path: Path, content: dict[str, object]) -> Translation:
    items = content.get("dependencies") or []
    if not isinstance(items, list):
        raise _unusable(path, "has dependencies that are not a list")
    try:
        return translated(path.name, items)
    except UntranslatableError as error:
        raise _unusable(path, f"has {error}, which is no package of conda's") from error


def _strings(path: Path, items: object) -> tuple[str, ...]:
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _unusable(path, "has dependencies that are not a list of strings")
    return tuple(items)


def _unusable(path: Path, why: str, *, quote: bool = False) -> ProjectError:
    return ProjectError(
        f"{path.name} {why}",
        allowed="a python_env.yaml with python (a string), build_dependencies and dependencies, or "
        "a conda.yaml with dependencies as conda takes them",
        action='write the version in quotes: python: "3.11"'
        if quote
        else "write what the project needs into a python_env.yaml",
    )


__all__ = ["NOTHING", "Dependencies", "Requirement", "read"]
