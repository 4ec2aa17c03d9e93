"""Turns Arrow's types into those that models know: whole numbers, numbers, texts, times.

Touches nothing.
"""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tabular.malformed import LONGEST_TEXT
from tabular.numerals import EXACT

_CASTS = (
    (pa.types.is_boolean, pa.int64(), ""),
    (pa.types.is_null, pa.float64(), ""),
    (pa.types.is_float16, pa.float32(), ""),
    (pa.types.is_large_string, pa.string(), ""),
    (pa.types.is_string_view, pa.string(), ""),
    (pa.types.is_date, pa.string(), "was"),
    (pa.types.is_time, pa.string(), "was"),
)
"""What a type becomes, and whether the words say what it was."""
_PLAIN = (pa.types.is_floating, pa.types.is_string, pa.types.is_timestamp)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True)
class Plain:
    """A column in a plain type.

    Attributes:
        cells: its values; None where models know nothing like it.
        how: what it was, where it is not what it was; '' where it is.
    """

    cells: pa.ChunkedArray | None
    how: str = ""


def plain(column: pa.ChunkedArray, *, rounded: bool) -> Plain:
    """Return a column of a Parquet file in a plain type.

    Args:
        column: its values.
        rounded: whether whole numbers beyond 2^53 stay numbers; else they become texts, because a
            model would take many of them for one.
    """
    kind = column.type
    if isinstance(kind, pa.ExtensionType):
        column, kind = column.cast(kind.storage_type), kind.storage_type
    if pa.types.is_dictionary(kind):
        found = plain(pc.cast(column, kind.value_type), rounded=rounded)
        text = found.cells is not None and pa.types.is_string(found.cells.type)
        return Plain(found.cells, found.how or "a category" * text)
    if pa.types.is_decimal(kind) or pa.types.is_integer(kind):
        return _whole(column, rounded=rounded)
    if pa.types.is_duration(kind):
        count = pc.cast(pc.cast(column, pa.int64()), pa.float64())
        return Plain(pc.divide(count, float(_PER_SECOND[kind.unit])), "seconds")
    for is_such, plainer, how in _CASTS:
        if is_such(kind):
            return Plain(pc.cast(column, plainer), how and f"was {kind}")
    if not any(is_such(kind) for is_such in _PLAIN):
        return Plain(None, f"a column of {kind}, which models do not take"[:LONGEST_TEXT])
    return Plain(column)


def _whole(column: pa.ChunkedArray, *, rounded: bool) -> Plain:
    """Return whole numbers and decimals as numbers, or as texts where a float would round them."""
    kind = column.type
    decimal = pa.types.is_decimal(kind)
    bounds = [end.as_py() for end in pc.min_max(column).values()]
    whole = not decimal or kind.scale <= 0
    if whole and not rounded and max(abs(end or 0) for end in bounds) > EXACT:
        return Plain(pc.cast(column, pa.string()), "whole numbers beyond 2^53")
    return Plain(pc.cast(column, pa.float64()) if decimal else column)
