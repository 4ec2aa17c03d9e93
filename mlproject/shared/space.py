"""Recognises a full disk and says what would have been needed. Touches nothing but disk figures."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_full(error: BaseException) -> bool:
    """Whether the error means that the disk, quota or file-size limit is used up."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextmanager
def room_for(folder: Path, needed: int) -> Iterator[None]:
    """Within this block, a full disk becomes a StorageError that names folder and bytes.

    Args:
        folder: where the block writes.
        needed: bytes that it is going to write; 0 means unknown.
    """
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise no_room(folder, needed) from error


def no_room(folder: Path, needed: int) -> StorageError:
    """Return the error for a folder in which `needed` bytes (0: unknown) find no room."""
    amount = f"{needed:,} bytes" if needed else "the data"
    return StorageError(
        f"no room for {amount} in {folder} ({shutil.disk_usage(folder).free:,} bytes free)",
        allowed="a temporary folder with enough room",
        action="free space, or set TMPDIR to a larger disk, then run again",
    )
