"""How a file of the user's is to be read: what its bytes cannot say and the user's parameters do.

Touches nothing.
"""

import codecs
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from shared.errors import ParameterError, nearest
from tabular.declaration import DataSet, Kind, UserFile
from tabular.lists import split_list

UNITS = ("s", "ms", "us", "ns")
"""Units of times since 1970."""
_KINDS: dict[str, Kind] = {"number": "number", "text": "text"}
_PARAMETERS = ("encoding", "decimal", "missing_words", "column_types", "time_format", "time_zone")


@dataclass(frozen=True)
class Reading:
    """How to read one table.

    Attributes:
        separator: between the fields of a CSV, one character.
        encoding: of a CSV, Python's name; '' means UTF-8 or what a byte order mark says.
        decimal: "." or ",": which of both it is in numbers such as 1,234; '' means not known.
        missing_words: texts that mean "missing" in every column, beside the empty field.
        types: what columns hold whatever their values look like.
        time_format: of the time column: one of `UNITS` or what strptime takes; '' for ISO 8601.
        time_zone: IANA name of the zone of times that say none; '' means UTC.
        target: column to predict; '' where no column has to be there.
        identity: columns that identify a row: they stay the text that they are.
        time: column with the time of a row; it stays text until it is read as a time.
        left_out: names, or shell patterns of names, that are no features.
    """

    separator: str = ","
    encoding: str = ""
    decimal: str = ""
    missing_words: tuple[str, ...] = ()
    types: Mapping[str, Kind] = field(default_factory=dict)
    time_format: str = ""
    time_zone: str = ""
    target: str = ""
    identity: tuple[str, ...] = ()
    time: str = ""
    left_out: tuple[str, ...] = ()

    def used(self, name: str) -> bool:
        """Whether a column is the target or may be a feature."""
        if name == self.target:
            return True
        apart = name in self.identity or name == self.time
        return not apart and not any(fnmatchcase(name, known) for known in self.left_out)

    def stays_text(self, name: str) -> bool:
        """Whether a column is not looked at for numbers."""
        kind = self.types.get(name)
        return name == self.time or kind == "text" or (name in self.identity and kind is None)


def reading(data_set: DataSet, values: Mapping[str, Any]) -> Reading:
    """Return how the rows of a data set are to be read.

    Args:
        data_set: the declaration, completed by the user's parameters.
        values: parameters separator, encoding, decimal, missing_words, column_types, time_format
            and time_zone.

    Raises:
        ParameterError: if one is no such value, or one is given that the data set has no use for.
    """
    source = data_set.source
    useless = [] if isinstance(source, UserFile) else list(_PARAMETERS)
    if isinstance(source, UserFile) and source.format == "parquet":
        useless = ["encoding"]
    given = [name for name in useless if values[name]]
    if given:
        raise ParameterError(
            f"{', '.join(given)} given for data set '{data_set.name}', which has no use for it",
            allowed="these parameters with a file of your own, encoding with a CSV only",
            action="leave them out",
        )
    return Reading(
        separator=_separator(values["separator"]),
        encoding=_encoding(values["encoding"]),
        decimal=values["decimal"],
        missing_words=tuple(split_list(values["missing_words"])),
        types=_types(values["column_types"]),
        time_format=values["time_format"],
        time_zone=_zone(values["time_zone"]),
        target=data_set.target,
        identity=data_set.identity,
        time=data_set.time.name if data_set.time and not data_set.time.date else "",
        left_out=tuple(data_set.left_out),
    )


def _separator(text: str) -> str:
    separator = {"tab": "\t", "\\t": "\t", "": ","}.get(text, text)
    if len(separator) != 1:
        raise ParameterError(
            f"parameter 'separator' is {text!r}",
            allowed="one character, or 'tab'",
            action="correct -P separator=...",
        )
    return separator


def _encoding(text: str) -> str:
    try:
        "".encode(text or "utf-8")  # refuses what Python knows and is of no text, such as bz2
        return codecs.lookup(text).name if text else ""
    except (LookupError, UnicodeError):
        raise ParameterError(
            f"parameter 'encoding' is {text!r}",
            allowed="'' or a name that Python knows, such as cp1252, latin-1, utf-16, shift_jis",
            action="correct -P encoding=...",
        ) from None


def _zone(text: str) -> str:
    if text and text not in (known := zoneinfo.available_timezones()):
        raise ParameterError(
            f"parameter 'time_zone' is {text!r}{nearest(text, known)}",
            allowed="'' for UTC, or a name of the IANA data base, such as Europe/Berlin",
            action="correct -P time_zone=...",
        )
    return text


def _types(text: str) -> dict[str, Kind]:
    types: dict[str, Kind] = {}
    for part in split_list(text):
        name, _, kind = (word.strip() for word in part.rpartition(":"))
        if not name or kind not in _KINDS:
            raise ParameterError(
                f"column_types has {part!r}",
                allowed="name:number or name:text, with commas between columns, and \\, for one in"
                " a name",
                action="correct -P column_types=...",
            )
        types[name] = _KINDS[kind]
    return types
