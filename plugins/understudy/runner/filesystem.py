"""What is done to whole folders: their making, their rights, their size, their removal."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from understudy.errors import ProjectError

_PRIVATE = 0o700
_SMALL_FILE = 64 << 10
_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def remove_tree(folder: Path) -> None:
    """Remove a folder, read-only ones included; somebody else may be removing it as well."""
    while folder.exists():
        with contextlib.suppress(FileNotFoundError):
            # Top down: a folder without write permission cannot be emptied, one without x not read.
            for base, _, _ in os.walk(folder):
                Path(base).chmod(stat.S_IRWXU)
            shutil.rmtree(folder)


def make_read_only(folder: Path) -> None:
    """Take the write permission from all that is in a folder."""
    for base, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(base, name)
            # chmod follows links, and what a link leads to may belong to somebody else.
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~_WRITE_BITS)


def private_folder(root: Path) -> None:
    """Create a folder that no other user can read, unless it exists.

    Raises:
        ProjectError: if it belongs to somebody else.
    """
    # Anybody may make this folder first in /tmp, and could then read what is written below it.
    root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    state = root.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
        raise ProjectError(
            f"The folder {root} belongs to another user",
            allowed="a folder of this process's user",
            action="remove it, or set TMPDIR to a folder of your own",
        )


def disk_usage(*paths: Path) -> int:
    """Return the bytes that files and folders take on the disk; a file with two names counts once.

    Files that are shared with others, as uv links those of an environment, count in full.
    """
    seen: dict[tuple[int, int], int] = {}
    for path in paths:
        for entry in _entries(path):
            # A file may be removed while the folder is read.
            with contextlib.suppress(FileNotFoundError):
                state = entry.lstat()
                # st_blocks counts 512 bytes whatever the file system's blocks are (stat(2)).
                seen[state.st_dev, state.st_ino] = state.st_blocks * 512
    return sum(seen.values())


def has_room(folder: Path) -> bool:
    """Return whether a disk has room for a small file (64 KiB) and an inode for it."""
    state = os.statvfs(folder)
    # Some file systems, such as btrfs, count no inodes and report 0 of 0.
    inodes_left = state.f_favail > 0 or not state.f_files
    return state.f_bavail * state.f_frsize >= _SMALL_FILE and inodes_left


def _entries(path: Path) -> Iterator[Path]:
    yield path
    for base, folders, files in os.walk(path):
        for name in (*folders, *files):
            yield Path(base, name)


def entries(folder: Path, within: Path, skipped: Collection[str]) -> Iterator[tuple[str, Path]]:
    """Yield name and place of all that a folder holds, in order, and of what its links lead to.

    A link that leads out of the folder is yielded as what it leads to. One that stays in it, leads
    to nothing, back to where it was come from, or out of ``within``, is yielded as a link.

    Args:
        folder: A real folder.
        within: The folder that no link is followed out of.
        skipped: Names of files and folders that are left out.
    """
    yield from _followed(folder, "", (folder.resolve(),), (within.resolve(), skipped))


def _followed(
    folder: Path, prefix: str, above: tuple[Path, ...], limits: tuple[Path, Collection[str]]
) -> Iterator[tuple[str, Path]]:
    within, skipped = limits
    for path in sorted(folder.iterdir()):
        if path.name in skipped:
            continue
        name, place, deeper = f"{prefix}{path.name}", path, above
        if path.is_symlink():
            place = path.resolve() if path.exists() else path
            kept = place.is_relative_to(above[-1]) or not place.is_relative_to(within)
            if kept or place in above:
                yield name, path
                continue
            deeper = (*above, place)
        yield name, place
        if place.is_dir():
            yield from _followed(place, f"{name}/", deeper, limits)
