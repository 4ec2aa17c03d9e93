"""Reads one CSV file as texts: what is a row, what is none, and what only looks like one.

Touches only the file it reads.
"""

import codecs
import io
import mmap
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from shared.errors import DataError, short
from shared.fetch import html_error, looks_like_html
from tabular.footers import last_row, without_totals
from tabular.header import COMMENT, Header, find_header
from tabular.malformed import LONGEST_TEXT, Malformed
from tabular.numerals import NULLS
from tabular.packed import Part, not_utf8
from tabular.reading import Reading

_BLOCK = 1 << 20
_FEWEST_SWALLOWED = 3  # rows within one text
_AS_COMMENT = "begins with '#', as a comment does"
_MANY = 0.1  # share of the rows; where so many begin with '#' it is none of a comment


@dataclass(frozen=True)
class _Marks:
    """The quotation marks of a file.

    Attributes:
        count: how many there are, without those behind a backslash where these are texts' own.
        escaped: whether a text's own are written with a backslash, as databases do, not doubled.
    """

    count: int
    escaped: bool


@dataclass(frozen=True)
class Lines:
    """One CSV file as texts.

    Attributes:
        table: its rows, every column as text, null where a field is empty.
        malformed: lines that are no rows.
        notes: what else the reader of the log should know.
    """

    table: pa.Table
    malformed: tuple[Malformed, ...] = ()
    notes: tuple[str, ...] = ()


def read_lines(part: Part, how: Reading) -> Lines:
    """Return one CSV file as texts, without totals and rows of nothing.

    Raises:
        DataError: if it is empty, a web page, not UTF-8, without one row, has blanks before
            quotation marks, or one that has swallowed rows.
    """
    check_start(part)
    header = find_header(part, how)
    check_names(header.names, part)
    marks = _marks(part, how.separator)
    malformed: list[Malformed] = []
    cut: list[str] = []
    collect = _collector(malformed, cut)
    table = _parsed(part, header, how, marks=marks, collect=collect)
    if not table.num_rows and malformed:
        raise DataError(
            f"not one line of {part.name} is a row: {malformed[0].reason} in {len(malformed)} "
            f"lines, such as {malformed[0].text!r}",
            allowed="rows with as many fields as the header has names",
            action="look at the separator, and at whether the header names every column",
        )
    if marks.count:
        _check_quotes(table, cut, marks.count, part, how.separator)
    notes = [f"{part.name}: {text[:LONGEST_TEXT]!r} stands before the header"
             for text in header.titles]  # fmt: skip
    if marks.escaped:
        notes.append(f"{part.name}: a backslash within it means the character behind it")
    table, empty = _without_empty(table)
    if empty:
        notes.append(f"{part.name}: {empty:,} rows of nothing but separators")
    table, comments = _without_comments(table, how)
    table, totals = without_totals(table)
    return Lines(table, (*malformed, *comments, *totals), tuple(notes))


class _Blocks(io.FileIO):
    """A file that is never cut behind a carriage return, wherever a reader's block would end.

    pyarrow leaves out a line feed that begins a block, within quotation marks, too.
    """

    def read(self, size: int | None = -1) -> bytes:
        """Return some bytes, at most ``size``; none at the end."""
        found = super().read(size) or b""
        kept = found.rstrip(b"\r") or found
        self.seek(len(kept) - len(found), io.SEEK_CUR)
        return kept


def _collector(malformed: list[Malformed], cut: list[str]) -> Callable[[pa.csv.InvalidRow], str]:
    """Return what collects lines that are no rows, and those texts of them with several lines."""

    def collect(row: pa.csv.InvalidRow) -> str:
        lines = [line for line in str(row.text).splitlines() if line.strip()]
        reason = f"{row.actual_columns} fields instead of {row.expected_columns}"
        if len(lines) > 1:
            cut.append(str(row.text))
        malformed.extend(Malformed(row.number or 0, reason, line[:LONGEST_TEXT]) for line in lines)
        return "skip"

    return collect


def _parsed(
    part: Part,
    header: Header,
    how: Reading,
    *,
    marks: _Marks,
    collect: Callable[[pa.csv.InvalidRow], str],
) -> pa.Table:
    try:
        with _Blocks(part.path) as file:
            table = pa.csv.read_csv(
                file,
                # One thread: only then do malformed rows know their line.
                read_options=pa.csv.ReadOptions(
                    use_threads=False,
                    column_names=list(map(str, range(len(header.names)))),
                    skip_rows=header.before,
                ),
                parse_options=pa.csv.ParseOptions(
                    delimiter=how.separator,
                    invalid_row_handler=collect,
                    # Costs time; without it a block may end in a text and cut a row in two.
                    newlines_in_values=marks.count > 0,
                    escape_char="\\" if marks.escaped else False,
                ),
                convert_options=pa.csv.ConvertOptions(
                    default_column_type=pa.string(), strings_can_be_null=True, null_values=[""]
                ),
            )
    except pa.ArrowInvalid as error:
        # The second is said of a header that no line end follows.
        if "Empty CSV file" in str(error) or _lines_of(part.path) <= header.before:
            raise empty(part) from error
        raise not_utf8(part) or unreadable(part, str(error)) from error
    return table.rename_columns(list(header.names))


def _lines_of(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _marks(part: Part, separator: str) -> _Marks:
    """Return what the quotation marks of a file are like.

    Raises:
        DataError: if there are blanks before them: the reader would take them for values.
    """
    between = re.escape(separator.encode())
    with part.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as all_:
        count = sum(all_[at : at + _BLOCK].count(b'"') for at in range(0, len(all_), _BLOCK))
        if not count:
            return _Marks(0, escaped=False)
        # Within a text a mark is doubled; one alone ends it, so that nothing else can follow.
        blank = re.compile(rb'[\r\n%b] +("[^"\r\n%b][^"\r\n]*") *[\r\n%b]' % ((between,) * 3))
        if separator != " " and all_.find(b' "') >= 0 and (found := blank.search(all_)):
            raise DataError(
                f"fields of {part.name} have blanks before their quotation marks, such as"
                f" {found[1][:LONGEST_TEXT].decode(errors='replace')}",
                allowed="quotation marks directly behind the separator",
                action="write the file again without blanks behind its separators",
            )
        behind = re.compile(rb'\\"[^"\r\n%b]' % between)
        escaped = all_.find(b'\\"') >= 0 and behind.search(all_) is not None
        own = len(re.findall(rb'\\"', all_)) if escaped else 0
        return _Marks(count - own, escaped=escaped)


def _check_quotes(read: pa.Table, cut: list[str], quotes: int, part: Part, separator: str) -> None:
    """Check that no quotation mark without its counterpart has swallowed rows.

    Args:
        read: the rows.
        cut: texts over several lines that are no rows.
        quotes: how many quotation marks the file has.
        part: the file.
        separator: between its fields.

    Raises:
        DataError: if a text holds lines that look like rows, or one of an odd number of marks runs
            to the end.
    """
    between = read.num_columns - 1
    swallowing = [text for text in cut if _rows_within(text, separator, between)]
    for column in read.columns:
        several = column.filter(pc.match_substring(column, "\n")).to_pylist()
        swallowing += [text for text in several if _rows_within(text, separator, between)]
    if quotes % 2 and not swallowing:
        last = [text for text in last_row(read).values() if text is not None and "\n" in text]
        swallowing = cut[-1:] or last
    if swallowing:
        raise DataError(
            f"a quotation mark in {part.name} is never closed: a text with "
            f"{len(swallowing[0].splitlines()):,} lines begins with {swallowing[0][:80]!r}",
            allowed='texts in "...", with "" for a quotation mark inside',
            action="mend the line in the file, or write it without quotation marks",
        )


def _rows_within(text: str, separator: str, between: int) -> bool:
    """Whether all lines within a text have as many separators as a row has."""
    lines = [line for line in text.splitlines()[1:-1] if line.strip()]
    alike = all(line.count(separator) == between for line in lines)
    return between > 0 and len(lines) >= _FEWEST_SWALLOWED and alike


def _without_empty(table: pa.Table) -> tuple[pa.Table, int]:
    """Return the rows that hold anything, and how many do not."""
    if not table.num_columns or not all(column.null_count for column in table.columns):
        return table, 0
    filled = pc.is_valid(table.column(0))
    for column in table.columns[1:]:
        filled = pc.or_(filled, pc.is_valid(column))
    kept = table.filter(filled)
    return kept, table.num_rows - kept.num_rows


def _without_comments(table: pa.Table, how: Reading) -> tuple[pa.Table, tuple[Malformed, ...]]:
    """Return the rows without those that '#' sets aside, where few rows begin so.

    Where many do, or the user has said that the first column is text, they are values.
    """
    if not table.num_columns or how.types.get(table.column_names[0]) == "text":
        return table, ()
    first = pc.utf8_ltrim_whitespace(table.column(0))
    missing = pc.is_in(first, value_set=pa.array([*NULLS.to_pylist(), *how.missing_words]))
    marked = pc.and_not(pc.fill_null(pc.starts_with(first, COMMENT), fill_value=False), missing)
    count = pc.sum(marked).as_py() or 0
    if not 0 < count < _MANY * table.num_rows:
        return table, ()
    rows = zip(*(column.filter(marked).to_pylist() for column in table.columns), strict=True)
    texts = (how.separator.join(text or "" for text in row) for row in rows)
    comments = (Malformed(0, _AS_COMMENT, text[:LONGEST_TEXT]) for text in texts)
    return table.filter(pc.invert(marked)), tuple(comments)


def check_start(part: Part) -> None:
    """Check that a file holds anything, and that it is no web page."""
    with part.path.open("rb") as file:
        start = file.read(512)
    if not start.removeprefix(codecs.BOM_UTF8).strip():
        raise empty(part)
    if looks_like_html(start):
        raise html_error(part.name)


def check_names(names: tuple[str, ...], part: Part) -> None:
    """Check that no two columns have the same name; several may have none."""
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise DataError(
            f"the header of {part.name} names {', '.join(map(repr, twice))} more than once",
            allowed="a header with a different name for each column",
            action="rename the columns in the file",
        )


def empty(part: Part) -> DataError:
    """Return the error for a file without rows."""
    return DataError(
        f"{part.name} is empty ({part.path.stat().st_size:,} bytes, no rows)",
        allowed="a header line and at least one row",
        action="look at where the file comes from",
    )


def unreadable(part: Part, reason: str) -> DataError:
    """Return the error for a file that the reader does not understand."""
    return DataError(
        f"{part.name} could not be read: {short(reason)}",
        allowed="a CSV file in UTF-8 with a header, or a Parquet file, as `dataset` says",
        action="check dataset, separator and encoding, or save the file again as UTF-8",
    )
