"""Keeps images in Parquet: written and read a batch at a time, so that a set need not fit memory.

A row is an image: `pixels` (its bytes: row by row, within it column by column, within it channel by
channel), `label` (name of the class), and either `part` (raw images) or `row_id` (split ones). The
shape stands in the facts beside the file. Touches only the files it is asked to read or write.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from images.batches import IMAGES, Pixels
from shared.errors import DataError

PART, ROW_ID = "part", "row_id"
_GROUP = 1 << 23  # bytes of pixels in a row group, the least that is read at once
_GROUPS_TOGETHER = 8  # that are shuffled together
Shape = tuple[int, int, int]
"""Rows and columns in pixels, and channels."""


@dataclass(frozen=True)
class Images:
    """Some images, as a table has them.

    Attributes:
        pixels: uint8 of shape (images, rows, columns, channels).
        labels: class name of each image.
        marks: part or row id of each image.
    """

    pixels: Pixels
    labels: list[str]
    marks: list[str]

    def chosen(self, numbers: "np.ndarray[Any, np.dtype[np.int64]]") -> "Images":
        """Return the images of these numbers, in their order."""
        kept = numbers.tolist()
        return Images(
            self.pixels[numbers], [self.labels[i] for i in kept], [self.marks[i] for i in kept]
        )


class Writer:
    """Appends images to one file.

    Attributes:
        images: how many were written.
    """

    def __init__(self, writer: pq.ParquetWriter, shape: Shape, mark: str) -> None:
        self.images = 0
        self._writer, self._shape, self._mark = writer, shape, mark
        self._waiting: list[pa.RecordBatch] = []

    def write(self, some: Images) -> None:
        """Append images.

        Raises:
            DataError: if they have another shape than the first ones.
        """
        if some.pixels.shape[1:] != self._shape:
            raise DataError(
                f"some images have the shape {some.pixels.shape[1:]}, the first {self._shape}",
                allowed="one shape (rows, columns, channels) for all images",
                action="bring all images, those of the test too, to one size and as many channels",
            )
        self._waiting.append(_record(some, self._shape, self._mark))
        self.images += len(some.labels)
        if sum(record.nbytes for record in self._waiting) >= _GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what waits for a row group to become full."""
        if self._waiting:
            table = pa.Table.from_batches(self._waiting)
            self._writer.write_table(table, max(len(table), 1))
            self._waiting = []


@contextmanager
def writing(path: Path, shape: Shape, mark: str) -> Iterator[Writer]:
    """Open a file for images of one shape.

    Args:
        path: the Parquet file.
        shape: of every image.
        mark: name of the third column, `PART` or `ROW_ID`.
    """
    columns = [("pixels", pa.binary(prod(shape))), ("label", pa.string()), (mark, pa.string())]
    # Pixels compress badly as a dictionary, and fast with zstd.
    with pq.ParquetWriter(
        path, pa.schema(columns), compression="zstd", use_dictionary=["label"]
    ) as writer:
        made = Writer(writer, shape, mark)
        yield made
        made.flush()


def read(path: Path, shape: Shape, mark: str, rows: int = IMAGES) -> Iterator[Images]:
    """Yield the images of a file in their order, `rows` at a time.

    Raises:
        DataError: if there is no such file, or its rows are no images of this shape.
    """
    with _opened(path) as file:
        columns = _columns(file, path, shape, mark)
        for record in file.iter_batches(rows, columns=columns):
            yield _images(record, shape, mark)


def read_shuffled(
    path: Path, shape: Shape, mark: str, random: np.random.Generator
) -> Iterator[Images]:
    """Yield the images of a file in random order, some 64 MB at a time.

    Row groups are put into random order, and the images of those that are read together are mixed:
    a set that fits into one such window is shuffled evenly, of a larger one no more is in memory.

    Raises:
        DataError: as `read`.
    """
    with _opened(path) as file:
        columns = _columns(file, path, shape, mark)
        order = random.permutation(file.num_row_groups).tolist()
        for first in range(0, len(order), _GROUPS_TOGETHER):
            window = file.read_row_groups(order[first : first + _GROUPS_TOGETHER], columns)
            for record in window.combine_chunks().to_batches():
                images = _images(record, shape, mark)
                yield images.chosen(random.permutation(len(images.labels)))


def _columns(file: pq.ParquetFile, path: Path, shape: Shape, mark: str) -> list[str]:
    """Return the columns of an image.

    Raises:
        DataError: if the file does not have them.
    """
    columns = ["pixels", "label", mark]
    schema = file.schema_arrow
    if not set(columns) <= set(schema.names):
        raise _other(path, f"has the columns {', '.join(schema.names)}")
    if schema.field("pixels").type != pa.binary(prod(shape)):
        raise _other(path, f"has pixels of type {schema.field('pixels').type}")
    return columns


def count(path: Path) -> int:
    """Return how many images a file has.

    Raises:
        DataError: if there is no such file.
    """
    with _opened(path) as file:
        return int(file.metadata.num_rows)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    if not path.is_file():
        raise _other(path, "is not there")
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except pa.ArrowInvalid as error:
        raise _other(path, f"cannot be read: {error}") from error


def _other(path: Path, how: str) -> DataError:
    return DataError(
        f"'{path.name}' in the input folder {how}",
        allowed="the artifact folder that the step before logged",
        action="pass -P raw=runs:/<download run>/raw or -P data=runs:/<preprocess run>/data",
    )


def _record(some: Images, shape: Shape, mark: str) -> pa.RecordBatch:
    flat = np.ascontiguousarray(some.pixels).reshape(-1)
    pixels = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(prod(shape)), len(some.labels), [None, pa.py_buffer(flat)]
    )
    return pa.record_batch(
        [pixels, pa.array(some.labels, pa.string()), pa.array(some.marks, pa.string())],
        names=["pixels", "label", mark],
    )


def _images(record: pa.RecordBatch, shape: Sequence[int], mark: str) -> Images:
    column = record.column("pixels")
    size = prod(shape)
    flat = np.frombuffer(column.buffers()[1], dtype=np.uint8)
    flat = flat[column.offset * size : (column.offset + len(column)) * size]
    return Images(
        flat.reshape(len(column), *shape),
        record.column("label").to_pylist(),
        record.column(mark).to_pylist(),
    )
