"""One temporary folder per attempt, gone with it. Writes below the scratch folder only.

The owner holds a lock inside its folder, so that the next attempt can recognise the folders of dead
owners, and remove them.
"""

from __future__ import annotations

import contextlib
import errno
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import SettingsError
from understudy.runner.filesystem import has_room, private_folder, remove_tree
from understudy.runner.locks import FileLock

_LOCK = ".lock"
# A folder without a lock may just be in the making.
_YOUNG_S = 3600.0


@dataclass(frozen=True, slots=True)
class Scratch:
    """The folders of one attempt: ``temporary`` becomes its TMPDIR, ``inputs`` takes downloads."""

    folder: Path
    lock: int

    @property
    def temporary(self) -> Path:
        """The child's TMPDIR."""
        return self.folder / "tmp"

    @property
    def inputs(self) -> Path:
        """Where parameters of type path are downloaded to."""
        return self.folder / "inputs"

    @property
    def code(self) -> Path:
        """Where the attempt's own copy of the repository goes."""
        return self.folder / "code"

    @property
    def command(self) -> Path:
        """Where ``script`` writes."""
        return self.folder / "command.sh"

    def script(self, command: str) -> Path:
        """Write the command to a file, and return its path."""
        # One argument of execve(2) holds 128 KiB (MAX_ARG_STRLEN), and all values may be longer.
        self.command.write_text(f"{command}\n", encoding="utf-8")
        return self.command


@contextlib.contextmanager
def scratch_folder(root: Path) -> Iterator[Scratch]:
    """Yield folders of an attempt's own; remove those of attempts that died.

    Raises:
        ProjectError: if ``root`` belongs to somebody else.
        SettingsError: if its disk is full.
    """
    with _full_disk_named(root):
        private_folder(root)
        sweep(root)
        with _made(root) as (folder, lock):
            try:
                # Inside, to look at the disk before the removal of the folder makes room again.
                with _full_disk_named(root):
                    scratch = Scratch(folder, lock)
                    scratch.temporary.mkdir()
                    scratch.inputs.mkdir()
                    yield scratch
            finally:
                remove_tree(folder)


@contextlib.contextmanager
def _made(root: Path) -> Iterator[tuple[Path, int]]:
    """Yield a new folder and its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=root, prefix=""))
        with FileLock(folder / _LOCK).exclusive_if_free() as lock:
            # The sweep of another process may have locked it first, to remove it.
            if lock is None:
                continue
            yield folder, lock
            return


@contextlib.contextmanager
def _full_disk_named(root: Path) -> Iterator[None]:
    """Name the disk that is full; Python's own error does not."""
    try:
        yield
    except OSError as error:
        # ENOSPC of another disk, such as the cache's, is not of this folder.
        if error.errno not in {errno.ENOSPC, errno.EDQUOT} or (root.exists() and has_room(root)):
            raise
        raise no_room(root, error) from error


def no_room(folder: Path, error: Exception) -> SettingsError:
    """Return the error for a full disk, which may have shown itself in another way."""
    return SettingsError(
        f"No space left on the disk of {folder}: {error}",
        allowed="room for the temporary files of the steps that run at one time",
        action="make room there, or set TMPDIR to a folder on another disk",
    )


def sweep(root: Path) -> int:
    """Remove the folders whose owners are dead; return how many."""
    removed = 0
    for folder in list(root.iterdir()):
        with contextlib.suppress(FileNotFoundError):
            removed += _removed_if_dead(folder)
    return removed


def _removed_if_dead(folder: Path) -> bool:
    if not (folder / _LOCK).exists():
        if time.time() - folder.stat().st_mtime > _YOUNG_S:
            remove_tree(folder)
            return True
        return False
    with FileLock(folder / _LOCK).exclusive_if_free() as lock:
        if lock is not None:
            remove_tree(folder)
        return lock is not None
