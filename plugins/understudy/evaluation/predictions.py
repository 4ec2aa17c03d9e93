"""Predictions of one model on the rows of a holdout, from a Parquet file or a frame.

Columns of ``predictions.parquet``: ``row_id`` (whole numbers or text, each once), ``target``,
``prediction`` and/or ``probability_<class>`` for every class; optionally ``weight`` (not below
zero), ``time``; and any others, to slice and cluster by.

Rows are put in the order of a hash of their ids. So nothing ever depends on the order in a file,
and any run of neighbours is a random sample of the rows.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from understudy.errors import DecisionError, listed
from understudy.evaluation.columns import (
    MAX_NAMES,
    MISSING,
    Column,
    Floats,
    Hashes,
    Index,
    Numbers,
    Texts,
    Times,
    hash_names,
)
from understudy.gate.evidence import Earlier

_BATCH: Final = 1 << 18
_Builder = Numbers | Times | Texts


@dataclass(frozen=True)
class ColumnSource:
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
    def open(cls, source: Path | str | pd.DataFrame) -> ColumnSource:
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
class ColumnSelection:
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


def read(table: ColumnSource, row_id: str, selection: ColumnSelection) -> Raw:
    """Return the columns.

    Args:
        table: Where they are.
        row_id: The column that is hashed.
        selection: The others.

    Raises:
        DecisionError: when the source cannot be read, or a column is of a type that cannot be.
    """
    kind = _kind(table.schema.field(row_id).type)
    # Not floats: two ids that differ beyond the 53rd bit would be one.
    if not (pa.types.is_integer(kind) or _is_text(kind)):
        raise DecisionError(
            f"{row_id} of {table.name} is of type {kind}",
            allowed="whole numbers or text, which name a row exactly",
            action="let validate write the row's identity as text",
        )
    builders = _builders(table, row_id, selection)
    ids = Hashes(table.rows)
    try:
        null_ids = _filled(table, row_id, ids, builders)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(table.name, error) from error
    columns = {name: builder.column() for name, builder in builders.items()}
    kept = {name: column for name, column in columns.items() if column is not None}
    read_or_own = {*builders, *selection.own}
    notes = [
        *_left_out("free text is not sliced by", columns.keys() - kept.keys()),
        *_left_out("columns that are no numbers, text or times", {*selection.others} - read_or_own),
    ]
    return Raw(ids.values, null_ids, kept, tuple(notes))


def _left_out(why: str, names: Collection[str]) -> Iterator[str]:
    if names:
        yield f"{why}: {listed(names)}"


def _filled(table: ColumnSource, row_id: str, ids: Hashes, builders: dict[str, _Builder]) -> int:
    """Fill the builders from the batches; return how many ids are missing."""
    start = null_ids = 0
    for batch in table.batches([row_id, *builders]):
        part = batch[row_id]
        null_ids += part.null_count
        ids.add(start, part.dictionary_decode() if pa.types.is_dictionary(part.type) else part)
        for name, builder in builders.items():
            builder.add(start, batch[name])
        start += len(batch)
    return null_ids


def _kind(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _builders(table: ColumnSource, row_id: str, selection: ColumnSelection) -> dict[str, _Builder]:
    builders: dict[str, _Builder] = {}
    for field in table.schema:
        if field.name == row_id or field.name not in {*selection.own, *selection.others}:
            continue
        endless = field.name in selection.own or field.name in selection.keep
        builder = _builder(field.type, table.rows, None if endless else MAX_NAMES)
        # No metric takes the difference of two times, nor is a time a class.
        if field.name in selection.own and (builder is None or isinstance(builder, Times)):
            raise DecisionError(
                f"{field.name} of {table.name} is of type {field.type}",
                allowed="numbers, or text and booleans for classes",
                action="let validate write one of these, such as seconds in place of a time",
            )
        if builder is not None:
            builders[field.name] = builder
    return builders


def _builder(stored: pa.DataType, rows: int, limit: int | None) -> _Builder | None:
    kind = _kind(stored)
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    # Numbers stored as a dictionary are a categorical column, whose values are names.
    if numeric and not pa.types.is_dictionary(stored):
        return Numbers(rows)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Times(rows)
    if numeric or _is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return Texts(rows, limit)
    return None


ROW_ID: Final = "row_id"
TARGET: Final = "target"
PREDICTION: Final = "prediction"
PROBABILITY: Final = "probability_"
WEIGHT: Final = "weight"
TIME: Final = "time"
_OWN: Final = frozenset({ROW_ID, TARGET, PREDICTION, WEIGHT})


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
        # Little-endian, so that the digest is the same on every machine.
        digest = hashlib.sha256(np.ascontiguousarray(self.ids, dtype="<u8").tobytes())
        target = self.target
        if target.names is None:
            # Adding zero turns -0.0 into 0.0, which is equal and has other bytes.
            digest.update(np.ascontiguousarray(target.data + 0.0, dtype="<f8").tobytes())
        else:
            # Hashes of the names and not their codes, which depend on the order of the file.
            table = np.append(hash_names(target.names), np.uint64(0)).astype("<u8")
            digest.update(table[target.data].tobytes())
        return digest.hexdigest()

    @property
    def rows_sample(self) -> str:
        """The least row ids, as text: two holdouts share as many of these as of all their rows.

        Ids are hashes, so the least ones are drawn at random, and of every holdout in the same way:
        a bottom-k sample (Cohen and Kaplan, "Summarizing Data using Bottom-k Sketches", PODC 2007).
        """
        least = np.sort(self.ids)[:_SAMPLED]
        return base64.b64encode(np.ascontiguousarray(least, dtype="<u8").tobytes()).decode()


_SAMPLED: Final = 128
"""Rows by which overlaps are estimated: to 4 % of the rows at the worst (standard error)."""


def overlapping(rows: Predictions, earlier: Mapping[str, Earlier]) -> float:
    """Return as how many more the challengers count that were compared on a part of the rows.

    A row's k-th comparison spends 6 / (pi^2 k^2) of the error rate, see ``alpha_of``, and a
    comparison what its rows spend on average. Over all comparisons that adds up to the error rate
    for as many different rows as a holdout has, however holdouts overlap: each row spends no more
    than the whole of it (Basel problem), and the union bound needs no independence.

    Args:
        rows: Those of tonight's holdout.
        earlier: By the digest of their holdout.
    """
    whole = earlier.get(rows.rows_sha256)
    if whole is not None and whole.overlapping is not None:
        return whole.overlapping
    same = 0 if whole is None else whole.count
    ours, times = _sample(rows.rows_sample), np.full(min(len(rows), _SAMPLED), float(same))
    for digest, one in earlier.items():
        if digest != rows.rows_sha256 and one.rows and len(ours):
            theirs = _sample(one.rows)
            # What lies above the last id of a sample that is full is not known to be in it or not:
            # there as often as below it, and always where nothing lies below it.
            known = (ours <= theirs[-1]) | (len(theirs) < _SAMPLED)
            shared = np.isin(ours, theirs)
            elsewhere = shared[known].mean() if known.any() else 1.0
            times += one.count * np.where(known, shared, elsewhere)
    if not len(ours):
        return 0.0
    # The number of whole holdouts that spends as much: of mean(1 / k^2) = 1 / (number + 1)^2.
    return max(float(np.mean((times + 1) ** -2.0) ** -0.5) - 1 - same, 0.0)


def _sample(text: str) -> NDArray[np.uint64]:
    return np.frombuffer(base64.b64decode(text), dtype="<u8")


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
    table = ColumnSource.open(source)
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
    own = [name for name in names if _is_own(name)]
    read_too = [name for name in names if others is None or name in {*others, *keep}]
    return _sorted(read(table, ROW_ID, ColumnSelection(own, read_too, keep)))


def other_values(source: Path | str | pd.DataFrame) -> int:
    """Return how many values there are in the columns beside the model's own.

    Raises:
        DecisionError: when it is no such file.
    """
    table = ColumnSource.open(source)
    return table.rows * sum(not _is_own(name) for name in table.schema.names)


def _is_own(name: str) -> bool:
    return name in _OWN or name.startswith(PROBABILITY)


def taken(predictions: Predictions, rows: Index) -> Predictions:
    """Return some of the rows, in their order, with what is wrong with these alone."""
    weight = None if predictions.weight is None else predictions.weight[rows]
    ids, target = predictions.ids[rows], predictions.target.take(rows)
    shares = predictions.probabilities.items()
    return replace(
        predictions,
        ids=ids,
        target=target,
        prediction=None if predictions.prediction is None else predictions.prediction.take(rows),
        probabilities={name: share[rows] for name, share in shares},
        weight=weight,
        others={name: column.take(rows) for name, column in predictions.others.items()},
        # Rows without an id have one in common: two of them repeat it.
        problems=tuple(_problems(ids, 0, target, weight)),
    )


def _sorted(raw: Raw) -> Predictions:
    """Put rows in the order of their ids, column after column, so that few are there twice."""
    # By a hash of the ids: the same for both models, whatever order each wrote its file in.
    order = np.argsort(raw.ids, kind="stable")
    ids = raw.ids[order]
    # Taken out of the dictionary one by one: at no time are all columns there twice.
    columns = {name: raw.columns.pop(name).take(order) for name in list(raw.columns)}
    weight = _numbers(columns, WEIGHT) if WEIGHT in columns else None
    return Predictions(
        ids=ids,
        target=columns[TARGET],
        prediction=columns.get(PREDICTION),
        probabilities={
            name.removeprefix(PROBABILITY): _numbers(columns, name)
            for name in columns
            if name.startswith(PROBABILITY)
        },
        weight=weight,
        others={name: column for name, column in columns.items() if not _is_own(name)},
        problems=tuple(_problems(ids, raw.null_ids, columns[TARGET], weight)),
        notes=raw.notes,
    )


def _numbers(columns: Mapping[str, Column], name: str) -> Floats:
    if columns[name].is_number:
        return columns[name].data
    raise DecisionError(
        f"The column {name!r} of the predictions holds no numbers",
        allowed="numbers",
        action="let validate write numbers",
    )


def _problems(
    ids: NDArray[np.uint64], null_ids: int, target: Column, weight: Floats | None
) -> Iterator[str]:
    if not len(ids):
        yield "the holdout is empty"
        return
    # Rows without an id all hash to the same value and would be counted as repeated, too.
    if null_ids:
        yield f"{null_ids} of {len(ids)} rows have no row_id"
    elif repeated := int((ids[1:] == ids[:-1]).sum()):
        yield f"{repeated} of {len(ids)} rows repeat the row_id of another"
    if unknown := _unknown(target):
        yield f"{unknown} of {len(ids)} rows have no finite target"
    if weight is None:
        return
    if bad := int((~np.isfinite(weight)).sum()):
        yield f"{bad} of {len(weight)} weights are missing or infinite"
    elif negative := int((weight < 0).sum()):
        yield f"{negative} of {len(weight)} weights are below zero"
    elif not weight.any():
        yield "all weights are zero"


def _unknown(target: Column) -> int:
    if target.is_number:
        return int((~np.isfinite(target.data)).sum())
    return int((np.isnat(target.data) if target.is_time else target.data == MISSING).sum())


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
