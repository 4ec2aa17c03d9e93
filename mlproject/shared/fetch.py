"""Fetches one file over http: streamed, resumed, complete, and with the right checksum.

Memory is bounded by one block. A transfer that breaks is continued with a Range request where the
server can, else begun anew. Touches the network and the given folder.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

from shared.addresses import MIRROR, without_secrets
from shared.errors import DataError, ParameterError, UnavailableError, short
from shared.space import no_room, room_for

BLOCK = 1 << 18  # bytes
TRIES = 4
TIMEOUT = (10.0, 60.0)  # seconds to connect, seconds without a byte
RESUMED, WHOLE, RANGE_REFUSED = 206, 200, 416
CLIENT_ERROR = 4  # the hundreds of the status
WORTH_A_RETRY = {408, 425, 429}  # too slow, too early, too many
_OUTSIDE = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    urllib3.exceptions.HTTPError,
)


class _BrokenError(Exception):
    """The transfer ended early; another try may go on from where it stopped."""


@dataclass
class _Transfer:
    """One file on its way: what is there already and by which mark the server knows it."""

    url: str
    path: Path
    mark: str = ""
    total: int = 0

    @property
    def there(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def shown(self) -> str:
        return without_secrets(self.url)


def fetch(
    url: str, path: Path, *, sleep: Callable[[float], None] = time.sleep, tries: int = TRIES
) -> Path:
    """Fetch `url` into the file `path` and return it.

    Args:
        url: http or https address.
        path: file to write; its folder exists.
        sleep: waits the given seconds between tries.
        tries: how often to begin or resume.

    Raises:
        ParameterError: the address does not exist (404, 410) or may not be read (401, 403).
        DataError: the answer is an HTML page.
        UnavailableError: no complete answer after all tries.
        StorageError: no room in the folder.
    """
    transfer = _Transfer(url, path)
    for number in range(tries):
        if number:
            sleep(0.5 * 2.0 ** (number - 1))
        try:
            _attempt(transfer)
        except (_BrokenError, *_OUTSIDE) as error:
            reason = error
        except requests.exceptions.RequestException as error:
            raise ParameterError(
                f"{transfer.shown} cannot be fetched: {_short(error)}",
                allowed="an http or https address that leads to a file",
                action="correct the address, or set UNDERSTUDY_DATA_MIRROR to a copy",
            ) from error
        else:
            return path
    raise UnavailableError(
        f"{transfer.shown} did not answer completely in {tries} tries "
        f"({transfer.there:,} of {transfer.total or 'unknown'} bytes): {_short(reason)}",
        allowed="a server that sends the whole file",
        action="try again later, or set UNDERSTUDY_DATA_MIRROR to a copy",
    ) from reason


def _attempt(transfer: _Transfer) -> None:
    headers = {"Accept-Encoding": "identity"}
    start = transfer.there
    if start and transfer.mark:
        headers |= {"Range": f"bytes={start}-", "If-Range": transfer.mark}
    with requests.get(transfer.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == RANGE_REFUSED:
            transfer.path.unlink()
            raise _BrokenError("the server refused to resume")
        _check_status(answer, transfer)
        resumed = answer.status_code == RESUMED
        # Only a strong mark proves that the rest belongs to the part that is here already.
        tag = answer.headers.get("ETag", "")
        transfer.mark = answer.headers.get("Last-Modified", "") if tag.startswith("W/") else tag
        length = int(answer.headers.get("Content-Length") or 0)
        transfer.total = length + (start if resumed else 0)
        with room_for(transfer.path.parent, transfer.total):
            _write(answer, transfer, "ab" if resumed else "wb")


def _write(answer: requests.Response, transfer: _Transfer, mode: str) -> None:
    if transfer.total - transfer.there > shutil.disk_usage(transfer.path.parent).free:
        raise no_room(transfer.path.parent, transfer.total)
    with transfer.path.open(mode) as file:
        # What comes as it comes, so that a broken connection loses nothing that was here.
        while block := answer.raw.read1(BLOCK):
            file.write(block)
    if transfer.total and transfer.there != transfer.total:
        raise _BrokenError(f"{transfer.there:,} of {transfer.total:,} bytes came")


def _check_status(answer: requests.Response, transfer: _Transfer) -> None:
    status = answer.status_code
    if status // 100 == CLIENT_ERROR and status not in WORTH_A_RETRY:
        raise ParameterError(
            f"{transfer.shown} answered {status} {answer.reason}",
            allowed="an address that answers with the file",
            action=_cure(transfer.url),
        )
    if status not in {WHOLE, RESUMED}:
        raise _BrokenError(f"status {status} {answer.reason}")
    if answer.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise html_error(transfer.shown)


def _cure(url: str) -> str:
    mirror = os.environ.get(MIRROR, "")
    if mirror and url.startswith(mirror):
        return f"that is the mirror, which has no such file: put it there, or unset {MIRROR}"
    return f"correct the address, or set {MIRROR} to a copy"


def html_error(address: str) -> DataError:
    """Return the error for an address that gave a web page instead of data."""
    return DataError(
        f"{address} gave an HTML page, not data (often a login or an error page)",
        allowed="the file itself",
        action="open the address in a browser, find the direct link, or download by hand",
    )


def check_sha256(path: Path, expected: str, address: str) -> None:
    """Check that the file has the expected SHA-256.

    Raises:
        DataError: if it has not.
    """
    digest = sha256(path)
    if digest == expected:
        return
    with path.open("rb") as file:
        if looks_like_html(file.read(512)):
            raise html_error(without_secrets(address))
    raise DataError(
        f"the checksum of {without_secrets(address)} is {digest} ({path.stat().st_size:,} bytes)",
        allowed=f"the pinned SHA-256 {expected}",
        action="get the original file; if its publisher changed it, look at the change and pin it",
    )


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def looks_like_html(start: bytes) -> bool:
    """Whether a file that begins with these bytes is a web page."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml"))


def _short(error: Exception) -> str:
    return short(str(error)) or type(error).__name__
