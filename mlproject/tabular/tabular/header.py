"""Finds the header line of a CSV: behind comments and titles, with its names as they are meant.

Touches only the file it reads.
"""

import codecs
import csv
import io
from collections import Counter
from dataclasses import dataclass

from shared.commandline import passing
from shared.errors import DataError, nearest
from tabular.packed import Part, not_utf8
from tabular.reading import Reading

_START = 1 << 22  # bytes in which header and first rows are looked for
_MOST_BEFORE = 50  # lines before the header
_ROWS = 20  # rows by which the number of fields is told
COMMENT = "#"
_SEPARATORS = {",": ",", ";": ";", "\t": "tab", "|": "|"}


@dataclass(frozen=True)
class Header:
    """The header of one CSV file.

    Attributes:
        names: of the columns, blanks around them removed; '' where a column has none.
        before: physical lines before the first row, the header included.
        titles: lines before the header that are not blank.
    """

    names: tuple[str, ...]
    before: int
    titles: tuple[str, ...] = ()


def find_header(part: Part, how: Reading) -> Header:
    """Return the header of a CSV file: its first line that is neither blank, comment nor title.

    A comment begins with '#', a title fills fewer fields than the header. Both are known only by a
    header that names the target; else the first line is the header.

    Raises:
        DataError: if the file is not UTF-8, or another separator is meant.
    """
    lines = _lines(part)
    first = lines[: _MOST_BEFORE + 1]
    split = [_fields(line, how.separator) for _, line in first]
    at = _position(split, how.target)
    number, line = first[at]
    rest = [line for _, line in lines[at + 1 : at + 1 + _ROWS]]
    names = [name.strip() for name in split[at]]
    while '"' in line and line.count('"') % 2 and rest:  # a name with a line end in it
        number, line = number + 1, line + rest.pop(0)
        names = [name.strip() for name in _fields(line, how.separator)]
    if how.target and how.target not in names:
        _check_separator(part, [line for _, line in first], names, how)
    titles = tuple(line.strip() for _, line in first[:at])
    fitted = _fitted(names, [_fields(row, how.separator) for row in rest])
    return Header(tuple(fitted), number, titles)


def _lines(part: Part) -> list[tuple[int, str]]:
    """Return the first lines that are not blank, with their number from 1."""
    with part.path.open("rb") as file:
        start = file.read(_START)
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(start)
    except UnicodeDecodeError as error:
        raise not_utf8(part) or error from error
    numbered = enumerate(io.StringIO(text, newline=None), 1)
    kept = ((number, line) for number, line in numbered if line.strip())
    return [line for line, _ in zip(kept, range(_MOST_BEFORE + 1 + _ROWS), strict=False)]


def _fields(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _position(split: list[list[str]], target: str) -> int:
    """Return which line is the header."""
    for at, fields in enumerate(split):
        if target not in map(str.strip, fields):
            continue
        filled = sum(map(bool, fields))
        if all(
            before[:1] and (before[0].startswith(COMMENT) or sum(map(bool, before)) < filled)
            for before in split[:at]
        ):
            return at
        break
    return 0


def _fitted(names: list[str], rows: list[list[str]]) -> list[str]:
    """Return as many names as rows have fields, where only a separator at the end differs."""
    count, most = Counter(map(len, rows)).most_common(1)[0] if rows else (len(names), 0)
    if most == len(rows):
        if count == len(names) + 1 and not any(row[-1].strip() for row in rows):
            return [*names, ""]
        if count == len(names) - 1 and not names[-1]:
            return names[:-1]
    return names


def _check_separator(part: Part, lines: list[str], names: list[str], how: Reading) -> None:
    """Check that the target is not in a header that another separator splits.

    Raises:
        DataError: naming that separator.
    """
    for line in lines:
        for separator, word in _SEPARATORS.items():
            if how.target in map(str.strip, _fields(line, separator)):
                raise DataError(
                    f"missing column '{how.target}'{nearest(how.target, names)} in the header of "
                    f"{part.name}: {line.strip()[:200]!r} is not split at {how.separator!r}",
                    allowed="the separator that is between the fields",
                    action=f"pass {passing('separator', word)}",
                )
