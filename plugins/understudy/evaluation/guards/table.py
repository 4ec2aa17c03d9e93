"""Reads a Parquet file of rows in bounded memory: a sample of one column, or all rows as digests.

Which rows are in a sample depends on the rows alone, by a hash of their identity: not on their
order, the night or the machine. Touches only the file it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from understudy.errors import DecisionError, nearest

SAMPLE_ROWS: Final = 200_000
"""Rows of a sample. Distances between distributions then err by less than 0.01."""
CELLS_AT_ONCE: Final = 500_000
_HASHES: Final = float(2**64)

Digests = np.ndarray[Any, np.dtype[np.uint64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


class ValueKind(StrEnum):
    """What a column holds, as far as comparing needs to know."""

    NUMBER = "number"
    TEXT = "text"
    TIME = "time"
    EMPTY = "nothing"
    OTHER = "other"


class RowTable:
    """The rows of one Parquet file.

    Args:
        path: The file.
        row_id: Column that names each row; '' or the name of no column where rows have none.

    Raises:
        DecisionError: when it is no Parquet file.
    """

    def __init__(self, path: Path, row_id: str = "") -> None:
        try:
            # Without the buffer, which would keep everything that was read.
            self._file = pq.ParquetFile(path, pre_buffer=False)
        except (OSError, pa.ArrowInvalid) as error:
            raise DecisionError(
                f"{path.name} cannot be read as Parquet: {str(error)[:300]}",
                allowed="a Parquet file with a row per example",
                action="look at what the step preprocess logged",
            ) from error
        schema = self._file.schema_arrow
        self.kinds = {field.name: _kind(field.type) for field in schema}
        self.rows = int(self._file.metadata.num_rows)
        self._row_id = row_id if row_id in self.kinds else ""

    @property
    def has_identities(self) -> bool:
        """Whether rows have names. A whole number may be a mere count of the rows of one file."""
        return self.kinds.get(self._row_id) is ValueKind.TEXT

    @property
    def content(self) -> tuple[str, ...]:
        """The columns that are no row's name, sorted."""
        return tuple(sorted(name for name in self.kinds if name != self._row_id))

    @property
    def sampled_rows(self) -> int:
        """How many rows ``column`` returns."""
        return self.rows if self._sample is None else int(self._sample.sum())

    def column(self, name: str) -> pd.Series[Any]:
        """Return a column's values in the sample: numbers as float64, times as UTC, else text.

        Missing values are NaN, NaT or None; infinite numbers are missing.

        Raises:
            DecisionError: when there is no such column.
        """
        if name not in self.kinds:
            raise DecisionError(
                f"The rows have no column {name!r}{nearest(name, self.kinds)}",
                allowed=", ".join(map(repr, self.kinds))[:1000],
                action="look at what the step preprocess logged",
            )
        parts, start = [], 0
        for batch in self._file.iter_batches(CELLS_AT_ONCE, columns=[name]):
            values = _plain(batch.column(0), self.kinds[name])
            if self._sample is not None:
                values = values.filter(pa.array(self._sample[start : start + len(batch)]))
            start += len(batch)
            parts.append(values)
        return _series(parts, self.kinds[name])

    def newest(self, name: str) -> pd.Timestamp | None:
        """Return the latest time in a column of times, of all rows; None where it has none."""
        if self.kinds.get(name) is not ValueKind.TIME:
            return None
        latest = [
            pc.max(_plain(batch.column(0), ValueKind.TIME)).as_py()
            for batch in self._file.iter_batches(CELLS_AT_ONCE, columns=[name])
        ]
        known = [time for time in latest if time is not None]
        return pd.Timestamp(max(known)) if known else None

    @cached_property
    def identities(self) -> Digests:
        """A digest of each row's name, in the order of the file: eight bytes a row, kept."""
        return np.concatenate([np.array([], dtype="uint64"), *self.digests([self._row_id])])

    def digests(self, columns: Sequence[str]) -> Iterator[Digests]:
        """Yield a 64-bit digest of each row's values, batch by batch, in the order of the file.

        Equal values have equal digests however they are stored: 5, 5.0 and a nullable 5 agree.
        It is pandas' hash, quick and not cryptographic: two of a million rows agree by chance with
        a probability of 3e-8.
        """
        # Batches by cells and not by rows, so that a wide table needs no more memory than a narrow
        # one.
        size = max(1, CELLS_AT_ONCE // len(columns))
        for batch in self._file.iter_batches(size, columns=list(columns)):
            frame = {name: _hashable(batch.column(name), self.kinds[name]) for name in columns}
            hashed = pd.util.hash_pandas_object(pd.DataFrame(frame), index=False)
            yield np.asarray(hashed, dtype=np.uint64)

    @cached_property
    def _sample(self) -> Mask | None:
        """Which rows are in the sample; None for all."""
        if self.rows <= SAMPLE_ROWS:
            return None
        # A hash is as good as a random number, and the same row draws the same one on every night.
        limit = np.uint64(_HASHES * SAMPLE_ROWS / self.rows)
        if self._row_id:
            return self.identities < limit
        # Without names there is only a row's place in the file.
        numbers = pd.util.hash_array(np.arange(self.rows, dtype="int64"))
        return np.asarray(numbers < limit)


_KINDS: Final[Mapping[ValueKind, Sequence[Callable[[pa.DataType], bool]]]] = {
    ValueKind.EMPTY: (pa.types.is_null,),
    ValueKind.NUMBER: (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_boolean,
    ),
    ValueKind.TEXT: (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    ValueKind.TIME: (pa.types.is_timestamp, pa.types.is_date),
}


def _kind(type_: pa.DataType) -> ValueKind:
    if pa.types.is_dictionary(type_):
        return _kind(type_.value_type)
    kinds = (kind for kind, tests in _KINDS.items() if any(test(type_) for test in tests))
    return next(kinds, ValueKind.OTHER)


def _plain(values: pa.Array, kind: ValueKind) -> pa.Array:
    """Return values in the one type that their kind is compared in."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if kind is ValueKind.NUMBER:
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.int8())
        return values.cast(pa.float64(), safe=False)
    if kind is ValueKind.TIME:
        utc = values.type.tz if pa.types.is_timestamp(values.type) else None
        plain = values.cast(pa.timestamp("us", tz=utc), safe=False)
        return plain if utc else pc.assume_timezone(plain, "UTC")
    if kind is ValueKind.TEXT:
        return values.cast(pa.string())
    return pc.is_valid(values)


def _series(parts: Sequence[pa.Array], kind: ValueKind) -> pd.Series[Any]:
    whole = pa.chunked_array(parts) if parts else pa.chunked_array([pa.array([], pa.float64())])
    series: pd.Series[Any] = whole.to_pandas()
    if kind is ValueKind.NUMBER:
        return series.where(np.isfinite(series))
    if kind in {ValueKind.EMPTY, ValueKind.OTHER}:
        # ``_plain`` left only whether there is a value.
        return series.astype("float64").where(series)
    return series


def _hashable(values: pa.Array, kind: ValueKind) -> Any:  # noqa: ANN401 -- an array of any type
    if kind is ValueKind.OTHER:
        return np.array([str(value) for value in values.to_pylist()], dtype=object)
    plain = _plain(values, kind)
    if kind is ValueKind.TEXT:
        return plain.to_numpy(zero_copy_only=False)
    if kind is ValueKind.TIME:
        return plain.cast(pa.int64()).to_numpy(zero_copy_only=False).astype("float64")
    numbers = plain.cast(pa.float64()).to_numpy(zero_copy_only=False)
    # Equal values must have equal bytes: one NaN of the many, and 0.0 for -0.0.
    return np.where(np.isnan(numbers), np.nan, numbers + 0.0)


__all__ = ["SAMPLE_ROWS", "Digests", "RowTable", "ValueKind"]
