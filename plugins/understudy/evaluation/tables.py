"""Reads columns from a Parquet file or a frame, batch by batch, in the order in which they lie."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from understudy.errors import DecisionError, listed
from understudy.evaluation.columns import MAX_NAMES, Column, Hashes, Numbers, Texts, Times

_BATCH: Final = 1 << 18
_Builder = Numbers | Times | Texts


@dataclass(frozen=True)
class Table:
    """What is read from.

    Attributes:
        schema: Names and types.
        rows: How many there are.
        source: Gives batches of some columns.
        name: For a person.
    """

    schema: pa.Schema
    rows: int
    source: pq.ParquetFile | pa.Table
    name: str

    @classmethod
    def open(cls, source: Path | str | pd.DataFrame) -> Table:
        """Return a file or a frame, nothing of which but its schema has been read.

        Raises:
            DecisionError: when there is no such file, or it is none.
        """
        if isinstance(source, pd.DataFrame):
            table = pa.Table.from_pandas(source, preserve_index=False)
            return cls(table.schema, table.num_rows, table, "the frame")
        try:
            file = pq.ParquetFile(source)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(str(source), error) from error
        return cls(file.schema_arrow, file.metadata.num_rows, file, str(source))

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield some rows of some columns after others."""
        if isinstance(self.source, pa.Table):
            return iter(self.source.select(columns).to_batches(max_chunksize=_BATCH))
        return iter(self.source.iter_batches(batch_size=_BATCH, columns=columns))


def _unreadable(name: str, error: Exception) -> DecisionError:
    return DecisionError(
        f"Found no predictions in {name}: {error}",
        allowed="a Parquet file with a row for each row of the holdout",
        action="let validate log predictions.parquet, or name another file",
    )


@dataclass(frozen=True)
class Wanted:
    """Which columns to read.

    Attributes:
        own: The model's own, which must be readable.
        others: More of them; what cannot be used of these is left out.
        keep: Those of them to keep however many different texts they have.
    """

    own: Collection[str]
    others: Collection[str]
    keep: Collection[str]


@dataclass(frozen=True, eq=False)
class Raw:
    """Columns in the order of the source; whoever takes them may empty the dictionary."""

    ids: NDArray[np.uint64]
    null_ids: int
    columns: dict[str, Column]
    notes: tuple[str, ...]


def read(table: Table, row_id: str, wanted: Wanted) -> Raw:
    """Return the columns.

    Args:
        table: Where they are.
        row_id: The column that is hashed.
        wanted: The others.

    Raises:
        DecisionError: when the source cannot be read, or a column is of a type that cannot be.
    """
    _check_id(table, row_id)
    builders = _builders(table, row_id, wanted)
    ids = Hashes(table.rows)
    try:
        null_ids = _filled(table, row_id, ids, builders)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(table.name, error) from error
    columns = {name: builder.column() for name, builder in builders.items()}
    kept = {name: column for name, column in columns.items() if column is not None}
    read_or_own = {*builders, *wanted.own}
    notes = [
        *_left_out("free text is not sliced by", columns.keys() - kept.keys()),
        *_left_out("columns that are no numbers, text or times", {*wanted.others} - read_or_own),
    ]
    return Raw(ids.values, null_ids, kept, tuple(notes))


def _left_out(why: str, names: Collection[str]) -> Iterator[str]:
    if names:
        yield f"{why}: {listed(names)}"


def _filled(table: Table, row_id: str, ids: Hashes, builders: dict[str, _Builder]) -> int:
    """Fill the builders from the batches; return how many ids are missing."""
    start = null_ids = 0
    for batch in table.batches([row_id, *builders]):
        null_ids += batch[row_id].null_count
        ids.add(start, _plain(batch[row_id]))
        for name, builder in builders.items():
            builder.add(start, batch[name])
        start += len(batch)
    return null_ids


def _plain(part: pa.Array) -> pa.Array:
    return part.dictionary_decode() if pa.types.is_dictionary(part.type) else part


def _check_id(table: Table, row_id: str) -> None:
    kind = _kind(table.schema.field(row_id).type)
    if not (pa.types.is_integer(kind) or _is_text(kind)):
        raise DecisionError(
            f"{row_id} of {table.name} is of type {kind}",
            allowed="whole numbers or text, which name a row exactly",
            action="let validate write the row's identity as text",
        )


def _kind(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _builders(table: Table, row_id: str, wanted: Wanted) -> dict[str, _Builder]:
    builders: dict[str, _Builder] = {}
    for field in table.schema:
        if field.name == row_id or field.name not in {*wanted.own, *wanted.others}:
            continue
        endless = field.name in wanted.own or field.name in wanted.keep
        builder = _builder(field.type, table.rows, None if endless else MAX_NAMES)
        if builder is not None:
            builders[field.name] = builder
        elif field.name in wanted.own:
            raise DecisionError(
                f"{field.name} of {table.name} is of type {field.type}",
                allowed="numbers, text, booleans, dates and times",
                action="let validate write one of these",
            )
    return builders


def _builder(stored: pa.DataType, rows: int, limit: int | None) -> _Builder | None:
    kind = _kind(stored)
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if numeric and not pa.types.is_dictionary(stored):
        return Numbers(rows)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Times(rows)
    if numeric or _is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return Texts(rows, limit)
    return None
