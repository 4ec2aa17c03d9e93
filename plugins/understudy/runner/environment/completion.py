"""The mark of a complete environment: what it holds, and enough to see that it is still all there.

The mark is written last, in one rename, after its content is on the disk. It lists the names in the
few folders where packages are registered, so that one look at each tells whether some were removed;
reading every file would cost each step more than it is worth.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

_MARK = ".complete"
_LOOKED_AT = ("bin", "lib/python*/site-packages", "conda-meta")
_COMES_AND_GOES = "__pycache__"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a complete environment holds.

    Attributes:
        manager: What built it.
        python: Version of its Python.
        platform: What its packages are for.
        installed: What ``pip freeze`` says.
        further: Further files for the record, by name.
        listings: Names in folders, by the folder's place in the environment.
    """

    manager: str
    python: str
    platform: str
    installed: str
    further: Mapping[str, str] = field(default_factory=dict)
    listings: Mapping[str, list[str]] = field(default_factory=dict)


def write(folder: Path, contents: Contents) -> None:
    """Mark an environment as complete."""
    seen = {str(place.relative_to(folder)): _names(place) for place in _places(folder)}
    building = folder / f"{_MARK}.new"
    with building.open("w", encoding="utf-8") as file:
        json.dump({**asdict(contents), "listings": seen}, file)
        file.flush()
        os.fsync(file.fileno())
    building.replace(folder / _MARK)


def read(folder: Path) -> Contents | None:
    """Return what an environment held when it was completed, None for one that never was."""
    try:
        return Contents(**json.loads((folder / _MARK).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None


def missing(folder: Path, contents: Contents) -> str:
    """Return what an environment that once was complete lacks now, '' for nothing."""
    if not os.access(folder / "bin" / "python", os.X_OK):
        return "its Python, or the one that it was built on"
    for place, names in contents.listings.items():
        if gone := sorted(set(names) - set(_names(folder / place))):
            more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
            return f"{gone[0]} in {place}{more}"
    return ""


def _places(folder: Path) -> list[Path]:
    return [place for pattern in _LOOKED_AT for place in folder.glob(pattern) if place.is_dir()]


def _names(place: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in place.iterdir() if entry.name != _COMES_AND_GOES)
    except FileNotFoundError:
        return []
