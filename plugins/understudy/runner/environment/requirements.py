"""Reads requirement lines as pip does: files within files, paths, constraints, options.

Reads files of the repository only. What is read becomes part of a step's record, and so no path
may lead out of the repository, not even by a link.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from understudy.errors import ProjectError
from understudy.redact import redacted
from understudy.runner.filesystem import entries

_FILE_OPTION: Final = re.compile(
    r"(?P<option>--requirement|--constraint|-r|-c)(?:\s*=\s*|\s*)(?P<file>\S.*)"
)
_EDITABLE: Final = re.compile(r"(?:--editable(?:\s*=\s*|\s+)|-e\s*)(?P<what>\S.*)")
_FIND_LINKS: Final = re.compile(r"(?P<option>--find-links|-f)(?:\s*=\s*|\s+)(?P<place>\S+)")
# 'name @ ', a path or a file: address, then extras, a marker or hashes.
_PATH: Final = re.compile(
    r"(?P<prefix>[\w.-]+\s*(?:\[[^\]]*\])?\s*@\s*)?(?P<path>[^\s\[;]+)(?P<suffix>(?:[\s\[;].*)?)"
)
_OPTIONS: Final = frozenset({
    "--index-url", "--extra-index-url", "--pypi-url", "--no-index", "--find-links", "--no-binary",
    "--only-binary", "--prefer-binary", "--require-hashes", "--pre", "--trusted-host",
    "--use-feature", "--default-index", "--index", "--all-releases", "--only-final",
})  # fmt: skip
_SHORT_OPTIONS: Final = ("-i", "-f")
"""What pip and uv take in a file of requirements, and names no file to read."""
_ARCHIVES: Final = (".whl", ".tar.gz", ".zip", ".tar.bz2")
_ADDRESS: Final = re.compile(r"(?!file:)[A-Za-z][\w+.-]*:")
_COMMENT: Final = re.compile(r"(^|\s+)#.*$")
_VARIABLE: Final = re.compile(r"\$\{([A-Z0-9_]+)\}")
_DEEPEST: Final = 32
# What a build or a run leaves in a folder, and no build reads.
_EXECUTABLE: Final = 0o755
NOT_SOURCE: Final = frozenset({".git", "__pycache__", ".venv", "venv", "mlruns", "mlartifacts"})


@dataclass(frozen=True, slots=True)
class Requirement:
    """One line for uv or pip.

    Attributes:
        text: The line; where ``path`` is given, what stands before it.
        path: A wheel, an archive, a folder or a constraints file of the repository.
        rest: What stands behind the path, such as extras.
        content: Hex digits of what is at the path; '' without one.
    """

    text: str
    path: Path | None = None
    rest: str = ""
    content: str = ""

    @property
    def is_read_in_place(self) -> bool:
        """Whether the path is of constraints or of wheels to choose from, not installed itself."""
        return self.text.startswith("-")

    def with_path(self, place: str | Path) -> str:
        """Return the line with another path."""
        return f"{self.text}{place}{self.rest}"

    def __str__(self) -> str:
        return self.text if self.path is None else self.with_path(self.path)

    @property
    def identity(self) -> str:
        """What an environment's digest depends on: neither places nor passwords."""
        line = self.text if self.path is None else self.with_path(self.content)
        return redacted(line)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the requirements of one project.

    Attributes:
        project: Folder of the MLproject; paths start here or at the file that they stand in.
        repository: Folder that no path may lead out of.
        files: What was read, in order; filled while reading.
        open: Those that are being read, the outermost first.
    """

    project: Path
    repository: Path
    files: list[Path] = field(default_factory=list)
    open: list[Path] = field(default_factory=list)

    def read(self, lines: Iterable[str], file: Path) -> list[Requirement]:
        """Return the requirements that lines of a file stand for.

        Args:
            lines: The lines.
            file: The file that they stand in, python_env.yaml or conda.yaml.

        Raises:
            ProjectError: if a file is not there, or lies outside of the repository.
        """
        return list(self._read("\n".join(lines), file))

    def text(self, path: Path, named_in: Path) -> str:
        """Return the text of a file of the repository."""
        self.check(path, named_in)
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _unusable(
                named_in, f"names {path.name}, which cannot be read: {error}"
            ) from error

    def check(self, path: Path, named_in: Path) -> None:
        """Refuse a path that leads out of the repository, or into what Git keeps of it."""
        if not self._is_inside(path):
            # As it was written, most likely: absolute, or from the file that names it.
            shown = min(str(path), os.path.relpath(path, named_in.parent), key=len)
            raise ProjectError(
                f"{named_in.name} names {shown}, which lies outside of the repository",
                allowed="files of the repository, at the same commit",
                action="have a copy of it in the repository",
            )

    def _read(self, text: str, file: Path) -> Iterator[Requirement]:
        for raw in text.replace("\\\n", "").splitlines():
            line = _COMMENT.sub("", raw).strip()
            if not line:
                continue
            if matched := _FILE_OPTION.fullmatch(line):
                yield from self._file(matched, file)
            elif (matched := _FIND_LINKS.fullmatch(line)) and not _ADDRESS.match(matched["place"]):
                yield self._links(matched["place"], file)
            else:
                yield self._line(line, file)

    def _file(self, matched: re.Match[str], named_in: Path) -> Iterator[Requirement]:
        name = matched["file"].strip("\"'")
        if _ADDRESS.match(name):
            raise _unusable(named_in, f"names the address {redacted(name)} as a file to read")
        file = self._found(name, named_in, (named_in.parent, self.project))
        if file is None or not file.is_file():
            raise _unusable(named_in, f"names the file {name}, which is not there")
        if file in self.open or len(self.open) > _DEEPEST:
            raise _unusable(named_in, f"names {name} in a circle")
        text = self.text(file, named_in)
        self.files.append(file)
        self.open.append(file)
        inner = list(self._read(text, file))
        self.open.pop()
        if matched["option"] in {"-r", "--requirement"}:
            yield from inner
        else:
            # As it is: constraints are bounds for what others ask for, and install nothing.
            yield Requirement("-c ", file, content=_digest(one.identity for one in inner))

    def _links(self, name: str, named_in: Path) -> Requirement:
        """Return a folder to find wheels in; one on this machine counts like an index."""
        if Path(name).is_absolute() and not self._is_inside(Path(name)):
            return Requirement(f"--find-links {name}")
        path = self._found(name, named_in, (named_in.parent, self.project))
        if path is None:
            raise _unusable(named_in, f"names the folder {name}, which is not there")
        return Requirement("--find-links ", path, content=content_of(path, self.repository))

    def _line(self, line: str, named_in: Path) -> Requirement:
        editable = _EDITABLE.fullmatch(line)
        # Not editable: environments are shared, and a checkout is nobody's to write to.
        body = editable["what"] if editable else line
        matched = _PATH.fullmatch(body)
        if line.startswith("-") and not editable:
            option = re.split(r"[\s=]", line, maxsplit=1)[0]
            # pip takes abbreviations, such as --req, which would read a file that is not looked at.
            if not (option in _OPTIONS or option[:2] in _SHORT_OPTIONS):
                raise _unusable(named_in, f"has the option {option}, which is not known here")
            return Requirement(line)
        if matched is None:
            return Requirement(line)
        if _ADDRESS.match(matched["path"]) or not (editable or _is_path(matched["path"])):
            return Requirement(body)
        name = unquote(re.sub(r"^file:(//)?", "", matched["path"]))
        # pip's relative paths start where it is started, which with MLflow is the project.
        path = self._found(name, named_in, (self.project, named_in.parent))
        if path is None:
            raise _unusable(named_in, f"installs {name}, which is not there")
        self.check(path, named_in)
        content = content_of(path, self.repository)
        return Requirement(matched["prefix"] or "", path, matched["suffix"], content)

    def _found(self, name: str, named_in: Path, starts: tuple[Path, ...]) -> Path | None:
        """Return the first place that is there; None for none."""
        places = [Path(os.path.normpath(start / name)) for start in starts]
        # Outside, whether something is there is nobody's business.
        inside = [place for place in places if self._is_inside(place)]
        if not inside:
            self.check(places[0], named_in)
        return next((place for place in inside if place.exists()), None)

    def _is_inside(self, path: Path) -> bool:
        root, real = self.repository.resolve(), path.resolve()
        return real.is_relative_to(root) and ".git" not in real.relative_to(root).parts


def variables(requirements: Iterable[Requirement]) -> tuple[str, ...]:
    """Return the environment variables that lines name, as ``${NAME}``."""
    found = (name for one in requirements for name in _VARIABLE.findall(str(one)))
    return tuple(dict.fromkeys(found))


def content_of(path: Path, repository: Path) -> str:
    """Return hex digits over a file, or over the names and contents of all files of a folder."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return _digest(_contents(path, repository))


def copy(path: Path, place: Path, repository: Path) -> None:
    """Copy a file, or what is source in a folder, to a place; what links lead to as what it is."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        shutil.copyfile(path, place)
        return
    place.mkdir()
    # With its repository, if it has one: packages such as setuptools_scm ask Git for their version.
    for name, found in entries(path, repository, NOT_SOURCE - {".git"}):
        target = place / name
        if found.is_symlink():
            target.symlink_to(found.readlink())
        elif found.is_dir():
            target.mkdir()
        else:
            shutil.copyfile(found, target)
            # Of its rights that one alone: a checkout's files are read-only.
            if os.access(found, os.X_OK):
                target.chmod(_EXECUTABLE)


def _contents(folder: Path, repository: Path) -> Iterator[str]:
    for name, path in entries(folder, repository, NOT_SOURCE):
        if path.is_symlink():
            yield f"{name} -> {path.readlink()}"
        elif path.is_file():
            yield f"{name} {content_of(path, repository)}"


def _digest(parts: Iterable[str]) -> str:
    content = hashlib.sha256()
    for part in parts:
        content.update(f"{part}\0".encode())
    return content.hexdigest()


def _is_path(text: str) -> bool:
    return text.startswith((".", "/", "file:")) or "/" in text or text.endswith(_ARCHIVES)


def _unusable(path: Path, why: str) -> ProjectError:
    return ProjectError(
        f"{path.name} {why}",
        allowed="packages of an index, addresses, and files and folders of the repository",
        action="correct the line, and have in the repository what it names",
    )
