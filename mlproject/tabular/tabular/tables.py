"""Reads CSV or Parquet files into a frame without losing or guessing anything silently.

Rows of a CSV with too many or too few fields are collected, not dropped in silence. A column
becomes numbers only if its values are; see `numerals`. Touches only the files it reads.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from shared.commandline import passing
from shared.errors import DataError
from tabular.declaration import Kind
from tabular.footers import without_sum
from tabular.lines import check_names, check_start, empty, read_lines, unreadable
from tabular.malformed import Malformed
from tabular.memory import check_csv, check_parquet
from tabular.numerals import (
    Column,
    Taken,
    first_look,
    settled,
    with_points,
)
from tabular.packed import Part
from tabular.plain_types import plain
from tabular.reading import Reading

_INDEX = re.compile(r"Unnamed: \d+|__index_level_\d+__|")
"""Names of columns that pandas makes of a frame's index, as it writes it or reads it again."""
_WIDE = 500  # columns
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Table:
    """Rows, the lines that could not become rows, and what the columns were taken for.

    Attributes:
        frame: the rows.
        malformed: lines that are no rows.
        taken: what each column of the frame was taken for.
        dropped: columns of the file that are not in the frame, with the reason.
        notes: what else the reader of the log should know.
        time: what the time column was taken for; '' where there is none.
    """

    frame: pd.DataFrame
    malformed: tuple[Malformed, ...] = ()
    taken: Mapping[str, Taken] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    time: str = ""


def read_csv(parts: Sequence[Part], how: Reading) -> Table:
    """Return the rows of CSV files with a header line each.

    Args:
        parts: files in UTF-8, with or without byte order mark, any kind of line end.
        how: what the files do not say.

    Raises:
        DataError: if a file is empty, a web page, not UTF-8 or without rows, has other columns
            than the first, or columns that can be read in more than one way.
    """
    check_csv([part.path for part in parts])
    read = [read_lines(part, how) for part in parts]
    tables = [one.table for one in read]
    _check_same_columns(tables, parts)
    malformed = tuple(line for one in read for line in one.malformed)
    whole, dropped = _without_index(_joined(tables, parts))
    columns = _typed(whole, how)
    table = pa.table({name: column.cells for name, column in columns.items()})
    if len(parts) == 1:
        table, total = without_sum(table)
        malformed += total
    taken = {name: column.taken for name, column in columns.items()}
    notes = tuple(note for one in read for note in one.notes)
    return Table(_filled(table, parts[0]), malformed, taken, dropped, notes)


def read_parquet(parts: Sequence[Part], how: Reading) -> Table:
    """Return the rows of Parquet files in types that models know, see `plain_types`.

    Raises:
        DataError: if one is no Parquet file or has no rows, or other columns than the first.
    """
    for part in parts:
        check_start(part)
    _check_memory(parts)
    tables = [_parquet(part) for part in parts]
    _check_same_columns(tables, parts)
    whole, dropped = _without_index(_joined(tables, parts))
    cells: dict[str, pa.ChunkedArray] = {}
    said: dict[str, str] = {}
    for name, column in zip(whole.column_names, whole.columns, strict=True):
        exact = name == how.time or how.types.get(name) == "number"
        made = plain(column, rounded=exact)
        if made.cells is None:
            dropped[name] = made.how
        else:
            cells[name], said[name] = made.cells, made.how
    for name in (how.target, *how.identity, how.time):
        if name in dropped:
            raise DataError(
                f"'{name}' is named as target, identity or time, and is {dropped[name]}",
                allowed="a column of numbers, texts or times",
                action="name another column",
            )
    # What the file itself calls no number (a category, a date) is not looked at for numbers.
    texts: dict[str, Kind] = {name: "text" for name in said if said[name]}
    columns = _typed(pa.table(cells), replace(how, types={**texts, **how.types}))
    taken = {
        name: replace(column.taken, how=column.taken.how or said[name])
        for name, column in columns.items()
    }
    table = pa.table({name: column.cells for name, column in columns.items()})
    return Table(_filled(table, parts[0]), taken=taken, dropped=dropped)


def _check_memory(parts: Sequence[Part]) -> None:
    try:
        check_parquet([part.path for part in parts])
    except (pa.ArrowInvalid, OSError):
        return  # which of them is no Parquet file, and why, reading it says


def _parquet(part: Part) -> pa.Table:
    try:
        table = pa.parquet.ParquetFile(part.path).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(part, str(error)) from error
    for key, text in part.keys:
        value = None if text == _NO_PARTITION else unquote(text)
        table = table.append_column(key, pa.array([value] * table.num_rows, pa.string()))
    check_names(tuple(table.column_names), part)
    return table


def _check_same_columns(tables: Sequence[pa.Table], parts: Sequence[Part]) -> None:
    first = set(tables[0].column_names)
    for table, part in zip(tables, parts, strict=True):
        if differing := sorted(first ^ set(table.column_names)):
            raise DataError(
                f"{part.name} has other columns than {parts[0].name}: "
                f"{', '.join(map(repr, differing))[:500]} in one of them only",
                allowed="files with the same columns",
                action="mend the file, or name a folder that holds one table",
            )


def _joined(tables: Sequence[pa.Table], parts: Sequence[Part]) -> pa.Table:
    """Return the rows of all parts, columns in the order of the first."""
    # By position: several columns may have no name.
    names = tables[0].column_names
    same = [one if one.column_names == names else one.select(names) for one in tables]
    for table, part in zip(same, parts, strict=True):
        for name in names if len(same) > 1 else ():
            kinds = [one.schema.field(name).type for one in (same[0], table)]
            if kinds[0] != kinds[1] and not all(map(_is_number, kinds)) and pa.null() not in kinds:
                raise DataError(
                    f"'{name}' is {kinds[1]} in {part.name} and {kinds[0]} in {parts[0].name}",
                    allowed="files with the same types",
                    action="write the files anew with one type for each column",
                )
    return pa.concat_tables(same, promote_options="permissive") if len(same) > 1 else same[0]


def _without_index(table: pa.Table) -> tuple[pa.Table, dict[str, str]]:
    """Return the table without columns that have no name, or one that pandas gives an index."""
    gone, reasons = [], {}
    for at, name in enumerate(table.column_names):
        if not _INDEX.fullmatch(name):
            continue
        gone.append(at)
        void = table.column(at).null_count == table.num_rows
        why = "no values" if void else "most likely a running number, the index that pandas writes"
        reasons[name or f"column {at + 1}"] = f"no name, {why}"
    return table.select([at for at in range(table.num_columns) if at not in gone]), reasons


def _typed(table: pa.Table, how: Reading) -> dict[str, Column]:
    """Return every column of texts as what it holds.

    Raises:
        DataError: if a column that is used can be read in more than one way, or is not what the
            parameter column_types says.
    """
    if unknown := [name for name in how.types if name not in table.column_names]:
        raise DataError(
            f"column_types names '{unknown[0]}', which is no column",
            allowed=", ".join(table.column_names)[:1000],
            action="correct -P column_types=...",
        )
    if table.num_columns > _WIDE:
        # A block of a wide file has few rows, and each step of each column would go through all.
        table = table.combine_chunks()
    columns = {
        name: _looked_at(name, column, how)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    for name, column in columns.items():
        if how.types.get(name) == "number" and column.taken.kind != "number":
            raise DataError(
                f"column_types says that '{name}' is a number, and {column.count:,} of "
                f"{len(column.cells):,} values are, the first value is {column.cells[0]}",
                allowed="a column of which most values are numbers",
                action="correct -P column_types=..., or pass the words in it as "
                "-P missing_words=...",
            )
    decimal = how.decimal or _decimal_of(columns.values())
    if decimal == "," or (how.separator == ";" and not decimal):
        # Where the comma is the decimal sign, 12.345 is 12345; and a semicolon between fields
        # stands where it often is.
        columns = _with_points(table, columns)
        decimal = decimal or _decimal_of(columns.values())
    return {name: _settled(name, column, decimal, how) for name, column in columns.items()}


def _looked_at(name: str, column: pa.ChunkedArray, how: Reading) -> Column:
    if not pa.types.is_string(column.type):
        return Column(column, Taken("number" if _is_number(column.type) else "text"))
    if not how.stays_text(name):
        return first_look(column, how.missing_words, forced=name in how.types)
    if how.missing_words:
        gone = pc.is_in(column, value_set=pa.array(how.missing_words))
        column = pc.if_else(gone, pa.scalar(None, pa.string()), column)
    return Column(column, Taken("text"))


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _decimal_of(columns: Iterable[Column]) -> str:
    """Return the decimal sign of those columns that show one; '' if none or both are there."""
    shown = {column.decimal for column in columns if column.decimal}
    return shown.pop() if len(shown) == 1 else ""


def _with_points(table: pa.Table, columns: Mapping[str, Column]) -> dict[str, Column]:
    """Return the columns, those of plain numbers with what their points say."""
    return {
        name: with_points(table[name], column)
        if not column.decimal
        and not column.doubt
        and pa.types.is_floating(column.cells.type)
        and pa.types.is_string(table[name].type)
        else column
        for name, column in columns.items()
    }


def _settled(name: str, column: Column, decimal: str, how: Reading) -> Column:
    """Return a column as what it holds, now that the table's decimal sign is known, or is not."""
    if column.doubt == "points" or (column.doubt == "decimal" and decimal):
        return settled(column, decimal or ".")
    if column.doubt:
        if how.used(name):
            if column.doubt == "signs":
                raise DataError(
                    f"{column.count:,} values of '{name}' are numbers with different signs: "
                    f"{column.example}",
                    allowed="one sign, or none, around all numbers of a column",
                    action=f"mend the column, or pass {passing('column_types', f'{name}:text')} or "
                    f"{passing('leave_out', name)}",
                )
            raise DataError(
                f"{column.count:,} values of '{name}' look like numbers, such as "
                f"{column.example!r}, and nothing in the file says which sign is the decimal one "
                "and which is between thousands",
                allowed="-P decimal=. where 1.234 is less than 2, -P decimal=, where it is 1234",
                action=f"pass one of these, or {passing('column_types', f'{name}:text')}",
            )
        return replace(column, taken=Taken("text"))
    return column


def _filled(table: pa.Table, part: Part) -> pd.DataFrame:
    if not table.num_rows:
        raise empty(part)
    frame: pd.DataFrame = table.to_pandas(split_blocks=True)
    return frame.reset_index(drop=True)
