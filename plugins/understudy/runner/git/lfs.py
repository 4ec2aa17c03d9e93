"""Finds the files of a checkout that Git LFS keeps elsewhere. They stay pointers: it is not run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from understudy.runner.git.git import Git

_HEADER: Final = b"version https://git-lfs.github.com/spec/"
_LONGEST: Final = 1024  # bytes of a pointer file, by Git LFS's specification
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Pointers:
    """The pointer files of one checkout: how many, and the paths of the first."""

    count: int = 0
    first: tuple[str, ...] = ()

    @classmethod
    def of(cls, paths: Iterable[str]) -> Pointers:
        """Return what is kept of their paths."""
        found = sorted(paths)
        return cls(len(found), tuple(found[:_SHOWN]))

    @classmethod
    def read(cls, path: Path) -> Pointers:
        """Return what ``write`` wrote; none where nothing was written."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        return cls(content["count"], tuple(content["first"]))

    def write(self, path: Path) -> None:
        """Write this to a file, if there are pointers."""
        if self.count:
            path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        else:
            path.unlink(missing_ok=True)

    def __str__(self) -> str:
        names = ", ".join(self.first) + (", ..." if self.count > len(self.first) else "")
        return (
            f"{self.count} file(s) of this commit are Git LFS pointers, not the data itself: "
            f"{names}. git-lfs is not run here: let the step fetch the data, or keep it out of Git."
        )


def pointers_in(git: Git, folder: Path, variables: Mapping[str, str]) -> list[str]:
    """Return the paths of the pointer files below a folder.

    Args:
        git: Git.
        folder: A working tree.
        variables: Those that make it Git's working tree, with its index.
    """
    listing = git.read(folder, "ls-files", "-z", "--", ":(attr:filter=lfs)", variables=variables)
    return [path for path in listing.split("\0") if path and _is_pointer(folder / path)]


def _is_pointer(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size >= _LONGEST:
        return False
    with path.open("rb") as file:
        return file.read(len(_HEADER)) == _HEADER
