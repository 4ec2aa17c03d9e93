"""Lists and prunes the cache of this machine: mirrors, checkouts, environments.

All have one layout: a folder ``x``, its lock ``x.lock``, perhaps other files ``x.*`` and unfinished
folders ``.x-*`` beside it. Users hold the lock shared, builders hold it alone, and the lock file's
modification time says when it was last used. Nothing is removed while it is used.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final

from understudy.runner.filesystem import disk_usage, remove_tree
from understudy.runner.locks import FileLock
from understudy.runner.settings import CacheLimits, Settings
from understudy.spec.quantities import size_text


class ItemKind(IntEnum):
    """What an item is; of items that were used at the same time, the first kind goes first."""

    CHECKOUT = 0
    ENVIRONMENT = 1
    MIRROR = 2


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the cache.

    Attributes:
        kind: What it is.
        folder: Where it is, or was: of a build that failed only the lock may be left.
        title: Its name for people.
        used: Time of its last use (seconds since the epoch).
    """

    kind: ItemKind
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
        if self.kind is ItemKind.MIRROR:
            return disk_usage(self.folder / "mirror.git")
        return disk_usage(*self.paths())

    def checkouts(self) -> list[Path]:
        """Return the folders of the checkouts that were made of it, if it is a mirror."""
        if self.kind is not ItemKind.MIRROR:
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
    found = [_item(ItemKind.ENVIRONMENT, folder, folder.name) for folder in environments]
    for folder in _named(cache / "git"):
        found += _repository(folder)
    return sorted(found, key=lambda item: (item.used, item.kind, item.folder))


def _repository(folder: Path) -> list[Item]:
    """Return a mirror and its checkouts; a mirror is used when one of them is."""
    try:
        name = (folder / "mirror.git" / "description").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        name = folder.name
    checkouts = [
        _item(ItemKind.CHECKOUT, place, f"{place.name[:12]} of {name}")
        for place in _named(folder / "commits")
    ]
    mirror = _item(ItemKind.MIRROR, folder, name)
    used = max(item.used for item in (mirror, *checkouts))
    return [*checkouts, Item(mirror.kind, mirror.folder, mirror.title, used)]


def _item(kind: ItemKind, folder: Path, title: str) -> Item:
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


@dataclass(frozen=True, slots=True)
class PruningTerms:
    """How a cache is pruned.

    Attributes:
        limits: What may stay.
        spare: Seconds; what was used so recently does not go for its size.
        dry: Whether only to report what would go.
        go_on: Asked before each item; False ends the prune there.
    """

    limits: CacheLimits
    spare: float = 0.0
    dry: bool = False
    go_on: Callable[[], bool] = field(default=lambda: True)


# What is removed is first moved into ``<cache>/trash`` under its lock, whole or not at all, so that
# a prune that is killed leaves nothing half there; the next one empties the trash.
@dataclass(slots=True)
class Pruned:
    """What a prune did.

    Attributes:
        removed: What is gone, or would be.
        kept: What should have gone and is in use.
        freed: Bytes of ``removed``.
        complete: False where ``go_on`` ended it early.
    """

    removed: list[Item] = field(default_factory=list)
    kept: list[Item] = field(default_factory=list)
    freed: int = 0
    complete: bool = True


@contextlib.contextmanager
def pruner(cache: Path) -> Iterator[bool]:
    """Hold the right to prune a cache; yields False if another process holds it."""
    with FileLock(cache / "prune.lock").exclusive_if_free() as lock:
        yield lock is not None


def prune(cache: Path, terms: PruningTerms) -> Pruned:
    """Remove what is over the limits and not in use. Only as its ``pruner``.

    Raises:
        OSError: if something cannot be removed.
    """
    work = _Work(cache / "trash", terms)
    work.begin()
    items = inventory(cache)
    work.remove(_too_old(items, terms.limits.age))
    # By age first: what goes for that makes room, and fewer items have to be measured.
    gone = {item.folder for item in work.done.removed}
    work.remove(work.too_much([item for item in items if item.folder not in gone]))
    return work.done


class _Work:
    """One prune."""

    def __init__(self, trash: Path, terms: PruningTerms) -> None:
        self._trash, self._terms, self.done = trash, terms, Pruned()

    def begin(self) -> None:
        """Empty the trash of a prune that was killed."""
        if self._trash.is_dir() and not self._terms.dry:
            remove_tree(self._trash)

    def too_much(self, items: Sequence[Item]) -> list[Item]:
        """Return what must go for the sake of the size, the longest unused first."""
        limit = self._terms.limits.size
        if limit is None:
            return []
        chosen: list[Item] = []
        total, spared_since = 0, time.time() - self._terms.spare
        # From the newest: what comes after the limit is reached has been unused for longest.
        for item in reversed(items):
            # Without the size of all items it is not known how far the limit is exceeded.
            if not self._going_on():
                return []
            total += item.size()
            if total > limit and item.used <= spared_since:
                chosen.append(item)
        return _without_mirrors_in_need(chosen[::-1])

    def remove(self, items: Iterable[Item]) -> None:
        """Remove items, and note what became of each."""
        for item in items:
            if item in self.done.kept:
                continue
            if not self._going_on():
                return
            size = item.size()
            if self._is_free(item) if self._terms.dry else self._remove(item):
                self.done.removed.append(item)
                self.done.freed += size
            else:
                self.done.kept.append(item)

    def _going_on(self) -> bool:
        self.done.complete = self.done.complete and self._terms.go_on()
        return self.done.complete

    def _is_free(self, item: Item) -> bool:
        gone = {removed.folder for removed in self.done.removed}
        return not item.in_use() and gone.issuperset(item.checkouts())

    def _remove(self, item: Item) -> bool:
        """Remove an item unless it is in use, or is a mirror that still has checkouts."""
        with FileLock(item.lock).exclusive_if_free() as lock:
            if lock is None or item.checkouts():
                return False
            self._trash.mkdir(exist_ok=True)
            grave = Path(tempfile.mkdtemp(dir=self._trash))
            # The lock last: as long as it is at its path, nobody else can take the item.
            for path in item.paths():
                # rename(2) of a folder changes its '..', so that it must be writable.
                if path.is_dir():
                    path.chmod(0o700)
                path.rename(grave / path.name)
        # Outside the lock: a large environment takes seconds, and a step may wait to build it.
        remove_tree(grave)
        return True


def _too_old(items: Iterable[Item], age: float | None) -> list[Item]:
    if age is None:
        return []
    oldest = time.time() - age
    return _without_mirrors_in_need([item for item in items if item.used < oldest])


def _without_mirrors_in_need(chosen: Sequence[Item]) -> list[Item]:
    """Leave out mirrors of which a checkout was made that stays."""
    folders = {item.folder for item in chosen}
    return [item for item in chosen if folders.issuperset(item.checkouts())]


_DAY_S: Final = 86_400.0
_LONGEST_S: Final = 30.0
"""Seconds that a prune may delay a step; the next day's goes on where this one ended."""
_COMMAND: Final = "understudy cache prune"
_STAMP: Final = "last-prune"


def prune_daily(settings: Settings, on_line: Callable[[str], None]) -> None:
    """Prune the cache to the settings' limits, unless that was done within a day.

    Of what was used within a day nothing is removed for its size: a night in progress keeps its
    commit, also while no step of it runs.
    """
    stamp = settings.cache / _STAMP
    if settings.cache_limits == CacheLimits() or _is_young(stamp):
        return
    try:
        with pruner(settings.cache) as alone:
            if not alone or _is_young(stamp):
                return
            # Before the prune: what fails once shall not delay every step of the day.
            stamp.touch()
            end = time.monotonic() + _LONGEST_S
            terms = PruningTerms(
                settings.cache_limits, _DAY_S, go_on=lambda: time.monotonic() < end
            )
            done = prune(settings.cache, terms)
    except OSError as error:
        on_line(f"The cache {settings.cache} could not be pruned: {error}")
        return
    if done.removed:
        on_line(
            f"Pruned the cache: {len(done.removed)} item(s) that were long unused, "
            f"{size_text(done.freed)}"
        )
    if not done.complete:
        on_line(f"Pruning the cache was left unfinished after {_LONGEST_S:g} s: run `{_COMMAND}`")


def _is_young(stamp: Path) -> bool:
    try:
        return time.time() - stamp.stat().st_mtime < _DAY_S
    except FileNotFoundError:
        return False
