"""Removes what is kept in the cache, by age and by size, and never while it is used.

What is removed is first moved into ``<cache>/trash`` under its lock, whole or not at all, so that a
prune that is killed leaves nothing half there; the next one empties the trash.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from understudy.runner.filesystem import remove_tree
from understudy.runner.locks import FileLock
from understudy.runner.reuse.inventory import Item, inventory
from understudy.runner.settings import CacheLimits


@dataclass(frozen=True, slots=True)
class Terms:
    """How a cache is pruned.

    Attributes:
        limits: What may stay.
        spare: Seconds; what was used so recently does not go for its size.
        dry: Whether to say only what would go.
        go_on: Asked before each item; False ends the prune there.
    """

    limits: CacheLimits
    spare: float = 0.0
    dry: bool = False
    go_on: Callable[[], bool] = field(default=lambda: True)


@dataclass(slots=True)
class Pruned:
    """What a prune did.

    Attributes:
        removed: What is gone, or would be.
        kept: What should have gone and is in use.
        freed: Bytes of ``removed``.
        complete: False where it was told not to go on.
    """

    removed: list[Item] = field(default_factory=list)
    kept: list[Item] = field(default_factory=list)
    freed: int = 0
    complete: bool = True


@contextlib.contextmanager
def pruner(cache: Path) -> Iterator[bool]:
    """Be the only one who prunes a cache; yields False if somebody else is at it."""
    with FileLock(cache / "prune.lock").exclusive_if_free() as lock:
        yield lock is not None


def prune(cache: Path, terms: Terms) -> Pruned:
    """Remove what is over the limits and not in use. Only as its ``pruner``.

    Raises:
        OSError: if something cannot be removed.
    """
    work = _Work(cache / "trash", terms)
    work.begin()
    items = inventory(cache)
    work.remove(_too_old(items, terms.limits.age))
    gone = {item.folder for item in work.done.removed}
    work.remove(work.too_much([item for item in items if item.folder not in gone]))
    return work.done


class _Work:
    """One prune."""

    def __init__(self, trash: Path, terms: Terms) -> None:
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
        for item in reversed(items):
            if not self._going_on():
                return []  # what was not measured is not judged
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
            for path in item.paths():
                if path.is_dir():
                    path.chmod(0o700)  # what is moved must be writable
                path.rename(grave / path.name)
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
