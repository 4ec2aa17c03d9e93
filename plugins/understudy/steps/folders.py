"""Folders of this user's own. Makes folders; touches nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from understudy.errors import ProjectError

_PRIVATE = 0o700


def private_folder(root: Path) -> None:
    """Have a folder that nobody else can look into.

    Raises:
        ProjectError: if it belongs to somebody else.
    """
    root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    state = root.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
        raise ProjectError(
            f"The folder {root} belongs to another user",
            allowed="a folder of this process's user",
            action="remove it, or set TMPDIR to a folder of your own",
        )
