"""Reads a CSV or Parquet file into a frame without losing or guessing anything silently.

Rows of a CSV with too many or too few fields are collected, not dropped in silence. A column
becomes numbers only if every value is one; otherwise it stays text and the schema check decides.
Touches only the file it reads.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from tabular.errors import DataError
from tabular.fetch import html_error, looks_like_html

LONGEST_TEXT = 200  # characters of a malformed line that are kept for the report


@dataclass(frozen=True)
class Malformed:
    """A line that is no row of the table.

    Attributes:
        line: number of the line in its file, from 1, the header included; 0 if unknown.
        reason: what is wrong with it.
        text: the line, shortened.
    """

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Table:
    """Rows and the lines that could not become rows."""

    frame: pd.DataFrame
    malformed: tuple[Malformed, ...] = ()


def read_csv(path: Path, separator: str, as_text: tuple[str, ...] = ()) -> Table:
    """Return the rows of a CSV file with a header line.

    Args:
        path: file in UTF-8, with or without byte order mark, any kind of line end.
        separator: one character between fields.
        as_text: columns that stay text even if all values are numbers (identities like "007").

    Raises:
        DataError: if the file is empty, a web page, not UTF-8 or without rows.
    """
    _check_start(path)
    malformed: list[Malformed] = []

    def collect(row: pa.csv.InvalidRow) -> str:
        reason = f"{row.actual_columns} fields instead of {row.expected_columns}"
        malformed.append(Malformed(row.number or 0, reason, str(row.text)[:LONGEST_TEXT]))
        return "skip"

    names = _header(path, separator)
    try:
        table = pa.csv.read_csv(
            path,
            # One thread: only then do malformed rows know their line.
            read_options=pa.csv.ReadOptions(use_threads=False),
            parse_options=pa.csv.ParseOptions(delimiter=separator, invalid_row_handler=collect),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True
            ),
        )
    except pa.ArrowInvalid as error:
        raise _unreadable(path, str(error)) from error
    columns = {
        name: column if name in as_text else _typed(column)
        for name, column in zip(names, table.columns, strict=True)
    }
    return Table(_filled(pa.table(columns), path), tuple(malformed))


def read_parquet(path: Path) -> Table:
    """Return the rows of a Parquet file; truth values become 0 and 1.

    Raises:
        DataError: if it is no Parquet file or has no rows.
    """
    _check_start(path)
    try:
        table = pa.parquet.read_table(path)
    except pa.ArrowInvalid as error:
        raise _unreadable(path, str(error)) from error
    columns = {
        name: _plain(column) for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return Table(_filled(pa.table(columns), path))


def _check_start(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(512)
    if not start.strip():
        raise _empty(path)
    if looks_like_html(start):
        raise html_error(path.name)


def _header(path: Path, separator: str) -> list[str]:
    try:
        with pa.csv.open_csv(
            path, parse_options=pa.csv.ParseOptions(delimiter=separator)
        ) as reader:
            names = [str(name) for name in reader.schema.names]
    except pa.ArrowInvalid:
        # A first block with malformed rows: read the header line alone.
        import csv

        with path.open(encoding="utf-8-sig", newline=None) as file:
            lines = (line for line in file if line.strip())
            names = next(csv.reader(lines, delimiter=separator))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"the header of {path.name} names {', '.join(map(repr, twice))} more than once",
            allowed="a header with a different name for each column",
            action="rename the columns in the file",
        )
    return names


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column as whole numbers or numbers if all its values are, else as it is."""
    if column.null_count == len(column):
        return pc.cast(column, pa.float64())
    trimmed = pc.utf8_trim_whitespace(column)
    for kind in (pa.int64(), pa.float64()):
        try:
            return pc.cast(trimmed, kind)
        except pa.ArrowInvalid:
            continue
    return trimmed


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return truth values, decimals and dictionaries as the plain types that models know."""
    kind = column.type
    if pa.types.is_boolean(kind):
        return pc.cast(column, pa.int64())
    if pa.types.is_decimal(kind):
        return pc.cast(column, pa.float64())
    if pa.types.is_dictionary(kind):
        return pc.cast(column, kind.value_type)
    return column


def _filled(table: pa.Table, path: Path) -> pd.DataFrame:
    if not table.num_rows:
        raise _empty(path)
    frame: pd.DataFrame = table.to_pandas()
    return frame.reset_index(drop=True)


def _empty(path: Path) -> DataError:
    return DataError(
        f"{path.name} is empty ({path.stat().st_size:,} bytes, no rows)",
        allowed="a header line and at least one row",
        action="look at where the file comes from",
    )


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path.name} could not be read: {reason.splitlines()[0][:300]}",
        allowed="a CSV file in UTF-8 with a header, or a Parquet file, as `dataset` says",
        action="check dataset, separator and encoding, or save the file again as UTF-8",
    )
