"""Predictions of one model on the rows of a holdout, from a Parquet file or a frame.

Columns of ``predictions.parquet``: ``row_id`` (whole numbers or text, each once), ``target``,
``prediction`` and/or ``probability_<class>`` for every class; optionally ``weight`` (not below
zero), ``time``; and any others, to slice and cluster by.

Rows are put in the order of a hash of their ids. So nothing ever depends on the order in a file,
and any run of neighbours is a random sample of the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from understudy.errors import DecisionError, listed
from understudy.evidence.columns import (
    MAX_NAMES,
    MISSING,
    Column,
    Floats,
    Hashes,
    Numbers,
    Texts,
    Times,
    hash_names,
)

ROW_ID: Final = "row_id"
TARGET: Final = "target"
PREDICTION: Final = "prediction"
PROBABILITY: Final = "probability_"
WEIGHT: Final = "weight"
TIME: Final = "time"
_OWN: Final = frozenset({ROW_ID, TARGET, PREDICTION, WEIGHT})
_BATCH: Final = 1 << 18


@dataclass(frozen=True, eq=False)
class Predictions:
    """One model's predictions; every array is in the order of ``ids``.

    Attributes:
        ids: Sorted 64-bit hashes of the row ids.
        target: What was to be predicted: numbers, or names of classes.
        prediction: What was predicted; None where only probabilities were given.
        probabilities: Class name to the probability of it, row by row; empty for regression.
        weight: Weight of each row; None where all weigh the same.
        others: The other columns, by name.
        problems: Why these rows can be compared with nothing: duplicated ids, negative weights...
        notes: What else a reader should know, such as columns that were left out.
    """

    ids: NDArray[np.uint64]
    target: Column
    prediction: Column | None
    probabilities: Mapping[str, Floats]
    weight: Floats | None
    others: Mapping[str, Column]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows_sha256(self) -> str:
        """Identity of the holdout: SHA-256 of row ids and targets, whatever their order."""
        digest = hashlib.sha256(np.ascontiguousarray(self.ids, dtype="<u8").tobytes())
        digest.update(_target_bytes(self.target))
        return digest.hexdigest()


def _target_bytes(target: Column) -> bytes:
    if target.names is None:
        return np.ascontiguousarray(target.data + 0.0, dtype="<f8").tobytes()  # no minus zero
    table = np.append(hash_names(target.names), np.uint64(0)).astype("<u8")
    hashes: NDArray[np.uint64] = table[target.data]
    return hashes.tobytes()


def load(
    source: Path | str | pd.DataFrame,
    *,
    others: Collection[str] | None = None,
    keep: Collection[str] = (),
) -> Predictions:
    """Return the predictions in a Parquet file or a frame; memory is bounded by the arrays.

    Args:
        source: The file, or a frame with the same columns.
        others: Which columns to read beside the model's own; None for all.
        keep: Those of them to keep however many different texts they have.

    Raises:
        DecisionError: when it is no such file, or lacks columns that make predictions.
    """
    table = _Table.open(source)
    _check_names(table)
    wanted = [name for name in table.schema.names if others is None or name in others]
    return _sorted(_read(table, {*wanted, *keep}, frozenset(keep)))


@dataclass(frozen=True)
class _Table:
    """What is read from: a schema, a number of rows, and batches of some columns."""

    schema: pa.Schema
    rows: int
    source: pq.ParquetFile | pa.Table
    name: str

    @classmethod
    def open(cls, source: Path | str | pd.DataFrame) -> _Table:
        if isinstance(source, pd.DataFrame):
            table = pa.Table.from_pandas(source, preserve_index=False)
            return cls(table.schema, table.num_rows, table, "the frame")
        try:
            file = pq.ParquetFile(source)
        except (OSError, pa.ArrowInvalid) as error:
            raise DecisionError(
                f"Found no predictions in {source}: {error}",
                allowed="a Parquet file with a row for each row of the holdout",
                action="let validate log predictions.parquet, or name another file",
            ) from error
        return cls(file.schema_arrow, file.metadata.num_rows, file, str(source))

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        if isinstance(self.source, pa.Table):
            return iter(self.source.select(columns).to_batches(max_chunksize=_BATCH))
        return iter(self.source.iter_batches(batch_size=_BATCH, columns=columns))


def _check_names(table: _Table) -> None:
    names = table.schema.names
    lacking = [name for name in (ROW_ID, TARGET) if name not in names]
    if PREDICTION not in names and not any(name.startswith(PROBABILITY) for name in names):
        lacking.append(PREDICTION)
    if lacking:
        raise DecisionError(
            f"{table.name} lacks {listed(lacking)}; it has {listed(names)}",
            allowed="row_id, target, and prediction or probability_<class> for each class",
            action="let validate log these columns",
        )


@dataclass(frozen=True, eq=False)
class _Raw:
    """The columns in the order of the file."""

    ids: NDArray[np.uint64]
    null_ids: int
    columns: Mapping[str, Column]
    notes: tuple[str, ...]


def _read(table: _Table, wanted: Collection[str], keep: Collection[str]) -> _Raw:
    ids = Hashes(table.rows)
    builders: dict[str, Numbers | Times | Texts] = {}
    for field in table.schema:
        own = field.name in _OWN or field.name.startswith(PROBABILITY)
        if field.name != ROW_ID and (own or field.name in wanted):
            limit = None if own or field.name in keep else MAX_NAMES
            builders[field.name] = _builder(field, table, limit)
    _check_id(table)
    start = null_ids = 0
    for batch in table.batches([ROW_ID, *builders]):
        null_ids += batch[ROW_ID].null_count
        ids.add(start, _plain(batch[ROW_ID]))
        for name, builder in builders.items():
            builder.add(start, batch[name])
        start += len(batch)
    columns = {name: builder.column() for name, builder in builders.items()}
    free = [name for name, column in columns.items() if column is None]
    notes = (f"free text is not sliced by: {listed(free)}",) if free else ()
    kept = {name: column for name, column in columns.items() if column is not None}
    return _Raw(ids.values, null_ids, kept, notes)


def _plain(part: pa.Array) -> pa.Array:
    return part.dictionary_decode() if pa.types.is_dictionary(part.type) else part


def _check_id(table: _Table) -> None:
    kind = table.schema.field(ROW_ID).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_integer(kind) or _is_text(kind)):
        raise DecisionError(
            f"row_id of {table.name} is of type {kind}",
            allowed="whole numbers or text, which name a row exactly",
            action="let validate write the row's identity as text",
        )


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _builder(field: pa.Field, table: _Table, limit: int | None) -> Numbers | Times | Texts:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if numeric and not pa.types.is_dictionary(field.type):
        return Numbers(table.rows)
    if field.name == WEIGHT or field.name.startswith(PROBABILITY):
        raise DecisionError(
            f"{field.name} of {table.name} is of type {field.type}",
            allowed="numbers",
            action="let validate write numbers",
        )
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Times(table.rows)
    if numeric or _is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return Texts(table.rows, limit)
    raise DecisionError(
        f"{field.name} of {table.name} is of type {field.type}",
        allowed="numbers, text, booleans, dates and times",
        action="leave the column out, or write it as one of these",
    )


def _sorted(raw: _Raw) -> Predictions:
    order = np.argsort(raw.ids, kind="stable")
    ids = raw.ids[order]
    columns = {name: column.take(order) for name, column in raw.columns.items()}
    weight = columns[WEIGHT].data if WEIGHT in columns else None
    return Predictions(
        ids=ids,
        target=columns[TARGET],
        prediction=columns.get(PREDICTION),
        probabilities={
            name.removeprefix(PROBABILITY): column.data
            for name, column in columns.items()
            if name.startswith(PROBABILITY)
        },
        weight=weight,
        others={
            name: column
            for name, column in columns.items()
            if name not in _OWN and not name.startswith(PROBABILITY)
        },
        problems=tuple(_problems(ids, raw.null_ids, columns[TARGET], weight)),
        notes=raw.notes,
    )


def _problems(
    ids: NDArray[np.uint64], null_ids: int, target: Column, weight: Floats | None
) -> Iterator[str]:
    if not len(ids):
        yield "the holdout is empty"
        return
    if null_ids:
        yield f"{null_ids} of {len(ids)} rows have no row_id"
    elif repeated := int((ids[1:] == ids[:-1]).sum()):
        yield f"{repeated} of {len(ids)} rows repeat the row_id of another"
    if unknown := _unknown(target):
        yield f"{unknown} of {len(ids)} rows have no finite target"
    if weight is not None:
        yield from _weight_problems(weight)


def _unknown(target: Column) -> int:
    if target.is_number:
        return int((~np.isfinite(target.data)).sum())
    return int((np.isnat(target.data) if target.is_time else target.data == MISSING).sum())


def _weight_problems(weight: Floats) -> Iterator[str]:
    if bad := int((~np.isfinite(weight)).sum()):
        yield f"{bad} of {len(weight)} weights are missing or infinite"
    elif negative := int((weight < 0).sum()):
        yield f"{negative} of {len(weight)} weights are below zero"
    elif not weight.any():
        yield "all weights are zero"


def frame_of(predictions: Predictions, rows: Any = slice(None)) -> pd.DataFrame:  # noqa: ANN401
    """Return rows as a frame with the columns of ``predictions.parquet``, all but ``row_id``."""
    columns: dict[str, Any] = {TARGET: predictions.target.take(rows).to_pandas()}
    if predictions.prediction is not None:
        columns[PREDICTION] = predictions.prediction.take(rows).to_pandas()
    for name, values in predictions.probabilities.items():
        columns[PROBABILITY + name] = values[rows]
    if predictions.weight is not None:
        columns[WEIGHT] = predictions.weight[rows]
    columns |= {name: c.take(rows).to_pandas() for name, c in predictions.others.items()}
    return pd.DataFrame(columns)
