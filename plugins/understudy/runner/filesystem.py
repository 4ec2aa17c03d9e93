"""What is done to whole folders: making, rights, copies, changes, size, removal."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from understudy.errors import ProjectError

_PRIVATE = 0o700
_SMALL_FILE = 64 << 10
_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_PIECE = 64 << 20
# What file systems, containers and kernels answer that cannot copy a file inside the kernel.
_CANNOT_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
# What Python compiles, and what Git writes when it is asked for anything.
_NOBODYS_FILES = {"__pycache__", ".git"}


def remove_tree(folder: Path) -> None:
    """Remove a folder, read-only ones included; somebody else may be removing it as well."""
    while folder.exists():
        with contextlib.suppress(FileNotFoundError):
            # Top down: a folder without write permission cannot be emptied, one without x not read.
            for base, _, _ in os.walk(folder):
                Path(base).chmod(stat.S_IRWXU)
            shutil.rmtree(folder)


def make_read_only(folder: Path) -> None:
    """Take the write permission from all that is in a folder, and give it one time of change."""
    # Whole seconds, because the archives of container images have no others; and past ones, so that
    # a write in this very second shows, see fingerprint().
    past = int(time.time()) - 1
    for path in _below(folder):
        # chmod follows links, and what a link leads to may belong to somebody else.
        if not path.is_symlink():
            os.utime(path, (past, past))
            path.chmod(path.stat().st_mode & ~_WRITE_BITS)


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 of names, rights, sizes and times of change of what is in a folder.

    No content is read: it shows what was changed by accident, by whoever may write anywhere.
    """
    digest, start = hashlib.sha256(), len(os.fsencode(folder))
    for path in sorted(_below(folder)):
        state = path.lstat()
        facts = [state.st_mode, state.st_size, int(state.st_mtime)]
        # A folder's size and time are the file system's own matter: what it holds is listed.
        known = facts[:1] if stat.S_ISDIR(state.st_mode) else facts
        digest.update(os.fsencode(path)[start:] + f"\0{known}\0".encode())
    return digest.hexdigest()


def copy_tree(source: Path, target: Path, proceed: Callable[[], None]) -> None:
    """Copy a folder so that its owner may write to the copy; times of change and links stay.

    Args:
        source: A folder with files, folders and links.
        target: Its copy, which is not there yet.
        proceed: Called again and again; ends the copy by raising.
    """
    target.mkdir()
    with os.scandir(source) as listing:
        entries = list(listing)
    for entry in entries:
        if entry.is_symlink():
            (target / entry.name).symlink_to(Path(entry.path).readlink())
        elif entry.is_dir():
            copy_tree(Path(entry.path), target / entry.name, proceed)
        else:
            _copy_file(entry.path, f"{target}{os.sep}{entry.name}", proceed)


def changed_since(folder: Path, moment: int) -> list[tuple[str, int]]:
    """Return path and bytes of each file that was made or changed; Git's and compiled ones not.

    Args:
        folder: Where to look.
        moment: Nanoseconds since the epoch, as ``st_ctime_ns`` has them.
    """
    found = []
    for path in sorted(_below(folder)):
        # What could not be ended may still remove files.
        with contextlib.suppress(FileNotFoundError):
            state, name = path.lstat(), path.relative_to(folder)
            # The time of the inode's change: programs set the file's own as they like.
            changed = state.st_ctime_ns > moment and not stat.S_ISDIR(state.st_mode)
            if changed and _NOBODYS_FILES.isdisjoint(name.parts):
                found.append((str(name), state.st_size))
    return found


def make_private(folder: Path) -> None:
    """Create a folder for this user alone, with what is missing above it; one that exists stays."""
    # What others could read in a cache may be private; what they could write, we would run.
    for one in (*reversed(folder.parents), folder):
        if not one.exists():
            one.mkdir(mode=_PRIVATE, exist_ok=True)


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

    Files that are shared with others count in full.
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


# With descriptors: for a project of small files, objects around them cost three times the copy.
def _copy_file(path: str, place: str, proceed: Callable[[], None]) -> None:
    proceed()
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        state = os.fstat(source)
        # As Git does it: of the rights only the right to execute is a file's own.
        mode = 0o777 if state.st_mode & stat.S_IXUSR else 0o666
        target = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            _copy_content(source, target, state.st_size, proceed)
            os.utime(target, ns=(state.st_mtime_ns, state.st_mtime_ns))
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_content(source: int, target: int, size: int, proceed: Callable[[], None]) -> None:
    left = size
    try:
        # Where the file system can, the two share their blocks until one of them is written to,
        # whatever their size (copy_file_range(2)).
        while left and (copied := os.copy_file_range(source, target, min(left, _PIECE))):
            left -= copied
            proceed()
    except OSError as error:
        if error.errno not in _CANNOT_COPY:
            raise
    while left and (copied := os.sendfile(target, source, None, min(left, _PIECE))):
        left -= copied
        proceed()


def _below(folder: Path) -> Iterator[Path]:
    """Yield all that is in a folder, but not the folder."""
    return itertools.islice(_entries(folder), 1, None)


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
