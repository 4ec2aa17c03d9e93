"""Tells before rows are read whether they certainly do not fit into memory.

The kernel would end the process without a word. Reads what memory is free, and the sizes of files.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from shared.errors import DataError

_CELL = 8  # bytes of a number, and of where a text begins
_COPIES = 2
"""Rows are there twice at least: as they are read and as a frame, or as a frame and its parts."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files with the memory of a container, of both versions of control groups."""


def free_memory() -> int:
    """Return the bytes that the machine has free, at most those of the container."""
    import psutil

    limits = [Path(name).read_text().strip() for name in _LIMITS if Path(name).is_file()]
    # "max" stands for no limit. What a container uses is not taken off: it counts cached files.
    most = [int(limit) for limit in limits if limit.isdigit()]
    return min([int(psutil.virtual_memory().available), *most])


def check_parquet(paths: Sequence[Path], free: int | None = None) -> None:
    """Check that the rows of Parquet files may fit into memory.

    Args:
        paths: the files of one table.
        free: bytes of memory that may be used; None: what the machine, or its container, has.

    Raises:
        DataError: if they certainly do not.
        pyarrow.ArrowInvalid, OSError: if one is no Parquet file.
    """
    known = [pa.parquet.read_metadata(path) for path in paths]
    cells = sum(one.num_rows * one.num_columns for one in known)
    rows = f"{sum(one.num_rows for one in known):,} rows of {known[0].num_columns:,} columns"
    _check(_COPIES * _CELL * cells, rows, free)


def check_csv(paths: Sequence[Path], free: int | None = None) -> None:
    """Check that the rows of CSV files may fit into memory: each text in it, and what it means.

    Raises:
        DataError: if they certainly do not.
    """
    size = sum(path.stat().st_size for path in paths)
    _check(_COPIES * size, f"{size:,} bytes of CSV", free)


def _check(needed: int, what: str, free: int | None) -> None:
    there = free_memory() if free is None else free
    if needed > there:
        raise DataError(
            f"{what} need at least {needed / 1e9:.1f} GB of memory, and {there / 1e9:.1f} GB are"
            " free",
            allowed="what fits into the memory of this machine",
            action="bring fewer rows or columns, take a machine with more memory, or do the work on"
            " a cluster with a program of your own",
        )
