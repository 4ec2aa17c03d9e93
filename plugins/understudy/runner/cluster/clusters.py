"""What clusters share: the project as one archive, the tracking address, their errors."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from understudy.errors import ClusterError, ClusterUnavailableError
from understudy.redact import redacted, secret_in
from understudy.runner.filesystem import entries

_MANAGED: Final = "databricks"


def reachable(tracking_uri: str, token: str) -> str:
    """Return the worker's tracking address if a job elsewhere can use it, too.

    Args:
        tracking_uri: What the worker uses.
        token: How the job is given MLFLOW_TRACKING_TOKEN, for the message.

    Raises:
        ClusterError: if it is of this machine only, or holds a secret.
    """
    # databricks://profile names a profile in a file of this machine.
    if urlsplit(tracking_uri).scheme == _MANAGED or tracking_uri == _MANAGED:
        return _MANAGED
    host = urlsplit(tracking_uri).hostname or ""
    local = not host or host == "localhost" or host.startswith("127.") or host == "::1"
    secret = secret_in(tracking_uri)
    if not local and not secret:
        return tracking_uri
    why = f"holds {secret}" if secret else "is of this machine only"
    raise ClusterError(
        f"MLFLOW_TRACKING_URI, {redacted(tracking_uri) or 'which is empty,'} {why}",
        allowed="an address of the tracking server that the cluster reaches, without credentials",
        action=f"write it as tracking-uri in backend_config; {token}",
    )


def unavailable(place: str, message: str) -> ClusterUnavailableError:
    """Return the error of a cluster that does not answer, or answers with a passing failure."""
    return ClusterUnavailableError(
        f"The cluster of {place} does not answer as it should: {message}",
        allowed="a cluster that answers",
        action="check the cluster; the task may simply be run again",
    )


ARCHIVE: Final = "project.tar.gz"
_READABLE, _ENTERABLE = 0o600, 0o700


def pack(folder: Path, checkout: Path, into: Path) -> Path:
    """Write ``project.tar.gz`` of a folder of a checkout into another folder; return the file.

    For one commit it has the same bytes each time. What links of the folder lead to elsewhere in
    the commit is in it as what it is.
    """
    archive = into / ARCHIVE
    with (
        archive.open("wb") as file,
        # gzip's header would hold the time and the file's name.
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
