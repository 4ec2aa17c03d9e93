"""Gives every row a fingerprint that depends on nothing but its own identity.

Split, replay and row ids are all read from this one SHA-256, each from bytes of its own, so they
are independent of each other and the same on every night and machine. Touches nothing.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

SALT = b"understudy/tabular/1\x00"
"""Changing it would move rows between training and holdout: never do."""

EXACT_IN_FLOAT64 = 2**53
_MISSING = "\x00"
_BETWEEN = "\x1f"
_ESCAPES = (("\\", "\\\\"), (_MISSING, "\\0"), (_BETWEEN, "\\1"))
_ROW_ID = slice(0, 8)
_SPLIT = slice(8, 16)
_ARRIVAL = slice(16, 24)


def identity_columns(identity: Sequence[str], target: str, frame: pd.DataFrame) -> list[str]:
    """Return the columns that identify a row: the named ones, else all but the target.

    Without the target, a corrected label does not move a row, and rows that differ in nothing
    but the label stay together.
    """
    return list(identity) or [str(name) for name in frame.columns if name != target]


def fingerprints(frame: pd.DataFrame, columns: Sequence[str]) -> list[bytes]:
    """Return one 32-byte SHA-256 per row over the named columns.

    The text of a cell does not depend on how the column is stored: 5, 5.0 and a nullable 5 agree.

    Args:
        frame: rows; its index is ignored.
        columns: the identity, in any order (they are sorted).
    """
    texts = [_texts(frame[column]) for column in sorted(columns)]
    start = hashlib.sha256(SALT)
    result = []
    for row in zip(*texts, strict=True):
        digest = start.copy()
        digest.update(_BETWEEN.join(row).encode())
        result.append(digest.digest())
    return result


def row_ids(prints: Sequence[bytes]) -> list[str]:
    """Return a unique id per row: 16 hexadecimal digits and the number of the occurrence from 0."""
    seen: Counter[str] = Counter()
    ids = []
    for print_ in prints:
        stem = print_[_ROW_ID].hex()
        ids.append(f"{stem}-{seen[stem]}")
        seen[stem] += 1
    return ids


def split_positions(prints: Sequence[bytes]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return where each row falls in [0, 1): below the holdout fraction means holdout."""
    return _unit(prints, _SPLIT)


def arrival_positions(prints: Sequence[bytes]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return where each row falls in [0, 1) in the order of arrival."""
    return _unit(prints, _ARRIVAL)


def content_sha256(frame: pd.DataFrame) -> str:
    """Return the SHA-256, hexadecimal, of all rows and columns in their order.

    It covers names and values, not the file format: the same table written by another version of
    Parquet has the same digest.
    """
    digest = hashlib.sha256()
    for name in frame.columns:
        column = frame[name]
        label = str(name).encode()
        digest.update(struct.pack("<q", len(label)) + label + struct.pack("<q", len(column)))
        if pd.api.types.is_numeric_dtype(column) and not _is_too_large(column):
            numbers = column.to_numpy(dtype="float64", na_value=np.nan) + 0.0  # -0.0 becomes 0.0
            digest.update(b"n" + numbers.astype("<f8").tobytes())
        else:
            lengths, content = _whole(_arrow_texts(column))
            digest.update(b"t" + lengths.tobytes())
            digest.update(content)
    return digest.hexdigest()


def _arrow_texts(column: pd.Series) -> pa.Array:
    """Return a column's texts as `_texts` has them, without a Python object for each."""
    if _are_plain_times(column):
        return _plain_times(column)
    if not isinstance(column.dtype, pd.StringDtype):
        return pa.array(_texts(column), type=pa.large_string())
    cells = pa.array(column, type=pa.large_string(), from_pandas=True)
    if isinstance(cells, pa.ChunkedArray):
        cells = cells.combine_chunks()
    for plain, escaped in _ESCAPES:
        cells = pc.replace_substring(cells, plain, escaped)
    return pc.fill_null(cells, _MISSING)


def _are_plain_times(column: pd.Series) -> bool:
    """Return whether a column has times in UTC or without a zone, in whole seconds of our era."""
    zone = getattr(column.dtype, "tz", None)
    if not pd.api.types.is_datetime64_any_dtype(column.dtype) or str(zone) not in {"None", "UTC"}:
        return False
    known = column.dropna()
    if known.empty or known.min().year < 1000:  # noqa: PLR2004 -- fewer digits, which C does not fill
        return False
    return bool((known.dt.microsecond == 0).all() and (known.dt.nanosecond == 0).all())


def _plain_times(column: pd.Series) -> pa.Array:
    """Return times as ``str(Timestamp)`` writes them."""
    zone = "" if getattr(column.dtype, "tz", None) is None else "+00:00"
    times = pa.array(column.dt.tz_convert(None) if zone else column, from_pandas=True)
    texts = pc.strftime(times.cast(pa.timestamp("s")), format=f"%Y-%m-%d %H:%M:%S{zone}")
    return pc.fill_null(texts.cast(pa.large_string()), _MISSING)


def _whole(cells: pa.Array) -> tuple[np.ndarray[Any, np.dtype[np.int64]], memoryview]:
    """Return the length of each text in bytes, and all texts as they lie behind each other."""
    _, offsets, content = cells.buffers()
    ends = np.frombuffer(offsets, dtype="<i8")[cells.offset : cells.offset + len(cells) + 1]
    lengths = np.diff(ends).astype("<i8")
    return lengths, memoryview(content or b"")[int(ends[0]) : int(ends[-1])]


def _is_too_large(column: pd.Series) -> bool:
    """Return whether whole numbers would lose digits as float64: those are digested as text."""
    if not pd.api.types.is_integer_dtype(column):
        return False
    values = column.dropna()
    largest = max(abs(int(values.min())), abs(int(values.max()))) if len(values) else 0
    return largest > EXACT_IN_FLOAT64


def _unit(prints: Sequence[bytes], part: slice) -> np.ndarray[Any, np.dtype[np.float64]]:
    # 53 bits: what a float64 holds exactly, so that no position rounds up to 1.0.
    whole = np.array(
        [int.from_bytes(print_[part], "big") >> 11 for print_ in prints], dtype="float64"
    )
    return np.asarray(whole * 2.0**-53)


def _texts(column: pd.Series) -> list[str]:
    missing = column.isna().to_numpy()
    if pd.api.types.is_numeric_dtype(column) and not _is_too_large(column):
        texts = _numbers(column.to_numpy(dtype="float64", na_value=np.nan))
    else:
        texts = [_escaped(str(value)) for value in column.tolist()]
    return [_MISSING if gone else text for text, gone in zip(texts, missing, strict=True)]


def _numbers(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[str]:
    """Return the shortest exact text of each number, whole numbers without '.0'."""
    return [text.removesuffix(".0") for text in map(repr, (values + 0.0).tolist())]


def _escaped(text: str) -> str:
    for plain, escaped in _ESCAPES:
        text = text.replace(plain, escaped)
    return text
