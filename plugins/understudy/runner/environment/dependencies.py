"""Reads what a project's environment must hold: python_env.yaml, or conda.yaml's pip part.

Reads files of the project only.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import ProjectError

_FILE_OPTION = re.compile(r"(?P<option>-r|--requirement|-c|--constraint)[\s=]*(?P<file>[^\s#]+).*")
_LOCAL = re.compile(r"(-e\b|--editable\b|\.{1,2}(/|$|\[)|/|file:)")
_CONDA_PACKAGE = re.compile(r"(?P<name>[\w.:-]+?)\s*(?P<operator>[=<>!~].*)?")
# Packages that a conda.yaml lists for pip's sake, as MLflow writes it; uv and venv bring their own.
_CONDA_BUILD = frozenset({"pip", "setuptools", "wheel"})


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What to install.

    Attributes:
        python: Requested Python, such as "3.11" or "3.11.7"; '' for any.
        lines: Lines of a requirements file; the files that they name are absolute.
        files: Those files, and those that they name in turn.
        source: The file that all this was read from; None where the project has none.
        build_lines: How many of the first lines are tools to build the others with.
    """

    python: str
    lines: tuple[str, ...]
    files: tuple[Path, ...]
    source: Path | None = None
    build_lines: int = 0

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """The lines as pip must be given them, one call after the other.

        pip wants a hash for every line of a call once one line has some, and locks seldom hold
        the tools to build with.
        """
        cut = self.build_lines
        return tuple(lines for lines in (self.lines[:cut], self.lines[cut:]) if lines)

    def stages_from(self, folder: Path) -> tuple[tuple[str, ...], ...]:
        """Return the stages for pip that runs in a copy of ``folder``: files relative to it."""
        return tuple(tuple(_relative(line, folder) for line in lines) for lines in self.stages)

    def digest(self) -> str:
        """Return 64 hex digits over the lines and the content of all files, not their places."""
        content = hashlib.sha256()
        for line in self.lines:
            matched = _FILE_OPTION.fullmatch(line)
            content.update(f"{matched['option'] if matched else line}\0".encode())
        for file in self.files:
            content.update(hashlib.sha256(file.read_bytes()).digest())
        return content.hexdigest()


NOTHING = Dependencies("", (), ())


def read(path: Path, *, conda: bool, with_conda: bool = False) -> Dependencies:
    """Read python_env.yaml or conda.yaml.

    Args:
        path: The file.
        conda: Whether it is of conda's form; of its packages only the pip part becomes lines.
        with_conda: Whether conda itself will install it, so that it may name any package.

    Raises:
        ProjectError: if it requires what cannot be installed this way, or has another form.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _unusable(path, f"cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise _unusable(path, "is not a mapping")
    python, *stages = (_conda if conda else _python_env)(path, content)
    if conda and not with_conda:
        _refuse_foreign(path, content)
    files: list[Path] = []
    tools, required = (
        tuple(
            _absolute(line, path, files)
            for line in map(str.strip, lines)
            if line and not line.startswith("#")
        )
        for lines in stages
    )
    return Dependencies(python, tools + required, tuple(files), path, len(tools))


def _python_env(path: Path, content: dict[str, object]) -> tuple[str, list[str], list[str]]:
    if unknown := set(content) - {"python", "build_dependencies", "dependencies"}:
        raise _unusable(path, f"has unknown fields: {', '.join(sorted(map(str, unknown)))}")
    python = content.get("python") or ""
    if not isinstance(python, str):
        raise _unusable(path, f"has python: {python} as a number (3.10 would be 3.1)", quote=True)
    tools, required = (
        _strings(path, content.get(name) or []) for name in ("build_dependencies", "dependencies")
    )
    return python.strip(), tools, required


def _conda(path: Path, content: dict[str, object]) -> tuple[str, list[str], list[str]]:
    python, lines = "", []
    items = content.get("dependencies") or []
    if not isinstance(items, list):
        raise _unusable(path, "has dependencies that are not a list")
    for item in items:
        if isinstance(item, dict) and set(item) == {"pip"}:
            lines += _strings(path, item["pip"])
        elif _conda_name(item) == "python":
            # conda's =3.11 and ==3.11.7 stand for themselves; ranges are PEP 440's as they are.
            operator = str(item).partition("python")[2].strip()
            exact = re.fullmatch(r"={1,2}\s*([\d.]+?)(\.\*)?", operator)
            python = exact[1] if exact else operator
    return python, [], lines


def _refuse_foreign(path: Path, content: dict[str, object]) -> None:
    """Refuse what only conda can install."""
    # MLflow 3.17 with uv or virtualenv ignores these packages without a message.
    items = content.get("dependencies")
    own = _CONDA_BUILD | {"python"}
    foreign = [
        str(item)
        for item in (items if isinstance(items, list) else [])
        if not isinstance(item, dict) and _conda_name(item) not in own
    ]
    if foreign:
        raise ProjectError(
            f"{path.name} has packages that only conda can install: {', '.join(foreign)}",
            allowed="python, pip, setuptools, wheel and a pip: part, for every manager but 'conda'",
            action="choose the environment manager 'conda' on a worker that has conda, or list "
            "the packages' names on PyPI under pip:",
        )


def _conda_name(item: object) -> str:
    """Return the package of ``python=3.11`` or ``conda-forge::numpy >=1``; '' for other forms."""
    matched = _CONDA_PACKAGE.fullmatch(str(item))
    return matched["name"] if matched else ""


def _strings(path: Path, items: object) -> list[str]:
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _unusable(path, "has dependencies that are not a list of strings")
    return items


def _absolute(line: str, path: Path, files: list[Path]) -> str:
    """Return a requirement line with its file made absolute; collect that file."""
    matched = _FILE_OPTION.fullmatch(line)
    if matched:
        file = path.parent / matched["file"]
        files.extend(_with_nested(file, path, ()))
        return f"{matched['option']} {file}"
    _refuse_local(line, path)
    return line


def _relative(line: str, folder: Path) -> str:
    matched = _FILE_OPTION.fullmatch(line)
    if matched is None:
        return line
    return f"{matched['option']} {os.path.relpath(matched['file'], folder)}"


def _with_nested(file: Path, named_in: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    if not file.is_file():
        raise _unusable(named_in, f"names the file {file.name}, which is not there")
    if file in above:
        raise _unusable(named_in, f"names {file.name} in a circle")
    yield file
    for line in file.read_text(encoding="utf-8").splitlines():
        stripped = line.strip()
        if matched := _FILE_OPTION.fullmatch(stripped):
            yield from _with_nested(file.parent / matched["file"], file, (*above, file))
        else:
            _refuse_local(stripped, file)


def _refuse_local(line: str, path: Path) -> None:
    # The folder's content is not in the digest: the environment would not be built anew for it.
    if _LOCAL.match(line) or re.search(r"@\s*file:", line):
        raise ProjectError(
            f"{path.name} installs from a folder: {line!r}",
            allowed="packages from an index, or from a URL with a hash or a commit",
            action="import the project's own code from its folder, which is where commands run",
        )


def _unusable(path: Path, why: str, *, quote: bool = False) -> ProjectError:
    return ProjectError(
        f"{path.name} {why}",
        allowed="a python_env.yaml with python (a string), build_dependencies and dependencies, or "
        "a conda.yaml that needs no more of conda than python and pip",
        action='write the version in quotes: python: "3.11"'
        if quote
        else "write what the project needs into a python_env.yaml",
    )
