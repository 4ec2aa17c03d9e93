"""What is done to whole folders: their rights and their removal."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def remove_tree(folder: Path) -> None:
    """Remove a folder, read-only ones included."""
    for base, _, _ in os.walk(folder):
        Path(base).chmod(stat.S_IRWXU)
    shutil.rmtree(folder)


def make_read_only(folder: Path) -> None:
    """Take the write permission from all that is in a folder."""
    for base, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(base, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~_WRITE_BITS)
