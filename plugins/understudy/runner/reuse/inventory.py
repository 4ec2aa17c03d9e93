"""What steps keep on this machine: mirrors, checkouts, environments. Reads the cache only.

They are kept alike: a folder ``x``, its lock ``x.lock``, perhaps other files ``x.*`` and unfinished
folders ``.x-*`` beside it. Users hold the lock shared, builders hold it alone, and the lock's time
says when it was last used.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from understudy.runner.filesystem import disk_usage
from understudy.runner.locks import FileLock


class Kind(IntEnum):
    """What an item is; of items that were used at the same time, the first kind goes first."""

    CHECKOUT = 0
    ENVIRONMENT = 1
    MIRROR = 2


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is kept.

    Attributes:
        kind: What it is.
        folder: Where it is, or was: of a build that failed only the lock may be left.
        title: What people know it by.
        used: Time of its last use (seconds since the epoch).
    """

    kind: Kind
    folder: Path
    title: str
    used: float

    @property
    def lock(self) -> Path:
        """The file whose lock keeps it."""
        return self.folder.with_name(f"{self.folder.name}.lock")

    def paths(self) -> list[Path]:
        """Return all that belongs to it, its lock last."""
        place, name = self.folder.parent, self.folder.name
        beside = {*place.glob(f"{name}.*"), *place.glob(f".{name}-*")} - {self.lock}
        return [path for path in (self.folder, *sorted(beside), self.lock) if path.exists()]

    def size(self) -> int:
        """Return the bytes that it takes on the disk; a mirror's checkouts count for themselves."""
        if self.kind is Kind.MIRROR:
            return disk_usage(self.folder / "mirror.git")
        return disk_usage(*self.paths())

    def checkouts(self) -> list[Path]:
        """Return the folders of the checkouts that were made of it, if it is a mirror."""
        if self.kind is not Kind.MIRROR:
            return []
        return [path for path in _visible(self.folder / "commits") if path.is_dir()]

    def in_use(self) -> bool:
        """Whether anybody holds its lock at this moment."""
        if not self.lock.exists():
            return False
        with FileLock(self.lock).exclusive_if_free() as lock:
            return lock is None


def inventory(cache: Path) -> list[Item]:
    """Return everything that is kept in a cache folder, the longest unused first."""
    environments = _named(cache / "environments")
    found = [_item(Kind.ENVIRONMENT, folder, folder.name) for folder in environments]
    for folder in _named(cache / "git"):
        found += _repository(folder)
    return sorted(found, key=lambda item: (item.used, item.kind, item.folder))


def _repository(folder: Path) -> list[Item]:
    """Return a mirror and its checkouts; a mirror is used when one of them is."""
    name = _repository_name(folder)
    checkouts = [
        _item(Kind.CHECKOUT, place, f"{place.name[:12]} of {name}")
        for place in _named(folder / "commits")
    ]
    mirror = _item(Kind.MIRROR, folder, name)
    used = max(item.used for item in (mirror, *checkouts))
    return [*checkouts, Item(mirror.kind, mirror.folder, mirror.title, used)]


def _repository_name(folder: Path) -> str:
    try:
        return (folder / "mirror.git" / "description").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return folder.name


def _item(kind: Kind, folder: Path, title: str) -> Item:
    item = Item(kind, folder, title, 0.0)
    for path in (item.lock, folder):
        with contextlib.suppress(FileNotFoundError):
            return Item(kind, folder, title, path.stat().st_mtime)
    return item


def _named(place: Path) -> list[Path]:
    """Return the folders that are or were in a place, also where only a lock is left of one."""
    names = {path.name.partition(".")[0] for path in _visible(place)}
    return [place / name for name in sorted(names)]


def _visible(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return [path for path in place.iterdir() if not path.name.startswith(".")]
