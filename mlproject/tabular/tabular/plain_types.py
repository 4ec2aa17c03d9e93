"""Turns Arrow's types into those that models know: whole numbers, numbers, texts, times.

Touches nothing.
"""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tabular.numerals import EXACT

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
        return plain(column.cast(kind.storage_type), rounded=rounded)
    if pa.types.is_dictionary(kind):
        found = plain(pc.cast(column, kind.value_type), rounded=rounded)
        text = found.cells is not None and pa.types.is_string(found.cells.type)
        return Plain(found.cells, found.how or "a category" * text)
    if pa.types.is_boolean(kind):
        return Plain(pc.cast(column, pa.int64()))
    if pa.types.is_decimal(kind) or pa.types.is_integer(kind):
        return _whole(column, rounded=rounded)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return Plain(pc.cast(column, pa.string()))
    if pa.types.is_date(kind) or pa.types.is_time(kind):
        return Plain(pc.cast(column, pa.string()), f"was {kind}")
    if pa.types.is_duration(kind):
        seconds = pc.divide(pc.cast(pc.cast(column, pa.int64()), pa.float64()),
                            float(_PER_SECOND[kind.unit]))  # fmt: skip
        return Plain(seconds, "seconds")
    return _other(column)


def _whole(column: pa.ChunkedArray, *, rounded: bool) -> Plain:
    """Return whole numbers and decimals as numbers, or as texts where a float would round them."""
    kind = column.type
    decimal = pa.types.is_decimal(kind)
    bounds = pc.min_max(column)
    known = bounds["min"].as_py() is not None
    if known and not rounded and not (decimal and kind.scale > 0):
        if max(abs(bounds[end].as_py()) for end in ("min", "max")) > EXACT:
            return Plain(pc.cast(column, pa.string()), "whole numbers beyond 2^53")
    return Plain(pc.cast(column, pa.float64()) if decimal else column)


def _other(column: pa.ChunkedArray) -> Plain:
    kind = column.type
    if pa.types.is_null(kind):
        return Plain(pc.cast(column, pa.float64()))
    if pa.types.is_float16(kind):
        return Plain(pc.cast(column, pa.float32()))
    if pa.types.is_floating(kind) or pa.types.is_string(kind) or pa.types.is_timestamp(kind):
        return Plain(column)
    return Plain(None, f"a column of {kind}, which models do not take"[:200])
