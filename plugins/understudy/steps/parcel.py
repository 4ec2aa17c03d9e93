"""Packs a project's folder into one archive, which for one commit has the same bytes each time.

What links of the folder lead to elsewhere in the commit is in it as what it is.
"""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path
from typing import Final

from understudy.steps.links import entries

ARCHIVE: Final = "project.tar.gz"
_READABLE, _ENTERABLE = 0o600, 0o700


def pack(folder: Path, checkout: Path, into: Path) -> Path:
    """Write ``project.tar.gz`` of a folder of a checkout into another folder; return the file."""
    archive = into / ARCHIVE
    with (
        archive.open("wb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as opened,
    ):
        for name, path in entries(folder, checkout, {".git"}):
            opened.add(path, name, recursive=False, filter=_plain)
    return archive


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Take away whose and how old a file is; the checkout is read-only, its copy need not be."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode |= _ENTERABLE if entry.isdir() else _READABLE
    return entry
